"""The names of single tensors in LoRA files, split into the layer and the part that the tensor plays."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Role: TypeAlias = Literal[
    "down", "up", "mid", "alpha",
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
]  # fmt: skip

# PEFT puts the adapter's name between, as in `lora_A.default_0.weight`.
_ROLES: tuple[tuple[re.Pattern[str], Role], ...] = (
    (re.compile(r"\.lora_down\.weight$|\.lora_A(?:\.\w+)?\.weight$|[._]lora(?:_linear_layer)?\.down\.weight$"), "down"),
    (re.compile(r"\.lora_up\.weight$|\.lora_B(?:\.\w+)?\.weight$|[._]lora(?:_linear_layer)?\.up\.weight$"), "up"),
    (re.compile(r"\.lora_mid\.weight$"), "mid"),
    (re.compile(r"\.alpha$"), "alpha"),
)
_LYCORIS = re.compile(r"\.((?:hada_w[12]_[ab])|(?:hada_t[12])|(?:lokr_w[12](?:_[ab])?)|lokr_t2)$")

# Old diffusers files name the attention's processor instead of its layer.
_PROCESSOR = re.compile(r"\.processor\.to_(q|k|v|out)$")


def split_key(key: str) -> tuple[str, Role] | None:
    """The layer, as the file calls it, and the tensor's role. None for a tensor of a kind that is not known."""
    key = key.removeprefix("base_model.model.")
    for pattern, role in _ROLES:
        if match := pattern.search(key):
            return _layer(key[: match.start()]), role
    if match := _LYCORIS.search(key):
        role: Role = match[1]  # pyright: ignore[reportAssignmentType]
        return _layer(key[: match.start()]), role
    return None


def _layer(name: str) -> str:
    return _PROCESSOR.sub(lambda match: ".to_out.0" if match[1] == "out" else f".to_{match[1]}", name)
