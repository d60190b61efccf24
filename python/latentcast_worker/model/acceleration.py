"""How the UNet is called. Everything that makes a step faster without changing the image belongs here.

Each way of calling it (`Speed`) is a choice that a probe makes at load, because which of them help differs by GPU:
launching from CUDA graphs gains up to half of a step where the host is slow and nothing where it is not, and the best
attention kernel of one generation is the slower one on the next. On a CPU nothing is switched on: every one of them
changes bits, and exact mode promises the pipeline's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .acceleration_graphs import GraphedCall
from .lora.layers import AdaptedModule, AdaptedRows
from .memory import memory_guard
from .port import DeviceOutOfMemoryError, WriteLog
from .unet_call import UNetCall

Attention = Literal["default", "cudnn", "flash"]

# Orders of preference: what the first cannot compute falls to the next.
_ATTENTION_ORDERS: dict[Attention, list[SDPBackend]] = {
    "default": [],
    "cudnn": [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ],
    "flash": [
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.MATH,
    ],
}

# Every shape that is compiled at load is an entry of its own, for each width of the UNet. Torch's own limit is 8.
MAX_COMPILED_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class Speed:
    """One way of calling the UNet. All of them give the same image up to rounding; `graphs` to the bit."""

    channels_last: bool = False
    attention: Attention = "default"
    compiled: bool = False
    """The transformer blocks, three quarters of the work, through torch.compile; the rest stays as it is."""
    graphs: bool = False

    def __str__(self) -> str:
        names = {
            "channels last": self.channels_last,
            f"{self.attention} attention": self.attention != "default",
            "compiled blocks": self.compiled,
            "CUDA graphs": self.graphs,
        }
        return ", ".join(name for name, used in names.items() if used) or "as it comes"


class AcceleratedUNet:
    """The UNet as a function of its tensors. Calls and changes of `speed` belong to one thread.

    With `takes_loras` rows may have LoRAs. Such a call is not compiled, and changes nothing for others.
    """

    def __init__(self, unet: Any, device: torch.device, log: WriteLog, *, takes_loras: bool = False) -> None:
        self._unet = unet
        self._twin = AdaptedModule(unet) if takes_loras else None
        self._device = device
        self._log = log
        self._graphed: GraphedCall | None = None
        self.speed = Speed()

    @property
    def is_tunable(self) -> bool:
        return self._device.type == "cuda"

    def use(self, speed: Speed) -> None:
        """Calls the UNet this way from now on. What has to be compiled is compiled by the next call of each shape."""
        if speed.channels_last != self.speed.channels_last:
            layout = torch.channels_last if speed.channels_last else torch.contiguous_format
            self._unet.to(memory_format=layout)
        if speed.compiled != self.speed.compiled or (speed.compiled and speed.attention != self.speed.attention):
            self._compile(speed.compiled)
        self.speed = speed
        self._graphed = GraphedCall(self._call_unet, self._device) if speed.graphs else None

    def freeze(self) -> None:
        """No shape is compiled any more: others than those called so far run as they are.

        A request of a new size would otherwise hold up everybody for the seconds that its compilation takes.
        """
        if self.speed.compiled:
            torch.compiler.set_stance("eager_on_recompile")

    def module_for(self, adapted: Sequence[AdaptedRows]) -> AbstractContextManager[Any]:
        """The module to call for rows with these LoRAs, which it adds meanwhile."""
        if not adapted:
            return nullcontext(self._unet)
        assert self._twin is not None
        return self._twin.using(adapted)

    def __call__(self, *inputs: Tensor, adapted: Sequence[AdaptedRows] = ()) -> Tensor:
        """UNetInputs, one by one -> the predicted noise, one row each."""
        call: UNetCall = self._call_unet if self._graphed is None else self._graphed
        try:
            with memory_guard():
                return call(*inputs, adapted=adapted)
        except DeviceOutOfMemoryError:
            raise
        except Exception as error:
            if not (self.speed.compiled or self.speed.graphs):
                raise
            # A kernel that does not build or a capture that breaks is no reason to fail an image.
            self._log("warn", f"the UNet runs uncompiled from now on: {type(error).__name__}: {_first_line(error)}")
            self.use(Speed(self.speed.channels_last, self.speed.attention))
            return self._call_unet(*inputs, adapted=adapted)

    def release_memory(self) -> None:
        """Lets go of the graphs of calls with LoRAs."""
        if self._graphed is not None:
            self._graphed.forget_adapted()

    def _call_unet(
        self,
        latents: Tensor,
        timesteps: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        time_ids: Tensor,
        guidance: Tensor | None = None,
        *,
        adapted: Sequence[AdaptedRows] = (),
    ) -> Tensor:
        inside = {} if guidance is None else {"timestep_cond": guidance}
        with self.module_for(adapted) as unet, self._attention():
            output = unet(
                latents,
                timesteps,
                encoder_hidden_states=tokens,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids},
                return_dict=False,
                **inside,
            )
        return output[0]

    def _attention(self) -> AbstractContextManager[object]:
        order = _ATTENTION_ORDERS[self.speed.attention]
        return sdpa_kernel(order, set_priority=True) if order else nullcontext()

    def _compile(self, compiled: bool) -> None:
        torch.compiler.reset()
        torch.compiler.set_stance("default")
        for module in self._unet.modules():
            module._compiled_call_impl = None  # What Module.compile sets; torch has no way to take it back.
        if compiled:
            torch._dynamo.config.recompile_limit = MAX_COMPILED_ENTRIES  # pyright: ignore[reportPrivateUsage]
            # Shapes as they are: kernels for any size are slower, and the sizes that matter are few.
            self._unet.compile_repeated_blocks(fullgraph=True, dynamic=False)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
