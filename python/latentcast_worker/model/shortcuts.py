"""Methods that make an image in less time and change it: off unless the operator names them.

`few-step` is older than `distillation`, which knows most such models by name: it says that the model is one.
"""

from __future__ import annotations

from typing import TypeAlias

from ..settings import ShortcutName

Shortcuts: TypeAlias = frozenset[ShortcutName]

# The share of the steps after which guidance ends, as in diffusers' SDXLCFGCutoffCallback: a later step decides on
# texture only, where the negative prompt's half of the UNet call has little left to say.
CFG_CUTOFF_RATIO = 0.4


def guided_steps(total_steps: int, shortcuts: Shortcuts) -> int:
    """How many of the first steps of a run use guidance."""
    return int(total_steps * CFG_CUTOFF_RATIO) + 1 if "cfg-cutoff" in shortcuts else total_steps
