"""The operator's folder of LoRAs. A client names a file in it; no name leads out of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..port import InvalidRequestError

SUFFIX = ".safetensors"

# What an error quotes of a name, which may be as long as a request.
QUOTED_CHARACTERS = 80


class LoraFolder:
    """Names are paths below the folder without their suffix: `ink`, `styles/ink`. Links are not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def files(self) -> Mapping[str, Path]:
        """All LoRAs by name, as the folder is now."""
        found: dict[str, Path] = {}
        for folder, _, names in os.walk(self._path):
            for name in names:
                path = Path(folder) / name
                if path.suffix == SUFFIX and path.is_file() and not path.is_symlink():
                    found[path.relative_to(self._path).as_posix().removesuffix(SUFFIX)] = path
        return found

    def find(self, name: str) -> Path:
        """The file of a name, with or without the suffix, or without its folders where that says which is meant.

        Raises InvalidRequestError. The name is only compared with those that are there, never made a path of.
        """
        files = self.files()
        wanted = name.removesuffix(SUFFIX)
        if wanted in files:
            return files[wanted]
        alike = [path for other, path in files.items() if other.rpartition("/")[2] == wanted]
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise lora_problem(name, f"is the name of {len(alike)} LoRAs here: name its folder too")
        raise lora_problem(name, "is not a LoRA of this server: GET /loras lists them")


def lora_problem(name: str, sentence: str) -> InvalidRequestError:
    """`sentence` goes on where the name of the LoRA ends."""
    quoted = name if len(name) <= QUOTED_CHARACTERS else f"{name[:QUOTED_CHARACTERS]}…"
    return InvalidRequestError(f'"{quoted}" {sentence}', field="loras")
