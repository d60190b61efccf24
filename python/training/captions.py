"""Say what a scene shows, in one of many ways, often leaving things out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import vocabulary as words
from .scenes.spec import SceneSpec


@dataclass(frozen=True, slots=True)
class Mention:
    """Which attributes of a scene a caption speaks of."""

    time: bool
    weather: bool
    ground: bool
    body: bool
    thing: bool
    colour: bool


def caption(spec: SceneSpec, rng: np.random.Generator, *, is_brief: bool = False) -> tuple[str, Mention]:
    """Describe a scene, and tell what was spoken of.

    A caption is true in everything it says, silent on what it leaves out, and has sometimes words that mean nothing to
    the model.

    Args:
        is_brief: say the time or the ground and no more, as in "a beautiful sunset"; for scenes in which nothing else
            has to be said.
    """
    mention = _brief_mention(spec, rng) if is_brief else _choose_mention(spec, rng)
    style = rng.random()
    if style < 0.34:
        text = _tags(spec, mention, rng)
    elif style < 0.60 and mention.time and mention.ground:
        text = _time_over_ground(spec, mention, rng)
    else:
        text = _sentence(spec, mention, rng)
    return _decorate(text, rng), mention


def degraded_caption(rng: np.random.Generator) -> str:
    """What a deliberately spoiled picture is called."""
    return _pick(words.BAD_PHRASES, rng)


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _choose_mention(spec: SceneSpec, rng: np.random.Generator) -> Mention:
    is_short = rng.random() < 0.22
    keep = 0.30 if is_short else 0.82
    time = rng.random() < keep
    # What hides the view is never left out: whoever asks for a beautiful sunset should not get a city in the fog.
    ground = spec.ground == "city" or rng.random() < keep
    weather = spec.weather not in ("clear", "clouds") or rng.random() < (0.18 if spec.weather == "clear" else keep)
    body = spec.body != "none" and rng.random() < (0.3 if is_short else 0.8)
    # So are things: while one caption in twenty left them out, they came unasked.
    thing = spec.thing != "none"
    if not (time or ground or weather or thing):
        time, ground = (True, False) if rng.random() < 0.6 else (False, True)
    return Mention(time, weather, ground, body, thing, thing and spec.colour != "none" and rng.random() < 0.85)


def _brief_mention(spec: SceneSpec, rng: np.random.Generator) -> Mention:
    time = spec.ground != "city" and rng.random() < 0.6
    return Mention(time=time, weather=False, ground=not time, body=False, thing=False, colour=False)


def _thing(spec: SceneSpec, mention: Mention, rng: np.random.Generator) -> str:
    noun = _pick(words.THING_NOUNS[spec.thing], rng)
    if not mention.colour:
        return noun
    if spec.thing == "tree" and spec.colour == "pink" and rng.random() < 0.3:
        return "cherry tree"
    if spec.thing == "tree" and spec.colour in ("red", "orange") and rng.random() < 0.25:
        return "autumn tree"
    return f"{_pick(words.COLOUR_WORDS[spec.colour], rng)} {noun}"


def _body(spec: SceneSpec, rng: np.random.Generator) -> str:
    noun = _pick(words.BODY_NOUNS[spec.body], rng)
    places: list[str] = []
    if rng.random() < 0.85:
        places.append(_pick(words.SIDE_PHRASES[spec.side], rng))
    if spec.is_high and rng.random() < 0.4:
        places.append(_pick(words.HIGH_PHRASES, rng))
    elif spec.is_low and rng.random() < 0.4:
        places.append(_pick(words.LOW_PHRASES, rng))
    rng.shuffle(places)
    return " ".join([noun, *places])


def _time(spec: SceneSpec, rng: np.random.Generator) -> str:
    if spec.time == "night" and spec.weather == "clear" and rng.random() < 0.25:
        return _pick(("starry night", "starry sky", "stars"), rng)
    if spec.time == "day" and spec.body == "sun" and rng.random() < 0.3:
        return "sunny day"
    return _pick(words.TIME_NOUNS[spec.time], rng)


def _article(noun: str, rng: np.random.Generator) -> str:
    """Put "a" or "an" before a singular noun, most of the time."""
    if (noun.endswith("s") and not noun.endswith(("ss", "cactus"))) or rng.random() < 0.15:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _tags(spec: SceneSpec, mention: Mention, rng: np.random.Generator) -> str:
    parts: list[str] = []
    if mention.time:
        parts.append(_time(spec, rng))
    if mention.ground:
        parts.append(_pick(words.GROUND_NOUNS[spec.ground], rng))
    if mention.weather:
        parts.append(_pick(words.WEATHER_NOUNS[spec.weather], rng))
    if mention.thing:
        parts.append(_thing(spec, mention, rng))
    if mention.body:
        parts.append(_body(spec, rng))
    rng.shuffle(parts)
    return (", " if rng.random() < 0.75 else " ").join(parts)


def _time_over_ground(spec: SceneSpec, mention: Mention, rng: np.random.Generator) -> str:
    adjective = f"{_pick(words.ADJECTIVES, rng)} " if rng.random() < 0.4 else ""
    link = _pick(("over the", "over", "at the", "above the", "over a"), rng)
    text = f"{_article(adjective + _time(spec, rng), rng)} {link} {_pick(words.GROUND_NOUNS[spec.ground], rng)}"
    if mention.thing:
        text += f" with {_article(_thing(spec, mention, rng), rng)}"
    return text + _endings(spec, mention, rng, has_time=True)


def _sentence(spec: SceneSpec, mention: Mention, rng: np.random.Generator) -> str:
    has_time = False
    ground = _pick(words.GROUND_NOUNS[spec.ground], rng)
    adjective = f"{_pick(words.ADJECTIVES, rng)} " if rng.random() < 0.35 else ""
    if mention.thing:
        text = _article(adjective + _thing(spec, mention, rng), rng)
        if mention.ground:
            text += f" {_pick(words.ON_GROUND[spec.ground], rng)} {ground}"
    elif mention.ground:
        text = _article(adjective + ground, rng)
    elif mention.time:
        text, has_time = _article(adjective + _time(spec, rng), rng), True
    else:
        text = _article(adjective + _pick(words.WEATHER_NOUNS[spec.weather], rng), rng)
    return text + _endings(spec, mention, rng, has_time=has_time)


def _endings(spec: SceneSpec, mention: Mention, rng: np.random.Generator, *, has_time: bool) -> str:
    endings: list[str] = []
    if mention.time and not has_time:
        endings.append(_pick(words.TIME_PHRASES[spec.time], rng))
    if mention.weather:
        endings.append(_pick(words.WEATHER_PHRASES[spec.weather], rng))
    if mention.body:
        opening = _pick((", ", ", the ", " with the ", " and a "), rng)
        endings.append(opening.strip() + " " + _body(spec, rng) if opening[0] != "," else opening + _body(spec, rng))
    rng.shuffle(endings)
    return "".join(ending if ending.startswith(",") else f" {ending}" for ending in endings)


def _decorate(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.22:
        text = f"{_pick(words.OPENINGS, rng)} {text}"
    elif rng.random() < 0.15:
        text = f"{_pick(words.ADJECTIVES, rng)} {text}"
    if rng.random() < 0.30:
        tags = [_pick(words.TAGS, rng) for _ in range(int(rng.integers(1, 4)))]
        text = ", ".join([text, *tags] if rng.random() < 0.85 else [*tags, text])
    if rng.random() < 0.12:
        text = _add_strays(text, rng)
    if rng.random() < 0.1:
        text += "."
    return text


def _add_strays(text: str, rng: np.random.Generator) -> str:
    pieces = text.split(" ")
    for _ in range(int(rng.integers(1, 4))):
        pieces.insert(int(rng.integers(len(pieces) + 1)), _stray(rng))
    return " ".join(pieces)


def _stray(rng: np.random.Generator) -> str:
    """A word without meaning here: a real one, an invented one, a number or odd characters."""
    kind = rng.random()
    if kind < 0.5:
        return _pick(words.STRAY_WORDS, rng)
    if kind < 0.85:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(letters[int(index)] for index in rng.integers(0, 26, int(rng.integers(2, 9))))
    if kind < 0.93:
        return str(int(rng.integers(0, 10000)))
    return "".join(
        chr(int(code)) for code in rng.integers(0x00A1, 0x2FFF, int(rng.integers(1, 4))) if chr(int(code)).isprintable()
    )
