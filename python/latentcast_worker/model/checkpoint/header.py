"""The beginning of a `.safetensors` file: names, shapes and dtypes of its tensors, read without loading any."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..port import LoadError

# The limit of the safetensors library. SDXL's header has 0.3 MB.
MAX_HEADER_BYTES = 100_000_000

_LENGTH_BYTES = 8

# Other things that people have under the name of a model, by their first bytes.
_STRANGERS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "is a GGUF file, which is not served: take the .safetensors file of the model"),
    (b"PK\x03\x04", "is a pickle, which could run code when it is loaded: take the .safetensors file of the model"),
    (b"\x80\x02", "is a pickle, which could run code when it is loaded: take the .safetensors file of the model"),
    (b"version https://git-lfs", "is a Git LFS pointer instead of the file itself: run `git lfs pull`"),
    (b"<!DOCTYPE", "is a web page instead of a model: download it again, signed in where the site asks for it"),
    (b"<html", "is a web page instead of a model: download it again, signed in where the site asks for it"),
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """`dtype` is one of safetensors' names: F16, BF16, F32, F8_E4M3 and so on."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]

    def has(self, *prefixes: str) -> bool:
        """True if the name of a tensor begins with one of these."""
        return any(name.startswith(prefixes) for name in self.tensors)


def read_header(path: Path) -> Header:
    """Reads and checks the header. Raises LoadError `model_invalid` for all but a whole safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(max(len(sign) for sign, _ in _STRANGERS))
            file.seek(_LENGTH_BYTES)
            length = _header_length(path, start, size)
            text = file.read(length)
    except OSError as error:
        raise invalid(path, f"cannot be read: {error.strerror or error}") from error
    try:
        value = json.loads(text)
        header = _parse(path, value)
        end = _LENGTH_BYTES + length + _data_bytes(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise invalid(path, "is not a .safetensors file, or is damaged: its header cannot be read") from error
    if end > size:
        raise invalid(path, f"is cut off: it has {size} of {end} bytes; download it again")
    if end < size:
        raise invalid(path, f"is damaged: {size - end} bytes follow its last tensor; download it again")
    return header


def invalid(path: Path, sentence: str) -> LoadError:
    """`sentence` goes on where the name of the file ends."""
    return LoadError("model_invalid", f"{path.name} {sentence}")


def _header_length(path: Path, start: bytes, size: int) -> int:
    for sign, sentence in _STRANGERS:
        if start.startswith(sign):
            raise invalid(path, sentence)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if size < _LENGTH_BYTES or length > MAX_HEADER_BYTES:
        raise invalid(path, "is not a .safetensors file, or is damaged: it does not begin with a header")
    if _LENGTH_BYTES + length > size:
        raise invalid(path, f"is cut off within its header, after {size} bytes; download it again")
    return length


def _parse(path: Path, value: dict[str, Any]) -> Header:
    metadata = {str(key): str(text) for key, text in (value.get("__metadata__") or {}).items()}
    tensors = {
        name: TensorInfo(str(entry["dtype"]), tuple(int(side) for side in entry["shape"]))
        for name, entry in value.items()
        if name != "__metadata__"
    }
    return Header(path, tensors, metadata)


def _data_bytes(value: dict[str, Any]) -> int:
    ends = (int(entry["data_offsets"][1]) for name, entry in value.items() if name != "__metadata__")
    return max(ends, default=0)
