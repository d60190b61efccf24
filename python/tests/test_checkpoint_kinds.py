"""A file that is not a whole SDXL checkpoint is refused by what it is, from its header alone."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from latentcast_worker.model import hub
from latentcast_worker.model.checkpoint.header import Header, TensorInfo, read_header
from latentcast_worker.model.checkpoint.kind import CLIP_G, CLIP_L, UNET, identify
from latentcast_worker.model.checkpoint.parts import SDXL_CONFIGS, CheckpointParts
from latentcast_worker.model.port import LoadError, Reporter

from .loading import SILENT, load_model
from .tiny_checkpoint import TinyCheckpoint, build_folder, original_names, original_tensors, write_file

CONTEXT = f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
FIRST = f"{UNET}input_blocks.0.0.weight"
LABELS = f"{UNET}label_emb.0.0.weight"
ENCODERS = {f"{CLIP_L}text_model.x": (1,), f"{CLIP_G}ln_final.weight": (1,)}
SD_ENCODER = {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (1,)}

KINDS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "SD 1.5": ({FIRST: (1, 4, 3, 3), CONTEXT: (1, 768), **SD_ENCODER}, "is a Stable Diffusion 1 model"),
    "SD 2": ({FIRST: (1, 4, 3, 3), CONTEXT: (1, 1024), **SD_ENCODER}, "is a Stable Diffusion 2 model"),
    "SD 3": ({f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (1,)}, "is a Stable Diffusion 3 model"),
    "Flux": ({"double_blocks.0.img_attn.qkv.weight": (1,)}, "is a Flux model"),
    "Flux with a prefix": ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (1,)}, "is a Flux model"),
    "refiner": (
        {FIRST: (1, 4, 3, 3), LABELS: (1, 2560), "conditioner.embedders.0.model.ln_final.weight": (1,)},
        "is the SDXL refiner",
    ),
    "UNet alone": ({FIRST: (1, 4, 3, 3), LABELS: (1, 2816)}, "is a UNet alone"),
    "UNet without a prefix": ({"input_blocks.0.0.weight": (1, 4, 3, 3)}, "is a UNet alone"),
    "UNet in diffusers' layout": ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "is a UNet alone"),
    "UNet and VAE": (
        {FIRST: (1, 4, 3, 3), LABELS: (1, 2816), "first_stage_model.decoder.conv_in.weight": (1,)},
        "lacks the text encoders",
    ),
    "VAE": ({"decoder.conv_in.weight": (1,), "encoder.conv_in.weight": (1,)}, "is a VAE alone: name it with --vae"),
    "VAE with a prefix": ({"first_stage_model.decoder.conv_in.weight": (1,)}, "is a VAE alone"),
    "text encoder": ({"text_model.final_layer_norm.weight": (1,)}, "is a text encoder alone"),
    "kohya LoRA": ({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": (1,)}, "is a LoRA"),
    "peft LoRA": ({"unet.down_blocks.1.attentions.0.proj_in.lora_A.weight": (1,)}, "is a LoRA"),
    "LoHa": ({"lora_te1_x.hada_w1_a": (1,)}, "is a LoRA"),
    "LoKr": ({"x.lokr_w1": (1,)}, "is a LoRA"),
    "embedding": ({"clip_l": (1, 768), "clip_g": (1, 1280)}, "is a textual inversion embedding"),
    "SD 1.5 embedding": ({"emb_params": (1, 768)}, "is a textual inversion embedding"),
    "ControlNet": ({"controlnet_cond_embedding.conv_in.weight": (1,), "down_blocks.0.x": (1,)}, "is a ControlNet"),
    "scaled fp8": ({FIRST: (1, 4, 3, 3), f"{UNET}out.2.scale_weight": (1,)}, "holds scaled fp8 weights"),
    "Playground 2.5": (
        {FIRST: (1, 4, 3, 3), LABELS: (1, 2816), "edm_mean": (1,), "edm_std": (1,), **ENCODERS},
        "was trained with EDM noise",
    ),
    "no first layer": ({f"{UNET}x": (1,), LABELS: (1, 2816), **ENCODERS}, "lacks .*input_blocks.0.0.weight"),
    "something else": ({"model.embed_tokens.weight": (1,)}, "holds no model that is known"),
    "nothing": ({}, "holds no model that is known"),
}


def refusal(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        CheckpointParts(path, torch.device("cpu"), SILENT)
    assert caught.value.code == "model_invalid"
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    shapes, sentence = KINDS[kind]
    path = write_file(tmp_path / "some.safetensors", {name: torch.zeros(shape) for name, shape in shapes.items()})
    with pytest.raises(LoadError, match=rf"^some\.safetensors {sentence}"):
        identify(read_header(path))
    assert "\n" not in refusal(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a .safetensors file"),
        (b"\x07", "is not a .safetensors file"),
        (b"GGUF" + bytes(100), "is a GGUF file"),
        (pickle.dumps({"state_dict": {}}, protocol=2), "is a pickle"),
        (b"PK\x03\x04" + bytes(100), "is a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        ((2**40).to_bytes(8, "little") + bytes(100), "is not a .safetensors file"),
        ((1000).to_bytes(8, "little") + b"{}", "is cut off within its header"),
        ((2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"\xff\xff", "its header cannot be read"),
        ((13).to_bytes(8, "little") + b'{"a":{"b":1}}', "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"{}xyz", "3 bytes follow its last tensor"),
    ],
)
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(content)
    assert sentence in refusal(path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "gone.safetensors")


def open_tiny(folder: Path, path: Path) -> None:
    CheckpointParts(path, torch.device("cpu"), SILENT, folder)


def test_a_file_that_is_cut_off_says_how_far_it_goes(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.safetensors", tiny.tensors)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(LoadError, match=f"is cut off: it has {size - 1} of {size} bytes"):
        open_tiny(tiny.folder, path)


@pytest.mark.parametrize(
    ("name", "part", "told"),
    [
        (f"{UNET}out.2.bias", "unet", "conv_out.bias"),
        (f"{UNET}label_emb.0.2.bias", "unet", "label_emb.0.2.bias"),
        (f"{CLIP_G}transformer.resblocks.3.attn.in_proj_bias", "text_encoder_2", "layers.3.self_attn.q_proj.bias"),
        (f"{CLIP_L}text_model.final_layer_norm.bias", "text_encoder", "final_layer_norm.bias"),
        ("first_stage_model.post_quant_conv.bias", "vae", "post_quant_conv.bias"),
    ],
)
def test_a_missing_tensor_is_named(tiny: TinyCheckpoint, tmp_path: Path, name: str, part: str, told: str) -> None:
    assert name in tiny.tensors
    path = write_file(
        tmp_path / "model.safetensors", {key: value for key, value in tiny.tensors.items() if key != name}
    )
    with pytest.raises(LoadError, match=rf"lacks .*tensors of its {part}.*{told}"):
        open_tiny(tiny.folder, path)


def test_a_pruned_model_is_distinguished_from_a_damaged_one(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    kept = {name: tensor for name, tensor in tiny.tensors.items() if "middle_block.1.transformer_blocks.1." not in name}
    with pytest.raises(LoadError, match="a pruned model such as SSD-1B has to be a diffusers folder"):
        open_tiny(tiny.folder, write_file(tmp_path / "model.safetensors", kept))


def test_a_shape_that_does_not_fit_is_named(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    path = write_file(tmp_path / "model.safetensors", {**tiny.tensors, f"{UNET}out.2.bias": torch.zeros(5)})
    with pytest.raises(LoadError, match=r"conv_out\.bias of its unet is 5 where SDXL has 4"):
        open_tiny(tiny.folder, path)


@pytest.mark.parametrize(
    ("channels", "sentence"), [(8, "is an image-editing model"), (5, "has a UNet with 5 input channels")]
)
def test_a_unet_with_other_inputs_is_refused_before_anything_is_loaded(
    tiny_folder: Path, tmp_path: Path, channels: int, sentence: str
) -> None:
    folder = tmp_path / "folder"
    build_folder(folder, tiny_folder, in_channels=channels)
    path = write_file(tmp_path / "model.safetensors", original_tensors(folder))
    for model in (path, folder):
        stages: list[str] = []
        with pytest.raises(LoadError, match=sentence):
            load_reporting(model, folder, tmp_path, stages)
        assert stages == []


def load_reporting(model: Path, configs: Path, cache_dir: Path, stages: list[str]) -> None:
    load_model(
        model, cache_dir, configs=configs, reporter=Reporter(lambda report: stages.append(report.stage), SILENT.log)
    )


# The configs that ship, at full size


def read_config(part: str) -> Any:
    return json.loads((SDXL_CONFIGS / part / "config.json").read_text(encoding="utf-8"))


def full_size_header(path: Path) -> Header:
    with init_empty_weights():
        unet: Any = UNet2DConditionModel.from_config(read_config("unet"))
        vae: Any = AutoencoderKL.from_config(read_config("vae"))
        first: Any = CLIPTextModel(CLIPTextConfig.from_pretrained(SDXL_CONFIGS / "text_encoder"))
        second: Any = CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(SDXL_CONFIGS / "text_encoder_2"))
    tensors = original_names(unet.state_dict(), vae.state_dict(), first.state_dict(), second.state_dict())
    return Header(path, {name: TensorInfo("F16", tuple(tensor.shape)) for name, tensor in tensors.items()}, {})


def test_the_configs_that_ship_are_those_of_sdxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = full_size_header(tmp_path / "sdxl.safetensors")
    # Counts as published for SDXL base 1.0: UNet, VAE and both encoders.
    counts = {
        prefix: sum(math.prod(info.shape) for name, info in header.tensors.items() if name.startswith(prefix))
        for prefix in (UNET, "first_stage_model.", CLIP_L, CLIP_G)
    }
    assert list(counts.values()) == [2_567_463_684, 83_653_863, 123_060_480, 694_659_840]
    # Names and shapes of the file that Stability AI published.
    shapes: dict[str, tuple[int, ...]] = {
        f"{UNET}input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
        f"{UNET}middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
        f"{UNET}output_blocks.5.2.conv.weight": (640, 640, 3, 3),
        LABELS: (1280, 2816),
        f"{CLIP_G}transformer.resblocks.31.attn.in_proj_weight": (3840, 1280),
        f"{CLIP_G}text_projection": (1280, 1280),
        f"{CLIP_L}text_model.encoder.layers.11.mlp.fc2.weight": (768, 3072),
        "first_stage_model.decoder.up.0.block.2.conv2.weight": (128, 128, 3, 3),
        "first_stage_model.encoder.mid.attn_1.proj_out.weight": (512, 512, 1, 1),
    }
    assert {name: header.tensors[name].shape for name in shapes} == shapes
    monkeypatch.setattr("latentcast_worker.model.checkpoint.parts.read_header", lambda _path: header)
    parts = CheckpointParts(header.path, torch.device("cpu"), SILENT)
    first, second = parts.tokenizers()
    assert first("a cat").input_ids == second("a cat").input_ids == [49406, 320, 2368, 49407]
    assert (first.pad_token, second.pad_token) == ("<|endoftext|>", "!")


# Files on the hub


def raising(error: Exception) -> Callable[..., str]:
    def download(*_arguments: Any, **_options: Any) -> str:
        raise error

    return download


RESPONSE: Any = type("Response", (), {"headers": {}, "request": None, "status_code": 404})()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LocalEntryNotFoundError("offline"), "download_failed"),
        (RemoteEntryNotFoundError("404", response=RESPONSE), "model_not_found"),
        (OSError(28, "No space left on device"), "download_failed"),
    ],
)
def test_a_failed_download_of_a_file_says_why(monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    monkeypatch.setattr(hub, "hf_hub_download", raising(error))
    with pytest.raises(LoadError, match=r"some/model/it\.safetensors") as caught:
        hub.find_model("some/model/it.safetensors", SILENT, half_precision=False)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("some/model/it.safetensors", ("some/model", "it.safetensors")),
        ("some/model/deep/er/it.safetensors", ("some/model", "deep/er/it.safetensors")),
    ],
)
def test_a_file_on_the_hub_is_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, asked: tuple[str, str]
) -> None:
    calls: list[tuple[str, ...]] = []

    def download(*arguments: str, **_options: Any) -> str:
        calls.append(arguments)
        return str(tmp_path)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert hub.find_model(name, SILENT, half_precision=True) == tmp_path
    assert calls == [asked]
