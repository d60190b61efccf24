"""What the host's share is measured against: the same calls of the simulated device in a plain loop, on request.

Reads one command a line from stdin and answers the seconds that it took:
`picture N` a whole picture of N steps; `first` prompts and one step; `naive-tail` the plain way from decoded fp32
values to the bytes of a PNG.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from image_params import plain_params
from latentcast_worker.protocol import GenerationParams
from stub_model import SIDE, StubModel, StubSample


def main() -> None:
    model = StubModel()
    values = (model.decode(_steps(model, 1)[0]).transpose(2, 0, 1)[None] / 127.5 - 1).astype(np.float32)
    print("ready", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        began = time.perf_counter()
        match command:
            case "picture":
                model.decode(_steps(model, int(arguments[0]))[0])
            case "first":
                _steps(model, 1)
            case _:
                _naive_tail(values)
        print(time.perf_counter() - began, flush=True)


def _steps(model: StubModel, count: int) -> Sequence[StubSample]:
    samples = model.prepare(_params(count))
    for _ in range(count):
        model.step(samples)
    return samples


def _naive_tail(values: np.ndarray) -> None:
    images = (values / 2 + 0.5).clip(0, 1).transpose(0, 2, 3, 1)
    picture = Image.fromarray((images * 255).round().astype("uint8")[0])
    picture.save(io.BytesIO(), format="PNG")


def _params(steps: int) -> GenerationParams:
    return plain_params("", steps=steps, size=(SIDE, SIDE), guidance=5.0)


if __name__ == "__main__":
    main()
