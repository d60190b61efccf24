"""LoRAs against diffusers' own `load_lora_weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentcast_worker.model.lora.names import Component
from latentcast_worker.model.schedulers import make_scheduler
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Lora

from .loras import FORMATS, is_attention, random_lora
from .reference import by_pipeline
from .requests import a_params
from .test_lora import assert_close, folder, latents_of, merged, model

__all__ = ["folder", "merged", "model"]

# Formats that diffusers loads for SDXL.
KNOWN = ("kohya", "peft", "old diffusers")


def is_read_by_diffusers(_component: Component, name: str) -> bool:
    """It mistakes the names of the other layers, and leaves them out without an error."""
    return name != "text_projection" and "embedding" not in name


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("scheduler", [None, "euler_a", "dpmpp_2m"])
def test_a_lora_gives_what_load_lora_weights_gives(
    pipeline: Any, merged: Any, model: SdxlModel, folder: Path, kind: str, scheduler: Any
) -> None:
    format, namer = FORMATS[kind]
    path = random_lora(pipeline, format=format, namer=namer).save(folder, "theirs")
    merged.load_lora_weights(path.parent, weight_name=path.name, adapter_name="one")
    merged.set_adapters(["one"], [0.7])
    params = a_params(loras=(Lora(path="theirs", scale=0.7),), scheduler=scheduler)
    own = make_scheduler(merged.scheduler, scheduler)
    assert_close(latents_of(model, params), by_pipeline(merged, params, own, output_type="latent"))


def test_two_loras_with_text_encoders_give_what_two_adapters_give(
    pipeline: Any, merged: Any, model: SdxlModel, folder: Path
) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        where = is_read_by_diffusers if name == "first" else is_attention
        path = random_lora(pipeline, seed, where=where).save(folder, name)
        merged.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    merged.set_adapters(["first", "second"], [0.6, 0.4])
    params = a_params(loras=(Lora(path="first", scale=0.6), Lora(path="second", scale=0.4)))
    ours = latents_of(model, params)
    assert_close(ours, by_pipeline(merged, params, merged.scheduler, output_type="latent"))
