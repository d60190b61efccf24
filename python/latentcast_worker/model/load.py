"""Loads SDXL onto one device: finds the model, loads its parts in the right dtypes, warms up and measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from ..policy import EARLY_STEPS, CallCosts
from ..protocol import Capabilities, Loading, LogLevel, ModelInfo, SchedulerName
from .acceleration import AcceleratedUNet
from .calibration import calibrate
from .calibration_store import CalibrationStore
from .checkpoint.parts import SDXL_CONFIGS, CheckpointParts
from .checkpoint.prediction import prediction_options
from .decode import FullDecoder, InlinePreviews, PreviewRenderer, StreamPreviews
from .deepcache import DeepCache
from .devices import describe_device, has_fast_bf16, open_device
from .distillation import PLAIN, UNNAMED, Sampling, recognise, sampling_of
from .encode import ImageEncoder
from .families import Family, Prediction
from .fused_tiny import fuse_tiny
from .group_norm import split_group_norms
from .hub import find_model
from .memory import memory_guard
from .parts import FolderParts, ModelParts
from .port import DeviceOutOfMemoryError, LoadError
from .prompts import PromptEncoder
from .schedulers import make_scheduler, own_scheduler_name
from .sdxl import SdxlModel
from .settings import ModelSettings
from .shortcuts import Shortcuts
from .vae import load_tiny_vae, load_vae

# A parked job is small (about 2 MB per megapixel: latents, x0, solver history; 20 MB more with DeepCache), so these
# only guard against absurdity.
MAX_JOBS = 64
MAX_PIXELS = 64 * 1024 * 1024

# What a UNet is given: noisy latents, and for inpainting a mask and the latents of the masked image.
LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 9

ReportLoading: TypeAlias = Callable[[Loading], None]
WriteLog: TypeAlias = Callable[[LogLevel, str], None]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """`model` is a hub id, a folder or a file, `name` what clients are told; `max_batch` None measures what pays.

    `cache_dir` keeps what was measured. `shortcuts` change the images; none is the default. `vae` takes the place of
    the model's own. `prediction` and `distillation` None believe the model. `configs` completes single files.
    """

    model: str
    name: str
    tiny_vae: str
    device: str
    max_batch: int | None
    cache_dir: Path
    shortcuts: Shortcuts = frozenset()
    vae: str | None = None
    prediction: Prediction | None = None
    distillation: Family | Literal["none"] | None = None
    configs: Path = SDXL_CONFIGS


@dataclass(frozen=True, slots=True)
class _Dtypes:
    unet: torch.dtype
    vae: torch.dtype
    tiny: torch.dtype

    @classmethod
    def choose(cls, device: torch.device, settings: ModelSettings) -> _Dtypes:
        if device.type == "cuda":
            # fp16 is what is published; SDXL's VAE overflows in it and gives black pictures, bf16 has the range.
            return cls(torch.float16, torch.bfloat16, torch.bfloat16)
        fast_bf16 = has_fast_bf16()
        unet = torch.bfloat16 if settings.cpu_dtype == "bfloat16" and fast_bf16 else torch.float32
        # The tiny decoder in bf16 and channels last takes a third of its fp32 time, and previews are JPEGs anyway.
        return cls(unet, torch.float32, torch.bfloat16 if fast_bf16 else torch.float32)


def load_sdxl(options: LoadOptions, report: ReportLoading, log: WriteLog) -> SdxlModel:
    """Loads and warms up. Raises LoadError with a `fatal` code and a text for whoever started the server."""
    device = open_device(options.device)
    try:
        with memory_guard(), torch.inference_mode():
            parts = _open_parts(options, device, report)
            if options.shortcuts:
                log("warn", f"pictures differ from the model's own: {', '.join(sorted(options.shortcuts))}")
            model = _assemble(options, parts, device, report, log)
            report(Loading(stage="warmup"))
            store = CalibrationStore(options.cache_dir / "calibration")
            return calibrate(model, options.max_batch, store, log)
    except DeviceOutOfMemoryError as error:
        raise LoadError("out_of_memory", f"{options.model} does not fit into the memory of {options.device}") from error


def _open_parts(options: LoadOptions, device: torch.device, report: ReportLoading) -> ModelParts:
    path = find_model(options.model, report, half_precision=device.type == "cuda")
    if path.is_dir():
        return FolderParts(path, device, report)
    return CheckpointParts(path, device, report, options.configs)


def _assemble(
    options: LoadOptions, parts: ModelParts, device: torch.device, report: ReportLoading, log: WriteLog
) -> SdxlModel:
    settings = parts.settings
    dtypes = _Dtypes.choose(device, settings)
    if parts.in_channels not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        raise LoadError("model_invalid", f"{parts.name} {_of_images(parts.in_channels)}: name a text-to-image model")
    tokenizers = parts.tokenizers()
    encoders = parts.text_encoders(dtypes.unet)
    unet = parts.unet(dtypes.unet)
    vae = load_vae(options.vae, dtypes.vae, device, report, options.configs) if options.vae else parts.vae(dtypes.vae)
    if device.type == "cuda":
        split_group_norms(unet)
        split_group_norms(vae)
    scheduler = parts.scheduler()
    guidance_width = unet.config.time_cond_proj_dim
    sampling = _sampling(options, parts, scheduler, guided_inside=guidance_width is not None)
    own, own_name = _own_scheduler(scheduler, sampling, options.prediction, log)
    if sampling.family is not None:
        log("info", f"{options.name} is sampled as {sampling}")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    tiny_vae = str(parts.folder / settings.tiny_vae) if settings.tiny_vae else options.tiny_vae
    tiny = load_tiny_vae(tiny_vae, dtypes.tiny, device, factor, report, log)
    if tiny is not None and device.type == "cuda":
        fuse_tiny(tiny)
    renderer = PreviewRenderer(tiny, settings.latent_rgb, device)
    accelerated = AcceleratedUNet(unet, device, log)
    native = settings.native_size or (unet.config.sample_size * factor,) * 2
    return SdxlModel(
        info=ModelInfo(
            id=options.name,
            native_width=native[0],
            native_height=native[1],
            min_side=settings.min_size,
            max_side=settings.max_size,
            default_steps=sampling.steps,
            default_guidance_scale=sampling.guidance_scale,
            default_scheduler=own_name,
            prediction_type=own.config.prediction_type,
            distillation=sampling.family,
            is_noise=settings.is_noise,
            examples=settings.examples,
            vocabulary=settings.vocabulary,
        ),
        device=describe_device(device, dtypes.unet),
        capabilities=Capabilities(
            preview_decoders=renderer.decoders,
            max_batch=1,
            max_jobs=MAX_JOBS,
            max_pixels=MAX_PIXELS,
            early_steps=EARLY_STEPS,
        ),
        costs=CallCosts.solo(),
        prompts=PromptEncoder(tokenizers, encoders, device),
        unet=accelerated,
        dtype=dtypes.unet,
        latent_channels=vae.config.latent_channels,
        size_factor=factor,
        scheduler=own,
        encoder=ImageEncoder(vae, factor, device, for_inpainting=parts.in_channels == INPAINTING_CHANNELS),
        decoder=FullDecoder(vae),
        previews=StreamPreviews(renderer, device) if device.type == "cuda" else InlinePreviews(renderer),
        torch_device=device,
        shortcuts=options.shortcuts,
        sampling=sampling,
        guidance_width=guidance_width,
        deepcache=DeepCache(unet, accelerated) if "step-cache" in options.shortcuts else None,
    )


def _sampling(options: LoadOptions, parts: ModelParts, scheduler: Any, *, guided_inside: bool) -> Sampling:
    """As whoever runs the server says, else as the model looks; a model's own settings rank between the two."""
    title = f"{Path(options.model).name} {parts.title}"
    if options.distillation is not None:
        return PLAIN if options.distillation == "none" else sampling_of(options.distillation, title)
    sampling = recognise(title, type(scheduler).__name__, guided_inside=guided_inside)
    if "few-step" in options.shortcuts:
        return UNNAMED if sampling is PLAIN else sampling
    steps, guidance_scale = parts.settings.default_steps, parts.settings.default_guidance_scale
    return replace(
        sampling,
        steps=sampling.steps if steps is None else steps,
        guidance_scale=sampling.guidance_scale if guidance_scale is None else guidance_scale,
    )


def _own_scheduler(
    scheduler: Any, sampling: Sampling, prediction: Prediction | None, log: WriteLog
) -> tuple[Any, SchedulerName | None]:
    """The scheduler of requests that name none, and its name if it has one."""
    own = make_scheduler(scheduler, sampling.scheduler)
    try:
        name = own_scheduler_name(own)
    except KeyError as error:
        log("warn", f"the model's scheduler {error.args[0]} is not served, its default is euler")
        own, name = make_scheduler(own, "euler"), "euler"
    options = {**sampling.options, **({} if prediction is None else prediction_options(prediction))}
    return type(own).from_config(own.config, **options), name


def _of_images(in_channels: int) -> str:
    if in_channels == 8:
        return "is an image-editing model, which needs an image beside the prompt"
    return f"has a UNet with {in_channels} input channels instead of {LATENT_CHANNELS}"
