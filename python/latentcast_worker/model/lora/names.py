"""What the layers of a model are called in LoRA files: by kohya, by diffusers and PEFT, and in the original layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import nn

Component: TypeAlias = Literal["unet", "text_encoder", "text_encoder_2"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that can be adapted. `name` is its module's within the component, `shape` its weight's."""

    component: Component
    name: str
    shape: tuple[int, ...]


def layers_of(module: Any) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            yield name, part


def layer_names(unet: Any, encoders: tuple[Any, Any]) -> Mapping[str, Layer]:
    """Every layer under every name that it goes by in files, without what follows for its single tensors."""
    names: dict[str, Layer] = {}
    for name, part in layers_of(unet):
        layer = Layer("unet", name, tuple(part.weight.shape))
        original = original_unet_name(name, unet)
        for dotted in (name,) if original is None else (name, original):
            for prefix in ("unet.", "diffusion_model.", ""):
                names[f"{prefix}{dotted}"] = layer
            for prefix in ("lora_unet_", "lycoris_"):
                names[f"{prefix}{_flat(dotted)}"] = layer
    parts: tuple[tuple[Component, str, Any], ...] = (
        ("text_encoder", "lora_te1_", encoders[0]),
        ("text_encoder_2", "lora_te2_", encoders[1]),
    )
    for component, prefix, encoder in parts:
        for name, part in layers_of(encoder):
            layer = Layer(component, name, tuple(part.weight.shape))
            # transformers 5.6 took this wrapper off the first encoder only; files have it for both.
            bare = name.removeprefix("text_model.")
            for dotted in (bare, f"text_model.{bare}"):
                names[f"{component}.{dotted}"] = layer
                names[f"{prefix}{_flat(dotted)}"] = layer
    return names


def _flat(name: str) -> str:
    return name.replace(".", "_")


_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_IN_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def original_unet_name(name: str, unet: Any) -> str | None:
    """The name of a layer of a diffusers UNet in the layout of Stability AI's code; None if it has none there."""
    layers = unet.config.layers_per_block
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    if not isinstance(layers, int):
        return None
    match name.split("."):
        case ["mid_block", "resnets", index, *rest]:
            return f"middle_block.{2 * int(index)}.{_in_resnet(rest)}"
        case ["mid_block", "attentions", "0", *rest]:
            return f"middle_block.1.{'.'.join(rest)}"
        case ["down_blocks", block, "downsamplers", "0", "conv"]:
            return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.op"
        case ["up_blocks", block, "upsamplers", "0", "conv"]:
            has_attention = hasattr(unet.up_blocks[int(block)], "attentions")
            return f"output_blocks.{int(block) * (layers + 1) + layers}.{2 if has_attention else 1}.conv"
        case ["down_blocks", block, kind, index, *rest]:
            place = f"input_blocks.{1 + int(block) * (layers + 1) + int(index)}"
        case ["up_blocks", block, kind, index, *rest]:
            place = f"output_blocks.{int(block) * (layers + 1) + int(index)}"
        case _:
            return None
    return f"{place}.0.{_in_resnet(rest)}" if kind == "resnets" else f"{place}.1.{'.'.join(rest)}"


def _in_resnet(rest: list[str]) -> str:
    return _IN_RESNET.get(".".join(rest), ".".join(rest))
