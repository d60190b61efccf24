"""Jobs that start from an image: how many steps run, what comes before them, and what is kept of the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from latentcast_worker.inputs import InputImages, executed_steps
from latentcast_worker.model.paste import FEATHER, Paste
from latentcast_worker.model.port import DeviceOutOfMemoryError, NumericalError
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import (
    Cancel,
    Failed,
    Generate,
    ImageSize,
    InputSizes,
    Preview,
    Progress,
    Result,
    Started,
)

from .fakes import SHARED, EngineRun, FakeModel
from .requests import a_params, a_plan, job

SIDE = 64
SIZE = ImageSize(width=SIDE, height=SIDE)
IMAGE = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def image_job(job_id: str, **changes: object) -> Generate:
    return job(job_id, **{"inputs": InputSizes(image=SIZE), "strength": 0.75, **changes})


def send(run: EngineRun, *commands: Generate) -> None:
    for command in commands:
        sizes = (command.inputs.image, command.inputs.mask)
        channels = (3, 1)
        payload = [
            bytes(size.width * size.height * count)
            for size, count in zip(sizes, channels, strict=True)
            if size is not None
        ]
        run.send_with_payload(command, payload)


def half_a_mask() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, SIDE // 2 :] = 255
    return mask


@pytest.mark.parametrize(
    ("steps", "strength", "executed"),
    [(50, 0.58, 28), (100, 0.29, 28), (25, 0.95, 23), (20, 1.0, 20), (20, 0.05, 1), (20, None, 20), (10, 0.05, 0)],
)
def test_the_last_part_of_the_steps_runs(steps: int, strength: float | None, executed: int) -> None:
    assert executed_steps(a_params(num_inference_steps=steps, strength=strength)) == executed


def test_every_total_counts_the_steps_that_run() -> None:
    run = EngineRun(FakeModel())
    send(run, image_job("a", num_inference_steps=8, strength=0.3, preview=a_plan(every=1)))
    run.run(endings=1)
    assert [report.total_steps for report in run.of("a") if isinstance(report, Started)] == [2]
    assert [report.step for report in run.of("a") if isinstance(report, Progress)] == [0, 1]
    previews = [report for report in run.of("a") if isinstance(report, Preview)]
    assert {report.total_steps for report in previews} == {2}
    assert previews[0].step == 0


def test_an_image_is_encoded_once_and_before_its_job_is_prepared() -> None:
    encoded: list[InputImages] = []
    model = FakeModel(on_encode=encoded.append)
    run = EngineRun(model)
    send(run, image_job("a", num_images=3))
    run.run(job("plain"), endings=2)
    assert len(encoded) == 1
    assert model.prepared_with == [encoded[0], None]


def test_a_step_of_others_comes_between_encoding_and_preparing_where_they_are_more_urgent() -> None:
    model = FakeModel(costs=SHARED)
    run = EngineRun(model)

    def bring_a_newcomer(_inputs: InputImages) -> None:
        run.send(job("newcomer", preview=a_plan()))

    model.on_encode = bring_a_newcomer
    send(run, image_job("a"))
    run.run(endings=2)
    assert [encoded is None for encoded in model.prepared_with] == [True, False]


def test_a_job_that_is_cancelled_while_its_image_is_encoded_makes_no_step() -> None:
    model = FakeModel()
    run = EngineRun(model)
    model.on_encode = lambda _inputs: run.send(Cancel(job_id="a", incarnation=0))
    send(run, image_job("a"))
    run.run(endings=1)
    assert run.kinds("a") == ["started", "cancelled"]


def fail_with(error: Exception) -> Callable[[InputImages], None]:
    def fail(_inputs: InputImages) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [(NumericalError("not finite"), "numerical_error"), (DeviceOutOfMemoryError(), "out_of_memory")],
)
def test_an_image_that_cannot_be_encoded_fails_its_job_alone(error: Exception, code: str) -> None:
    model = FakeModel(on_encode=fail_with(error))
    run = EngineRun(model)
    send(run, image_job("a"))
    run.run(job("plain"), endings=2)
    ending = run.ending("a")
    assert isinstance(ending, Failed)
    assert ending.code == code
    assert isinstance(run.ending("plain"), Result)


def test_an_encode_that_runs_out_of_memory_is_tried_again_with_freed_memory() -> None:
    tries: list[InputImages] = []

    def fail_once(inputs: InputImages) -> None:
        tries.append(inputs)
        if len(tries) == 1:
            raise DeviceOutOfMemoryError

    model = FakeModel(on_encode=fail_once)
    run = EngineRun(model)
    send(run, image_job("a"))
    run.run(endings=1)
    assert isinstance(run.ending("a"), Result)
    assert model.releases == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": None}, "an image needs strength"),
        ({"inputs": InputSizes()}, "strength needs an image"),
        ({"inputs": InputSizes(mask=SIZE), "strength": None}, "mask needs an image"),
        ({"width": 32}, "image is 64x64 and not 32x64"),
        ({"num_inference_steps": 10, "strength": 0.05}, "strength 0.05 runs none of 10 steps; at least 0.1 is needed"),
    ],
)
def test_images_and_parameters_that_do_not_go_together_are_refused(changes: dict[str, object], message: str) -> None:
    run = EngineRun(FakeModel())
    send(run, image_job("a", **changes))
    run.run(endings=1)
    assert run.of("a") == [Failed(job_id="a", incarnation=0, code="invalid_request", message=message)]


def test_pixels_outside_of_the_mask_stay_equal_to_the_bit() -> None:
    mask = half_a_mask()
    drawn = np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    pasted = Paste(torch.from_numpy(IMAGE), torch.from_numpy(mask >= 128)).over(drawn)
    np.testing.assert_array_equal(pasted[mask == 0], IMAGE[mask == 0])
    deep = np.s_[:, SIDE // 2 + FEATHER - 1 :]
    np.testing.assert_array_equal(pasted[deep], drawn[deep])


@pytest.mark.parametrize("size", [(8, 8), (48, 48), (100, 30)])
def test_previews_of_any_size_are_pasted(size: tuple[int, int]) -> None:
    paste = Paste(torch.from_numpy(np.full_like(IMAGE, 200)), torch.from_numpy(half_a_mask() >= 128))
    pasted = paste.over(np.zeros((*size, 3), np.uint8))
    assert pasted.shape == (*size, 3)
    assert pasted[:, 0].min() == 200
    assert pasted[:, -1].max() == 0


def test_the_result_and_its_previews_keep_the_surroundings(tiny_model: SdxlModel) -> None:
    mask = half_a_mask()
    encoded = tiny_model.encode(InputImages(IMAGE, mask))
    (sample,) = tiny_model.prepare(a_params(strength=0.75), encoded)
    tiny_model.step([sample])
    (preview,) = tiny_model.start_preview([sample], a_plan()).wait()
    np.testing.assert_array_equal(preview[mask == 0], IMAGE[mask == 0])
    (noisy,) = tiny_model.start_preview([sample], a_plan(source="latents")).wait()
    assert not np.array_equal(noisy[mask == 0], IMAGE[mask == 0])
    while sample.steps_done < sample.total_steps:
        tiny_model.step([sample])
    result = tiny_model.decode(sample)
    np.testing.assert_array_equal(result[mask == 0], IMAGE[mask == 0])
    assert not np.array_equal(result[mask == 255], IMAGE[mask == 255])
    # Nothing of it is held once it is of no more use.
    assert sample.inpainting is None


def test_jobs_with_and_without_images_share_a_call(tiny_model: SdxlModel) -> None:
    inputs = InputImages(IMAGE, half_a_mask())
    params = a_params(strength=0.5, num_inference_steps=4)
    (alone,) = tiny_model.prepare(params, tiny_model.encode(inputs))
    while alone.steps_done < alone.total_steps:
        tiny_model.step([alone])
    (shared,) = tiny_model.prepare(params, tiny_model.encode(inputs))
    (plain,) = tiny_model.prepare(a_params(num_inference_steps=4))
    for _ in range(shared.total_steps):
        tiny_model.step([shared, plain])
    torch.testing.assert_close(shared.latents, alone.latents, atol=1e-4, rtol=1e-4)


def test_nan_from_the_encoder_is_an_error(tiny_model: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_model.encoder._vae.encoder  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(encoder, "forward", lambda _self: torch.full((1, 8, 8, 8), torch.nan))
    with pytest.raises(NumericalError, match="encoded image"):
        tiny_model.encode(InputImages(IMAGE))
