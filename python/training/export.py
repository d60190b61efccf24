"""Put the trained parts together as a diffusers folder in half precision, with the engine's defaults beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from . import vocabulary
from .networks import Networks, build_scheduler
from .tiny import fit_latent_rgb

EXAMPLES: Final = (
    "a beautiful sunset",
    "a red boat on the sea at sunset, sun in the center",
    "city skyline at night, full moon on the right",
    "northern lights over snowy mountains",
    "a cactus in the desert at sunrise",
    "green hills with a rainbow, blue hot air balloon",
    "a cottage in the snow at dusk, falling snow",
    "a lighthouse by the sea in a thunderstorm",
)
"""Prompts the page offers."""

SUMMARY: Final = "landscapes by time of day and weather, with the sun or the moon and one thing in them"
"""What the model paints, to be read after "paints"."""


def engine_vocabulary() -> dict[str, Any]:
    """The words of the captions as ``latentcast.json`` has them.

    Of phrases that contain a known word, such as "big tree", the word alone is kept: it is what makes them understood.
    """
    tables = (
        vocabulary.TIME_NOUNS,
        vocabulary.WEATHER_NOUNS,
        vocabulary.GROUND_NOUNS,
        vocabulary.BODY_NOUNS,
        vocabulary.THING_NOUNS,
    )
    phrases = dict.fromkeys(phrase for table in tables for phrases in table.values() for phrase in phrases)
    words = {phrase for phrase in phrases if " " not in phrase}
    subjects = [phrase for phrase in phrases if phrase in words or words.isdisjoint(phrase.split())]
    colours = dict.fromkeys(name for names in vocabulary.COLOUR_WORDS.values() for name in names if " " not in name)
    return {"summary": SUMMARY, "subjects": subjects, "modifiers": [*colours, "left", "right", "center", "high", "low"]}


def build_pipeline(networks: Networks, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    """Assemble the parts as an ordinary SDXL pipeline (float32, on the CPU)."""
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=networks.text,
        text_encoder_2=networks.text_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=networks.unet,
        scheduler=build_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def engine_defaults(latent_rgb: dict[str, Any]) -> dict[str, Any]:
    """What ``latentcast.json`` tells the engine about this model."""
    return {
        "name": "demo",
        "native_size": [256, 256],
        "min_size": 64,
        "max_size": 512,
        "default_steps": 20,
        "default_guidance_scale": 3.0,
        "tiny_vae": "tiny_vae",
        "latent_rgb": latent_rgb,
        "cpu_dtype": "float32",
        "examples": list(EXAMPLES),
        "vocabulary": engine_vocabulary(),
    }


def export_model(
    target: Path,
    networks: Networks,
    vae: AutoencoderKL,
    tiny: AutoencoderTiny,
    tokenizer: CLIPTokenizer,
    pictures: np.ndarray,
) -> None:
    """Write the model folder; a model card already in ``target`` stays.

    Args:
        pictures: bytes, N x H x W x 3, for the fit of the linear preview.
    """
    defaults = engine_defaults(fit_latent_rgb(vae, pictures))
    for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae", "scheduler", "tiny_vae"):
        shutil.rmtree(target / name, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    build_pipeline(networks, vae, tokenizer).to(dtype=torch.float16).save_pretrained(target)
    tiny.to(dtype=torch.float16).save_pretrained(target / "tiny_vae")
    (target / "latentcast.json").write_text(json.dumps(defaults, indent=2) + "\n", encoding="utf-8")
    for weights in target.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes for the owner only; a container reads as another user.
