"""Prompts to embeddings, exactly as StableDiffusionXLPipeline makes them, with a cache: negative prompts repeat."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# 77 tokens of 2,048 half-precision numbers and the pooled ones: 0.3 MB each on CUDA, twice that on a CPU.
CACHED_PROMPTS = 128


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """`tokens` (1, 77, channels of both encoders) and `pooled` (1, channels of the second encoder)."""

    tokens: Tensor
    pooled: Tensor


class PromptEncoder:
    """Both text encoders with their tokenizers. Prompts are cut at the tokenizers' length, 77 tokens."""

    def __init__(self, tokenizers: tuple[Any, Any], encoders: tuple[Any, Any], device: torch.device) -> None:
        self._parts = tuple(zip(tokenizers, encoders, strict=True))
        self._device = device
        self._cache: OrderedDict[tuple[str, int | None], TextEmbedding] = OrderedDict()
        self.projection_dim = int(encoders[1].config.projection_dim)
        # Hidden states are the token embeddings and one per layer: at this value the smaller encoder gives the former.
        self.max_clip_skip = min(int(encoder.config.num_hidden_layers) for encoder in encoders) - 1

    def encode(self, text: str, clip_skip: int | None = None) -> TextEmbedding:
        """`clip_skip` as in diffusers: hidden states `-(clip_skip + 2)` of both encoders; None is the same as 0."""
        key = (text, clip_skip)
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        embedding = self._encode(text, clip_skip)
        self._cache[key] = embedding
        if len(self._cache) > CACHED_PROMPTS:
            self._cache.popitem(last=False)
        return embedding

    def _encode(self, text: str, clip_skip: int | None) -> TextEmbedding:
        # One text per call: both prompts in one batch would be a little faster, and not bit-identical to the pipeline.
        hidden: list[Tensor] = []
        pooled: Tensor | None = None
        for tokenizer, encoder in self._parts:
            tokens = tokenizer(
                [text],
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            output = encoder(tokens.input_ids.to(self._device), output_hidden_states=True)
            if pooled is None and output[0].ndim == 2:
                pooled = output[0]
            hidden.append(output.hidden_states[-((clip_skip or 0) + 2)])
        assert pooled is not None
        return TextEmbedding(torch.concat(hidden, dim=-1), pooled)
