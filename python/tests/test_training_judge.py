"""Do the judge's checks tell right images from wrong ones? Asked of drawn scenes and of images of the demo model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.gate import LEAST_RIGHT, SETS, JudgedSet, Verdict, ceiling, judge_images, missed, report, run_gate
from training.judge import CASES, CHECKS, Case
from training.scenes.draw import draw_scene
from training.scenes.spec import SceneSpec, random_spec
from training.unasked import unasked

IMAGES = Path(__file__).parent / "judged"
MODEL = Path(__file__).parents[2] / "models" / "demo"

# Images of the demo model, looked at one by one: the prompt, the checks that have to fail, what was not asked for.
LOOKED_AT = {
    "sunset-over-the-sea": ("a beautiful sunset", (), ()),
    "sunset-over-the-desert": ("a beautiful sunset", (), ()),
    "sunset-over-mountains": ("a beautiful sunset", (), ()),
    "sunset-forest": ("a beautiful sunset", (), ()),
    "sunset-blue-boat": ("a beautiful sunset", (), ("coloured thing",)),
    "sunset-lighthouse": ("a beautiful sunset", (), ("coloured thing",)),
    "sunset-towers": ("a beautiful sunset", (), ("towers", "birds")),
    "sunset-balloon": ("a beautiful sunset", (), ("coloured thing",)),
    "sunset-birds": ("a beautiful sunset", (), ("birds",)),
    "pale-sunset": ("a beautiful sunset", ("sunset",), ("fog",)),
    "grey-sunset": ("a beautiful sunset", ("sunset",), ("fog",)),
    "green-thing-in-fog": ("a beautiful sunset", ("sunset",), ("fog",)),
    "night-without-stars": ("a starry night over the sea", ("stars",), ()),
    "crooked-towers-at-noon": ("a city at noon", ("towers",), ()),
    "crooked-towers-at-sunset": ("city at sunset", ("towers",), ()),
    "snowfall-without-flakes": ("winter landscape, falling snow, morning", ("snowfall",), ()),
    "faint-northern-lights": ("northern lights over the mountains at night", (), ()),
    "forest-orange-house": ("pine forest at noon", (), ("coloured thing",)),
    "sea-lighthouse": ("sea at noon, clear sky", (), ("coloured thing",)),
    "mountains-balloon": ("mountains at noon, clear sky", (), ("coloured thing",)),
    "snow-purple-house": ("snowy field at noon", (), ("coloured thing",)),
    "mountains-at-noon": ("mountains at noon, clear sky", (), ()),
    "lake-at-noon": ("lake at midday, clear sky", (), ()),
    "red-boat": ("a red boat on the sea at noon", (), ()),
    "dunes": ("sand dunes at midday, bright sun on the right", (), ()),
}


def case_of(prompt: str) -> Case:
    return next(case for case in CASES if case.prompt == prompt)


def scene(time: str, weather: str, ground: str, thing: str = "none", colour: str = "none", seed: int = 4) -> np.ndarray:
    return draw_scene(SceneSpec(time, weather, ground, "none", "center", 0.0, thing, colour, seed), 256, 256)  # type: ignore[arg-type]


def passes(name: str, image: NDArray[np.uint8]) -> bool:
    return CHECKS[name](image / 255.0)


@pytest.mark.parametrize("name", LOOKED_AT)
def test_an_image_fails_exactly_the_checks_that_a_person_would_fail_it_by(name: str) -> None:
    prompt, wrong, _ = LOOKED_AT[name]
    image = np.asarray(Image.open(IMAGES / f"{name}.webp").convert("RGB"))
    assert tuple(case_of(prompt).failures(image)) == wrong


@pytest.mark.parametrize("name", LOOKED_AT)
def test_what_was_not_asked_for_is_what_a_person_sees(name: str) -> None:
    prompt, _, things = LOOKED_AT[name]
    image = np.asarray(Image.open(IMAGES / f"{name}.webp").convert("RGB"))
    assert unasked(case_of(prompt), image / 255.0) == things


@pytest.mark.parametrize(
    ("check", "image"),
    [
        ("sunset", scene("sunset", "fog", "sea")),
        ("sunset", scene("sunset", "rain", "hills")),
        ("sunset", scene("day", "clear", "sea")),
        ("sunrise", scene("sunset", "clear", "sea")),
        ("night", scene("dusk", "clear", "sea")),
        ("day", scene("morning", "fog", "sea")),
        ("snowfall", scene("day", "clouds", "snow")),
        ("snowfall", scene("day", "rain", "snow")),
        ("aurora", scene("night", "clear", "mountains")),
        ("rainbow", scene("day", "clouds", "hills")),
        ("storm", scene("day", "rain", "hills")),
        ("fog", scene("day", "clear", "forest")),
        ("towers", scene("day", "clear", "hills")),
        ("towers", scene("day", "clear", "forest")),
        ("windows", scene("day", "clear", "city")),
        ("red_boat", scene("day", "clear", "sea", "boat", "blue")),
        ("yellow_boat", scene("day", "clear", "lake", "boat", "red")),
        ("blue_balloon", scene("sunset", "clear", "desert", "balloon", "pink")),
        ("cactus", scene("day", "clear", "desert")),
        ("birds", scene("morning", "clear", "sea")),
    ],
)
def test_a_check_fails_a_scene_of_something_else(check: str, image: NDArray[np.uint8]) -> None:
    assert not passes(check, image)


def test_stars_that_are_blurred_away_are_missed_though_the_moon_shines() -> None:
    spec = SceneSpec("night", "clear", "sea", "moon", "left", 0.6, "none", "none", 4)
    image = draw_scene(spec, 256, 256)
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(3)))
    assert passes("stars", image)
    assert not passes("stars", blurred)


def test_walls_that_lean_are_no_towers() -> None:
    image = scene("day", "clear", "city")
    leaning = Image.fromarray(image).transform((256, 256), Image.Transform.AFFINE, (1, 0.35, 0, 0, 1, 0))
    assert passes("towers", image)
    assert not passes("towers", np.asarray(leaning))


def test_true_scenes_are_hardly_ever_said_to_show_what_they_do_not() -> None:
    specs = [random_spec(np.random.default_rng((2**31, index))) for index in range(150)]
    accused = [unasked(Case("", spec, ()), draw_scene(spec, 256, 256) / 255.0) for spec in specs]
    assert sum(map(bool, accused)) <= 0.06 * len(accused)


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("fog", scene("day", "fog", "sea")),
        ("fog", scene("day", "rain", "sea")),
        ("fog", scene("day", "storm", "hills")),
        ("northern lights", scene("night", "aurora", "lake")),
        ("towers", scene("day", "clear", "city")),
        ("towers", scene("sunset", "clouds", "city")),
        ("towers", scene("night", "clear", "city")),
        ("birds", scene("day", "clear", "desert", "birds")),
        ("coloured thing", scene("day", "clear", "sea", "boat", "red")),
        ("coloured thing", scene("day", "clear", "snow", "house", "orange")),
        ("coloured thing", scene("sunset", "clear", "desert", "balloon", "blue")),
    ],
)
def test_each_kind_is_seen_when_it_was_not_asked_for(kind: str, image: NDArray[np.uint8]) -> None:
    plain = SceneSpec("day", "clear", "meadow", "none", "center", 0.0, "none", "none", 0)
    assert kind in unasked(Case("", plain, ()), image / 255.0)


def test_what_was_asked_for_is_never_unasked() -> None:
    scenes = {case.spec: draw_scene(case.spec, 256, 256) for case in CASES}
    found = {case.prompt: unasked(case, scenes[case.spec] / 255.0) for case in CASES}
    assert {prompt: kinds for prompt, kinds in found.items() if kinds} == {}


def test_the_gate_asks_three_seed_sets_and_one_short_prompt_over_forty_seeds() -> None:
    assert [len(judged.cases) for judged in SETS] == [40, 40, 40, 40]
    assert len({judged.seeds for judged in SETS[:3]}) == 3
    assert {case.prompt for case in SETS[3].cases} == {"a beautiful sunset"}
    assert len(set(SETS[3].seeds)) == 40


def verdicts(right: int) -> list[Verdict]:
    good, bad = Verdict("a", 1, (), ("birds",)), Verdict("b", 2, ("stars",), ())
    return [good] * right + [bad] * (40 - right)


def test_a_set_with_one_wrong_image_passes_and_with_two_does_not() -> None:
    assert LEAST_RIGHT == 39
    assert missed({"one": verdicts(39), "two": verdicts(38)}) == ["two"]


def test_the_report_counts_what_is_right_and_every_kind_that_was_not_asked_for() -> None:
    text = report({"one": verdicts(38)})
    assert "| one | 38 of 40 | 38 | birds 38 |" in text
    assert "- b, seed 2: stars" in text


def test_the_gate_draws_judges_and_leaves_its_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = (JudgedSet("few", (case_of("sea at noon, clear sky"), case_of("a cactus in the desert, noon")), (1000, 14)),)
    monkeypatch.setattr("training.gate.SETS", few)
    found = run_gate(MODEL, tmp_path, torch.device("cpu"))
    assert [verdict.failures for verdict in found["few"]] == [(), ()]
    assert Image.open(tmp_path / "judged-1.png").size[0] > 2 * 256
    assert (tmp_path / "judged.json").exists()


def test_a_verdict_names_the_prompt_and_seed_of_its_image() -> None:
    case = case_of("a red boat on the sea at noon")
    right, wrong = draw_scene(case.spec, 256, 256), draw_scene(replace(case.spec, colour="blue"), 256, 256)
    found = judge_images(JudgedSet("two", (case, case), (3, 4)), [right, wrong])
    assert [(verdict.seed, verdict.failures) for verdict in found] == [(3, ()), (4, ("red_boat",))]


def test_the_ceiling_counts_true_scenes_that_a_decoder_spoils(monkeypatch: pytest.MonkeyPatch) -> None:
    two = JudgedSet("two", (case_of("sea at noon, clear sky"), case_of("a calm lake at dusk")), (1, 2))
    monkeypatch.setattr("training.gate.SETS", (two,))
    vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae")
    assert ceiling(vae, torch.device("cpu")) == "true scenes, two: 2 of 2 right"
    with torch.no_grad():
        vae.decoder.conv_out.weight.zero_()
    assert "0 of 2 right\n- sea at noon, clear sky, seed 1: day, water, horizon" in ceiling(vae, torch.device("cpu"))
