"""Multipart frames to messages and back: `[JSON header][payload frame ...]` in both directions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from .fields import FieldError, Fields
from .protocol import (
    MAX_HEADER_BYTES,
    Cancel,
    Command,
    Generate,
    JobRef,
    Report,
    Shutdown,
    read_command,
    read_job_ref,
)

EngineCommand: TypeAlias = Generate | Cancel | Shutdown
"""Every command but `ping`, which the transport answers itself."""

Payload: TypeAlias = Sequence[bytes | memoryview]
"""The payload frames of a report."""


class ProtocolError(ValueError):
    """A message broke the protocol. `job` is set where it could still be tied to a job that waits for a report."""

    def __init__(self, message: str, job: JobRef | None = None) -> None:
        super().__init__(message)
        self.job = job


@dataclass(frozen=True, slots=True)
class CommandFrames:
    """A command with its payload: the input images of a `generate`."""

    command: Command
    payload: tuple[bytes, ...] = ()


def encode_report(report: Report) -> bytes:
    """The header frame of `report`: JSON in ASCII. Raises ValueError for numbers that JSON does not have."""
    return json.dumps(dataclasses.asdict(report), separators=(",", ":"), allow_nan=False).encode("ascii")


def decode_command(frames: Sequence[bytes]) -> CommandFrames:
    """Reads the frames of a command and ignores fields it does not know. Raises ProtocolError unless it is whole."""
    if not frames:
        raise ProtocolError("empty message")
    value = _parse_header(frames[0])
    job: JobRef | None = None
    try:
        job = _waiting_job(value)
        command = read_command(value)
        _check_payload(command, frames[1:])
    except FieldError as error:
        raise ProtocolError(str(error), job) from error
    return CommandFrames(command, tuple(frames[1:]))


def _parse_header(header: bytes) -> object:
    if len(header) > MAX_HEADER_BYTES:
        raise ProtocolError(f"header of {len(header)} bytes")
    try:
        return json.loads(header, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"header is not JSON: {error}") from error


def _waiting_job(value: object) -> JobRef | None:
    """The job of a `generate`: it waits for a report, even that its command cannot be read."""
    fields = Fields(value, "message")
    return read_job_ref(fields) if fields.text("type") == "generate" else None


def _check_payload(command: Command, payload: Sequence[bytes]) -> None:
    sizes = _payload_sizes(command)
    if len(payload) != len(sizes):
        raise FieldError(f"{command.type} announces {len(sizes)} payload frames and carries {len(payload)}")
    for (name, expected), frame in zip(sizes.items(), payload, strict=True):
        if len(frame) != expected:
            raise FieldError(f"{name} has {len(frame)} bytes, expected {expected}")


def _payload_sizes(command: Command) -> dict[str, int]:
    """The payload frames that a command announces, in their order, with their sizes in bytes."""
    sizes: dict[str, int] = {}
    if isinstance(command, Generate):
        if (image := command.inputs.image) is not None:
            sizes["inputs.image"] = image.width * image.height * 3
        if (mask := command.inputs.mask) is not None:
            sizes["inputs.mask"] = mask.width * mask.height
    return sizes


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
