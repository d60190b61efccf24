"""A small CLIP tokenizer of our own: known words are one token each, anything else falls back to bytes."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final

from transformers import CLIPTokenizer

from . import vocabulary

MAX_LENGTH: Final = 77
BOS: Final = "<|startoftext|>"
EOS: Final = "<|endoftext|>"
_WORD_END: Final = "</w>"


def byte_letters() -> list[str]:
    """The 256 letters that byte-level BPE writes for the bytes 0 to 255."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    letters = {byte: chr(byte) for byte in shown}
    spare = 0
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + spare)
            spare += 1
    return [letters[byte] for byte in range(256)]


def known_words() -> list[str]:
    """Every word of the vocabulary tables, sorted."""
    found: set[str] = set()

    def visit(entry: object) -> None:
        match entry:
            case str():
                found.update(re.findall(r"[a-z]+", entry))
            case dict():
                for value in entry.values():
                    visit(value)
            case tuple():
                for value in entry:
                    visit(value)
            case _:
                return

    for name, value in vars(vocabulary).items():
        if name.isupper():
            visit(value)
    return sorted(found | set(_GLUE))


_GLUE: Final = (
    "a",
    "an",
    "the",
    "of",
    "with",
    "and",
    "over",
    "above",
    "at",
    "in",
    "on",
    "starry",
    "stars",
    "sunny",
    "cherry",
    "autumn",
)


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every one of ``words`` is a single token."""
    pieces = {word: (*word[:-1], word[-1] + _WORD_END) for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for word in words for pair in pairwise(pieces[word]))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    result: list[str] = []
    index = 0
    while index < len(parts):
        if index + 1 < len(parts) and (parts[index], parts[index + 1]) == pair:
            result.append(parts[index] + parts[index + 1])
            index += 2
        else:
            result.append(parts[index])
            index += 1
    return tuple(result)


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write ``vocab.json`` and ``merges.txt`` into ``folder`` and load them as a tokenizer.

    The special tokens come last, as in CLIP: the end token is the highest id, which both ways of finding the pooled
    token in ``CLIPTextModel`` accept.
    """
    merges = learn_merges(known_words())
    letters = byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    seen = set(tokens)
    for first, second in merges:
        if first + second not in seen:
            seen.add(first + second)
            tokens.append(first + second)
    tokens += [BOS, EOS]
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        model_max_length=MAX_LENGTH,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=EOS,
        pad_token=EOS,
    )
