from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training import vocabulary
from training.captions import caption
from training.scenes.spec import GROUNDS, TIMES, random_spec
from training.tokenizer import MAX_LENGTH, known_words, write_tokenizer

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_same_numbers_give_the_same_caption(seed: int) -> None:
    spec = random_spec(np.random.default_rng(seed))
    assert caption(spec, np.random.default_rng(seed)) == caption(spec, np.random.default_rng(seed))


def said(seed: int) -> tuple[str, str, str]:
    """A caption without stray words, and the time and ground it may speak of."""
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    return caption(spec, rng)[0], spec.time, spec.ground


@given(seed=SEEDS)
@settings(max_examples=400, deadline=None)
def test_a_caption_never_names_another_time_or_ground(seed: int) -> None:
    text, time, ground = said(seed)
    words = set(re.findall(r"[a-z]+", text.lower()))
    # One telling word each, that no synonym of another value and no filler contains.
    times = {"sunrise": "sunrise", "day": "noon", "sunset": "sunset", "dusk": "dusk", "night": "midnight"}
    grounds = {"sea": "ocean", "beach": "beach", "desert": "dunes", "meadow": "grassland", "city": "skyline"}
    for other, word in times.items():
        assert other == time or word not in words, text
    for other, word in grounds.items():
        assert other == ground or word not in words, text


def test_captions_vary_and_leave_things_out() -> None:
    rng = np.random.default_rng(4)
    spec = replace(random_spec(rng), time="sunset", ground="sea", weather="clear", body="sun")
    texts = [caption(spec, rng)[0] for _ in range(300)]
    assert len(set(texts)) > 200
    silent = [text for text in texts if not re.search(r"sea|ocean|water", text)]
    assert 0.1 < len(silent) / len(texts) < 0.7


@given(seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_what_hides_the_view_is_always_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    _, mention = caption(spec, rng)
    assert mention.weather or spec.weather in ("clear", "clouds")
    assert mention.ground or spec.ground != "city"


@given(seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_thing_is_always_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    _, mention = caption(spec, rng)
    assert mention.thing == (spec.thing != "none")


@given(seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_brief_caption_says_the_time_or_the_ground_and_no_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = replace(random_spec(rng), weather="clear", thing="none", colour="none")
    _, mention = caption(spec, rng, is_brief=True)
    assert mention.time != mention.ground
    assert not any((mention.weather, mention.body, mention.thing, mention.colour))
    assert mention.ground or spec.ground != "city"


def test_every_attribute_value_can_be_said() -> None:
    assert set(vocabulary.TIME_NOUNS) == set(vocabulary.TIME_PHRASES) == set(TIMES)
    assert set(vocabulary.GROUND_NOUNS) == set(vocabulary.ON_GROUND) == set(GROUNDS)


def test_no_caption_is_cut_by_the_text_encoder(tmp_path: object) -> None:
    tokenizer = write_tokenizer(tmp_path)  # type: ignore[arg-type]
    rng = np.random.default_rng(9)
    texts = [caption(random_spec(rng), rng)[0] for _ in range(2000)]
    lengths = sorted(len(ids) for ids in tokenizer(texts).input_ids)
    assert lengths[0] > 2
    assert lengths[-20] <= MAX_LENGTH


def test_the_words_people_type_first_are_known() -> None:
    assert {"beautiful", "sunset", "sea", "city", "night", "moon", "red", "boat", "left", "photo"} <= set(known_words())
