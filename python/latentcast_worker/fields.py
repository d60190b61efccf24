"""Typed reads from a JSON object, with the name of the offending field in every error."""

from __future__ import annotations

import sys
from typing import TypeVar, cast

Choice = TypeVar("Choice", bound=str)


class FieldError(ValueError):
    """A field is missing, or is not what it should be; the text names it."""


class Fields:
    """The fields of `value`, which errors call `where`. Raises FieldError when it is not an object."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise FieldError(f"{where} is not an object")
        self._values = cast(dict[str, object], value)
        self._where = where

    def is_null(self, name: str) -> bool:
        return self._value(name) is None

    def nested(self, name: str) -> Fields:
        return Fields(self._value(name), f"{self._where}.{name}")

    def items(self, name: str) -> tuple[Fields, ...]:
        """A list of objects."""
        values = self._value(name)
        if not isinstance(values, list):
            raise self._problem(name, "is not a list")
        items = enumerate(cast(list[object], values))
        return tuple(Fields(value, f"{self._where}.{name}.{index}") for index, value in items)

    def text(self, name: str, min_length: int = 0) -> str:
        value = self._value(name)
        if not isinstance(value, str):
            raise self._problem(name, "is not a string")
        if len(value) < min_length:
            raise self._problem(name, "is empty")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON can spell lone surrogates, which no tokenizer can read and no log can print.
            raise self._problem(name, "is not valid Unicode") from error
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        values = self._value(name)
        if not isinstance(values, list) or not values:
            raise self._problem(name, "is not a list of texts")
        items = dict(enumerate(cast(list[object], values)))
        return tuple(
            Fields({str(key): value}, f"{self._where}.{name}").text(str(key), 1) for key, value in items.items()
        )

    def integer(self, name: str, low: int, high: int | None = None) -> int:
        value = self._value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._problem(name, "is not an integer")
        if value < low or (high is not None and value > high):
            raise self._problem(name, f"is outside {low}..{'' if high is None else high}")
        return value

    def number(self, name: str, low: float = 0, high: float | None = None, *, above: float | None = None) -> float:
        """A finite number from `low` to `high`, or greater than `above` where that is given."""
        value = self._value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._problem(name, "is not a number")
        if above is not None and value <= above:
            raise self._problem(name, f"must be above {above}")
        # 1e999 is valid JSON and infinite.
        if value < low or value > (sys.float_info.max if high is None else high):
            raise self._problem(name, f"is outside {low}..{'' if high is None else high}")
        return float(value)

    def choice(self, name: str, choices: tuple[Choice, ...]) -> Choice:
        return self._choice(name, self.text(name), choices)

    def optional_choice(self, name: str, choices: tuple[Choice, ...]) -> Choice | None:
        return None if self.is_null(name) else self.choice(name, choices)

    def choices(self, name: str, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        """A list of any of `choices`."""
        values = self._value(name)
        if not isinstance(values, list):
            raise self._problem(name, "is not a list")
        return tuple(self._choice(name, value, choices) for value in cast(list[object], values))

    def _choice(self, name: str, value: object, choices: tuple[Choice, ...]) -> Choice:
        for choice in choices:
            if value == choice:
                return choice
        raise self._problem(name, f"is not one of {', '.join(choices)}")

    def _value(self, name: str) -> object:
        if name not in self._values:
            raise self._problem(name, "is missing")
        return self._values[name]

    def _problem(self, name: str, problem: str) -> FieldError:
        return FieldError(f"{self._where}.{name} {problem}")
