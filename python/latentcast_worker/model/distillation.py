"""Models that were distilled to few steps: how each family is sampled, and how its members are recognised.

Sampled as a plain SDXL they give noise or grey: most need no guidance, and timesteps that begin at the very end of the
schedule, where `leading` ones begin at 751 of 1,000 for four steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..few_step import FEW_STEP_FAMILIES, GUIDED_NAME, MOST_STEPS_IN_NAME, NAMED_GUIDANCE_SCALE, STEPS_IN_NAME
from ..protocol import SchedulerName
from .families import Family


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is sampled by default. `scheduler` None keeps the model's own; `options` go over its config."""

    family: Family | None
    scheduler: SchedulerName | None
    steps: int
    guidance_scale: float
    options: Mapping[str, Any]

    def __str__(self) -> str:
        guidance = "no guidance" if self.guidance_scale <= 1 else f"guidance {self.guidance_scale:g}"
        return f"{self.family or 'distilled'}: {self.scheduler or 'its own scheduler'}, {self.steps} steps, {guidance}"

    def timesteps(self, steps: int) -> list[int] | None:
        """The timesteps that the model was trained for, None for those of its scheduler."""
        return None if self.family is None else timesteps_of(self.family, steps)


_TRAILING: Mapping[str, Any] = {"timestep_spacing": "trailing"}

PLAIN = Sampling(None, None, 20, 5.0, {})

# What the shortcut `few-step` stands for, whatever the model is called.
UNNAMED = Sampling(None, None, 4, 0.0, _TRAILING)

# A UNet that takes the guidance scale as an input of its own guides without a second row.
GUIDED_INSIDE = 8.0


def timesteps_of(family: Family, steps: int) -> list[int] | None:
    """The timesteps that the family was trained for, None for those of its scheduler."""
    if family != "dmd2":
        return None
    # 999, 749, 499, 249 for four steps. LCM's own four are 999, 759, 499, 259.
    return [999 - index * 1000 // steps for index in range(steps)]


def few_step_options(family: Family) -> Mapping[str, Any]:
    """What goes over the config of the scheduler of a model or a LoRA of this family: the spacing of its timesteps."""
    return _TRAILING if FEW_STEP_FAMILIES[family].is_trailing else {}


def sampling_of(family: Family, name: str) -> Sampling:
    """The family's defaults, with the steps and the guidance that the model's name asks for."""
    known = FEW_STEP_FAMILIES[family]
    lower = name.lower()
    found = STEPS_IN_NAME.search(lower)
    steps = int(found[1]) if found and 1 <= int(found[1]) <= MOST_STEPS_IN_NAME else known.steps
    options = dict(few_step_options(family))
    if family == "lightning" and steps == 1:
        options["prediction_type"] = "sample"  # That checkpoint predicts the image itself.
    is_guided = family == "hyper" and GUIDED_NAME.search(lower) is not None
    guidance_scale = NAMED_GUIDANCE_SCALE if is_guided else known.guidance_scale
    return Sampling(family, known.scheduler, steps, guidance_scale, options)


def recognise(name: str, scheduler_class: str, *, guided_inside: bool) -> Sampling:
    """How a model wants to be sampled, going by its UNet, its own scheduler and its name."""
    lower = name.lower()
    family: Family | None = next((kind for kind, known in FEW_STEP_FAMILIES.items() if known.name.search(lower)), None)
    if guided_inside:
        return replace(sampling_of("lcm", name), guidance_scale=GUIDED_INSIDE)
    match scheduler_class:
        case "LCMScheduler":
            # DMD2 uses LCM's scheduler with timesteps of its own.
            consistency: Family = "dmd2" if family == "dmd2" else "lcm"
            return sampling_of(consistency, name)
        case "TCDScheduler":
            return sampling_of("tcd", name)
        case _:
            return PLAIN if family is None else sampling_of(family, name)
