"""The prompt syntax that users of AUTOMATIC1111 write: `(word:1.3)`, `(word)`, `[word]`, `BREAK`.

A bracket without its partner is text, and so is one after a backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROUND, SQUARE = 1.1, 1 / 1.1

_TOKEN = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|(?P<break>\bBREAK\b)"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<weighted>\))"
    r"|(?P<bracket>[()\[\]])"
    r"|(?P<text>[^\\()\[\]:B]+|.)",
    re.DOTALL,
)

# Beyond it embeddings are nothing that a UNet was trained on; the bound only keeps numbers finite.
MAX_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text of one weight. A section is a list of them, and begins a chunk of its own (`BREAK`)."""

    text: str
    weight: float = 1.0


def parse_prompt(prompt: str) -> list[list[Fragment]]:
    """The sections of a prompt, at least one. Joined, their texts are the prompt without its syntax."""
    pieces: list[_Piece] = []
    open_brackets: list[tuple[str, int]] = []
    for match in _TOKEN.finditer(prompt):
        if match["escaped"] is not None:
            pieces.append(_Piece(match["escaped"]))
        elif match["break"] is not None:
            pieces.append(_Piece("", is_break=True))
        elif match["bracket"] in ("(", "["):
            open_brackets.append((match["bracket"], len(pieces)))
            pieces.append(_Piece(match["bracket"]))
        elif (start := _pop_partner(open_brackets, match["weighted"] or match["bracket"])) is not None:
            pieces[start].text = ""
            unnamed = ROUND if match["bracket"] == ")" else SQUARE
            weight = unnamed if match["weight"] is None else float(match["weight"])
            for piece in pieces[start:]:
                piece.weight *= weight
        else:
            pieces.append(_Piece(match[0]))
    return _sections(pieces)


def _pop_partner(open_brackets: list[tuple[str, int]], closing: str | None) -> int | None:
    """Where the bracket was opened that `closing` closes; those opened since then are text."""
    if closing is None:
        return None
    partner = "(" if closing == ")" else "["
    for index in range(len(open_brackets) - 1, -1, -1):
        kind, start = open_brackets[index]
        if kind == partner:
            del open_brackets[index:]
            return start
    return None


@dataclass(slots=True)
class _Piece:
    text: str
    weight: float = 1.0
    is_break: bool = False


def _sections(pieces: list[_Piece]) -> list[list[Fragment]]:
    sections: list[list[Fragment]] = [[]]
    for piece in pieces:
        weight = min(MAX_WEIGHT, max(-MAX_WEIGHT, piece.weight))
        section = sections[-1]
        if piece.is_break:
            sections.append([])
        elif section and section[-1].weight == weight:
            section[-1] = Fragment(section[-1].text + piece.text, weight)
        elif piece.text:
            section.append(Fragment(piece.text, weight))
    return sections
