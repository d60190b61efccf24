"""A model of any size with random weights, made on the device itself: no download, no disk, no host memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, EulerDiscreteScheduler, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from image_params import plain_params
from latentcast_worker.model.acceleration import AcceleratedUNet
from latentcast_worker.model.decode import FullDecoder, PreviewRenderer
from latentcast_worker.model.devices import open_device
from latentcast_worker.model.encode import ImageEncoder
from latentcast_worker.model.port import WriteLog
from latentcast_worker.model.prompts import PromptEncoder
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.model.settings import SDXL_LATENT_RGB
from latentcast_worker.policy import EARLY_STEPS, CallCosts
from latentcast_worker.protocol import Capabilities, Generate, InputSizes, ModelInfo, PreviewPlan


@dataclass(slots=True)
class RandomModel:
    """The model as it is served, and the modules that the naive way of doing things is measured with."""

    model: SdxlModel
    unet: Any
    vae: Any

    @property
    def side(self) -> int:
        """Pixels of the model's own size."""
        return self.model.info.native_width


def random_model(configs: Path, device_name: str, log: WriteLog) -> RandomModel:
    """`configs` is a diffusers folder of which only configs and tokenizers are read."""
    runs_on = open_device(device_name)
    device = runs_on.tensors
    torch.manual_seed(0)
    half, brain = (torch.float16, torch.bfloat16) if runs_on.takes_half else (torch.float32, torch.float32)
    with _made_on(device, half):
        unet: Any = UNet2DConditionModel.from_config(_config(configs / "unet"))
        encoders = (
            CLIPTextModel(CLIPTextConfig(**_config(configs / "text_encoder"))),
            CLIPTextModelWithProjection(CLIPTextConfig(**_config(configs / "text_encoder_2"))),
        )
    with _made_on(device, brain):
        vae: Any = AutoencoderKL.from_config(_config(configs / "vae"))
        tiny_config = configs / "tiny_vae" / "config.json"
        # Without a config the class makes the architecture of TAESDXL.
        tiny: Any = (
            AutoencoderTiny.from_config(_config(tiny_config.parent)) if tiny_config.exists() else AutoencoderTiny()
        )
    for part in (unet, vae, tiny, *encoders):
        part.eval().requires_grad_(False)
    tiny.to(memory_format=torch.channels_last)
    runs_on.suit(unet, vae, tiny)
    tokenizers = tuple(CLIPTokenizer.from_pretrained(configs / name) for name in ("tokenizer", "tokenizer_2"))
    scheduler = EulerDiscreteScheduler.from_config(_config(configs / "scheduler", "scheduler_config.json"))
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    side = unet.config.sample_size * factor
    renderer = PreviewRenderer(tiny, SDXL_LATENT_RGB, device)
    model = SdxlModel(
        info=ModelInfo(
            id=f"random-{configs.name}",
            native_width=side,
            native_height=side,
            min_side=64,
            max_side=2048,
            default_steps=30,
            default_guidance_scale=5.0,
            default_scheduler="euler",
            prediction_type="epsilon",
            is_noise=True,
            takes_loras=False,
            examples=(),
        ),
        device=runs_on.describe(half),
        capabilities=Capabilities(
            preview_decoders=renderer.decoders,
            max_batch=1,
            max_jobs=64,
            max_pixels=1 << 26,
            early_steps=EARLY_STEPS,
        ),
        costs=CallCosts.solo(),
        prompts=PromptEncoder((tokenizers[0], tokenizers[1]), encoders, device, graphs=runs_on.prompt_graphs()),
        unet=AcceleratedUNet(unet, device, log, takes_loras=True),
        dtype=half,
        latent_channels=unet.config.in_channels,
        size_factor=factor,
        scheduler=scheduler,
        encoder=ImageEncoder(vae, factor, device, for_inpainting=False),
        decoder=FullDecoder(vae),
        previews=runs_on.previews(renderer),
        runs_on=runs_on,
    )
    return RandomModel(model, unet, vae)


def unet_flops(configs: Path, side: int) -> int:
    """Operations of a UNet call for one picture with guidance. Counted on shapes alone, without a device."""
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(_config(configs / "unet"))
        latents = side // 2 ** (len(_config(configs / "vae")["block_out_channels"]) - 1)
        pooled = _config(configs / "text_encoder_2")["projection_dim"]
        conditions = {"text_embeds": torch.empty(2, pooled), "time_ids": torch.empty(2, 6)}
        inputs = (torch.empty(2, unet.config.in_channels, latents, latents), torch.empty(2))
        tokens = torch.empty(2, 77, unet.config.cross_attention_dim)
    with FlopCounterMode(display=False) as counter:
        unet(*inputs, encoder_hidden_states=tokens, added_cond_kwargs=conditions)
    return counter.get_total_flops()


def request(
    side: int, steps: int, *, images: int = 1, seed: int = 0, preview: PreviewPlan | None = None, name: str = "bench"
) -> Generate:
    params = plain_params(
        "a lighthouse at dusk",
        negative_prompt="blurry",
        steps=steps,
        size=(side, side),
        guidance=5.0,
        seed=seed,
        images=images,
    )
    return Generate(job_id=name, incarnation=0, params=params, inputs=InputSizes(), preview=preview)


def synchronize(model: SdxlModel) -> None:
    if model.torch_device.type == "cuda":
        torch.cuda.synchronize()


def device_bytes(model: SdxlModel) -> int:
    """In use on the device, by whomever: what torch holds, and what CUDA needs for itself."""
    if model.torch_device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(model.torch_device)
    return total - free


def timed(model: SdxlModel, work: Callable[[], object]) -> float:
    """Seconds that `work` keeps the device."""
    synchronize(model)
    began = time.perf_counter()
    work()
    synchronize(model)
    return time.perf_counter() - began


@contextmanager
def _made_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))
