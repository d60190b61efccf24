"""Ways to a picture in less time that change the picture: off unless whoever runs the server names them."""

from __future__ import annotations

from typing import TypeAlias

from ..settings import ShortcutName

Shortcuts: TypeAlias = frozenset[ShortcutName]

# The share of the steps after which guidance ends, as in diffusers' SDXLCFGCutoffCallback: a later step decides on
# texture only, where the negative prompt's half of the UNet call has little left to say.
CFG_CUTOFF_RATIO = 0.4

# What checkpoints distilled to few steps (SDXL Turbo, Lightning, Hyper) are made for: no guidance, and timesteps that
# start at the very end of the schedule. Turbo and Lightning publish both in their model cards.
FEW_STEPS = 4
FEW_STEP_SPACING = "trailing"


def guided_steps(total_steps: int, shortcuts: Shortcuts) -> int:
    """How many of the first steps of a run use guidance."""
    return int(total_steps * CFG_CUTOFF_RATIO) + 1 if "cfg-cutoff" in shortcuts else total_steps
