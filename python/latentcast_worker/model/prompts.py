"""Prompts to embeddings, as StableDiffusionXLPipeline makes them, of any length and with weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..protocol import PromptSyntax
from .acceleration_graphs import Graphs
from .lora.layers import AdaptedModule, AdaptedRows, Addition
from .lora.store import JobLoras
from .prompt_chunks import Chunk, split_prompt
from .residency import RestingModules

# A chunk is 77 tokens of 2,048 half-precision numbers and the pooled ones: 0.3 MB on CUDA, twice that on a CPU.
CACHED_CHUNKS = 256

# What a warning quotes of the text that was cut.
QUOTED_CHARACTERS = 60

_Key: TypeAlias = tuple[str, int | None, PromptSyntax, tuple[object, ...]]
"""The text and all that decides what becomes of it; last the LoRAs that change the encoders."""

_Additions: TypeAlias = tuple[Sequence[Addition], Sequence[Addition]]
"""What LoRAs add to the layers of both encoders."""

_NOTHING: _Additions = ((), ())


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """`tokens` (1, 77 per chunk, channels of both encoders), `pooled` (1, channels of the second encoder)."""

    tokens: Tensor
    pooled: Tensor
    chunks: int = 1


class PromptEncoder:
    """Both text encoders with their tokenizers, and a cache: negative prompts repeat.

    `graphs` captures the encoders' calls. `resting` brings the encoders to the device for as long as they encode.
    """

    def __init__(
        self,
        tokenizers: tuple[Any, Any],
        encoders: tuple[Any, Any],
        device: torch.device,
        *,
        graphs: Graphs | None = None,
        resting: RestingModules | None = None,
    ) -> None:
        self._parts = tuple(zip(tokenizers, encoders, strict=True))
        self._device = device
        self._graphs = graphs
        self._resting = resting
        self._twins: dict[int, AdaptedModule] = {}
        self._cache: OrderedDict[_Key, TextEmbedding] = OrderedDict()
        self.projection_dim = int(encoders[1].config.projection_dim)
        # Hidden states are the token embeddings and one per layer: at this value the smaller encoder gives the former.
        self.max_clip_skip = min(int(encoder.config.num_hidden_layers) for encoder in encoders) - 1

    def encode(
        self,
        text: str,
        clip_skip: int | None = None,
        syntax: PromptSyntax = "weighted",
        *,
        chunks: int = 1,
        loras: JobLoras | None = None,
    ) -> TextEmbedding:
        """At least `chunks` chunks: prompts of one call are made equally long with chunks of the empty prompt.

        `clip_skip` as in diffusers: hidden states `-(clip_skip + 2)` of both encoders; None is the same as 0. `plain`
        reads the first 77 tokens as they are; `weighted` reads more, in chunks, and AUTOMATIC1111's syntax.
        """
        key, additions = ((), _NOTHING) if loras is None else (loras.text_key, _additions(loras))
        embedding = self._cached((text, clip_skip, syntax, key), additions)
        missing = chunks - embedding.chunks
        if missing <= 0:
            return embedding
        empty = self._cached(("", clip_skip, "plain", key), additions)
        return TextEmbedding(torch.cat([embedding.tokens, *[empty.tokens] * missing], dim=1), embedding.pooled, chunks)

    def warning(self, name: str, text: str, syntax: PromptSyntax) -> str | None:
        """What of a prompt is not read, for whoever wrote it; None if all of it is."""
        tokenizer, _ = self._parts[0]
        cut = split_prompt(tokenizer, text, syntax).cut
        if not cut:
            return None
        words = tokenizer.decode(cut).strip()
        quoted = words if len(words) <= QUOTED_CHARACTERS else f"{words[:QUOTED_CHARACTERS].rstrip()} …"
        return f"{name} is too long: its last {len(cut)} tokens were not read, from “{quoted}”"

    def _cached(self, key: _Key, additions: _Additions) -> TextEmbedding:
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        text, clip_skip, syntax, _ = key
        with nullcontext() if self._resting is None else self._resting.in_use():
            embedding = self._encode(text, clip_skip, syntax, additions)
        self._cache[key] = embedding
        while len(self._cache) > 1 and sum(kept.chunks for kept in self._cache.values()) > CACHED_CHUNKS:
            self._cache.popitem(last=False)
        return embedding

    def _encode(self, text: str, clip_skip: int | None, syntax: PromptSyntax, additions: _Additions) -> TextEmbedding:
        splits = [split_prompt(tokenizer, text, syntax).chunks for tokenizer, _ in self._parts]
        count = max(len(chunks) for chunks in splits)
        pooled: Tensor | None = None
        rows: list[Tensor] = []
        for (tokenizer, encoder), chunks, added in zip(self._parts, splits, additions, strict=True):
            hidden: list[Tensor] = []
            for chunk in (*chunks, *[Chunk()] * (count - len(chunks))):
                tokens, output = self._encode_chunk(tokenizer, encoder, chunk, clip_skip, added)
                if pooled is None and output.ndim == 2:
                    pooled = output  # Of the first chunk, and without weights, as everybody does it.
                hidden.append(tokens)
            rows.append(hidden[0] if count == 1 else torch.cat(hidden, dim=1))
        assert pooled is not None
        return TextEmbedding(torch.concat(rows, dim=-1), pooled, count)

    def _encode_chunk(
        self, tokenizer: Any, encoder: Any, chunk: Chunk, clip_skip: int | None, added: Sequence[Addition]
    ) -> tuple[Tensor, Tensor]:
        """Hidden states with weights applied, and the encoder's first output."""
        hidden, output = self._run(encoder, chunk.padded_ids(tokenizer), clip_skip, added)
        if not chunk.is_weighted:
            return hidden, output
        # ComfyUI's and compel's way: towards and beyond what the empty prompt has in that place.
        empty, _ = self._run(encoder, Chunk().padded_ids(tokenizer), clip_skip, added)
        weights = torch.tensor(chunk.padded_weights(tokenizer), dtype=hidden.dtype, device=hidden.device)[None, :, None]
        return torch.where(weights == 1, hidden, empty + weights * (hidden - empty)), output

    def _run(
        self, encoder: Any, ids: Sequence[int], clip_skip: int | None, added: Sequence[Addition]
    ) -> tuple[Tensor, Tensor]:
        def encode(given: Tensor, module: Any = encoder) -> tuple[Tensor, Tensor]:
            output = module(given, output_hidden_states=True)
            return output.hidden_states[-((clip_skip or 0) + 2)], output[0]

        # One chunk per call: several in one would be a little faster, and not bit-identical to the pipeline.
        tokens = torch.tensor([ids], device=self._device)
        if added:
            with self._twin(encoder).using([AdaptedRows(0, 1, added)]) as twin:
                return encode(tokens, twin)
        if self._graphs is None:
            return encode(tokens)
        # On an H200 launching the kernels of both encoders takes 17 ms, running them 3.
        hidden, output = self._graphs.run((id(encoder), clip_skip), encode, (tokens,))
        return hidden.clone(), output.clone()

    def _twin(self, encoder: Any) -> AdaptedModule:
        if id(encoder) not in self._twins:
            self._twins[id(encoder)] = AdaptedModule(encoder)
        return self._twins[id(encoder)]


def _additions(loras: JobLoras) -> _Additions:
    return loras.additions("text_encoder"), loras.additions("text_encoder_2")
