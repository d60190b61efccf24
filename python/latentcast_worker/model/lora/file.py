"""Reads a LoRA file: header first, every tensor accounted for, then the factors of each layer in fp32."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checkpoint.header import Header, read_header
from ..port import InvalidRequestError, LoadError
from .factors import Factors, FactorsError, factors_of
from .folder import lora_problem
from .keys import Role, split_key
from .names import Component, Layer

# SDXL LoRAs have 0.1 to 2 GB. Their headers have 0.4 MB, and up to some more with the tags they were trained with.
MAX_FILE_BYTES = 2 * 1024**3
MAX_HEADER_BYTES = 16 * 1024**2

# What an error names of the keys that fit nothing.
NAMED_KEYS = 3

_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}

AdapterParts: TypeAlias = Mapping[Component, Mapping[str, Factors]]
"""The factors of each layer, by the name of its module within the component."""


@dataclass(frozen=True, slots=True)
class LoraTarget:
    """The model that LoRAs are for: its layers by their names in files, and the width of its prompt embeddings."""

    layers: Mapping[str, Layer]
    context_width: int


def read_lora(
    path: Path, name: str, target: LoraTarget, dtype: torch.dtype, progress: Callable[[], None]
) -> AdapterParts:
    """The factors of a file, computed in fp32 and given in `dtype`. `progress` is called after each layer.

    Raises InvalidRequestError for a file that is not a LoRA for this model.
    """
    header = _read_header(path, name)
    for is_this, sentence in _REFUSED:
        if is_this(header, target):
            raise lora_problem(name, sentence)
    layers = _assign(header, name, target)
    parts: dict[Component, dict[str, Factors]] = defaultdict(dict)
    try:
        # Mapped, not read: a client cannot make the server hold more than one layer in fp32.
        with safe_open(path, framework="pt") as file:
            for layer, keys in layers.items():
                tensors: dict[Role, Tensor] = {role: file.get_tensor(key).float() for role, key in keys.items()}
                alpha = _alpha_in_metadata(header, layer, tensors)
                parts[layer.component][layer.name] = _factors(name, layer, tensors, alpha, dtype)
                progress()
    except (OSError, SafetensorError) as error:
        raise lora_problem(name, "cannot be read: its file is damaged") from error
    return parts


def _read_header(path: Path, name: str) -> Header:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
        if size > MAX_FILE_BYTES or MAX_HEADER_BYTES < header_size < size:
            raise lora_problem(name, f"is too large for a LoRA: it has {size // 1024**2} MB")
        return read_header(path)
    except OSError as error:
        raise lora_problem(name, "cannot be read") from error
    except LoadError as error:
        raise InvalidRequestError(str(error), field="loras") from error


def _assign(header: Header, name: str, target: LoraTarget) -> Mapping[Layer, Mapping[Role, str]]:
    """The keys of each layer by their roles. Raises InvalidRequestError for keys that fit no layer."""
    layers: dict[Layer, dict[Role, str]] = defaultdict(dict)
    strangers: list[str] = []
    for key, info in header.tensors.items():
        split = split_key(key)
        layer = None if split is None else target.layers.get(split[0])
        if split is None or layer is None or info.dtype not in _FLOATS or split[1] in layers[layer]:
            strangers.append(key)
        else:
            layers[layer][split[1]] = key
    if strangers:
        named = ", ".join(strangers[:NAMED_KEYS])
        count = f"{len(strangers)} of {len(header.tensors)} keys"
        raise lora_problem(name, f"does not fit this model: {count} fit no layer, such as {named}")
    found = {layer: keys for layer, keys in layers.items() if keys}
    if not found:
        raise lora_problem(name, "holds nothing")
    return found


def _factors(
    name: str, layer: Layer, tensors: Mapping[Role, Tensor], alpha: float | None, dtype: torch.dtype
) -> Factors:
    try:
        factors = factors_of(tensors, layer.shape, alpha).to(dtype)
    except FactorsError as error:
        where = f"{layer.name} of its {layer.component}"
        raise lora_problem(name, f"does not fit this model: at {where} {error}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in factors.tensors):
        raise lora_problem(name, f"is damaged: {layer.name} of its {layer.component} holds NaN or infinity")
    return factors


# PEFT keeps alpha in the metadata


def _alpha_in_metadata(header: Header, layer: Layer, tensors: Mapping[Role, Tensor]) -> float | None:
    """As diffusers saves PEFT's configuration: one alpha for a component, and others for layers that match."""
    if "down" not in tensors or "lora_adapter_metadata" not in header.metadata:
        return None
    settings = _adapter_settings(header)
    alpha = settings.get(f"{layer.component}.lora_alpha")
    patterns: Any = settings.get(f"{layer.component}.alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if layer.name == pattern or re.search(rf"(?:^|\.){re.escape(str(pattern))}$", layer.name):
            alpha = value
    if not isinstance(alpha, int | float):
        return None
    rank = tensors["down"].shape[0]
    return float(alpha) * rank**0.5 if settings.get(f"{layer.component}.use_rslora") is True else float(alpha)


def _adapter_settings(header: Header) -> Mapping[str, object]:
    try:
        value = json.loads(header.metadata["lora_adapter_metadata"])
    except ValueError:
        return {}
    return cast(dict[str, object], value) if isinstance(value, dict) else {}


# What is refused by its name


def _names(header: Header, *parts: str) -> bool:
    return any(part in name for name in header.tensors for part in parts)


def _context_widths(header: Header) -> Iterator[int]:
    """How wide the embeddings are that the file's cross attentions read."""
    for key, info in header.tensors.items():
        split = split_key(key)
        if split is not None and split[1] == "down" and split[0].endswith(("attn2_to_k", "attn2.to_k")):
            yield info.shape[1] if len(info.shape) > 1 else 0


def _is_for(width: int) -> Callable[[Header, LoraTarget], bool]:
    def is_this(header: Header, target: LoraTarget) -> bool:
        return target.context_width != width and width in _context_widths(header)

    return is_this


_REFUSED: tuple[tuple[Callable[[Header, LoraTarget], bool], str], ...] = (
    (
        lambda header, _: header.has("model.diffusion_model.", "first_stage_model.", "conditioner."),
        "is a whole model, not a LoRA: name it with --model",
    ),
    (
        lambda header, _: _names(header, "double_blocks", "single_blocks", "single_transformer_blocks"),
        "is a LoRA for Flux; this server has SDXL",
    ),
    (lambda header, _: _names(header, "joint_blocks"), "is a LoRA for Stable Diffusion 3; this server has SDXL"),
    (lambda header, _: header.has("lora_te_"), "is a LoRA for Stable Diffusion 1 or 2; this server has SDXL"),
    (_is_for(768), "is a LoRA for Stable Diffusion 1; this server has SDXL"),
    (_is_for(1024), "is a LoRA for Stable Diffusion 2; this server has SDXL"),
    (
        lambda header, _: _names(header, "dora_scale", "lora_magnitude_vector"),
        "is a DoRA, which is not served: take one that was trained as LoRA, LoCon, LoHa or LoKr",
    ),
    (
        lambda header, _: header.has("bundle_emb."),
        "brings embeddings for its prompts (bundle_emb), which are not served",
    ),
    (
        lambda header, _: any(name.endswith((".diff", ".diff_b", ".w_norm", ".b_norm")) for name in header.tensors),
        "holds differences of whole weights, which are not served: take one that was trained as LoRA or LyCORIS",
    ),
)
