"""The messages between orchestrator and worker, as the worker sees them: commands in, reports out.

`src/protocol/messages.ts` is the source of truth. Names and shapes here follow it field by field; the golden messages
and the generated `protocol.schema.json` are read by the tests of both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

PROTOCOL_VERSION = 1

SchedulerName = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc"]
PreviewDecoder = Literal["tae", "linear"]
PreviewSource = Literal["x0", "latents"]
FailureCode = Literal["invalid_request", "out_of_memory", "numerical_error", "internal_error"]
LogLevel = Literal["debug", "info", "warn", "error"]

SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)
PREVIEW_DECODERS: tuple[PreviewDecoder, ...] = get_args(PreviewDecoder)
PREVIEW_SOURCES: tuple[PreviewSource, ...] = get_args(PreviewSource)

MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class JobRef:
    """Names a job on the wire. `epoch` is the life of the worker that the job was given to."""

    job_id: str
    epoch: int


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
