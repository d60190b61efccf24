"""The models of a worker: one that is always loaded, or several that take turns. Nothing here knows torch.

Which models are loaded changes between jobs only; the engine asks for it when no job has begun.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol

from .model.port import LoadError, Model, S
from .policy import CallCosts
from .protocol import Capabilities, Models, ServedModel, UnservedModel

# A model that could not be loaded is tried again by the first request after so many seconds: its file may have been
# mended. Each try may cost the others their place.
RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class OneModel(Generic[S]):
    """A worker with one model, whatever name requests have for it."""

    model: Model[S]
    report: None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.model.capabilities

    def find(self, name: str | None) -> str:
        del name
        return self.model.info.id

    def loaded(self, name: str) -> Model[S]:
        del name
        return self.model

    def use(self, name: str) -> None:
        del name

    @property
    def costs(self) -> Mapping[str, CallCosts]:
        return {self.model.info.id: self.model.costs}

    def load(self, name: str) -> None:
        del name

    def drop_all_but(self, names: Collection[str]) -> bool:
        del names
        return False


@dataclass(frozen=True, slots=True)
class Candidate(Generic[S]):
    """A model that can be loaded. `served` describes it from its files; `load` raises LoadError.

    `needed_bytes` is the memory for its weights and for an image of its native size.
    """

    served: ServedModel
    load: Callable[[], Model[S]]
    needed_bytes: int


class Memory(Protocol):
    """Where loaded models are."""

    def room(self) -> int | None:
        """Bytes that are free, None where the system does not say."""
        ...

    def release_memory(self) -> None:
        """Gives back what is cached and no model uses any more."""
        ...


@dataclass(slots=True)
class _Place(Generic[S]):
    candidate: Candidate[S]
    served: ServedModel
    needed_bytes: int
    model: Model[S] | None = None
    last_use: int = 0
    failure: LoadError | None = None
    failed_at: float = 0.0


class SeveralModels(Generic[S]):
    """Models of which as many are loaded as have room; the one used least recently makes room for another.

    `clock` gives seconds.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate[S]],
        unserved: Sequence[UnservedModel],
        memory: Memory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is loaded yet."""
        self._places = {
            candidate.served.model.id: _Place(candidate, candidate.served, candidate.needed_bytes)
            for candidate in candidates
        }
        self._unserved = tuple(unserved)
        self._memory = memory
        self._clock = clock
        self._uses = 0

    @property
    def report(self) -> Models:
        return Models(models=tuple(place.served for place in self._places.values()), unserved=self._unserved)

    @property
    def capabilities(self) -> Capabilities:
        return next(iter(self._places.values())).served.capabilities

    def find(self, name: str | None) -> str | None:
        if name is None:
            return next(iter(self._places))
        return name if name in self._places else None

    def loaded(self, name: str) -> Model[S] | None:
        return self._places[name].model

    def use(self, name: str) -> None:
        self._uses += 1
        self._places[name].last_use = self._uses

    @property
    def costs(self) -> Mapping[str, CallCosts]:
        return {name: place.model.costs for name, place in self._places.items() if place.model is not None}

    def load(self, name: str) -> None:
        place = self._places[name]
        if place.failure is not None and self._clock() - place.failed_at < RETRY_SECONDS:
            raise place.failure
        self._make_room(place.needed_bytes)
        began = self._clock()
        try:
            model = self._loaded_with_room(place)
        except LoadError as failure:
            place.failure, place.failed_at = failure, self._clock()
            place.served = replace(place.served, problem=str(failure))
            raise
        place.model, place.failure = model, None
        place.served = ServedModel(
            model=model.info,
            capabilities=model.capabilities,
            is_loaded=True,
            step_seconds=model.costs.seconds[0],
            load_seconds=self._clock() - began,
        )
        self.use(name)

    def load_first(self) -> Model[S]:
        """Loads the first model that can be; those before it are not served. Raises the first LoadError if none can."""
        failures: list[LoadError] = []
        for name in list(self._places):
            try:
                self.load(name)
            except LoadError as failure:
                failures.append(failure)
                del self._places[name]
                self._unserved = (*self._unserved, UnservedModel(id=name, problem=str(failure)))
            else:
                model = self._places[name].model
                assert model is not None
                return model
        raise failures[0]

    def drop_all_but(self, names: Collection[str]) -> bool:
        others = [place for name, place in self._places.items() if place.model is not None and name not in names]
        for place in others:
            self._drop(place)
        return len(others) > 0

    def _loaded_with_room(self, place: _Place[S]) -> Model[S]:
        """What it needs was estimated: where that was too little, it gets all there is."""
        for is_last in (False, True):
            try:
                return _load(place.candidate)
            except LoadError as failure:
                if is_last or failure.code != "out_of_memory" or not self.drop_all_but(()):
                    raise
        raise AssertionError

    def _make_room(self, needed: int) -> None:
        while (room := self._memory.room()) is not None and room < needed:
            loaded = [place for place in self._places.values() if place.model is not None]
            if not loaded:
                return
            self._drop(min(loaded, key=lambda place: place.last_use))

    def _drop(self, place: _Place[S]) -> None:
        if place.model is not None:
            place.model.close()
        place.model = None
        place.served = replace(place.served, is_loaded=False)
        # Modules refer to one another in circles.
        gc.collect()
        self._memory.release_memory()


def _load(candidate: Candidate[S]) -> Model[S]:
    try:
        return candidate.load()
    except LoadError:
        raise
    except Exception as error:  # Whatever a library says to this model's files: the others are served as before.
        traceback.print_exc()
        raise LoadError("model_invalid", f"{candidate.served.model.id}: {type(error).__name__}: {error}") from error
