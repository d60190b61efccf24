"""What a worker process is started with, as the orchestrator writes it.

Generated from `src/protocol/worker-settings.ts` by `npm run gen`; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .fields import Fields

Distillation = Literal["none", "lightning", "hyper", "turbo", "dmd2", "lcm", "tcd"]
PredictionType = Literal["epsilon", "v_prediction", "v_prediction_zero_snr"]
ShortcutName = Literal["cfg-cutoff", "step-cache", "few-step"]
TorchDevice = Literal["cpu", "cuda:0", "xpu:0", "mps"]

DISTILLATIONS: tuple[Distillation, ...] = get_args(Distillation)
PREDICTION_TYPES: tuple[PredictionType, ...] = get_args(PredictionType)
SHORTCUT_NAMES: tuple[ShortcutName, ...] = get_args(ShortcutName)
TORCH_DEVICES: tuple[TorchDevice, ...] = get_args(TorchDevice)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuShare:
    """Part `index` of `count` equal parts of the cores."""

    index: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    endpoint: str
    """ZeroMQ address that the orchestrator listens on."""
    slot: int
    incarnation: int
    """Counts the processes of the slot; it stands on every message about a job."""
    models: tuple[str, ...]
    """Hub ids, diffusers folders, files, folders of models, `demo`, or `noise` for random weights."""
    tiny_vae: str
    """Hub id or folder of the preview decoder."""
    device: TorchDevice
    cpu_share: CpuShare | None = None
    """Which cores to use; null is all of them."""
    cache_dir: str
    """Where calibrations, compiled kernels and built models are kept."""
    max_batch: int | None = None
    """Most images per UNet call; 1 is exact, null measures what pays."""
    vae: str | None = None
    """Hub id, folder or file of another VAE; null is the model's own."""
    prediction_type: PredictionType | None = None
    """null believes the model."""
    distillation: Distillation | None = None
    """null goes by the model's name."""
    lora_dir: str | None = None
    """Folder of the LoRAs that requests may name; null has none."""
    shortcuts: tuple[ShortcutName, ...]
    """Each changes the images."""


def read_worker_settings(fields: Fields) -> WorkerSettings:
    return WorkerSettings(
        endpoint=fields.text("endpoint", min_length=1),
        slot=fields.integer("slot", 0),
        incarnation=fields.integer("incarnation", 0),
        models=fields.texts("models"),
        tiny_vae=fields.text("tiny_vae", min_length=1),
        device=fields.choice("device", TORCH_DEVICES),
        cpu_share=None if fields.is_null("cpu_share") else _read_cpu_share(fields.nested("cpu_share")),
        cache_dir=fields.text("cache_dir", min_length=1),
        max_batch=None if fields.is_null("max_batch") else fields.integer("max_batch", 1),
        vae=None if fields.is_null("vae") else fields.text("vae", min_length=1),
        prediction_type=fields.optional_choice("prediction_type", PREDICTION_TYPES),
        distillation=fields.optional_choice("distillation", DISTILLATIONS),
        lora_dir=None if fields.is_null("lora_dir") else fields.text("lora_dir", min_length=1),
        shortcuts=fields.choices("shortcuts", SHORTCUT_NAMES),
    )


def _read_cpu_share(fields: Fields) -> CpuShare:
    return CpuShare(
        index=fields.integer("index", 0),
        count=fields.integer("count", 1),
    )
