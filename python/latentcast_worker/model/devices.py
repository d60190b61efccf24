"""The devices that a worker may run on, and everything in which they differ: the rest of the model asks here.

CPU and CUDA are what this project runs and measures. ROCm, XPU and MPS follow torch's documentation and what other
projects met there; docs/deployment.md says which of it has been run.
"""

from __future__ import annotations

import os
import platform
from abc import ABC, abstractmethod
from typing import Any

import torch

from ..protocol import DeviceInfo
from .acceleration_graphs import Graphs
from .decode import InlinePreviews, PreviewRenderer, StreamPreviews
from .dtypes import Dtypes
from .fused_tiny import fuse_tiny
from .group_norm import split_group_norms
from .host_memory import available_bytes
from .port import LoadError
from .settings import ModelSettings

THREADS_VARIABLE = "LATENTCAST_WORKER_THREADS"


class Device(ABC):
    """`tensors` is torch's name for it. Belongs to the engine's thread, but for `used_bytes`."""

    has_graphs = False
    """Calls can be captured as CUDA graphs."""

    takes_half = False
    """Half-precision weights are what it computes with."""

    first_call_seconds: float | None = None
    """What the first call of a size may take, where a library tries its kernels then."""

    def __init__(self, tensors: torch.device) -> None:
        self.tensors = tensors

    @abstractmethod
    def dtypes(self, model: ModelSettings, /) -> Dtypes: ...

    @abstractmethod
    def describe(self, dtype: torch.dtype) -> DeviceInfo: ...

    @abstractmethod
    def wait(self) -> None:
        """Returns when the device has done what it was given."""

    @abstractmethod
    def release_memory(self) -> None:
        """Gives cached memory back."""

    @abstractmethod
    def suit(self, unet: Any, vae: Any, tiny: Any | None) -> None:
        """Replaces layers by those that compute the same faster here."""

    def used_bytes(self) -> int:
        """Memory that torch holds. Called on any thread; does not wait for the device."""
        return 0

    def free_bytes(self) -> int | None:
        """Memory that is left, None where the device has none of its own."""
        return None

    def room(self) -> int | None:
        """Bytes that another model may take, None where the system does not say."""
        return self.free_bytes()

    def previews(self, renderer: PreviewRenderer) -> InlinePreviews | StreamPreviews:
        return InlinePreviews(renderer)

    def prompt_graphs(self) -> Graphs | None:
        """For calls of the text encoders."""
        return None


class Cpu(Device):
    """Its work is done when a call returns."""

    def dtypes(self, model: ModelSettings, /) -> Dtypes:
        fast_bf16 = has_fast_bf16()
        unet = torch.bfloat16 if model.cpu_dtype == "bfloat16" and fast_bf16 else torch.float32
        # The tiny decoder in bf16 and channels last takes a third of its fp32 time, and previews are JPEGs anyway.
        return Dtypes(unet, torch.float32, torch.bfloat16 if fast_bf16 else torch.float32)

    def describe(self, dtype: torch.dtype) -> DeviceInfo:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return DeviceInfo(id=str(self.tensors), name=_cpu_name(), memory_bytes=memory, dtype=_name(dtype))

    def wait(self) -> None:
        return

    def release_memory(self) -> None:
        return

    def room(self) -> int | None:
        return available_bytes()

    def suit(self, unet: Any, vae: Any, tiny: Any | None) -> None:
        del unet, vae, tiny


class Accelerator(Device):
    """A device with kernels of its own. `torch.cuda`, `torch.xpu` and `torch.mps` are alike in what is used here."""

    takes_half = True

    def __init__(self, tensors: torch.device, backend: Any) -> None:
        super().__init__(tensors)
        self._backend = backend

    def dtypes(self, _model: ModelSettings, /) -> Dtypes:
        # fp16 is what is published; SDXL's VAE overflows in it and gives black images, bf16 has the range.
        return Dtypes(torch.float16, torch.bfloat16, torch.bfloat16)

    def describe(self, dtype: torch.dtype) -> DeviceInfo:
        properties = self._backend.get_device_properties(self.tensors)
        return DeviceInfo(
            id=str(self.tensors), name=properties.name, memory_bytes=properties.total_memory, dtype=_name(dtype)
        )

    def wait(self) -> None:
        self._backend.synchronize()

    def release_memory(self) -> None:
        self._backend.empty_cache()

    def suit(self, unet: Any, vae: Any, tiny: Any | None) -> None:
        del unet, vae, tiny

    def used_bytes(self) -> int:
        return int(self._backend.memory_reserved(self.tensors))

    def free_bytes(self) -> int | None:
        free, _total = self._backend.mem_get_info(self.tensors)
        return int(free)


