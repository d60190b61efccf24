"""What a checkpoint is, from its header alone: SDXL is described, everything else refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..families import Prediction
from .header import Header, invalid
from .prediction import read_prediction

UNET = "model.diffusion_model."
VAE = ("first_stage_model.", "vae.")
CLIP_L = "conditioner.embedders.0.transformer."
CLIP_G = "conditioner.embedders.1.model."

_CONTEXT = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
_LABELS = f"{UNET}label_emb.0.0.weight"
_FIRST_LAYER = f"{UNET}input_blocks.0.0.weight"

# Inputs of the size embedding: 1,280 pooled, and 256 for each of six numbers (base) or five (refiner).
_REFINER_LABELS = 2560


@dataclass(frozen=True, slots=True)
class CheckpointKind:
    """An SDXL checkpoint. `in_channels` is 4, 9 for inpainting, 8 for editing; `prediction` None is not told."""

    in_channels: int
    has_vae: bool
    prediction: Prediction | None


def identify(header: Header) -> CheckpointKind:
    """Raises LoadError `model_invalid` with one sentence that says what the file is and what to do instead."""
    for is_this, sentence in _REFUSED:
        if is_this(header):
            raise invalid(header.path, sentence)
    first = header.tensors.get(_FIRST_LAYER)
    if first is None or len(first.shape) != 4:
        raise invalid(header.path, f"lacks {_FIRST_LAYER}, the first layer of an SDXL UNet: it is damaged")
    return CheckpointKind(first.shape[1], header.has(*VAE), read_prediction(header))


def _names(header: Header, *parts: str) -> bool:
    return any(part in name for name in header.tensors for part in parts)


def _is_scaled_fp8(header: Header) -> bool:
    return _names(header, "scaled_fp8") or any(name.endswith(".scale_weight") for name in header.tensors)


def _is_lora(header: Header) -> bool:
    return _names(header, "lora_down", "lora_up", "lora_A", "lora_B", "lora.down", "hada_w1", "lokr_w", "lora_unet_")


def _is_embedding(header: Header) -> bool:
    return header.tensors.keys() <= {"emb_params", "clip_l", "clip_g"} and len(header.tensors) > 0


def _is_controlnet(header: Header) -> bool:
    return header.has("control_model.", "controlnet_", "input_hint_block.")


def _has_unet(header: Header) -> bool:
    return header.has(UNET)


def _is_bare_unet(header: Header) -> bool:
    return header.has("input_blocks.", "down_blocks.", "unet.") and not _has_unet(header)


def _is_vae(header: Header) -> bool:
    return not _has_unet(header) and header.has(*VAE, "decoder.")


def _is_text_encoder(header: Header) -> bool:
    return not _has_unet(header) and header.has("text_model.", "conditioner.", "cond_stage_model.", "transformer.")


def _context_width(header: Header) -> int | None:
    if _LABELS in header.tensors:
        return None
    widths = [info.shape for name, info in header.tensors.items() if name.endswith("attn2.to_k.weight")]
    return widths[0][1] if widths and len(widths[0]) == 2 else None


def _is_refiner(header: Header) -> bool:
    labels = header.tensors.get(_LABELS)
    return labels is not None and labels.shape[-1] == _REFINER_LABELS


def _is_bare_unet_with_prefix(header: Header) -> bool:
    return _has_unet(header) and not header.has("conditioner.", "cond_stage_model.", *VAE)


def _lacks_encoders(header: Header) -> bool:
    return _has_unet(header) and not (header.has(CLIP_L) and header.has(CLIP_G))


_BARE_UNET = "is a UNet alone, without text encoders and VAE: name a whole SDXL checkpoint or a diffusers folder"

_REFUSED: tuple[tuple[Callable[[Header], bool], str], ...] = (
    (_is_scaled_fp8, "holds scaled fp8 weights, which are not served: take the fp16 file of the model"),
    (_is_lora, "is a LoRA, which changes a model and is none: name the checkpoint that it was made for"),
    (_is_embedding, "is a textual inversion embedding, not a model: name the checkpoint that it was made for"),
    (_is_controlnet, "is a ControlNet, which guides a model and is none: name an SDXL checkpoint"),
    (lambda header: _names(header, "double_blocks."), "is a Flux model; only SDXL is served"),
    (lambda header: _names(header, "joint_blocks."), "is a Stable Diffusion 3 model; only SDXL is served"),
    (_is_bare_unet, _BARE_UNET),
    (_is_vae, "is a VAE alone: name it with --vae, and an SDXL checkpoint with --model"),
    (_is_text_encoder, "is a text encoder alone: name a whole SDXL checkpoint or a diffusers folder"),
    (lambda header: not _has_unet(header), "holds no model that is known: name an SDXL checkpoint"),
    (lambda header: _context_width(header) == 768, "is a Stable Diffusion 1 model; only SDXL is served"),
    (lambda header: _context_width(header) == 1024, "is a Stable Diffusion 2 model; only SDXL is served"),
    (_is_refiner, "is the SDXL refiner, which only finishes images of another model: name an SDXL base checkpoint"),
    (_is_bare_unet_with_prefix, _BARE_UNET),
    (lambda header: _LABELS not in header.tensors, f"is not an SDXL model: it lacks {_LABELS}"),
    (_lacks_encoders, "lacks the text encoders of SDXL: name a whole checkpoint, or a diffusers folder"),
    (
        lambda header: header.has("edm_mean", "edm_vpred."),
        "was trained with EDM noise (as Playground 2.5 and CosXL), which is not served: name another SDXL checkpoint",
    ),
)
