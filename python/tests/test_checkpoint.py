"""A model from a single file is the model of the folder, bit for bit, and makes diffusers' pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from torch import Tensor

from latentcast_worker.model.families import PREDICTIONS, Prediction
from latentcast_worker.model.port import LoadError, Reporter
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import SCHEDULER_NAMES, Loading, SchedulerName

from .loading import SILENT, load_model
from .requests import a_params
from .test_parity import assert_same
from .tiny_checkpoint import SCHEDULER_CONFIG, TinyCheckpoint, original_vae, ready_pipeline, write_file


def load(tiny: TinyCheckpoint, model: Path, cache_dir: Path, **options: Any) -> SdxlModel:
    return load_model(model, cache_dir, configs=tiny.folder, **options)


MARKERS: dict[Prediction, dict[str, Tensor]] = {
    "epsilon": {},
    "v_prediction": {"v_pred": torch.zeros(())},
    "v_prediction_zero_snr": {"v_pred": torch.zeros(()), "ztsnr": torch.zeros(())},
}

OPTIONS: dict[Prediction, dict[str, Any]] = {
    "epsilon": {},
    "v_prediction": {"prediction_type": "v_prediction"},
    "v_prediction_zero_snr": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}


@pytest.fixture(scope="module", params=PREDICTIONS)
def predicting(tiny: TinyCheckpoint, tmp_path_factory: pytest.TempPathFactory, request: Any) -> tuple[SdxlModel, Any]:
    """A single file that names its prediction type, and the pipeline with the scheduler that belongs to it."""
    folder = tmp_path_factory.mktemp("predicting")
    file = write_file(folder / "model.safetensors", {**tiny.tensors, **MARKERS[request.param]})
    scheduler: Any = EulerDiscreteScheduler.from_config(SCHEDULER_CONFIG, **OPTIONS[request.param])
    components: dict[str, Any] = {**tiny.pipeline.components, "scheduler": scheduler}
    pipeline: Any = StableDiffusionXLPipeline(**components)
    return load(tiny, file, folder), ready_pipeline(pipeline)


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("scheduler", [None, *SCHEDULER_NAMES])
def test_a_file_makes_the_pipelines_image(
    predicting: tuple[SdxlModel, Any], scheduler: SchedulerName | None, steps: int, guidance_scale: float
) -> None:
    model, pipeline = predicting
    request = a_params(scheduler=scheduler, num_inference_steps=steps, guidance_scale=guidance_scale)
    assert_same(pipeline, model, request)


def weights(model: SdxlModel) -> dict[str, Tensor]:
    unet: Any = model.unet
    decoder: Any = model.decoder
    return {**unet._unet.state_dict(prefix="unet."), **decoder._vae.state_dict(prefix="vae.")}


def test_weights_from_a_file_equal_those_from_the_folder(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", tiny.tensors)
    from_file, from_folder = (weights(load(tiny, path, tmp_path)) for path in (file, tiny.folder))
    assert from_file.keys() == from_folder.keys()
    assert all(torch.equal(tensor, from_folder[name]) for name, tensor in from_file.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_smaller_dtypes_are_read_as_they_are(tiny: TinyCheckpoint, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in tiny.tensors.items()}
    model = load(tiny, write_file(tmp_path / "model.safetensors", tensors), tmp_path)
    name = "time_embed.0.weight"
    expected = tensors[f"model.diffusion_model.{name}"].float()
    assert torch.equal(weights(model)["unet.time_embedding.linear_1.weight"], expected)


def test_a_loaded_model_does_not_need_its_file_any_more(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", tiny.tensors)
    model = load(tiny, file, tmp_path)
    with file.open("r+b") as damaged:
        damaged.truncate(0)
    assert_same(tiny.pipeline, model, a_params())


def test_loading_reports_each_part_and_never_goes_back(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", tiny.tensors)
    reports: list[Loading] = []
    load_model(file, tmp_path, configs=tiny.folder, reporter=Reporter(reports.append, SILENT.log))
    loaded = [report for report in reports if report.stage == "weights"]
    assert [report.detail for report in loaded] == ["text_encoder", "text_encoder_2", "unet", "vae"]
    shares = [report.progress for report in loaded]
    assert None not in shares
    assert shares == sorted(share for share in shares if share is not None)


# What a file says of its prediction type


@pytest.mark.parametrize(
    ("markers", "metadata", "beside", "told", "expected"),
    [
        ((), {}, None, None, "epsilon"),
        (("v_pred",), {}, None, None, "v_prediction"),
        (("v_pred", "ztsnr"), {}, None, None, "v_prediction_zero_snr"),
        ((), {"modelspec.prediction_type": "v"}, None, None, "v_prediction"),
        (("ztsnr",), {"modelspec.prediction_type": "v"}, None, None, "v_prediction_zero_snr"),
        ((), {"modelspec.prediction_type": "epsilon"}, "v_prediction", None, "epsilon"),
        ((), {}, "v_prediction", None, "v_prediction_zero_snr"),
        (("v_pred",), {}, None, "epsilon", "epsilon"),
        ((), {"modelspec.prediction_type": "epsilon"}, None, "v_prediction_zero_snr", "v_prediction_zero_snr"),
    ],
    ids=["nothing", "marker", "both markers", "metadata", "metadata and marker", "metadata wins over a config",
         "a config beside the file", "the setting wins over markers", "the setting wins over metadata"],
)  # fmt: skip
def test_the_prediction_type_is_found(
    tiny: TinyCheckpoint,
    tmp_path: Path,
    markers: tuple[str, ...],
    metadata: dict[str, str],
    beside: str | None,
    told: Prediction | None,
    expected: Prediction,
) -> None:
    tensors = {**tiny.tensors, **{name: torch.zeros(()) for name in markers}}
    file = write_file(tmp_path / "model.safetensors", tensors, metadata)
    if beside is not None:
        config = {"prediction_type": beside, "rescale_betas_zero_snr": True}
        (tmp_path / "scheduler_config.json").write_text(json.dumps(config))
    config = load(tiny, file, tmp_path, prediction_type=told).scheduler.config
    wanted = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False, "timestep_spacing": "leading"}
    assert {name: config[name] for name in wanted} == {**wanted, **OPTIONS[expected]}


def test_zero_terminal_snr_reaches_the_betas(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", {**tiny.tensors, **MARKERS["v_prediction_zero_snr"]})
    (sample,) = load(tiny, file, tmp_path).prepare(a_params(num_inference_steps=20))
    assert float(sample.run.scheduler.sigmas[0]) == 4096.0
    assert int(sample.timesteps[0]) == 999


def test_the_setting_holds_for_folders_too(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    config = load(tiny, tiny.folder, tmp_path, prediction_type="v_prediction_zero_snr").scheduler.config
    assert config.prediction_type == "v_prediction"
    assert config.rescale_betas_zero_snr


# A VAE of its own


def without_vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("first_stage_model.")}


def test_a_file_without_a_vae_asks_for_one(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    file = write_file(tmp_path / "model.safetensors", without_vae(tiny.tensors))
    with pytest.raises(LoadError, match=r"model\.safetensors holds no VAE: name one with --vae"):
        load(tiny, file, tmp_path)


def vae_folder(tiny: TinyCheckpoint, _tmp_path: Path) -> Path:
    return tiny.folder / "vae"


def model_folder(tiny: TinyCheckpoint, _tmp_path: Path) -> Path:
    return tiny.folder


def whole_file(tiny: TinyCheckpoint, tmp_path: Path) -> Path:
    return write_file(tmp_path / "other.safetensors", tiny.tensors)


def original_file(tiny: TinyCheckpoint, tmp_path: Path) -> Path:
    return write_file(tmp_path / "vae.safetensors", original_vae(tiny.folder))


def diffusers_file(tiny: TinyCheckpoint, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny.folder / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors"))


@pytest.mark.parametrize("source", [vae_folder, model_folder, whole_file, original_file, diffusers_file])
def test_a_vae_is_taken_from_wherever_it_is(tiny: TinyCheckpoint, tmp_path: Path, source: Any) -> None:
    file = write_file(tmp_path / "model.safetensors", without_vae(tiny.tensors))
    model = load(tiny, file, tmp_path, vae=str(source(tiny, tmp_path)))
    assert_same(tiny.pipeline, model, a_params())


def test_a_vae_of_its_own_replaces_the_models(tiny: TinyCheckpoint, tmp_path: Path) -> None:
    vae = {name: torch.zeros_like(tensor) for name, tensor in original_vae(tiny.folder).items()}
    own = write_file(tmp_path / "black.safetensors", vae)
    model = load(tiny, tiny.folder, tmp_path, vae=str(own))
    assert not any(tensor.any() for name, tensor in weights(model).items() if name.startswith("vae."))


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"decoder.layers.0.weight": torch.zeros(1)}, "holds no VAE that fits SDXL"),
        ({"decoder.up.0.block.0.conv1.weight": torch.zeros(1)}, "lacks .* tensors of its vae"),
    ],
    ids=["a tiny VAE", "half a VAE"],
)
def test_a_vae_that_cannot_be_used_is_refused(
    tiny: TinyCheckpoint, tmp_path: Path, tensors: dict[str, Tensor], sentence: str
) -> None:
    file = write_file(tmp_path / "vae.safetensors", tensors)
    with pytest.raises(LoadError, match=sentence):
        load(tiny, tiny.folder, tmp_path, vae=str(file))


def test_a_tiny_decoder_in_half_precision_is_found(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    decoder = folder / "tiny_vae" / "diffusion_pytorch_model.safetensors"
    decoder.rename(decoder.with_name("diffusion_pytorch_model.fp16.safetensors"))
    model = load_model(folder, tmp_path)
    assert model.capabilities.preview_decoders == ("tae", "linear")
