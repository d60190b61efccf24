"""Loads SDXL onto one device: finds the folder, loads the parts in the right number types, warms up and measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ..policy import EARLY_STEPS, CallCosts
from ..protocol import Capabilities, Loading, LogLevel, ModelInfo
from .acceleration import AcceleratedUNet
from .calibration import calibrate
from .calibration_store import CalibrationStore
from .decode import FullDecoder, InlinePreviews, PreviewRenderer, StreamPreviews
from .devices import describe_device, has_fast_bf16, open_device
from .hub import find_folder
from .memory import memory_guard
from .port import DeviceOutOfMemoryError, LoadError
from .prompts import PromptEncoder
from .schedulers import own_scheduler_name
from .sdxl import SdxlModel
from .settings import ModelSettings, read_settings
from .shortcuts import FEW_STEP_SPACING, FEW_STEPS, Shortcuts
from .step_cache import StepCache

# A parked job is small (about 2 MB per megapixel: latents, x0, solver history; 20 MB more with a step cache), so these
# only guard against absurdity.
MAX_JOBS = 64
MAX_PIXELS = 64 * 1024 * 1024

ReportLoading: TypeAlias = Callable[[Loading], None]
WriteLog: TypeAlias = Callable[[LogLevel, str], None]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """`model` is a hub id or a folder, `name` what clients are told; `max_batch` None measures what pays.

    `cache_dir` keeps what was measured. `shortcuts` change the pictures; none is the default.
    """

    model: str
    name: str
    tiny_vae: str
    device: str
    max_batch: int | None
    cache_dir: Path
    shortcuts: Shortcuts = frozenset()


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
    folder = find_folder(options.model, report, half_precision=device.type == "cuda")
    settings = _shortened(read_settings(folder), options.shortcuts)
    if options.shortcuts:
        log("warn", f"pictures differ from the model's own: {', '.join(sorted(options.shortcuts))}")
    try:
        with memory_guard(), torch.inference_mode():
            model = _assemble(options, folder, settings, device, report, log)
            report(Loading(stage="warmup"))
            store = CalibrationStore(options.cache_dir / "calibration")
            return calibrate(model, options.max_batch, store, log)
    except DeviceOutOfMemoryError as error:
        raise LoadError("out_of_memory", f"{options.model} does not fit into the memory of {options.device}") from error


def _assemble(
    options: LoadOptions,
    folder: Path,
    settings: ModelSettings,
    device: torch.device,
    report: ReportLoading,
    log: WriteLog,
) -> SdxlModel:
    dtypes = _Dtypes.choose(device, settings)
    parts = _PartLoader(folder, device, report)
    tokenizers = (parts.plain(CLIPTokenizer, "tokenizer"), parts.plain(CLIPTokenizer, "tokenizer_2"))
    encoders = (
        parts.weights(CLIPTextModel, "text_encoder", dtypes.unet),
        parts.weights(CLIPTextModelWithProjection, "text_encoder_2", dtypes.unet),
    )
    unet = parts.weights(UNet2DConditionModel, "unet", dtypes.unet)
    vae = parts.weights(AutoencoderKL, "vae", dtypes.vae)
    scheduler = parts.scheduler()
    if unet.config.time_cond_proj_dim is not None:
        raise LoadError(
            "model_invalid", f"{options.model} is guidance-distilled (time_cond_proj_dim), which is not served"
        )
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    tiny = _load_tiny(options, folder, settings, dtypes.tiny, device, factor, report, log)
    renderer = PreviewRenderer(tiny, settings.latent_rgb, device)
    own, own_name = _own_scheduler(scheduler, log)
    if "few-step" in options.shortcuts:
        own = type(own).from_config(own.config, timestep_spacing=FEW_STEP_SPACING)
    accelerated = AcceleratedUNet(unet, device, log)
    native = settings.native_size or (unet.config.sample_size * factor,) * 2
    return SdxlModel(
        info=ModelInfo(
            id=options.name,
            native_width=native[0],
            native_height=native[1],
            min_side=settings.min_size,
            max_side=settings.max_size,
            default_steps=settings.default_steps,
            default_guidance_scale=settings.default_guidance_scale,
            default_scheduler=own_name,
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
        latent_channels=unet.config.in_channels,
        size_factor=factor,
        scheduler=own,
        decoder=FullDecoder(vae),
        previews=StreamPreviews(renderer, device) if device.type == "cuda" else InlinePreviews(renderer),
        torch_device=device,
        shortcuts=options.shortcuts,
        step_cache=StepCache(unet, accelerated) if "step-cache" in options.shortcuts else None,
    )


def _shortened(settings: ModelSettings, shortcuts: Shortcuts) -> ModelSettings:
    """The defaults of a checkpoint that needs few steps and no guidance, if this is said to be one."""
    if "few-step" not in shortcuts:
        return settings
    return replace(settings, default_steps=FEW_STEPS, default_guidance_scale=0.0)


class _PartLoader:
    """Loads one sub-folder after the other and tells how far it is."""

    COUNT = 7

    def __init__(self, folder: Path, device: torch.device, report: ReportLoading) -> None:
        self._folder = folder
        self._device = device
        self._report = report
        self._loaded = 0

    def plain(self, kind: Any, name: str) -> Any:
        """A part without weights: a tokenizer."""
        return self._load(name, lambda folder: kind.from_pretrained(folder))

    def scheduler(self) -> Any:
        def load(folder: Path) -> Any:
            config = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
            return getattr(diffusers, config["_class_name"]).from_config(config)

        return self._load("scheduler", load)

    def weights(self, kind: Any, name: str, dtype: torch.dtype) -> Any:
        variant = _variant(self._folder / name, dtype)
        part = self._load(name, lambda folder: _load_weights(kind, folder, dtype, variant))
        return part.to(self._device).eval()

    def _load(self, name: str, load: Callable[[Path], Any]) -> Any:
        self._report(Loading(stage="weights", progress=self._loaded / self.COUNT, detail=name))
        self._loaded += 1
        try:
            return load(self._folder / name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoadError("model_invalid", f"{name} of {self._folder.name} cannot be loaded: {error}") from error


def _variant(folder: Path, dtype: torch.dtype) -> str | None:
    """`fp16` where the folder has such files and they are wanted, or all there is."""
    files = {path.name for path in folder.glob("*.safetensors")}
    half = {name for name in files if ".fp16" in name}
    return "fp16" if half and (dtype != torch.float32 or half == files) else None


def _load_weights(kind: Any, folder: Path, dtype: torch.dtype, variant: str | None) -> Any:
    # Both libraries call it differently: transformers took over `dtype`, diffusers still says `torch_dtype`.
    key = "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
    return kind.from_pretrained(folder, variant=variant, use_safetensors=True, **{key: dtype})


def _load_tiny(
    options: LoadOptions,
    folder: Path,
    settings: ModelSettings,
    dtype: torch.dtype,
    device: torch.device,
    factor: int,
    report: ReportLoading,
    log: WriteLog,
) -> Any | None:
    """The tiny decoder, or None with a warning: without it previews come from the linear map."""
    try:
        source = (
            folder / settings.tiny_vae
            if settings.tiny_vae
            else find_folder(options.tiny_vae, report, half_precision=False)
        )
        tiny = _load_weights(AutoencoderTiny, source, dtype, None)
    except (LoadError, OSError, ValueError) as error:
        log("warn", f"no tiny decoder, previews will be linear: {error}")
        return None
    if 2 ** (len(tiny.config.decoder_block_out_channels) - 1) != factor:
        log("warn", "the tiny decoder does not fit the model's VAE, previews will be linear")
        return None
    return tiny.to(device, memory_format=torch.channels_last).eval()


def _own_scheduler(scheduler: Any, log: WriteLog) -> tuple[Any, Any]:
    try:
        return scheduler, own_scheduler_name(scheduler)
    except KeyError as error:
        log("warn", f"the model's scheduler {error.args[0]} is not served, its default is euler")
        return EulerDiscreteScheduler.from_config(scheduler.config), "euler"
