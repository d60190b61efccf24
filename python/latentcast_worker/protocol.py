"""The wire between orchestrator and worker, as the worker sees it: commands in, reports out.

`src/protocol/messages.ts` is the source of truth. Names and shapes here follow it field by field; the golden messages
and the generated `protocol.schema.json` are read by the tests of both sides.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias, TypeVar, cast, get_args

PROTOCOL_VERSION = 1

Choice = TypeVar("Choice", bound=str)

SchedulerName = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc"]
PreviewDecoder = Literal["tae", "linear"]
PreviewSource = Literal["x0", "latents"]
FailureCode = Literal["invalid_request", "out_of_memory", "numerical_error", "internal_error"]
LogLevel = Literal["debug", "info", "warn", "error"]

SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)
PREVIEW_DECODERS: tuple[PreviewDecoder, ...] = get_args(PreviewDecoder)
PREVIEW_SOURCES: tuple[PreviewSource, ...] = get_args(PreviewSource)

# The largest honest header is a `generate` with two 5,000-character prompts, all escaped.
MAX_HEADER_BYTES = 1 << 20
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class JobRef:
    """Names a job on the wire. `epoch` is the life of the worker that the job was given to."""

    job_id: str
    epoch: int


class ProtocolError(ValueError):
    """A message broke the protocol. `job` is set where it could still be tied to a job that waits for an answer."""

    def __init__(self, message: str, job: JobRef | None = None) -> None:
        super().__init__(message)
        self.job = job


@dataclass(frozen=True, slots=True)
class PreviewPlan:
    every: int
    max_per_second: float | None
    max_side: int | None
    quality: int
    decoder: PreviewDecoder
    source: PreviewSource


@dataclass(frozen=True, slots=True)
class Generate:
    job_id: str
    epoch: int
    prompt: str
    negative_prompt: str
    num_inference_steps: int
    width: int
    height: int
    seed: int
    guidance_scale: float
    num_images: int
    scheduler: SchedulerName | None
    preview: PreviewPlan | None
    traceparent: str | None
    type: Literal["generate"] = "generate"

    def image_seed(self, index: int) -> int:
        """The seed that makes image `index` of this request again as a request of its own."""
        return (self.seed + index) % (MAX_SEED + 1)


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: str
    epoch: int
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class Ping:
    nonce: int
    type: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Shutdown:
    type: Literal["shutdown"] = "shutdown"


EngineCommand: TypeAlias = Generate | Cancel | Shutdown
Command: TypeAlias = EngineCommand | Ping


@dataclass(frozen=True, slots=True)
class ModelInfo:
    id: str
    native_width: int
    native_height: int
    min_side: int
    max_side: int
    default_steps: int
    default_guidance_scale: float
    default_scheduler: SchedulerName | None
    is_noise: bool
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    id: str
    name: str
    memory_bytes: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    schedulers: tuple[SchedulerName, ...]
    preview_decoders: tuple[PreviewDecoder, ...]
    preview_sources: tuple[PreviewSource, ...]
    max_batch: int
    max_jobs: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Hello:
    protocol: int
    pid: int
    worker_version: str
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Loading:
    stage: str
    progress: float | None
    detail: str | None
    type: Literal["loading"] = "loading"


@dataclass(frozen=True, slots=True)
class Ready:
    model: ModelInfo
    device: DeviceInfo
    capabilities: Capabilities
    versions: Mapping[str, str]
    step_seconds: float
    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Started:
    job_id: str
    epoch: int
    type: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Progress:
    job_id: str
    epoch: int
    step: int
    total_steps: int
    step_seconds: float
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class ImageSize:
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Preview:
    job_id: str
    epoch: int
    step: int
    total_steps: int
    images: tuple[ImageSize, ...]
    preview_seconds: float
    content_type: Literal["image/jpeg"] = "image/jpeg"
    type: Literal["preview"] = "preview"


@dataclass(frozen=True, slots=True)
class ResultImage:
    width: int
    height: int
    seed: int


@dataclass(frozen=True, slots=True)
class Timings:
    wait_seconds: float
    denoise_seconds: float
    decode_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    job_id: str
    epoch: int
    images: tuple[ResultImage, ...]
    timings: Timings
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class Failed:
    job_id: str
    epoch: int
    code: FailureCode
    message: str
    retryable: bool
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Cancelled:
    job_id: str
    epoch: int
    step: int
    device_seconds: float
    type: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True)
class Pong:
    nonce: int
    jobs: int
    turns: int
    last_step_seconds: float | None
    rss_bytes: int
    device_memory_bytes: int
    type: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Log:
    level: LogLevel
    message: str
    fields: Mapping[str, str | int | float | bool | None]
    type: Literal["log"] = "log"


@dataclass(frozen=True, slots=True)
class Fatal:
    code: str
    message: str
    type: Literal["fatal"] = "fatal"


Report: TypeAlias = (
    Hello | Loading | Ready | Started | Progress | Preview | Result | Failed | Cancelled | Pong | Log | Fatal
)


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
