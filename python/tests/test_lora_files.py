"""LoRA files that are not what they should be: each is refused with a sentence, before the job begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from latentcast_worker.model.checkpoint.parts import SDXL_CONFIGS
from latentcast_worker.model.lora import file as lora_file
from latentcast_worker.model.lora.folder import LoraFolder
from latentcast_worker.model.lora.names import Layer, layer_names, layers_of, original_unet_name
from latentcast_worker.model.port import InvalidRequestError
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Failed, Lora, Result

from .fakes import EngineRun
from .loras import Namer, RandomLora, components, diffusers_name, kohya, kohya_original, random_lora
from .requests import a_params, a_request
from .test_lora import folder, model
from .tiny_checkpoint import unet_name

__all__ = ["folder", "model"]


def refusal(model: SdxlModel, name: str) -> str:
    """The words with which a request for this LoRA is refused."""
    params = a_params(loras=(Lora(path=name, scale=1.0),))

    def admit() -> None:
        model.check(params)
        fetching = model.fetch(params, lambda: None)
        assert fetching is not None
        fetching.result(timeout=60)

    with pytest.raises(InvalidRequestError) as refused:
        admit()
    assert refused.value.field == "loras"
    return str(refused.value)


def write(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")


# Names


@pytest.mark.parametrize(
    "name",
    ["", "nothing", "../secret", "/etc/passwd", "styles/../../secret", "https://example.com/x.safetensors", "x" * 300],
)
def test_a_name_that_is_not_in_the_folder_is_refused(model: SdxlModel, folder: Path, name: str) -> None:
    (folder.parent / "secret.safetensors").write_bytes(b"")
    assert "is not a LoRA of this server" in refusal(model, name)


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.safetensors").write_bytes(b"")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "secret.safetensors").symlink_to(tmp_path / "outside" / "secret.safetensors")
    (inside / "folder").symlink_to(tmp_path / "outside")
    assert LoraFolder(inside).files() == {}


def test_a_name_may_leave_out_folders_and_suffix_where_one_file_is_meant(tmp_path: Path) -> None:
    for name in ("ink", "styles/oil", "styles/ink", "old/water", "new/water"):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    loras = LoraFolder(tmp_path)
    assert loras.find("oil") == loras.find("styles/oil.safetensors") == tmp_path / "styles" / "oil.safetensors"
    assert loras.find("ink") == tmp_path / "ink.safetensors"
    with pytest.raises(InvalidRequestError, match="is the name of 2 LoRAs here"):
        loras.find("water")


def test_a_server_without_a_folder_has_no_loras(tiny_model: SdxlModel) -> None:
    assert "without --lora-dir" in refusal(tiny_model, "any")


# Keys


def test_keys_that_fit_no_layer_are_counted_and_named(pipeline: Any, model: SdxlModel, folder: Path) -> None:
    made = random_lora(pipeline)
    strangers = {f"lora_unet_stranger_{index}.lora_down.weight": torch.zeros(4, 4) for index in range(5)}
    RandomLora({**made.tensors, **strangers}).save(folder, "strange")
    count = f"5 of {len(made.tensors) + 5} keys fit no layer"
    words = refusal(model, "strange")
    assert count in words
    assert "lora_unet_stranger_0.lora_down.weight" in words
    assert "lora_unet_stranger_3" not in words


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_te_text_model_x.lora_down.weight": (4, 768)}, "for Stable Diffusion 1 or 2"),
        ({"lora_unet_down_blocks_0_attentions_0_attn2_to_k.lora_down.weight": (4, 768)}, "for Stable Diffusion 1"),
        ({"unet.down_blocks.0.attentions.0.attn2.to_k.lora_A.weight": (4, 1024)}, "for Stable Diffusion 2"),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 8)}, "for Flux"),
        ({"lora_unet_joint_blocks_0_x.lora_down.weight": (4, 8)}, "for Stable Diffusion 3"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (4, 4, 3, 3)}, "is a whole model"),
        ({"lora_unet_conv_in.dora_scale": (4, 1)}, "is a DoRA"),
        ({"bundle_emb.word.string_to_param.*": (4, 8)}, "embeddings"),
        ({"lora_unet_conv_in.diff": (4, 4)}, "differences of whole weights"),
        ({}, "holds nothing"),
    ],
)
def test_what_is_no_lora_for_sdxl_is_refused_by_its_name(
    model: SdxlModel, folder: Path, tensors: Mapping[str, tuple[int, ...]], words: str
) -> None:
    write(folder, "other", {name: torch.zeros(shape) for name, shape in tensors.items()})
    assert words in refusal(model, "other")


def test_a_lora_for_other_widths_is_refused_at_its_first_layer(pipeline: Any, model: SdxlModel, folder: Path) -> None:
    made = random_lora(pipeline)
    key = next(name for name in made.tensors if name.endswith("lora_down.weight"))
    made.tensors[key] = torch.zeros(4, 7)
    made.save(folder, "narrow")
    assert "it is made for a weight of" in refusal(model, "narrow")


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "NaN"), (float("inf"), "NaN or infinity")])
def test_numbers_that_are_not_finite_are_refused(
    pipeline: Any, model: SdxlModel, folder: Path, value: float, words: str
) -> None:
    made = random_lora(pipeline)
    next(iter(made.tensors.values()))[0, 0] = value
    made.save(folder, "not-finite")
    assert words in refusal(model, "not-finite")


def test_half_a_layer_is_refused(pipeline: Any, model: SdxlModel, folder: Path) -> None:
    made = random_lora(pipeline)
    del made.tensors[next(name for name in made.tensors if name.endswith("lora_up.weight"))]
    made.save(folder, "half")
    assert "its up is missing" in refusal(model, "half")


def test_files_that_are_too_large_are_refused_unread(
    pipeline: Any, model: SdxlModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_lora(pipeline).save(folder, "large")
    monkeypatch.setattr(lora_file, "MAX_HEADER_BYTES", 100)
    assert "is too large" in refusal(model, "large")
    monkeypatch.setattr(lora_file, "MAX_FILE_BYTES", 100)
    assert "is too large" in refusal(model, "large")


# Damage


@pytest.fixture(scope="module")
def whole(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return random_lora(pipeline).save(tmp_path_factory.mktemp("whole"), "whole").read_bytes()


@given(data=st.data())
def test_a_file_that_is_cut_off_is_refused(model: SdxlModel, folder: Path, whole: bytes, data: Any) -> None:
    (folder / "cut.safetensors").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert "cut.safetensors" in refusal(model, "cut")


@given(data=st.data())
def test_a_file_with_other_bytes_is_refused_or_another_lora(
    model: SdxlModel, folder: Path, whole: bytes, data: Any
) -> None:
    """Any bytes of the header, which is a thirtieth of what can be changed at all."""
    damaged = bytearray(whole)
    header_end = 8 + int.from_bytes(whole[:8], "little")
    for index in data.draw(st.lists(st.integers(0, header_end - 1), min_size=1, max_size=8)):
        damaged[index] = data.draw(st.integers(0, 255))
    (folder / "damaged.safetensors").write_bytes(damaged)
    params = a_params(loras=(Lora(path="damaged", scale=1.0),))
    fetching = model.fetch(params, lambda: None)
    assert fetching is not None
    error = fetching.exception(timeout=60)
    assert error is None or isinstance(error, InvalidRequestError)


def test_a_job_whose_lora_is_refused_ends_before_it_begins_and_leaves_others_alone(
    pipeline: Any, model: SdxlModel, folder: Path
) -> None:
    random_lora(pipeline).save(folder, "good")
    (folder / "bad.safetensors").write_bytes(b"nothing")
    run = EngineRun(model)
    jobs = [
        a_request("bad", loras=(Lora(path="bad", scale=1.0),)),
        a_request("unknown", loras=(Lora(path="unknown", scale=1.0),)),
        a_request("good", loras=(Lora(path="good", scale=1.0),)),
        a_request("plain"),
    ]
    run.run(*jobs, endings=4)
    for job_id in ("bad", "unknown"):
        assert run.kinds(job_id) == ["failed"]
        ending = run.ending(job_id)
        assert isinstance(ending, Failed)
        assert (ending.code, ending.field) == ("invalid_request", "loras")
    assert isinstance(run.ending("good"), Result)
    assert isinstance(run.ending("plain"), Result)


# Names of layers


def test_original_names_are_those_of_checkpoints() -> None:
    """Of SDXL itself, without weights."""
    with init_empty_weights():
        config: Any = UNet2DConditionModel.load_config(SDXL_CONFIGS / "unet")
        unet: Any = UNet2DConditionModel.from_config(config)
    originals = {f"{name}.weight": f"{original_unet_name(name, unet)}.weight" for name, _ in layers_of(unet)}
    assert len(originals) > 700
    assert originals == {name: unet_name(name) for name in originals}


@pytest.mark.parametrize("namer", [kohya, kohya_original, diffusers_name])
def test_every_layer_is_found_by_its_name(pipeline: Any, namer: Namer) -> None:
    names = layer_names(pipeline.unet, (pipeline.text_encoder, pipeline.text_encoder_2))
    for component, module in components(pipeline):
        for name, part in layers_of(module):
            assert names[namer(component, name, module)] == Layer(component, name, tuple(part.weight.shape))
