"""What the engine needs from a model. It knows nothing of torch, so a stub that sleeps can stand in for a device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..inputs import InputImages
from ..policy import CallCosts, Shape
from ..protocol import (
    Capabilities,
    DeviceInfo,
    FatalCode,
    GenerationParams,
    Loading,
    LogLevel,
    ModelInfo,
    Models,
    PreviewPlan,
)

Pixels: TypeAlias = NDArray[np.uint8]
"""RGB8, (height, width, 3), contiguous."""


class InvalidRequestError(ValueError):
    """The model cannot make this image; the text says what to change, and `field` names what it is about."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class DeviceOutOfMemoryError(RuntimeError):
    """The device has no memory for this call. No sample has changed: the call may be made again, with fewer samples."""


class NumericalError(ArithmeticError):
    """The image holds NaN or infinity."""


class LoadError(RuntimeError):
    """The model cannot be served; the text is for whoever runs the server."""

    def __init__(self, code: FatalCode, message: str) -> None:
        super().__init__(message)
        self.code: FatalCode = code


class Sample(Protocol):
    """One image in the making. Models hang their tensors on it; the engine reads only this."""

    @property
    def steps_done(self) -> int: ...

    @property
    def total_steps(self) -> int: ...

    @property
    def shape(self) -> Shape:
        """Samples of equal shape may share a step."""
        ...


S = TypeVar("S", bound=Sample)


class Encoded(Protocol):
    """What a model has made of a job's input images, for all images of the job. The engine only keeps it."""


class Fetched(Protocol):
    """What a job needs beside the model, such as LoRAs. It stays loaded while the job keeps this."""


class PendingPreview(Protocol):
    """A preview that the device may still be working on."""

    def wait(self) -> Sequence[Pixels]:
        """Called once, on the preview thread, and must not hold the interpreter lock while it waits.

        Raises NumericalError, DeviceOutOfMemoryError.
        """
        ...


class Model(Protocol[S]):
    """A loaded model on one device. All methods are called on the engine thread."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def device(self) -> DeviceInfo: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def costs(self) -> CallCosts:
        """What a step costs by the number of samples that share it; seconds[0] is the solo step measured at load."""
        ...

    def check(self, params: GenerationParams) -> None:
        """Raises InvalidRequestError for parameters that this model cannot serve."""
        ...

    def warnings(self, params: GenerationParams) -> Sequence[str]:
        """What of the parameters will not be used as asked, one sentence each."""
        ...

    def fetch(self, params: GenerationParams, progress: Callable[[], None]) -> Future[Any] | None:
        """Begins to load what the job needs beside the model, as Fetched; None where the model is all. Returns at once.

        `progress` is called from another thread while that goes on. Raises InvalidRequestError, and so does the future,
        which also raises DeviceOutOfMemoryError. A future that is cancelled keeps nothing.
        """
        ...

    def encode(self, inputs: InputImages) -> Encoded:
        """Encodes the image that a job starts from. Raises NumericalError, DeviceOutOfMemoryError."""
        ...

    def prepare(
        self, params: GenerationParams, encoded: Encoded | None = None, fetched: Fetched | None = None
    ) -> Sequence[S]:
        """Encodes the prompts and draws the first noise: one sample per image. Raises DeviceOutOfMemoryError.

        `encoded` is what `encode` gave for the job, None for one that starts from noise alone; `fetched` what `fetch`
        gave.
        """
        ...

    def step(self, samples: Sequence[S]) -> None:
        """Advances all samples, which have equal shapes, by one step in one call; returns when the device has done it.

        Raises DeviceOutOfMemoryError.
        """
        ...

    def start_preview(self, samples: Sequence[S], plan: PreviewPlan) -> PendingPreview:
        """Starts to decode a preview of each sample as it is after its last step. Raises DeviceOutOfMemoryError."""
        ...

    def decode(self, sample: S) -> Pixels:
        """The final image. Raises NumericalError, DeviceOutOfMemoryError."""
        ...

    def release_memory(self) -> None:
        """Gives cached memory back to the device, after it ran out."""
        ...

    def device_memory_bytes(self) -> int:
        """Device memory in use. Called on the IO thread at any time; must not wait for the device."""
        ...

    def close(self) -> None:
        """Ends what runs beside it. It is not called again."""
        ...


class ModelShelf(Protocol[S]):
    """The models of a worker by name, at least one of them loaded. All methods are called on the engine thread."""

    @property
    def report(self) -> Models | None:
        """What there is and what is loaded; None where there is one model."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """How much the worker holds at once; the same for all of its models."""
        ...

    def find(self, name: str | None) -> str | None:
        """The name of a model, of the first for None; None if there is none of that name."""
        ...

    def loaded(self, name: str) -> Model[S] | None:
        """The model if it is loaded."""
        ...

    def use(self, name: str) -> None:
        """An image begins to be drawn with this model."""
        ...

    @property
    def costs(self) -> Mapping[str, CallCosts]:
        """Of those that are loaded."""
        ...

    def load(self, name: str) -> None:
        """Loads a model, in the place of those used least recently where there is no room beside them.

        Raises LoadError, and then it has not been loaded.
        """
        ...

    def drop_all_but(self, names: Collection[str]) -> bool:
        """Gives the memory of the others back. True if there were any."""
        ...


WriteLog: TypeAlias = Callable[[LogLevel, str], None]


@dataclass(frozen=True, slots=True)
class Reporter:
    """What a loader may report while it works."""

    loading: Callable[[Loading], None]
    log: WriteLog


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a worker serves, the first model loaded. `device_memory_bytes` is that of Model."""

    shelf: ModelShelf[Any]
    device_memory_bytes: Callable[[], int]
    versions: Mapping[str, str]
    """Of the packages that compute, by name."""
