"""What several models of one worker cost: images of two that are loaded beside images of one, and a real swap.

Prints one JSON object. `after_each_other` and `together` are ratios of the time for two images, of two models and of
one: the second begun when the first is done, and both at once, step by step in turns. `swap` is the seconds that it
takes to drop a model and to load another in its place. Every model has its own copy of the demo model's weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import torch

from engine_run import run_shelf
from image_params import plain_params
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.devices import open_device
from latentcast_worker.model.load import ModelSource, candidate
from latentcast_worker.protocol import Generate, InputSizes
from latentcast_worker.shelf import Memory, SeveralModels
from trained import REPORTER, exact_settings, model_arguments, paired_ratios, seconds_of

STEPS = 8
ONE, OTHER = "one", "other"


class RoomForOne:
    """A memory that is full as soon as a model is loaded."""

    def room(self) -> int:
        return 0

    def release_memory(self) -> None:
        pass


def main() -> None:
    parser = model_arguments()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    both = shelf_of(options, open_device("cpu"))
    for name in (ONE, OTHER):
        both.load(name)
    report = {
        "after_each_other": paired_ratios(
            options.repeats,
            lambda: seconds_of(lambda: run_after_each_other(both, (ONE, OTHER))),
            lambda: seconds_of(lambda: run_after_each_other(both, (ONE, ONE))),
        ),
        "together": paired_ratios(
            options.repeats,
            lambda: seconds_of(lambda: run_together(both, (ONE, OTHER))),
            lambda: seconds_of(lambda: run_together(both, (ONE, ONE))),
        ),
    }
    single = shelf_of(options, RoomForOne())
    single.load(OTHER)
    report["swap"] = [
        seconds_of(lambda name=name: single.load(name)) for _ in range(options.repeats) for name in (ONE, OTHER)
    ]
    print(json.dumps(report))


def shelf_of(options: argparse.Namespace, memory: Memory) -> SeveralModels[SdxlSample]:
    """Two models by name, none of them loaded."""
    settings, device = exact_settings(options), open_device("cpu")
    sources = [ModelSource(options.model, name) for name in (ONE, OTHER)]
    return SeveralModels([candidate(device, source, settings, REPORTER) for source in sources], (), memory)


def run_after_each_other(shelf: SeveralModels[SdxlSample], names: Sequence[str]) -> None:
    for request in requests(shelf, names):
        run_shelf(shelf, [request])


def run_together(shelf: SeveralModels[SdxlSample], names: Sequence[str]) -> None:
    run_shelf(shelf, requests(shelf, names))


def requests(shelf: SeveralModels[SdxlSample], names: Sequence[str]) -> list[Generate]:
    info = shelf.report.models[0].model
    return [
        Generate(
            job_id=f"job {index}",
            incarnation=0,
            params=plain_params(
                "a beautiful sunset",
                steps=STEPS,
                size=(info.native_width, info.native_height),
                guidance=info.default_guidance_scale,
                seed=index,
                model=name,
            ),
            inputs=InputSizes(),
        )
        for index, name in enumerate(names)
    ]


if __name__ == "__main__":
    with torch.inference_mode():
        main()
