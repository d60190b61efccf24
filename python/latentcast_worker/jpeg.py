"""JPEG encoding that does not hold the interpreter lock.

simplejpeg calls libjpeg-turbo without the lock and brings the codec in a 0.4 MB wheel. Pillow's in-memory encoder holds
the lock for the whole encode (2-5 ms at 1024 px), which would stall the thread that feeds the device; OpenCV frees it
too, in a 60 MB wheel and with an extra copy to BGR.
"""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Encodes (height, width, 3) RGB8 at `quality` 1..100 with 4:2:0 chroma."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