class Cuda(Accelerator):
    has_graphs = True

    def wait(self) -> None:
        # The stream of the denoising; previews go on beside it.
        self._backend.current_stream().synchronize()

    def suit(self, unet: Any, vae: Any, tiny: Any | None) -> None:
        split_group_norms(unet)
        split_group_norms(vae)
        if tiny is not None:
            fuse_tiny(tiny)

    def previews(self, renderer: PreviewRenderer) -> InlinePreviews | StreamPreviews:
        return StreamPreviews(renderer, self.tensors)

    def prompt_graphs(self) -> Graphs | None:
        # At once: transformers 5.17 builds a mask only while a graph is captured, and then the bits are others.
        return Graphs(torch.cuda.Stream(self.tensors, priority=-1), at_once=True)


class Rocm(Accelerator):
    """CUDA to torch, but without cuDNN: no fused layers, and no graphs as long as nobody has measured them here."""

    # Ten minutes: one VAE decode took 37 before ROCm 7.14, and about one since (ROCm/TheRock#2591).
    first_call_seconds = 600.0


class Xpu(Accelerator):
    """Intel's. Previews are decoded between two steps."""


class Mps(Accelerator):
    """Apple's. Memory is the system's own, and there is no fp64.

    Never attention slicing, which gives NaN with SDXL (diffusers#11229). The VAE in fp32: in half precision it is
    reported to give black images there (Fooocus#2171).
    """

    def dtypes(self, _model: ModelSettings, /) -> Dtypes:
        return Dtypes(torch.float16, torch.float32, torch.float32)

    def describe(self, dtype: torch.dtype) -> DeviceInfo:
        memory = int(self._backend.recommended_max_memory())
        return DeviceInfo(id=str(self.tensors), name=platform.machine(), memory_bytes=memory, dtype=_name(dtype))

    def used_bytes(self) -> int:
        return int(self._backend.driver_allocated_memory())

    def free_bytes(self) -> int | None:
        return None

    def room(self) -> int | None:
        return int(self._backend.recommended_max_memory()) - self.used_bytes()


def open_device(name: str) -> Device:
    """Makes `name` (`cpu`, `cuda:0`, `xpu:0`, `mps`) the device of the calling thread.

    Raises LoadError `device_unavailable`.
    """
    try:
        tensors = torch.device(name)
    except RuntimeError as error:
        raise LoadError("device_unavailable", f"{name} is not a device name") from error
    match tensors.type:
        case "cpu":
            _limit_threads()
            return Cpu(tensors)
        case "cuda":
            return _open_cuda(tensors)
        case "xpu":
            _check(tensors, torch.xpu, "XPU")
            torch.xpu.set_device(tensors)
            return Xpu(tensors, torch.xpu)
        case "mps":
            if not torch.backends.mps.is_available():
                raise LoadError("device_unavailable", "torch sees no MPS device: it needs macOS on Apple silicon")
            return Mps(tensors, torch.mps)
        case other:
            raise LoadError("device_unavailable", f"{other} devices are not served, only cpu, cuda, xpu and mps")


def _limit_threads() -> None:
    value = os.environ.get(THREADS_VARIABLE)
    if value is None:
        return
    if not value.isdigit() or int(value) < 1:
        raise LoadError("device_unavailable", f"{THREADS_VARIABLE} must be a whole number from 1, not {value!r}")
    torch.set_num_threads(int(value))


def _open_cuda(tensors: torch.device) -> Device:
    """A device of NVIDIA or, where torch was built for ROCm, of AMD."""
    is_rocm = torch.version.hip is not None
    _check(tensors, torch.cuda, "ROCm" if is_rocm else "CUDA")
    torch.cuda.set_device(tensors)
    if is_rocm:
        return Rocm(tensors, torch.cuda)
    # Denoising outranks the previews, which run at the default priority: CUDA knows none below it.
    torch.cuda.set_stream(torch.cuda.Stream(tensors, priority=-1))
    return Cuda(tensors, torch.cuda)


def _check(tensors: torch.device, backend: Any, kind: str) -> None:
    if not backend.is_available():
        raise LoadError(
            "device_unavailable", f"torch sees no {kind} device: check the driver, and that torch was built for {kind}"
        )
    if (tensors.index or 0) >= backend.device_count():
        raise LoadError(
            "device_unavailable", f"{tensors} does not exist, there are {backend.device_count()} {kind} devices"
        )


def has_fast_bf16() -> bool:
    """True where the CPU is good at bf16 (AVX-512 or better); elsewhere it is emulated, and slower than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
