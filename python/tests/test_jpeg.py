"""The JPEG encoder."""

from __future__ import annotations

import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from latentcast_worker.jpeg import encode_jpeg


def a_gradient(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (64, 96)])
def test_a_jpeg_keeps_size_and_colour(size: tuple[int, int]) -> None:
    pixels = np.broadcast_to(np.array([200, 100, 50], np.uint8), (*size, 3))
    picture = Image.open(io.BytesIO(encode_jpeg(pixels, 95)))
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", size[::-1])
    assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= 3


def test_a_jpeg_of_lower_quality_is_smaller() -> None:
    pixels = a_gradient(256, 256)
    assert len(encode_jpeg(pixels, 30)) < len(encode_jpeg(pixels, 70)) < len(encode_jpeg(pixels, 95))


def test_other_threads_run_while_it_encodes() -> None:
    """With a switch interval of an hour, this thread only gets to say stop if the encoder lets go of the lock."""
    pixels = a_gradient(1024, 1024)
    started, stop = threading.Event(), threading.Event()
    limit, encoded = 500, 0

    def encode() -> None:
        nonlocal encoded
        started.set()
        while encoded < limit and not stop.is_set():
            encode_jpeg(pixels, 95)
            encoded += 1

    encoder = threading.Thread(target=encode)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        encoder.start()
        started.wait()
        stop.set()
    finally:
        sys.setswitchinterval(interval)
        encoder.join()
    assert encoded < limit
