"""A simulated device: a model whose calls sleep outside the interpreter lock, as a call that waits for a GPU does.

Everything around it is real: engine, policy, preview service, JPEG encoder, transport. Times come from the environment
(`LATENTCAST_WORKER_BENCH_*`, in milliseconds), because the orchestrator starts the worker.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latentcast_worker import policy
from latentcast_worker.inputs import InputImages
from latentcast_worker.model.port import Encoded, Fetched, Pixels
from latentcast_worker.policy import CallCosts, Shape
from latentcast_worker.protocol import (
    PREVIEW_DECODERS,
    Capabilities,
    DeviceInfo,
    GenerationParams,
    ModelInfo,
    PreviewPlan,
)

SIDE = 1024
FACTOR = 8


@dataclass(slots=True, eq=False)
class StubSample:
    total_steps: int
    shape: Shape
    steps_done: int = 0


@dataclass(frozen=True, slots=True)
class StubPreview:
    """Ready `at` (monotonic seconds): the side stream of a GPU works while the next step is launched."""

    pictures: Sequence[Pixels]
    at: float

    def wait(self) -> Sequence[Pixels]:
        time.sleep(max(0.0, self.at - time.monotonic()))
        return self.pictures


class StubModel:
    """Writes (began, ended) of every step to `trace`, two little-endian doubles on the monotonic clock."""

    info = ModelInfo(
        id="stub",
        native_width=SIDE,
        native_height=SIDE,
        min_side=64,
        max_side=SIDE,
        default_steps=20,
        default_guidance_scale=5.0,
        prediction_type="epsilon",
        is_noise=True,
        takes_loras=False,
        examples=(),
    )
    device = DeviceInfo(id="cpu", name="simulated", memory_bytes=0, dtype="none")

    def __init__(self) -> None:
        self.step_seconds = _seconds("STEP", 30)
        # As a worker measures it while it warms up: a fleet gives little to a device that says it is slow.
        self.costs = CallCosts((self.step_seconds,))
        self.prepare_seconds = _seconds("PREPARE", 5)
        self.tae_seconds = _seconds("TAE", 3)
        self.decode_seconds = _seconds("DECODE", 20)
        trace = os.environ.get("LATENTCAST_WORKER_BENCH_TRACE")
        self._trace = None if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pictures = {side: _picture(side) for side in (SIDE // FACTOR, SIDE // 2, SIDE)}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            preview_decoders=PREVIEW_DECODERS,
            max_batch=1,
            max_jobs=64,
            max_pixels=1 << 30,
            early_steps=policy.EARLY_STEPS,
        )

    def check(self, params: GenerationParams) -> None:
        del params

    def warnings(self, _params: GenerationParams) -> Sequence[str]:
        return []

    def encode(self, inputs: InputImages) -> Encoded:
        time.sleep(self.decode_seconds / 2)
        return inputs

    def fetch(self, _params: GenerationParams, _progress: Callable[[], None]) -> None:
        return None

    def prepare(
        self, params: GenerationParams, encoded: Encoded | None = None, fetched: Fetched | None = None
    ) -> Sequence[StubSample]:
        del encoded, fetched
        time.sleep(self.prepare_seconds)
        shape = (params.height // FACTOR, params.width // FACTOR)
        return [StubSample(params.num_inference_steps, shape) for _ in range(params.num_images)]

    def step(self, samples: Sequence[StubSample]) -> None:
        began = time.monotonic()
        time.sleep(self.step_seconds)
        for sample in samples:
            sample.steps_done += 1
        if self._trace is not None:
            os.write(self._trace, struct.pack("<2d", began, time.monotonic()))

    def start_preview(self, samples: Sequence[StubSample], plan: PreviewPlan) -> StubPreview:
        side = SIDE // FACTOR if plan.decoder == "linear" else SIDE
        if plan.max_side is not None:
            side = max(have for have in self._pictures if have <= min(side, plan.max_side))
        seconds = 0.0 if plan.decoder == "linear" else self.tae_seconds
        return StubPreview([self._pictures[side]] * len(samples), time.monotonic() + seconds)

    def decode(self, sample: StubSample) -> Pixels:
        del sample
        time.sleep(self.decode_seconds)
        return self._pictures[SIDE]

    def release_memory(self) -> None:
        return

    def device_memory_bytes(self) -> int:
        return 0


def _seconds(name: str, default_ms: float) -> float:
    return float(os.environ.get(f"LATENTCAST_WORKER_BENCH_{name}_MS", default_ms)) / 1000


def _picture(side: int) -> Pixels:
    """Between a smooth picture and noise: about 150 kB as a JPEG of quality 70 at 1024 px."""
    across = np.linspace(0, 4 * np.pi, side)
    smooth = 128 + 80 * np.sin(across)[:, None, None] * np.cos(across * [[1.0], [1.5], [2.0]]).T[None, :, :]
    noise = np.random.default_rng(0).normal(0, 12, (side, side, 3))
    return (smooth + noise).clip(0, 255).astype(np.uint8)
