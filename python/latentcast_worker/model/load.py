"""Loads SDXL onto one device: finds the model, loads its parts in the right dtypes, warms up and measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..policy import EARLY_STEPS, CallCosts
from ..protocol import PREVIEW_DECODERS, Capabilities, Loading, ModelInfo, PreviewDecoder, SchedulerName, ServedModel
from ..settings import WorkerSettings
from ..shelf import Candidate
from .acceleration import AcceleratedUNet
from .calibration import calibrate
from .calibration_store import CalibrationStore
from .checkpoint.parts import SDXL_CONFIGS, CheckpointParts
from .checkpoint.prediction import prediction_options
from .decode import FullDecoder, PreviewRenderer
from .deepcache import DeepCache
from .denoise import SdxlSample
from .devices import Device, open_device
from .distillation import PLAIN, UNNAMED, Sampling, recognise, sampling_of
from .dtypes import Dtypes
from .encode import ImageEncoder
from .families import Prediction
from .hub import find_model
from .lora.open import open_loras
from .memory import memory_guard
from .parts import FolderParts, ModelParts
from .port import DeviceOutOfMemoryError, LoadError, Reporter
from .prompts import PromptEncoder
from .residency import WORKING_BYTES_PER_PIXEL, Residency, RestingModules, bytes_of, plan_residency, tile_vae
from .schedulers import make_scheduler, own_scheduler_name
from .sdxl import SdxlModel
from .shared_cores import watch_cores
from .vae import load_tiny_vae, load_vae

# A parked job is small (about 2 MB per megapixel: latents, x0, solver history; 20 MB more with DeepCache), so these
# only guard against absurdity.
MAX_JOBS = 64
MAX_PIXELS = 64 * 1024 * 1024

# What a UNet is given: noisy latents, and for inpainting a mask and the latents of the masked image.
LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 9


@dataclass(frozen=True, slots=True)
class ModelSource:
    """`model` is a hub id, a folder or a file, `name` what clients see. `configs` completes single files."""

    model: str
    name: str
    configs: Path = SDXL_CONFIGS


def load_sdxl(source: ModelSource, settings: WorkerSettings, reporter: Reporter) -> SdxlModel:
    """Loads and warms up what `source` names. Raises LoadError."""
    return load_on(open_device(settings.device), source, settings, reporter)


def load_on(
    device: Device, source: ModelSource, settings: WorkerSettings, reporter: Reporter, *, takes_turns: bool = False
) -> SdxlModel:
    """The same on a device that is open already. `takes_turns`: other models may be loaded beside it."""
    try:
        with memory_guard(), torch.inference_mode():
            parts = _open_parts(source, device, reporter)
            if settings.shortcuts:
                reporter.log("warn", f"images differ from the model's own: {', '.join(sorted(settings.shortcuts))}")
            model = _assemble(source, settings, parts, device, reporter)
            reporter.loading(Loading(stage="warmup"))
            store = CalibrationStore(Path(settings.cache_dir) / "calibration")
            # What torch compiles it compiles for the whole process, and forgets for all models together.
            return calibrate(model, settings.max_batch, store, reporter.log, compiles=not takes_turns)
    except DeviceOutOfMemoryError as error:
        raise LoadError("out_of_memory", f"{source.model} does not fit into the memory of {settings.device}") from error


def candidate(
    device: Device, source: ModelSource, settings: WorkerSettings, reporter: Reporter
) -> Candidate[SdxlSample]:
    """A model as its files describe it, and how it is loaded. Raises LoadError."""
    quiet = replace(reporter, log=lambda _level, _message: None)
    parts = _open_parts(source, device, quiet, is_for_now=False)
    dtypes = device.dtypes(parts.settings)
    character = _character(source, settings, parts, parts.config("unet"), _factor(parts.config("vae")), quiet)
    served = ServedModel(model=character.info, capabilities=_capabilities(device, PREVIEW_DECODERS), is_loaded=False)
    pixels = character.info.native_width * character.info.native_height
    return Candidate(
        served,
        load=lambda: load_on(device, source, settings, reporter, takes_turns=True),
        needed_bytes=parts.weight_bytes(dtypes) + pixels * WORKING_BYTES_PER_PIXEL,
    )


def _open_parts(source: ModelSource, device: Device, reporter: Reporter, *, is_for_now: bool = True) -> ModelParts:
    path = find_model(source.model, reporter, half_precision=device.takes_half)
    if path.is_dir():
        return FolderParts(path, device.tensors, reporter)
    return CheckpointParts(path, device.tensors, reporter, source.configs, is_for_now=is_for_now)


def _assemble(
    source: ModelSource, settings: WorkerSettings, parts: ModelParts, device: Device, reporter: Reporter
) -> SdxlModel:
    own = parts.settings
    dtypes = device.dtypes(own)
    _check_channels(parts)
    tokenizers = parts.tokenizers()
    encoders = parts.text_encoders(dtypes.unet)
    unet = parts.unet(dtypes.unet)
    vae = _load_vae(source, settings, parts, device, dtypes, reporter)
    factor = _factor(vae.config)
    character = _character(source, settings, parts, unet.config, factor, reporter)
    info, sampling = character.info, character.sampling
    if sampling.family is not None:
        reporter.log("info", f"{source.name} is sampled as {sampling}")
    tiny_vae = str(parts.folder / own.tiny_vae) if own.tiny_vae else settings.tiny_vae
    tiny = load_tiny_vae(tiny_vae, dtypes.tiny, device.tensors, factor, reporter)
    device.suit(unet, vae, tiny)
    renderer = PreviewRenderer(tiny, own.latent_rgb, device.tensors)
    accelerated = AcceleratedUNet(unet, device.tensors, reporter.log, takes_loras=info.takes_loras)
    about_device = device.describe(dtypes.unet)
    residency = plan_residency(device.free_bytes(), bytes_of(encoders), info.native_width * info.native_height)
    if residency != Residency():
        reporter.log("info", f"to fit into the memory of {device.tensors}: {residency}")
    if residency.tiles_vae:
        tile_vae(vae)
    return SdxlModel(
        info=info,
        device=about_device,
        capabilities=_capabilities(device, renderer.decoders),
        costs=CallCosts.solo(),
        prompts=PromptEncoder(
            tokenizers,
            encoders,
            device.tensors,
            graphs=None if residency.encoders_rest else device.prompt_graphs(),
            resting=RestingModules(encoders, device.tensors) if residency.encoders_rest else None,
        ),
        unet=accelerated,
        dtype=dtypes.unet,
        latent_channels=vae.config.latent_channels,
        size_factor=factor,
        scheduler=character.scheduler,
        encoder=ImageEncoder(vae, factor, device.tensors, for_inpainting=parts.in_channels == INPAINTING_CHANNELS),
        decoder=FullDecoder(vae),
        previews=device.previews(renderer),
        runs_on=device,
        shortcuts=frozenset(settings.shortcuts),
        sampling=sampling,
        guidance_width=unet.config.time_cond_proj_dim,
        loras=open_loras(settings.lora_dir, unet, encoders, device.tensors, about_device.memory_bytes),
        deepcache=DeepCache(accelerated) if "step-cache" in settings.shortcuts else None,
        cores=watch_cores(device.tensors),
    )


@dataclass(frozen=True, slots=True)
class _Character:
    """What a model is like, which its files say without their weights."""

    info: ModelInfo
    sampling: Sampling
    scheduler: Any


def _character(
    source: ModelSource,
    settings: WorkerSettings,
    parts: ModelParts,
    unet: Mapping[str, Any],
    factor: int,
    reporter: Reporter,
) -> _Character:
    """`unet` is its config, `factor` pixels per latent along each side."""
    _check_channels(parts)
    own = parts.settings
    published = parts.scheduler()
    sampling = _sampling(source, settings, parts, published, guided_inside=unet.get("time_cond_proj_dim") is not None)
    scheduler, scheduler_name = _own_scheduler(published, sampling, settings.prediction_type, reporter)
    native = own.native_size or (unet["sample_size"] * factor,) * 2
    info = ModelInfo(
        id=source.name,
        native_width=native[0],
        native_height=native[1],
        min_side=own.min_size,
        max_side=own.max_size,
        default_steps=sampling.steps,
        default_guidance_scale=sampling.guidance_scale,
        default_scheduler=scheduler_name,
        prediction_type=scheduler.config.prediction_type,
        distillation=sampling.family,
        is_noise=own.is_noise,
        examples=own.examples,
        vocabulary=own.vocabulary,
        takes_loras=settings.lora_dir is not None,
    )
    return _Character(info, sampling, scheduler)


def _check_channels(parts: ModelParts) -> None:
    if parts.in_channels not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        raise LoadError("model_invalid", f"{parts.name} {_of_images(parts.in_channels)}: name a text-to-image model")


def _factor(vae: Mapping[str, Any]) -> int:
    """Pixels per latent along each side, from the VAE's config."""
    return 2 ** (len(vae["block_out_channels"]) - 1)


