"""Makes the tiny model from the configs beside this file: seeded weights, and a tokenizer whose tokens are bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CONFIGS = Path(__file__).parent / "configs"

SEED = 20_241

START, END = "<|startoftext|>", "<|endoftext|>"


def ensure_tiny_sdxl(cache_dir: Path) -> Path:
    """The model's folder under `cache_dir`, made if it is not there yet. Safe against interruption and rivals."""
    folder = cache_dir / f"tiny-sdxl-{_fingerprint()}"
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".tiny-sdxl-", dir=cache_dir))
    try:
        build_tiny_sdxl(made)
        made.chmod(0o755)
        # A rename is all or nothing. It fails when another process was faster, whose model is the same.
        with contextlib.suppress(OSError):
            os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not folder.is_dir():
        raise OSError(f"{folder} could not be made")
    return folder


def build_tiny_sdxl(folder: Path, seed: int = SEED) -> None:
    """Writes a diffusers folder with the tiny decoder and `latentcast.json` beside the usual parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(_config("unet")),
            "vae": AutoencoderKL.from_config(_config("vae")),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**_config("text_encoder"))),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**_config("text_encoder_2"))),
        }
        tiny_vae: Any = AutoencoderTiny.from_config(_config("tiny_vae"))
    pipeline = StableDiffusionXLPipeline(
        **parts,
        tokenizer=_tokenizer(END),
        tokenizer_2=_tokenizer("!"),
        scheduler=cast(Any, EulerDiscreteScheduler.from_config(_config("scheduler"))),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    tiny_vae.save_pretrained(folder / "tiny_vae")
    shutil.copyfile(CONFIGS / "latentcast.json", folder / "latentcast.json")


def _config(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))


def _tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's byte-level tokenizer without merges: every byte is a token, and another at the end of a word."""
    alphabet = _byte_alphabet()
    tokens = [*alphabet, *(f"{character}</w>" for character in alphabet), START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], pad_token=pad, model_max_length=77)


def _byte_alphabet() -> list[str]:
    """One printable character per byte: itself where it is printable Latin-1, else the next free one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    free = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(free)) for byte in range(256)]


def _fingerprint() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for config in sorted(CONFIGS.glob("*.json")):
        digest.update(config.read_bytes())
    return digest.hexdigest()[:12]
