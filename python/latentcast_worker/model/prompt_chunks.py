"""Prompts as chunks of token ids, each as long as a text encoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol import PromptSyntax
from .prompt_syntax import Fragment, parse_prompt

# Each chunk makes every cross attention of a step longer, and 600 tokens are a page.
MAX_CHUNKS = 8

# A chunk ends at a comma that is at most so many tokens before its end, as in AUTOMATIC1111: no phrase is torn.
COMMA_REACH = 20

_COMMA = ",</w>"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Token ids without start, end and padding, and one weight each."""

    ids: Sequence[int] = ()
    weights: Sequence[float] = ()

    @property
    def is_weighted(self) -> bool:
        return any(weight != 1 for weight in self.weights)

    def padded_ids(self, tokenizer: Any) -> list[int]:
        whole = [tokenizer.bos_token_id, *self.ids, tokenizer.eos_token_id]
        return [*whole, *[tokenizer.pad_token_id] * (tokenizer.model_max_length - len(whole))]

    def padded_weights(self, tokenizer: Any) -> list[float]:
        return [1.0, *self.weights, *[1.0] * (tokenizer.model_max_length - 1 - len(self.weights))]


@dataclass(frozen=True, slots=True)
class SplitPrompt:
    """At least one chunk, and the token ids that found no room."""

    chunks: Sequence[Chunk]
    cut: Sequence[int]


def split_prompt(tokenizer: Any, text: str, syntax: PromptSyntax) -> SplitPrompt:
    """`plain` is one chunk without syntax; `weighted` reads it and makes up to MAX_CHUNKS chunks."""
    room = tokenizer.model_max_length - 2
    if syntax == "plain":
        ids = _ids(tokenizer, text)
        return SplitPrompt([Chunk(ids[:room], [1.0] * min(room, len(ids)))], ids[room:])
    comma = tokenizer.convert_tokens_to_ids(_COMMA)
    chunks = [chunk for section in parse_prompt(text) for chunk in _split(_tokens(tokenizer, section), room, comma)]
    return SplitPrompt(chunks[:MAX_CHUNKS], [token for chunk in chunks[MAX_CHUNKS:] for token in chunk.ids])


def _tokens(tokenizer: Any, section: Sequence[Fragment]) -> list[tuple[int, float]]:
    return [(token, fragment.weight) for fragment in section for token in _ids(tokenizer, fragment.text)]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def _split(tokens: Sequence[tuple[int, float]], room: int, comma: int) -> Iterator[Chunk]:
    """A section's chunks, at least one."""
    start = 0
    while True:
        end = min(len(tokens), start + room)
        if end < len(tokens):
            commas = [index for index in range(max(start, end - COMMA_REACH), end) if tokens[index][0] == comma]
            end = commas[-1] + 1 if commas else end
        part = tokens[start:end]
        yield Chunk([token for token, _ in part], [weight for _, weight in part])
        start = end
        if start >= len(tokens):
            return
