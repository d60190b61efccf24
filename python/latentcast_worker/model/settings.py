"""What a model folder says about itself in an optional `latentcast.json`, and SDXL's own values elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ..protocol import ModelVocabulary
from .port import LoadError

SETTINGS_FILE = "latentcast.json"

CpuDtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class LatentRgb:
    """A linear map from latent channels to RGB in -1..1: `weights` has one (r, g, b) row per channel."""

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]


# ComfyUI's fit for SDXL's latent space (comfy/latent_formats.py), for scaled latents as they leave the scheduler.
SDXL_LATENT_RGB = LatentRgb(
    weights=(
        (0.3651, 0.4232, 0.4341),
        (-0.2533, -0.0042, 0.1068),
        (0.1076, 0.1111, -0.0362),
        (-0.3165, -0.2492, -0.2188),
    ),
    bias=(0.1084, -0.0175, -0.0011),
)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Sizes in pixels. `native_size` is (width, height); None leaves it to the UNet's own sample size.

    Steps and guidance scale None are those of the kind of model, see `distillation`.
    """

    native_size: tuple[int, int] | None = None
    min_size: int = 64
    max_size: int = 2048
    default_steps: int | None = None
    default_guidance_scale: float | None = None
    tiny_vae: str | None = None
    """Folder of the tiny decoder, relative to the model's. None leaves it to the one the worker was started with."""
    latent_rgb: LatentRgb = SDXL_LATENT_RGB
    cpu_dtype: CpuDtype = "float32"
    is_noise: bool = False
    examples: tuple[str, ...] = ()
    vocabulary: ModelVocabulary | None = None
    """None for a model that knows nearly everything."""


def read_settings(folder: Path) -> ModelSettings:
    """Reads `latentcast.json` of a model folder. Raises LoadError for a file that cannot be understood."""
    try:
        text = (folder / SETTINGS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ModelSettings()
    try:
        return _parse(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError("model_invalid", f"{SETTINGS_FILE} of the model cannot be used: {error}") from error


def _parse(value: object) -> ModelSettings:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    fields = cast(dict[str, object], value)
    default = ModelSettings()
    native = _numbers(fields["native_size"], 2) if "native_size" in fields else None
    rgb = fields.get("latent_rgb")
    cpu_dtype = fields.get("cpu_dtype", default.cpu_dtype)
    if cpu_dtype not in ("float32", "bfloat16"):
        raise ValueError("cpu_dtype must be float32 or bfloat16")
    tiny_vae = fields.get("tiny_vae")
    steps, guidance_scale = fields.get("default_steps"), fields.get("default_guidance_scale")
    return ModelSettings(
        native_size=None if native is None else (int(native[0]), int(native[1])),
        min_size=int(_number(fields.get("min_size", default.min_size))),
        max_size=int(_number(fields.get("max_size", default.max_size))),
        default_steps=None if steps is None else int(_number(steps)),
        default_guidance_scale=None if guidance_scale is None else _number(guidance_scale),
        tiny_vae=None if tiny_vae is None else str(tiny_vae),
        latent_rgb=default.latent_rgb if rgb is None else _latent_rgb(rgb),
        cpu_dtype="bfloat16" if cpu_dtype == "bfloat16" else "float32",
        is_noise=fields.get("is_noise", False) is True,
        examples=_texts(fields.get("examples", [])),
        vocabulary=None if fields.get("vocabulary") is None else _vocabulary(fields["vocabulary"]),
    )


def _vocabulary(value: object) -> ModelVocabulary:
    if not isinstance(value, dict):
        raise TypeError("vocabulary is not an object")
    fields = cast(dict[str, object], value)
    return ModelVocabulary(
        summary=str(fields["summary"]),
        subjects=_texts(fields["subjects"]),
        modifiers=_texts(fields["modifiers"]),
    )


def _latent_rgb(value: object) -> LatentRgb:
    if not isinstance(value, dict):
        raise TypeError("latent_rgb is not an object")
    fields = cast(dict[str, object], value)
    weights = tuple(_numbers(row, 3) for row in _list(fields["weights"]))
    return LatentRgb(weights, _numbers(fields["bias"], 3))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _list(value))


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return cast(list[object], value)


def _numbers(value: object, count: int) -> tuple[float, ...]:
    numbers = tuple(_number(item) for item in _list(value))
    if len(numbers) != count:
        raise ValueError(f"{value!r} does not have {count} numbers")
    return numbers


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)
