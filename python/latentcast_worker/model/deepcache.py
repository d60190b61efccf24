"""DeepCache (Ma et al. 2023, arXiv 2312.00858): every second step runs only the outermost layers of the UNet.

The deep layers see the whole image and change little from one step to the next; the outermost ones draw its detail.
A whole call hands out what its deep layers gave to the last two layers; the next call of the same sample takes that
instead of computing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from .acceleration import AcceleratedUNet
from .lora.layers import AdaptedRows
from .unet_call import UNetInputs


class DeepCache:
    """The two calls of a diffusers UNet2DConditionModel.

    Deep features have one row per row of the call: (channels of the outermost block, latent height, latent width) in
    the UNet's dtype, 10 MB for SDXL at 1024 x 1024 in fp16, twice that with guidance.
    """

    def __init__(self, unet: AcceleratedUNet) -> None:
        self._unet = unet

    def whole(self, inputs: UNetInputs, adapted: Sequence[AdaptedRows] = ()) -> tuple[Tensor, Tensor]:
        """The predicted noise and the deep features behind it."""
        kept: list[Tensor] = []
        with self._unet.module_for(adapted) as module:
            # Deep features and the skip of the same size, side by side.
            layer = module.up_blocks[-1].resnets[-2]
            handle = layer.register_forward_pre_hook(lambda _layer, arguments: kept.append(arguments[0]))
            try:
                noise = self._unet(*inputs, adapted=adapted)
            finally:
                handle.remove()
            skip_channels = module.down_blocks[0].resnets[0].out_channels
        return noise, kept[-1][:, :-skip_channels].contiguous()

    def outer(self, inputs: UNetInputs, deep: Tensor, adapted: Sequence[AdaptedRows] = ()) -> Tensor:
        """The predicted noise, with the deep features of an earlier call."""
        with self._unet.module_for(adapted) as module:
            return self._outer(module, inputs, deep)

    def _outer(self, unet: Any, inputs: UNetInputs, deep: Tensor) -> Tensor:
        latents, timesteps, tokens, pooled, time_ids, *guidance = inputs
        embedding = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=timesteps), *guidance)
        conditions = {"text_embeds": pooled, "time_ids": time_ids}
        embedding = embedding + unet.get_aug_embed(
            emb=embedding, encoder_hidden_states=tokens, added_cond_kwargs=conditions
        )
        first = unet.conv_in(latents)
        second = _layer(unet.down_blocks[0], 0, first, embedding, tokens)
        hidden = _layer(unet.up_blocks[-1], -2, torch.cat([deep, second], dim=1), embedding, tokens)
        hidden = _layer(unet.up_blocks[-1], -1, torch.cat([hidden, first], dim=1), embedding, tokens)
        return cast(Tensor, unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden))))


def _layer(block: Any, index: int, hidden: Tensor, embedding: Tensor, tokens: Tensor) -> Tensor:
    """One resnet of a block, and its attention where the block has any (SDXL's outermost has none)."""
    hidden = block.resnets[index](hidden, embedding)
    attentions = getattr(block, "attentions", None)
    if attentions is None:
        return hidden
    return cast(Tensor, attentions[index](hidden, encoder_hidden_states=tokens, return_dict=False)[0])
