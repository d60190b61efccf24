"""Schedulers by name, and the two views of their state that previews need.

A scheduler object carries the state of one image (step index, multistep history), so every sample gets its own.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, cast

import diffusers
import torch
from torch import Tensor

from ..protocol import SchedulerName

# How much of TCD's noise is drawn anew in each step: its authors' value. The pipeline's own default, 0, draws none.
TCD_ETA = 0.3


@dataclass(frozen=True, slots=True)
class _Recipe:
    class_name: str
    options: dict[str, object]


# Options are laid over the model's own scheduler config, so that betas, spacing and prediction type stay the model's.
_RECIPES: dict[SchedulerName, _Recipe] = {
    "euler": _Recipe("EulerDiscreteScheduler", {"use_karras_sigmas": False}),
    "euler_a": _Recipe("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": _Recipe(
        "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False}
    ),
    "dpmpp_2m_karras": _Recipe(
        "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}
    ),
    "ddim": _Recipe("DDIMScheduler", {}),
    "unipc": _Recipe("UniPCMultistepScheduler", {}),
    "lcm": _Recipe("LCMScheduler", {}),
    "tcd": _Recipe("TCDScheduler", {}),
}


@dataclass(slots=True)
class SchedulerRun:
    """One scheduler object on its way through the last steps of its schedule, for one image. Steps count from 0."""

    scheduler: Any
    generator: torch.Generator
    skipped: int = 0
    """Steps of the schedule that come before the first one."""

    @classmethod
    def start(
        cls,
        scheduler: Any,
        steps: int,
        generator: torch.Generator,
        timesteps: list[int] | None = None,
        skipped: int = 0,
    ) -> SchedulerRun:
        """Sets up a fresh scheduler. `generator` also feeds those that draw noise in every step.

        `timesteps` take the place of the scheduler's own, which follow from `steps`.
        """
        if timesteps is None:
            scheduler.set_timesteps(steps, device="cpu")
        else:
            scheduler.set_timesteps(timesteps=timesteps, device="cpu")
        if hasattr(scheduler, "set_begin_index"):
            # Otherwise the first step searches its index on the device, and waits for it.
            scheduler.set_begin_index(skipped)
        return cls(scheduler, generator, skipped)

    @property
    def timesteps(self) -> Tensor:
        """Of the steps that run, on the CPU: schedulers index their tables with them, which would stall a GPU."""
        return cast(Tensor, self.scheduler.timesteps[self.skipped :])

    def add_noise(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        """Clean latents as they are before `step`, which has to be the one that comes next."""
        return cast(Tensor, self.scheduler.add_noise(latents, noise, self.timesteps[step : step + 1]))

    @property
    def init_noise_sigma(self) -> float | Tensor:
        return cast("float | Tensor", self.scheduler.init_noise_sigma)

    def model_input(self, latents: Tensor, step: int) -> Tensor:
        return cast(Tensor, self.scheduler.scale_model_input(latents, self.timesteps[step]))

    def advance(self, noise: Tensor, latents: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The latents after `step`, and the clean latents that this step predicts (x0)."""
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        options: dict[str, Any] = {"generator": self.generator} if takes_generator else {}
        if isinstance(self.scheduler, diffusers.TCDScheduler):
            options["eta"] = TCD_ETA
        stepped = self.scheduler.step(noise, self.timesteps[step], latents, **options, return_dict=False)
        if isinstance(self.scheduler, diffusers.TCDScheduler):  # Its second is the sample at another noise level.
            return stepped[0], self._predicted_x0(noise, latents, step)
        if len(stepped) > 1:  # Euler, DDIM and LCM hand x0 out; for Euler it is x - sigma * noise.
            return stepped[0], stepped[1]
        return stepped[0], self.scheduler.model_outputs[-1]  # Multistep solvers in x0 form keep it as their history.

    def _predicted_x0(self, noise: Tensor, latents: Tensor, step: int) -> Tensor:
        """x0 from a prediction, for schedulers with a table of alphas."""
        alpha = self.scheduler.alphas_cumprod[self.timesteps[step]]
        match self.scheduler.config.prediction_type:
            case "sample":
                return noise
            case "v_prediction":
                return alpha**0.5 * latents - (1 - alpha) ** 0.5 * noise
            case _:
                return (latents - (1 - alpha) ** 0.5 * noise) / alpha**0.5

    def visible(self, latents: Tensor) -> Tensor:
        """Noisy latents in the range a decoder expects: samples in sigma space have a deviation of up to 14."""
        if not isinstance(self.scheduler, diffusers.EulerDiscreteScheduler | diffusers.EulerAncestralDiscreteScheduler):
            return latents
        sigma = self.scheduler.sigmas[self.scheduler.step_index]
        return latents / (sigma**2 + 1) ** 0.5


def own_scheduler_name(own: Any) -> SchedulerName | None:
    """The name of a model's own scheduler, None for a variant that has no name. Raises KeyError for an unserved one."""
    class_name = type(own).__name__
    if class_name not in {recipe.class_name for recipe in _RECIPES.values()}:
        raise KeyError(class_name)
    if class_name == "DPMSolverMultistepScheduler" and not own.config.algorithm_type.endswith("dpmsolver++"):
        raise KeyError(f"{class_name} with {own.config.algorithm_type}")  # Its history is noise, not x0.
    for name, recipe in _RECIPES.items():
        options_match = all(own.config.get(key) == value for key, value in recipe.options.items())
        if recipe.class_name == class_name and options_match:
            return name
    return None


def max_steps(scheduler: Any) -> int | None:
    """LCM and TCD choose among the timesteps of their training; the others have no limit of their own."""
    if isinstance(scheduler, diffusers.LCMScheduler | diffusers.TCDScheduler):
        return int(scheduler.config["original_inference_steps"])
    return None


def make_scheduler(own: Any, name: SchedulerName | None) -> Any:
    """A fresh scheduler: the model's own kind for None, else the named one with the model's own noise schedule."""
    if name is None:
        return type(own).from_config(own.config)
    recipe = _RECIPES[name]
    return getattr(diffusers, recipe.class_name).from_config(own.config, **recipe.options)
