"""Every number of the recipe in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bucket:
    """A group of scenes of one size: height and width in pixels (multiples of 64), and how many of them."""

    height: int
    width: int
    count: int

    @property
    def name(self) -> str:
        """A file-name-safe label, "height x width"."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True, slots=True)
class AutoencoderRecipe:
    """How the decoder and the tiny autoencoder are trained, on square crops of the scenes.

    Attributes:
        latent_noise: largest standard deviation of the noise added to scaled latents, for the errors of a diffusion
            model.
    """

    channels: tuple[int, ...]
    tiny_channels: int
    tiny_decoder_blocks: tuple[int, ...]
    crop: int
    batch: int
    steps: int
    tiny_steps: int
    learning_rate: float
    tiny_learning_rate: float
    latent_noise: float


@dataclass(frozen=True, slots=True)
class DiffusionRecipe:
    """How the text encoders and the UNet are trained on latents.

    Attributes:
        min_snr, snr_floor: the loss weighs the error of the predicted picture by the signal-to-noise ratio, clipped to
            this range: the top keeps easy steps from dominating, the floor keeps layout and colours learning.
        quarter_steps, half_steps: the first steps see scenes at a quarter, then at half of their size: which word means
            what is learned there at a fraction of the price.
        square_share: share of the steps spent on the first (native) bucket.
        offset_noise: standard deviation of the per-image, per-channel shift added to the noise. Without it the faint
            trace of the mean colour left at the highest noise level decides the picture's brightness.
    """

    channels: tuple[int, ...]
    transformer_layers: tuple[int, ...]
    groups: int
    head_channels: int
    text_width: int
    text_layers: int
    batch: int
    steps: int
    quarter_steps: int
    half_steps: int
    learning_rate: float
    warmup: int
    ema: float
    min_snr: float
    snr_floor: float
    offset_noise: float
    square_share: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole recipe; the first bucket is the model's native size."""

    seed: int
    buckets: tuple[Bucket, ...]
    degraded: int
    autoencoder: AutoencoderRecipe
    diffusion: DiffusionRecipe


DEMO: Final = Recipe(
    seed=1,
    buckets=(
        Bucket(256, 256, 5000),
        Bucket(256, 384, 250),
        Bucket(384, 256, 250),
        Bucket(320, 320, 200),
        Bucket(192, 192, 400),
        Bucket(192, 320, 200),
        Bucket(320, 192, 200),
    ),
    degraded=400,
    autoencoder=AutoencoderRecipe(
        channels=(16, 24, 48, 64),
        tiny_channels=32,
        tiny_decoder_blocks=(3, 2, 1, 0),
        crop=128,
        batch=4,
        steps=6000,
        tiny_steps=700,
        learning_rate=3e-4,
        tiny_learning_rate=2e-3,
        latent_noise=0.15,
    ),
    diffusion=DiffusionRecipe(
        channels=(48, 96, 160),
        transformer_layers=(1, 1, 1),
        groups=16,
        head_channels=32,
        text_width=64,
        text_layers=3,
        batch=32,
        steps=18200,
        quarter_steps=600,
        half_steps=900,
        learning_rate=6e-4,
        warmup=150,
        ema=0.998,
        min_snr=5.0,
        snr_floor=1.0,
        offset_noise=0.08,
        square_share=0.85,
    ),
)
"""The recipe of the shipped demo model."""
