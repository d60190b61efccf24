"""Messages to bytes and back: the header frame of a report is written here, that of a command read and checked."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import NoReturn, TypeVar, cast

from .protocol import (
    MAX_SEED,
    PREVIEW_DECODERS,
    PREVIEW_SOURCES,
    SCHEDULERS,
    Cancel,
    Command,
    Generate,
    JobRef,
    Ping,
    PreviewPlan,
    Report,
    Shutdown,
)

Choice = TypeVar("Choice", bound=str)

# The largest honest header is a `generate` with two 5,000-character prompts, all escaped.
MAX_HEADER_BYTES = 1 << 20


class ProtocolError(ValueError):
    """A message broke the protocol. `job` is set where it could still be tied to a job that waits for an answer."""

    def __init__(self, message: str, job: JobRef | None = None) -> None:
        super().__init__(message)
        self.job = job


def encode_report(report: Report) -> bytes:
    """The header frame of `report`: JSON in ASCII. Raises ValueError for numbers that JSON does not have."""
    return json.dumps(dataclasses.asdict(report), separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_command(header: bytes) -> Command:
    """Reads a header frame and ignores fields it does not know. Raises ProtocolError for all but a whole command."""
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(f"header of {len(header)} bytes")
    try:
        value: object = json.loads(header, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"header is not JSON: {error}") from error
    fields = _Fields(value, "message")
    match fields.text("type"):
        case "generate":
            return _decode_generate(fields)
        case "cancel":
            job = fields.job()
            return Cancel(job.job_id, job.epoch)
        case "ping":
            return Ping(fields.integer("nonce", 0))
        case "shutdown":
            return Shutdown()
        case other:
            raise ProtocolError(f"unknown command {other[:40]!r}")


def _decode_generate(fields: _Fields) -> Generate:
    job = fields.job()
    try:
        return Generate(
            job_id=job.job_id,
            epoch=job.epoch,
            prompt=fields.text("prompt"),
            negative_prompt=fields.text("negative_prompt"),
            num_inference_steps=fields.integer("num_inference_steps", 1),
            width=fields.integer("width", 8),
            height=fields.integer("height", 8),
            seed=fields.integer("seed", 0, MAX_SEED),
            guidance_scale=fields.number("guidance_scale", 0),
            num_images=fields.integer("num_images", 1),
            scheduler=fields.optional_choice("scheduler", SCHEDULERS),
            preview=_decode_preview_plan(fields),
            traceparent=fields.optional_text("traceparent"),
        )
    except ProtocolError as error:
        raise ProtocolError(str(error), job) from error


def _decode_preview_plan(fields: _Fields) -> PreviewPlan | None:
    value = fields.value("preview")
    if value is None:
        return None
    plan = _Fields(value, "preview")
    rate = None if plan.value("max_per_second") is None else plan.number("max_per_second", 0)
    if rate == 0:
        raise ProtocolError("preview.max_per_second must be above 0")
    return PreviewPlan(
        every=plan.integer("every", 1),
        max_per_second=rate,
        max_side=None if plan.value("max_side") is None else plan.integer("max_side", 1),
        quality=plan.integer("quality", 1, 100),
        decoder=plan.choice("decoder", PREVIEW_DECODERS),
        source=plan.choice("source", PREVIEW_SOURCES),
    )


class _Fields:
    """Typed reads from a JSON object, with the name of the offending field in every error."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ProtocolError(f"{where} is not an object")
        self._values = cast(dict[str, object], value)
        self._where = where

    def value(self, name: str) -> object:
        if name not in self._values:
            raise self._problem(name, "is missing")
        return self._values[name]

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str):
            raise self._problem(name, "is not a string")
        # JSON can spell lone surrogates, which no tokenizer can read and no log can print.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self._problem(name, "is not valid Unicode")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.value(name) is None else self.text(name)

    def integer(self, name: str, low: int, high: int | None = None) -> int:
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._problem(name, "is not an integer")
        self._check_range(name, value, low, high)
        return value

    def number(self, name: str, low: float) -> float:
        value = self.value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._problem(name, "is not a number")
        self._check_range(name, value, low, sys.float_info.max)  # 1e999 is good JSON and infinite
        return float(value)

    def choice(self, name: str, choices: tuple[Choice, ...]) -> Choice:
        value = self.text(name)
        for choice in choices:
            if value == choice:
                return choice
        raise self._problem(name, f"is not one of {', '.join(choices)}")

    def optional_choice(self, name: str, choices: tuple[Choice, ...]) -> Choice | None:
        return None if self.value(name) is None else self.choice(name, choices)

    def job(self) -> JobRef:
        job_id = self.text("job_id")
        if not job_id:
            raise self._problem("job_id", "is empty")
        return JobRef(job_id, self.integer("epoch", 0))

    def _check_range(self, name: str, value: float, low: float, high: float | None) -> None:
        if value < low or (high is not None and value > high):
            raise self._problem(name, f"is outside {low}..{'' if high is None else high}")

    def _problem(self, name: str, problem: str) -> ProtocolError:
        return ProtocolError(f"{self._where}.{name} {problem}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
