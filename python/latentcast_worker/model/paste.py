"""The original image outside of a mask, laid over what came out of the VAE, which changes every pixel a little."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .port import Pixels

# Pixels over which the new image fades in, all of them inside the mask: what is outside stays equal to the bit.
FEATHER = 4


class Paste:
    """`image` (height, width, 3) uint8 and `changes` (height, width) bool, both on the CPU."""

    def __init__(self, image: Tensor, changes: Tensor) -> None:
        self._image = image
        self._weights = _fade(changes)
        self._of_size: dict[tuple[int, int], tuple[NDArray[np.uint16], NDArray[np.uint16]]] = {}

    def over(self, pixels: Pixels) -> Pixels:
        """`pixels` inside the mask, the original outside. Previews may be of any size."""
        kept, weights = self._fitted((pixels.shape[0], pixels.shape[1]))
        return ((pixels * weights + kept) // FEATHER).astype(np.uint8)

    def _fitted(self, size: tuple[int, int]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """The original times its weight, rounding included, and the weights of the new image, 0 to FEATHER."""
        known = self._of_size.get(size)
        if known is not None:
            return known
        image, weights = self._image, self._weights
        if size != tuple(weights.shape):
            image = _scaled(image.permute(2, 0, 1), size).permute(1, 2, 0)
            weights = _scaled(weights[None], size)[0]
        new = weights.numpy().astype(np.uint16)[:, :, None]
        kept = image.numpy().astype(np.uint16) * (FEATHER - new) + FEATHER // 2
        self._of_size[size] = (kept, new)
        return kept, new


def _fade(changes: Tensor) -> Tensor:
    """0 outside, then one more for every pixel further inside, up to FEATHER. The image's own edge is no edge."""
    outside = ~changes.numpy()
    weights = np.zeros(outside.shape, np.uint8)
    for _ in range(FEATHER):
        weights += ~outside
        outside = _grown(outside)
    return torch.from_numpy(weights)


def _grown(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The area and all its neighbours. Pooling does the same in forty times the time, for which the device waits."""
    wide = area.copy()
    wide[:, 1:] |= area[:, :-1]
    wide[:, :-1] |= area[:, 1:]
    grown = wide.copy()
    grown[1:] |= wide[:-1]
    grown[:-1] |= wide[1:]
    return grown


def _scaled(planes: Tensor, size: tuple[int, int]) -> Tensor:
    scaled = torch.nn.functional.interpolate(planes[None].float(), size=size, mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)
