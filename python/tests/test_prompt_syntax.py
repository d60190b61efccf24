"""Prompts as AUTOMATIC1111's users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcast_worker.model.prompt_syntax import MAX_WEIGHT, SQUARE, Fragment, parse_prompt


def fragments(prompt: str) -> list[tuple[str, float]]:
    """Of a prompt without BREAK: text and weight, rounded."""
    (section,) = parse_prompt(prompt)
    return [(fragment.text, round(fragment.weight, 6)) for fragment in section]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("a (cat) here", [("a ", 1), ("cat", 1.1), (" here", 1)]),
        ("a [cat] here", [("a ", 1), ("cat", round(SQUARE, 6)), (" here", 1)]),
        ("a (cat:1.3) here", [("a ", 1), ("cat", 1.3), (" here", 1)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat : 2)", [("cat ", 2)]),
        ("(cat:0)", [("cat", 0)]),
        ("(cat:-1)", [("cat", -1)]),
        ("((cat))", [("cat", 1.21)]),
        ("(a (cat:2) b:1.5)", [("a ", 1.5), ("cat", 3), (" b", 1.5)]),
        ("(a [cat])", [("a ", 1.1), ("cat", 1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("at 10:30", [("at 10:30", 1)]),
        ("at 10:30)", [("at 10:30)", 1)]),
        (r"a \(cat\)", [("a (cat)", 1)]),
        (r"(a \[cat\]:2)", [("a [cat]", 2)]),
        (r"a \\ b", [("a \\ b", 1)]),
        (r"a \n b", [("a \\n b", 1)]),
        (":( and :)", [(":", 1), (" and :", 1.1)]),
        ("a ( cat", [("a ( cat", 1)]),
        ("a ) cat", [("a ) cat", 1)]),
        ("a ] [ cat", [("a ] [ cat", 1)]),
        ("([a:1.3)", [("[a", 1.3)]),
        ("()", []),
        ("(:2)", []),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("(cat:1e9)", [("cat:1e9", 1.1)]),
        ("(cat:999)", [("cat", MAX_WEIGHT)]),
    ],
)
def test_a_prompt_is_text_with_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert fragments(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a BREAK b", [["a "], [" b"]]),
        ("BREAK", [[], []]),
        ("a BREAK BREAK b", [["a "], [" "], [" b"]]),
        ("(a BREAK b:2)", [["a "], [" b"]]),
    ],
)
def test_break_begins_a_section(prompt: str, expected: list[list[str]]) -> None:
    assert [[fragment.text for fragment in section] for section in parse_prompt(prompt)] == expected


def test_weights_reach_over_a_break() -> None:
    assert {fragment.weight for section in parse_prompt("(a BREAK b:2)") for fragment in section} == {2}


@given(st.text(st.characters(exclude_characters="()[]\\", exclude_categories=["Cs"])))
def test_text_without_syntax_stays_as_it_is(text: str) -> None:
    if "BREAK" not in text:
        assert parse_prompt(text) == [[Fragment(text)] if text else []]


@given(st.text("ab ()[]:1.2\\BREAK,", max_size=60))
def test_every_text_can_be_read(text: str) -> None:
    sections = parse_prompt(text)
    assert len(sections) >= 1
    assert all(abs(fragment.weight) <= MAX_WEIGHT and fragment.text for section in sections for fragment in section)
