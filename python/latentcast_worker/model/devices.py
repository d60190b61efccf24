"""The device a worker runs on: opened, described, and what it is good at."""

from __future__ import annotations

import os
import platform

import torch

from ..protocol import DeviceInfo
from .port import LoadError

THREADS_VARIABLE = "LATENTCAST_WORKER_THREADS"


def open_device(name: str) -> torch.device:
    """Makes `name` (`cpu`, `cuda:0`) the device of the calling thread. Raises LoadError `device_unavailable`."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LoadError("device_unavailable", f"{name} is not a device name") from error
    match device.type:
        case "cpu":
            _limit_threads()
        case "cuda":
            _open_cuda(device)
        case other:
            raise LoadError("device_unavailable", f"{other} devices are not served, only cpu and cuda")
    return device


def _limit_threads() -> None:
    value = os.environ.get(THREADS_VARIABLE)
    if value is None:
        return
    if not value.isdigit() or int(value) < 1:
        raise LoadError("device_unavailable", f"{THREADS_VARIABLE} must be a whole number from 1, not {value!r}")
    torch.set_num_threads(int(value))


def _open_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise LoadError(
            "device_unavailable", "torch sees no CUDA device: check the driver, and that torch was built for CUDA"
        )
    if (device.index or 0) >= torch.cuda.device_count():
        raise LoadError(
            "device_unavailable", f"{device} does not exist, there are {torch.cuda.device_count()} CUDA devices"
        )
    torch.cuda.set_device(device)
    # Denoising outranks the previews, which run at the default priority: CUDA knows none below it.
    torch.cuda.set_stream(torch.cuda.Stream(device, priority=-1))


def has_fast_bf16() -> bool:
    """True where the CPU is good at bf16 (AVX-512 or better); elsewhere it is emulated, and slower than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def describe_device(device: torch.device, dtype: torch.dtype) -> DeviceInfo:
    name = str(dtype).removeprefix("torch.")
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return DeviceInfo(id=str(device), name=properties.name, memory_bytes=properties.total_memory, dtype=name)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return DeviceInfo(id=str(device), name=_cpu_name(), memory_bytes=memory, dtype=name)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
