"""The messages between orchestrator and worker, as the worker sees them: commands in, reports out.

Generated from `src/protocol/params.ts` and `src/protocol/messages.ts` by `npm run gen`; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from .fields import FieldError, Fields

PROTOCOL_VERSION = 2
MAX_HEADER_BYTES = 1048576
MAX_SEED = 4294967295

FewStepKind = Literal["lightning", "hyper", "turbo", "dmd2", "lcm", "tcd"]
PromptSyntax = Literal["weighted", "plain"]
SchedulerName = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc", "lcm", "tcd"]
FailureCode = Literal["invalid_request", "model_unavailable", "out_of_memory", "numerical_error", "internal_error"]
FatalCode = Literal[
    "model_not_found",
    "model_invalid",
    "device_unavailable",
    "out_of_memory",
    "download_failed",
    "internal_error",
]
LogLevel = Literal["debug", "info", "warn", "error"]
PreviewDecoder = Literal["tae", "linear"]
PreviewSource = Literal["x0", "latents"]

FEW_STEP_KINDS: tuple[FewStepKind, ...] = get_args(FewStepKind)
PROMPT_SYNTAXES: tuple[PromptSyntax, ...] = get_args(PromptSyntax)
SCHEDULER_NAMES: tuple[SchedulerName, ...] = get_args(SchedulerName)
PREVIEW_DECODERS: tuple[PreviewDecoder, ...] = get_args(PreviewDecoder)
PREVIEW_SOURCES: tuple[PreviewSource, ...] = get_args(PreviewSource)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRef:
    """Names a job on the wire."""

    job_id: str
    incarnation: int
    """The process of the slot that the job was given to, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A LoRA of this server."""

    path: str
    """Its name in the folder of LoRAs; `GET /loras` lists them."""
    scale: float
    """How strongly it is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParams:
    prompt: str
    """What the image shows."""
    negative_prompt: str
    """What the image should not show."""
    prompt_syntax: PromptSyntax
    num_inference_steps: int
    """Denoising steps."""
    width: int
    """Pixels, a multiple of 8."""
    height: int
    """Pixels, a multiple of 8."""
    seed: int
    """Same seed, same image. Image i uses (seed + i) mod 2^32."""
    guidance_scale: float
    """How strictly the prompt is followed; 1 or less is no guidance."""
    num_images: int
    """Image i uses seed + i."""
    scheduler: SchedulerName | None = None
    """Sampler; the model's own if null."""
    clip_skip: int | None = None
    """Layers of the text encoders left out for the prompt, counted as diffusers does; null leaves out none."""
    strength: float | None = None
    """How much of the input image is drawn anew; null without one. Only the last `strength` of the steps run."""
    model: str | None = None
    """One of the worker's models by its id; null is the first."""
    distillation: FewStepKind | None = None
    """Of a LoRA of the request that is made for few steps: its timesteps are used. null is the model's own."""
    loras: tuple[Lora, ...]
    """Added to the model's weights for this request, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    preview_decoders: tuple[PreviewDecoder, ...]
    """Without a tiny decoder only `linear`."""
    max_batch: int
    """Rows of equal latent shape that share a UNet call; 1 is exact mode."""
    max_jobs: int
    """Jobs the engine holds at once."""
    max_pixels: int
    """Sum of width * height * images over the jobs held at once."""
    early_steps: int
    """Steps that the engine gives a newcomer ahead of older jobs."""
    first_call_seconds: float | None = None
    """What the first call of a size may take, where a library searches its kernels then; null: no longer than others.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    id: str
    """torch's name, such as `cuda:0` or `cpu`."""
    name: str
    """What is printed on the card."""
    memory_bytes: int
    dtype: str
    """The UNet's, by torch's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """Pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSizes:
    """The images that a job starts from. Each that is not null has one payload frame, in this order."""

    image: ImageSize | None = None
    """Payload: RGB8, height * width * 3 bytes."""
    mask: ImageSize | None = None
    """Payload: one byte per pixel, height * width bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVocabulary:
    summary: str
    """What the model paints, to be read after "paints"."""
    subjects: tuple[str, ...]
    """Words and phrases, in lower case, that name something it can paint."""
    modifiers: tuple[str, ...]
    """Words that say how: colours, sides. Alone they name nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    id: str
    """What the worker was asked to load: hub id, folder or built-in name."""
    native_width: int
    native_height: int
    min_side: int
    max_side: int
    default_steps: int
    default_guidance_scale: float
    default_scheduler: SchedulerName | None = None
    prediction_type: str
    """What its UNet predicts: `epsilon`, `v_prediction` or `sample`."""
    distillation: str | None = None
    """How it was distilled to few steps, such as `lightning`; null if it was not."""
    is_noise: bool
    """True when the weights are random and every image is noise."""
    examples: tuple[str, ...]
    """Prompts that show the model at its best."""
    vocabulary: ModelVocabulary | None = None
    """What it knows; null for a model that knows nearly everything."""
    takes_loras: bool
    """Whether the server has a folder of LoRAs that requests may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPlan:
    every: int
    """A preview after steps 0, every, 2*every, ..."""
    max_per_second: float | None = None
    """Upper bound on previews per second of this job; null leaves the cadence to `every`."""
    max_side: int | None = None
    """Longest side in pixels; null is the image's own size."""
    quality: int
    decoder: PreviewDecoder
    source: PreviewSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One of several models of a worker. What is not loaded is described from its files."""

    model: ModelInfo
    capabilities: Capabilities
    is_loaded: bool
    step_seconds: float | None = None
    """Measured when it was last loaded; null for a model that has not been loaded yet."""
    load_seconds: float | None = None
    """What loading it took the last time; null before the first."""
    problem: str | None = None
    """Why it could not be loaded when it was last tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedModel:
    id: str
    problem: str
    """Why it cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(JobRef):
    type: Literal["generate"] = "generate"
    params: GenerationParams
    inputs: InputSizes
    preview: PreviewPlan | None = None
    traceparent: str | None = None
    """W3C trace context of the request, for the worker's spans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(JobRef):
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    type: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    type: Literal["shutdown"] = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    type: Literal["hello"] = "hello"
    protocol: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    type: Literal["loading"] = "loading"
    stage: str
    """Machine-readable, such as `import`, `download`, `weights`, `warmup`."""
    progress: float | None = None
    """0..1 within the stage, null where it cannot be known."""
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    type: Literal["ready"] = "ready"
    model: ModelInfo
    device: DeviceInfo
    capabilities: Capabilities
    versions: Mapping[str, str]
    step_seconds: float
    """Measured while warming up at the native size; the first estimate of a queue's speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    type: Literal["models"] = "models"
    models: tuple[ServedModel, ...]
    """In the operator's order; requests that name none get the first."""
    unserved: tuple[UnservedModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(JobRef):
    type: Literal["started"] = "started"
    total_steps: int
    """Steps that will run: fewer than were asked for where an image is the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(JobRef):
    type: Literal["progress"] = "progress"
    step: int
    """Steps count from 0; this one has just finished."""
    step_seconds: float
    """Device time of this job's step, without the iterations of other jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(JobRef):
    type: Literal["preview"] = "preview"
    step: int
    total_steps: int
    content_type: Literal["image/jpeg"] = "image/jpeg"
    images: tuple[ImageSize, ...]
    """Payload: one JPEG each."""
    preview_seconds: float
    """Decode to JPEG, first to last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(JobRef):
    type: Literal["result"] = "result"
    images: tuple[ImageSize, ...]
    """Payload: RGB8 each, height * width * 3 bytes."""
    warnings: tuple[str, ...]
    """What of the parameters was not used as asked, one sentence each."""
    decode_seconds: float
    """Final decode and the copy to the host; the worker's spans show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(JobRef):
    type: Literal["failed"] = "failed"
    code: FailureCode
    message: str
    field: str | None = None
    """What an `invalid_request` is about; null where the message says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(JobRef):
    type: Literal["cancelled"] = "cancelled"
    device_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    type: Literal["pong"] = "pong"
    iterations: int
    """Of the engine since its start; a number that stands still while it holds jobs is a hang."""
    rss_bytes: int
    device_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    type: Literal["log"] = "log"
    level: LogLevel
    message: str
    fields: Mapping[str, str | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fatal:
    type: Literal["fatal"] = "fatal"
    code: FatalCode
    message: str


Command: TypeAlias = Generate | Cancel | Ping | Shutdown
Report: TypeAlias = (
    Hello | Loading | Ready | Models | Started | Progress | Preview | Result | Failed | Cancelled | Pong | Log | Fatal
)


def read_command(value: object) -> Command:
    """Reads a command from JSON and ignores fields that it does not have. Raises FieldError naming the field."""
    fields = Fields(value, "message")
    match fields.text("type"):
        case "generate":
            return _read_generate(fields)
        case "cancel":
            return _read_cancel(fields)
        case "ping":
            return Ping()
        case "shutdown":
            return Shutdown()
        case other:
            raise FieldError(f"unknown command {other[:40]!r}")


def _read_generate(fields: Fields) -> Generate:
    return Generate(
        job_id=fields.text("job_id", min_length=1),
        incarnation=fields.integer("incarnation", 0),
        params=_read_generation_params(fields.nested("params")),
        inputs=_read_input_sizes(fields.nested("inputs")),
        preview=None if fields.is_null("preview") else _read_preview_plan(fields.nested("preview")),
        traceparent=None if fields.is_null("traceparent") else fields.text("traceparent"),
    )


def _read_generation_params(fields: Fields) -> GenerationParams:
    return GenerationParams(
        prompt=fields.text("prompt"),
        negative_prompt=fields.text("negative_prompt"),
        prompt_syntax=fields.choice("prompt_syntax", PROMPT_SYNTAXES),
        num_inference_steps=fields.integer("num_inference_steps", 1),
        width=fields.integer("width", 8),
        height=fields.integer("height", 8),
        seed=fields.integer("seed", 0, 4294967295),
        guidance_scale=fields.number("guidance_scale", 0),
        num_images=fields.integer("num_images", 1),
        scheduler=fields.optional_choice("scheduler", SCHEDULER_NAMES),
        clip_skip=None if fields.is_null("clip_skip") else fields.integer("clip_skip", 0),
        strength=None if fields.is_null("strength") else fields.number("strength", 0, 1),
        model=None if fields.is_null("model") else fields.text("model"),
        distillation=fields.optional_choice("distillation", FEW_STEP_KINDS),
        loras=tuple(_read_lora(each) for each in fields.items("loras")),
    )


def _read_lora(fields: Fields) -> Lora:
    return Lora(
        path=fields.text("path", min_length=1),
        scale=fields.number("scale", -10, 10),
    )


def _read_input_sizes(fields: Fields) -> InputSizes:
    return InputSizes(
        image=None if fields.is_null("image") else _read_image_size(fields.nested("image")),
        mask=None if fields.is_null("mask") else _read_image_size(fields.nested("mask")),
    )


def _read_image_size(fields: Fields) -> ImageSize:
    return ImageSize(
        width=fields.integer("width", 1),
        height=fields.integer("height", 1),
    )


def _read_preview_plan(fields: Fields) -> PreviewPlan:
    return PreviewPlan(
        every=fields.integer("every", 1),
        max_per_second=None if fields.is_null("max_per_second") else fields.number("max_per_second", above=0),
        max_side=None if fields.is_null("max_side") else fields.integer("max_side", 1),
        quality=fields.integer("quality", 1, 100),
        decoder=fields.choice("decoder", PREVIEW_DECODERS),
        source=fields.choice("source", PREVIEW_SOURCES),
    )


def _read_cancel(fields: Fields) -> Cancel:
    return Cancel(
        job_id=fields.text("job_id", min_length=1),
        incarnation=fields.integer("incarnation", 0),
    )


def read_job_ref(fields: Fields) -> JobRef:
    return JobRef(
        job_id=fields.text("job_id", min_length=1),
        incarnation=fields.integer("incarnation", 0),
    )
