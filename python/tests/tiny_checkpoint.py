"""A second tiny SDXL, shaped so that it can be written as a single file in the layout of the original code.

Its encoders differ in width, as the real ones do, and the second has the ten layers by which diffusers knows SDXL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from latentcast_worker.model.checkpoint.kind import CLIP_G, CLIP_L, UNET

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [2, 4, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 96,
    "cross_attention_dim": 80,
    "norm_num_groups": 16,
}
VAE_CONFIG: dict[str, Any] = {
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 16,
    "sample_size": 64,
    "scaling_factor": 0.13025,
}
SCHEDULER_CONFIG: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def build_folder(folder: Path, tokenizers: Path, **unet_options: object) -> None:
    """Writes it as a diffusers folder. `tokenizers` is a folder that has both; `unet_options` go over its config."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config({**UNET_CONFIG, **unet_options}),
            "vae": AutoencoderKL.from_config(VAE_CONFIG),
            "text_encoder": CLIPTextModel(_text_config(width=32, layers=3, act="quick_gelu")),
            "text_encoder_2": CLIPTextModelWithProjection(_text_config(width=48, layers=11, act="gelu")),
        }
    StableDiffusionXLPipeline(
        **parts,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizers / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(tokenizers / "tokenizer_2"),
        scheduler=cast(Any, EulerDiscreteScheduler.from_config(SCHEDULER_CONFIG)),
        add_watermarker=False,
    ).save_pretrained(folder)


def original_tensors(folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The folder's weights under the names of the original code."""
    load: dict[str, Any] = {"torch_dtype": dtype}
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet", **load)
    first: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype)
    second: Any = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2", dtype=dtype)
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae", **load)
    return original_names(unet.state_dict(), vae.state_dict(), first.state_dict(), second.state_dict())


Tensors: TypeAlias = Mapping[str, Tensor]


def original_names(unet: Tensors, vae: Tensors, first: Tensors, second: Tensors) -> dict[str, Tensor]:
    """The four state dicts of diffusers as one of the original code."""
    return {
        **_renamed(unet, UNET, unet_name),
        **{f"first_stage_model.{name}": tensor for name, tensor in _vae_names(vae).items()},
        **_renamed(first, f"{CLIP_L}text_model.", lambda name: name.removeprefix("text_model.")),
        **_open_clip(second),
    }


def original_vae(folder: Path) -> dict[str, Tensor]:
    """The folder's VAE under the names of the original code, as it is handed out alone."""
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    return _vae_names(vae.state_dict())


def _vae_names(tensors: Tensors) -> dict[str, Tensor]:
    # Attention there is made of 1 x 1 convolutions.
    return {
        name: tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in _renamed(tensors, "", _vae_name).items()
    }


def write_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()},
        path,
        None if metadata is None else dict(metadata),
    )
    return path


def _text_config(width: int, layers: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        hidden_act=act,
        projection_dim=width,
        vocab_size=514,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _renamed(tensors: Mapping[str, Tensor], prefix: str, rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {prefix + rename(name): tensor for name, tensor in tensors.items()}


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(name: str) -> str:
    outside, _, kind = name.rpartition(".")
    if outside in _OUTSIDE:
        return f"{_OUTSIDE[outside]}.{kind}"
    if match := re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name):
        side, block, layer, rest = match[1], int(match[2]), match[3], match[5]
        first = 3 * block + int(match[4]) + (1 if side == "down" else 0)
        where = "input_blocks" if side == "down" else "output_blocks"
        match layer:
            case "resnets":
                return f"{where}.{first}.0.{_resnet(rest)}"
            case "attentions":
                return f"{where}.{first}.1.{rest}"
            case "downsamplers":
                return f"{where}.{3 * block + 3}.0.{rest.replace('conv', 'op')}"
            case _:
                return f"{where}.{3 * block + 2}.2.{rest}"
    middle = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
    assert middle is not None, name
    if middle[1] == "attentions":
        return f"middle_block.1.{middle[3]}"
    return f"middle_block.{2 * int(middle[2])}.{_resnet(middle[3])}"


def _resnet(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{_RESNET[layer]}.{kind}"


def _vae_name(name: str) -> str:
    def block(match: re.Match[str]) -> str:
        number = int(match[2]) if match[1] == "down" else 3 - int(match[2])
        return f"{match[1]}.{number}."

    name = re.sub(r"(down|up)_blocks\.(\d)\.", block, name)
    name = name.replace("resnets.", "block.").replace("samplers.0", "sample").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.block\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
    for ours, original in (
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):
        name = name.replace(f"attn_1.{ours}", f"attn_1.{original}")
    return name


def _open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(_open_clip_entries({name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}))


_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def _open_clip_entries(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    yield f"{CLIP_G}text_projection", tensors["text_projection.weight"].T
    for name, tensor in tensors.items():
        if name in _OPEN_CLIP:
            yield CLIP_G + _OPEN_CLIP[name], tensor
        elif match := re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name):
            where = f"{CLIP_G}transformer.resblocks.{match[1]}."
            layer, kind = match[2], match[3]
            if layer == "self_attn.q_proj":
                three = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
                yield f"{where}attn.in_proj_{kind}", torch.cat(three)
            elif layer not in ("self_attn.k_proj", "self_attn.v_proj"):
                for ours, original in (
                    ("self_attn", "attn"),
                    ("layer_norm", "ln_"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    layer = layer.replace(ours, original)
                yield f"{where}{layer}.{kind}", tensor


@dataclass(frozen=True, slots=True)
class TinyCheckpoint:
    """The second tiny model as a folder, as tensors under their original names, and as diffusers' pipeline."""

    folder: Path
    tensors: dict[str, Tensor]
    pipeline: Any


def make_tiny_checkpoint(folder: Path, tokenizers: Path) -> TinyCheckpoint:
    """Writes it; the pipeline comes from the single file. `folder` must not exist."""
    build_folder(folder, tokenizers)
    tensors = original_tensors(folder)
    file = write_file(folder.parent / "tiny.safetensors", tensors)
    pipeline: Any = StableDiffusionXLPipeline.from_single_file(
        str(file), config=str(folder), local_files_only=True, add_watermarker=False
    )
    # diffusers leaves fp32 weights where they lie in the file; kernels give other last bits at other alignments.
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        for parameter in part.parameters():
            parameter.data = parameter.data.clone()
    return TinyCheckpoint(folder, tensors, ready_pipeline(pipeline))


def ready_pipeline(pipeline: Any) -> Any:
    """Quiet, and with `own_scheduler` for what the model came with."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.own_scheduler = pipeline.scheduler
    return pipeline
