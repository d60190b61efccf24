"""LoRAs that are loaded: a cache on the device, bounded in bytes, filled by a thread of its own."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from ...protocol import Lora
from ..memory import memory_guard
from .file import AdapterParts, LoraTarget, read_lora
from .folder import LoraFolder, lora_problem
from .layers import Addition
from .names import Component
from .packing import Packed, pack

_Key: TypeAlias = tuple[Path, int, int]
"""A file as it was: its path, the time of its last change in ns and its size in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedLora:
    """`size` in bytes on the device."""

    key: _Key
    parts: AdapterParts
    size: int


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class JobLoras:
    """The LoRAs of one job with their scales, in its order. They stay loaded while this lives."""

    loras: Sequence[tuple[LoadedLora, float]]

    def additions(self, component: Component) -> Sequence[Addition]:
        """What is added to a component's layers; empty where the LoRAs leave it alone."""
        return tuple(Addition(lora.parts[component], scale) for lora, scale in self.loras if component in lora.parts)

    @property
    def text_key(self) -> tuple[object, ...]:
        """Equal where prompts are encoded alike; empty where they are encoded as without LoRAs."""
        texts = ("text_encoder", "text_encoder_2")
        return tuple((lora.key, scale) for lora, scale in self.loras if any(text in lora.parts for text in texts))


class LoraStore:
    """LoRAs of `folder` for one model, in `dtype` on `device`, at most `max_bytes` of them at once.

    What no job uses goes first, by least recent use; what is used never goes. A job whose LoRAs find no room waits
    until others are done with theirs.
    """

    def __init__(
        self, folder: LoraFolder, target: LoraTarget, device: torch.device, dtype: torch.dtype, max_bytes: int
    ) -> None:
        self._folder = folder
        self._target = target
        self._device = device
        self._dtype = dtype
        self._max_bytes = max_bytes
        # A copy on the stream of the steps would wait for the step under way, and hold up the next.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        # Reentrant: a job's LoRAs may be released by the garbage collector, in the middle of anything.
        self._changed = threading.Condition(threading.RLock())
        self._loaded: OrderedDict[_Key, LoadedLora] = OrderedDict()
        self._users: Counter[_Key] = Counter()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def size(self) -> int:
        """Bytes of all that is loaded."""
        with self._changed:
            return sum(lora.size for lora in self._loaded.values())

    def check(self, wanted: Sequence[Lora]) -> None:
        """Raises InvalidRequestError for names that are not in the folder."""
        for lora in wanted:
            self._folder.find(lora.path)

    def fetch(self, wanted: Sequence[Lora], progress: Callable[[], None]) -> Future[JobLoras]:
        """Loads what is missing in a thread of its own, which calls `progress` now and then. Cancel it to give up.

        Raises InvalidRequestError, and so does the future, which also raises DeviceOutOfMemoryError.
        """
        items = [_item(lora, self._folder.find(lora.path)) for lora in wanted if lora.scale != 0]
        order = _Order(items, progress, Future())
        with self._changed:
            self._pin(order.keys)
            if all(key in self._loaded for key in order.keys):
                order.future.set_result(self._hand_out(order))
                return order.future
        order.future.add_done_callback(lambda _: self._announce())
        if self._thread is None:
            self._thread = threading.Thread(target=self._load_orders, name="loras", daemon=True)
            self._thread.start()
        self._orders.put(order)
        return order.future

    def forget_unused(self) -> None:
        """Gives back the memory of what no job uses."""
        with self._changed:
            for key in [key for key in self._loaded if not self._users[key]]:
                del self._loaded[key]

    def close(self) -> None:
        """Ends the thread. What is loaded goes with the store."""
        self._orders.put(None)

    # The thread

    def _load_orders(self) -> None:
        while self._load_next():
            pass

    def _load_next(self) -> bool:
        """False at the end. An order is let go before the next one is waited for, and with it what it loaded."""
        order = self._orders.get()
        if order is None:
            return False
        self._load_order(order)
        return True

    def _load_order(self, order: _Order) -> None:
        try:
            loras = self._load(order)
        except BaseException as error:
            self._unpin(order.keys)
            if order.future.set_running_or_notify_cancel():
                order.future.set_exception(error)
            return
        if loras is None:
            self._unpin(order.keys)
        elif order.future.set_running_or_notify_cancel():
            order.future.set_result(loras)

    def _load(self, order: _Order) -> JobLoras | None:
        """None for an order that was cancelled."""
        packed: dict[_Key, Packed] = {}
        for item in order.items:
            if order.future.cancelled():
                return None
            if item.key not in packed and item.key not in self._loaded:
                parts = read_lora(item.key[0], item.name, self._target, self._dtype, order.progress)
                packed[item.key] = pack(parts, self._dtype)
        if not self._make_room(order, packed):
            return None
        # Nobody else loads, so the room stays.
        with memory_guard(), torch.cuda.stream(self._stream):
            loaded = {key: LoadedLora(key, lora.on(self._device), lora.size) for key, lora in packed.items()}
        if self._stream is not None:
            self._stream.synchronize()
        with self._changed:
            self._loaded.update(loaded)
            return self._hand_out(order)

    def _make_room(self, order: _Order, packed: dict[_Key, Packed]) -> bool:
        """Evicts, and waits for other jobs, until what is new fits. False if the order was cancelled meanwhile."""
        own = sum(self._loaded[key].size if key in self._loaded else packed[key].size for key in set(order.keys))
        if own > self._max_bytes:
            needed, most = (-(-count // 1024**2) for count in (own, self._max_bytes))
            raise lora_problem(order.items[0].name, f"and those beside it need {needed} MB; there is room for {most}")
        new = sum(lora.size for lora in packed.values())
        with self._changed:
            while True:
                for key in list(self._loaded):
                    if self.size + new > self._max_bytes and not self._users[key]:
                        del self._loaded[key]
                if self.size + new <= self._max_bytes:
                    return True
                if order.future.cancelled():
                    return False
                self._changed.wait()

    # Use

    def _hand_out(self, order: _Order) -> JobLoras:
        for key in order.keys:
            self._loaded.move_to_end(key)
        loras = JobLoras([(self._loaded[item.key], item.scale) for item in order.items])
        weakref.finalize(loras, self._unpin, order.keys).atexit = False
        return loras

    def _pin(self, keys: Sequence[_Key]) -> None:
        with self._changed:
            self._users.update(keys)

    def _unpin(self, keys: Sequence[_Key]) -> None:
        with self._changed:
            self._users.subtract(keys)
            # Without those that are at zero.
            self._users = +self._users
            self._changed.notify_all()

    def _announce(self) -> None:
        with self._changed:
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Item:
    name: str
    key: _Key
    scale: float


@dataclass(frozen=True, slots=True)
class _Order:
    items: Sequence[_Item]
    progress: Callable[[], None]
    future: Future[JobLoras]

    @property
    def keys(self) -> list[_Key]:
        return [item.key for item in self.items]


def _item(lora: Lora, path: Path) -> _Item:
    try:
        status = path.stat()
    except OSError as error:
        raise lora_problem(lora.path, "cannot be read") from error
    return _Item(lora.path, (path, status.st_mtime_ns, status.st_size), lora.scale)
