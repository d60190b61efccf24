"""Small random LoRAs in every format, written as trainers write them, and the weights that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from latentcast_worker.model.lora.names import Component, layers_of, original_unet_name

RANK, ALPHA = 4, 2.0

Namer: TypeAlias = Callable[[Component, str, Any], str]
"""(component, name of the layer in its module, the module) -> what a file calls the layer."""


@dataclass(slots=True)
class RandomLora:
    """`tensors` as in the file; `deltas` are what they add to the weights, by component and layer, at scale 1."""

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    deltas: dict[tuple[Component, str], Tensor] = field(default_factory=dict[tuple[Component, str], Tensor])

    def save(self, folder: Path, name: str, metadata: Mapping[str, str] | None = None) -> Path:
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {key: tensor.contiguous() for key, tensor in self.tensors.items()}
        save_file(tensors, path, None if metadata is None else dict(metadata))
        return path


# Names


def kohya(component: Component, name: str, _module: Any) -> str:
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}[component]
    if component != "unet":
        name = f"text_model.{name.removeprefix('text_model.')}"
    return prefix + name.replace(".", "_")


def kohya_original(component: Component, name: str, module: Any) -> str:
    if component != "unet":
        return kohya(component, name, module)
    original = original_unet_name(name, module)
    assert original is not None
    return kohya("unet", original, module)


def diffusers_name(component: Component, name: str, _module: Any) -> str:
    return (
        f"{component}.{name}" if component == "unet" else f"{component}.text_model.{name.removeprefix('text_model.')}"
    )


# Formats: the tensors of one layer, and the weight that they add

Layer: TypeAlias = "nn.Linear | nn.Conv2d"
Format: TypeAlias = Callable[[str, Any], "tuple[dict[str, Tensor], Tensor]"]


def _random(*shape: int) -> Tensor:
    return torch.randn(shape) * 0.2


def lora(
    name: str, layer: Any, suffixes: tuple[str, str] = ("lora_down", "lora_up")
) -> tuple[dict[str, Tensor], Tensor]:
    """LoRA, and LoCon for convolutions: a kernel down, 1 x 1 up."""
    out, into, *kernel = layer.weight.shape
    down, up = _random(RANK, into, *kernel), _random(out, RANK, *[1 for _ in kernel])
    tensors = {f"{name}.{suffixes[0]}.weight": down, f"{name}.{suffixes[1]}.weight": up}
    delta = (up.flatten(1) @ down.flatten(1)).view(layer.weight.shape)
    if suffixes[0] != "lora_down":
        return tensors, delta
    return {**tensors, f"{name}.alpha": torch.tensor(ALPHA)}, delta * ALPHA / RANK


def peft(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    return lora(name, layer, ("lora_A", "lora_B"))


def old_diffusers(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    return lora(name, layer, ("lora.down", "lora.up"))


def tucker(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    out, into, *kernel = layer.weight.shape
    if not kernel:
        return lora(name, layer)
    down, mid, up = _random(RANK, into, 1, 1), _random(RANK, RANK, *kernel), _random(out, RANK, 1, 1)
    tensors = {"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up, "alpha": torch.tensor(ALPHA)}
    delta = torch.einsum("op,pqhw,qi->oihw", up.flatten(1), mid, down.flatten(1))
    return _named(name, tensors), delta * ALPHA / RANK


def loha(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    out, *into = layer.weight.shape
    size = torch.Size(into).numel()
    first, second = [(_random(out, RANK), _random(RANK, size)) for _ in range(2)]
    tensors = {
        "hada_w1_a": first[0], "hada_w1_b": first[1], "hada_w2_a": second[0], "hada_w2_b": second[1],
        "alpha": torch.tensor(ALPHA),
    }  # fmt: skip
    delta = (first[0] @ first[1]) * (second[0] @ second[1])
    return _named(name, tensors), delta.view(layer.weight.shape) * ALPHA / RANK


def loha_tucker(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    out, into, *kernel = layer.weight.shape
    if not kernel:
        return loha(name, layer)
    parts = [(_random(RANK, out), _random(RANK, into), _random(RANK, RANK, *kernel)) for _ in range(2)]
    tensors = {"alpha": torch.tensor(ALPHA)}
    for number, (up, down, core) in enumerate(parts, start=1):
        tensors |= {f"hada_w{number}_a": up, f"hada_w{number}_b": down, f"hada_t{number}": core}
    first, second = [torch.einsum("ijhw,jr,ip->prhw", core, down, up) for up, down, core in parts]
    return _named(name, tensors), first * second * ALPHA / RANK


def lokr(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    """Both parts whole: its alpha says nothing."""
    out, into, *kernel = layer.weight.shape
    left, right = _random(4, 2), _random(out // 4, into // 2, *kernel)
    tensors = {"lokr_w1": left, "lokr_w2": right, "alpha": torch.tensor(ALPHA)}
    return _named(name, tensors), _kron(left, right)


def lokr_low_rank(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    out, into, *kernel = layer.weight.shape
    left = _random(4, RANK), _random(RANK, 2)
    size = torch.Size([into // 2, *kernel]).numel()
    right = _random(out // 4, RANK), _random(RANK, size)
    tensors = {
        "lokr_w1_a": left[0], "lokr_w1_b": left[1], "lokr_w2_a": right[0], "lokr_w2_b": right[1],
        "alpha": torch.tensor(ALPHA),
    }  # fmt: skip
    whole = (right[0] @ right[1]).view(out // 4, into // 2, *kernel)
    return _named(name, tensors), _kron(left[0] @ left[1], whole) * ALPHA / RANK


def lokr_tucker(name: str, layer: Any) -> tuple[dict[str, Tensor], Tensor]:
    out, into, *kernel = layer.weight.shape
    if not kernel:
        return lokr_low_rank(name, layer)
    left = _random(4, 2)
    up, down, core = _random(RANK, out // 4), _random(RANK, into // 2), _random(RANK, RANK, *kernel)
    tensors = {"lokr_w1": left, "lokr_w2_a": up, "lokr_w2_b": down, "lokr_t2": core, "alpha": torch.tensor(ALPHA)}
    right = torch.einsum("ijhw,jr,ip->prhw", core, down, up)
    return _named(name, tensors), _kron(left, right) * ALPHA / RANK


def _kron(left: Tensor, right: Tensor) -> Tensor:
    return torch.kron(left.reshape(*left.shape, *[1 for _ in right.shape[2:]]), right.contiguous())


def _named(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{part}": tensor for part, tensor in tensors.items()}


FORMATS: Mapping[str, tuple[Format, Namer]] = {
    "kohya": (lora, kohya),
    "kohya with original names": (lora, kohya_original),
    "peft": (peft, diffusers_name),
    "old diffusers": (old_diffusers, diffusers_name),
    "LoCon with a Tucker core": (tucker, kohya),
    "LoHa": (loha, kohya),
    "LoHa with Tucker cores": (loha_tucker, kohya_original),
    "LoKr": (lokr, kohya),
    "LoKr of low rank": (lokr_low_rank, kohya_original),
    "LoKr with a Tucker core": (lokr_tucker, kohya),
}


def is_attention(component: Component, name: str) -> bool:
    return component == "unet" and any(part in name for part in ("to_q", "to_k", "to_v", "to_out"))


def in_unet(component: Component, _name: str) -> bool:
    return component == "unet"


def everywhere(_component: Component, _name: str) -> bool:
    return True


def random_lora(
    pipeline: Any,
    seed: int = 0,
    *,
    format: Format = lora,
    namer: Namer = kohya,
    where: Callable[[Component, str], bool] = is_attention,
) -> RandomLora:
    """A LoRA for the layers of a pipeline that `where` chooses."""
    made = RandomLora()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for component, module in components(pipeline):
            for name, layer in layers_of(module):
                if where(component, name):
                    tensors, delta = format(namer(component, name, module), layer)
                    made.tensors |= tensors
                    made.deltas[component, name] = delta
    return made


def components(pipeline: Any) -> Iterable[tuple[Component, Any]]:
    return (
        ("unet", pipeline.unet),
        ("text_encoder", pipeline.text_encoder),
        ("text_encoder_2", pipeline.text_encoder_2),
    )


@torch.no_grad()
def merge(pipeline: Any, *loras: tuple[RandomLora, float]) -> None:
    """Adds LoRAs to a pipeline's own weights."""
    modules = dict(components(pipeline))
    for made, scale in loras:
        for (component, name), delta in made.deltas.items():
            modules[component].get_submodule(name).weight += scale * delta
