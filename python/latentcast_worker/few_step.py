"""Models that draw in few steps: how each family is known by its name, and how it is sampled by default.

Generated from `src/protocol/few-step.ts` by `npm run gen`; do not edit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .protocol import FewStepKind, SchedulerName


@dataclass(frozen=True, slots=True, kw_only=True)
class FewStepFamily:
    """`name` is looked for in lower-case names; `is_trailing`: timesteps begin at the very end of the schedule."""

    name: re.Pattern[str]
    scheduler: SchedulerName
    steps: int
    guidance_scale: float
    is_trailing: bool


FEW_STEP_FAMILIES: Mapping[FewStepKind, FewStepFamily] = {
    "lightning": FewStepFamily(
        name=re.compile(r"lightning"),
        scheduler="euler",
        steps=4,
        guidance_scale=0.0,
        is_trailing=True,
    ),
    "dmd2": FewStepFamily(
        name=re.compile(r"dmd2"),
        scheduler="lcm",
        steps=4,
        guidance_scale=0.0,
        is_trailing=False,
    ),
    "turbo": FewStepFamily(
        name=re.compile(r"turbo"),
        scheduler="euler_a",
        steps=4,
        guidance_scale=0.0,
        is_trailing=True,
    ),
    "hyper": FewStepFamily(
        name=re.compile(r"(?<![a-z])hyper(?:[-_ ]?sd(?:xl)?)?(?![a-z])"),
        scheduler="ddim",
        steps=8,
        guidance_scale=0.0,
        is_trailing=True,
    ),
    "lcm": FewStepFamily(
        name=re.compile(r"(?<![a-z])lcm(?![a-z])"),
        scheduler="lcm",
        steps=4,
        guidance_scale=1.0,
        is_trailing=False,
    ),
    "tcd": FewStepFamily(
        name=re.compile(r"(?<![a-z])tcd(?![a-z])"),
        scheduler="tcd",
        steps=4,
        guidance_scale=0.0,
        is_trailing=False,
    ),
}
"""In the order in which names are looked at: the first that fits is a name's family."""

STEPS_IN_NAME = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])")
MOST_STEPS_IN_NAME = 50

GUIDED_NAME = re.compile(r"(?<![a-z])cfg(?![a-z])")
NAMED_GUIDANCE_SCALE = 5.0
