"""Makes the tiny model from the configs beside this file: seeded weights, and a tokenizer whose tokens are bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SEED = 20_241

START, END = "<|startoftext|>", "<|endoftext|>"


def build_tiny_sdxl(folder: Path, configs: Path) -> None:
    """Writes a diffusers folder with the tiny decoder and `latentcast.json` beside the usual parts."""

    def config(name: str) -> dict[str, Any]:
        return json.loads((configs / f"{name}.json").read_text(encoding="utf-8"))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(config("unet")),
            "vae": AutoencoderKL.from_config(config("vae")),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**config("text_encoder"))),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**config("text_encoder_2"))),
            "tiny_vae": AutoencoderTiny.from_config(config("tiny_vae")),
            "tokenizer": _tokenizer(END),
            "tokenizer_2": _tokenizer("!"),
            "scheduler": EulerDiscreteScheduler.from_config(config("scheduler")),
        }
    # One by one: the pipeline, which could save them, takes longer to import than they take to be made.
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    for name in ("latentcast.json", "model_index.json"):
        shutil.copyfile(configs / name, folder / name)


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