def _capabilities(device: Device, decoders: tuple[PreviewDecoder, ...]) -> Capabilities:
    return Capabilities(
        preview_decoders=decoders,
        max_batch=1,
        max_jobs=MAX_JOBS,
        max_pixels=MAX_PIXELS,
        early_steps=EARLY_STEPS,
        first_call_seconds=device.first_call_seconds,
    )


def _load_vae(
    source: ModelSource, settings: WorkerSettings, parts: ModelParts, device: Device, dtypes: Dtypes, reporter: Reporter
) -> Any:
    if settings.vae is None:
        return parts.vae(dtypes.vae)
    half = device.takes_half
    return load_vae(settings.vae, dtypes.vae, device.tensors, reporter, source.configs, half_precision=half)


def _sampling(
    source: ModelSource, settings: WorkerSettings, parts: ModelParts, scheduler: Any, *, guided_inside: bool
) -> Sampling:
    """As the setting says, else as the model looks; the model's own `latentcast.json` ranks between the two."""
    title = f"{Path(source.model).name} {parts.title}"
    if settings.distillation is not None:
        return PLAIN if settings.distillation == "none" else sampling_of(settings.distillation, title)
    sampling = recognise(title, type(scheduler).__name__, guided_inside=guided_inside)
    if "few-step" in settings.shortcuts:
        return UNNAMED if sampling is PLAIN else sampling
    steps, guidance_scale = parts.settings.default_steps, parts.settings.default_guidance_scale
    return replace(
        sampling,
        steps=sampling.steps if steps is None else steps,
        guidance_scale=sampling.guidance_scale if guidance_scale is None else guidance_scale,
    )


def _own_scheduler(
    published: Any, sampling: Sampling, prediction: Prediction | None, reporter: Reporter
) -> tuple[Any, SchedulerName | None]:
    """The scheduler of requests that name none, and its name if it has one."""
    scheduler = make_scheduler(published, sampling.scheduler)
    try:
        name = own_scheduler_name(scheduler)
    except KeyError as error:
        reporter.log("warn", f"the model's scheduler {error.args[0]} is not served, its default is euler")
        scheduler, name = make_scheduler(scheduler, "euler"), "euler"
    options = {**sampling.options, **({} if prediction is None else prediction_options(prediction))}
    return type(scheduler).from_config(scheduler.config, **options), name


def _of_images(in_channels: int) -> str:
    if in_channels == 8:
        return "is an image-editing model, which needs an image beside the prompt"
    return f"has a UNet with {in_channels} input channels instead of {LATENT_CHANNELS}"
