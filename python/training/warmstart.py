"""Start the autoencoders as working thumbnails, so that training only has to add the detail.

The encoder is set by construction and needs no training: a latent pixel holds the mean colour of 8 x 8 pixels
(decorrelated) and how much brighter their upper half is than their lower. Group norms forget absolute values, so a few
channels of every layer carry the values twice, once with each sign, next to two large constants. The constants fix what
the norms divide by, and since ``silu(x) - silu(-x) = x``, the signed pairs cross the last activation undistorted.
"""

from __future__ import annotations

from typing import Final

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

_COLOURS: Final = 3
_CONSTANTS: Final = (6, 7)
_SLOPE: Final = (8, 9)
_CARRIED: Final = 10
_ENCODER_CONSTANT: Final = 64.0
_DECODER_CONSTANT: Final = 4.0
_LUMA: Final = (0.299, 0.587, 0.114)
_POSTERIOR_STD: Final = 0.02
_SLOPE_STD: Final = 0.7
"""The slope tells least about a picture; a smaller scale makes noise hide it first."""


def thumbnails(pixels: Tensor) -> Tensor:
    """What the encoder sees of pixels (N x 3 x H x W): N x 4 x H/8 x W/8, mean colour and brightness slope."""
    colours = avg_pool2d(pixels, 8)
    halves = avg_pool2d(torch.einsum("nchw,c->nhw", pixels, pixels.new_tensor(_LUMA))[:, None], (4, 8))
    return torch.cat([colours, halves[:, :, 0::2] - halves[:, :, 1::2]], dim=1)


@torch.no_grad()
def set_encoder(model: AutoencoderKL, pixels: Tensor) -> None:
    """Set the encoder (one norm group, at least 16 channels) and the 1 x 1 convolutions around the latents, in place.

    Args:
        pixels: pictures (N x 3 x H x W, -1 to 1) over which latents times the scaling factor get mean 0 and variance 1
            (the last channel: a little less).
    """
    encoder, factor = model.encoder, float(model.config.scaling_factor)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    _open(encoder.conv_in, _ENCODER_CONSTANT)
    for name, module in encoder.named_modules():
        if name.endswith("conv_shortcut"):
            _carry(module, 1.0)
        elif isinstance(module, nn.Conv2d) and "downsamplers" in name:
            _carry(module, 0.25)
            last = module
    for channel, luma in enumerate(_LUMA):
        for slope, sign in zip(_SLOPE, (1.0, -1.0), strict=True):
            last.weight[slope, channel, 0, 0:2] = 0.5 * sign * luma
            last.weight[slope, channel, 1, 0:2] = -0.5 * sign * luma
            last.weight[slope, slope] = 0.0
    norm_std = _ENCODER_CONSTANT * (2.0 / encoder.conv_norm_out.num_channels) ** 0.5
    for output, (plus, minus) in enumerate([*((i, i + _COLOURS) for i in range(_COLOURS)), _SLOPE]):
        encoder.conv_out.weight[output, plus, 1, 1] = norm_std
        encoder.conv_out.weight[output, minus, 1, 1] = -norm_std
    values = thumbnails(pixels).transpose(0, 1).flatten(1)
    shift = values.mean(dim=1)
    spread, axes = torch.linalg.eigh(torch.cov(values[:_COLOURS]))
    # An eigenvector's sign is arbitrary: let every axis brighten green, so that any machine gives the same latents.
    axes = axes.flip(1) * axes.flip(1)[1].sign()
    scales = torch.cat([spread.flip(0).sqrt() * factor, values[3].std()[None] * factor / _SLOPE_STD])
    mixing = torch.zeros(4, 4)
    mixing[:_COLOURS, :_COLOURS], mixing[3, 3] = axes.T, 1.0
    mixing = mixing / scales[:, None]
    unmixing = torch.linalg.inv(mixing)
    # The decoder starts from colours; the slope reaches it at unit scale.
    unmixing[3] *= 1.0 / values[3].std()
    shift_out = shift.clone()
    shift_out[3] = 0.0
    for convolution, matrix, offset in (
        (model.quant_conv, mixing, -mixing @ shift),
        (model.post_quant_conv, unmixing, shift_out),
    ):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
        convolution.weight[:4, :4, 0, 0] = matrix
        convolution.bias[:4] = offset
    model.quant_conv.bias[4:] = 2.0 * torch.log(torch.tensor(_POSTERIOR_STD / factor))


@torch.no_grad()
def warm_start_decoder(model: AutoencoderKL, pixels: Tensor) -> None:
    """Make the decoder show the thumbnails enlarged, in place; ``set_encoder`` comes first."""
    for name, module in model.decoder.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        elif name.endswith("conv_shortcut") or "upsamplers" in name:
            _carry(module, 1.0)
    _open(model.decoder.conv_in, _DECODER_CONSTANT)
    last = model.decoder.conv_out
    last.weight.mul_(0.1)
    nn.init.zeros_(last.bias)
    for channel in range(_COLOURS):
        last.weight[channel] = 0.0
        last.weight[channel, channel, 1, 1] = 1.0
        last.weight[channel, channel + _COLOURS, 1, 1] = -1.0
    output = model.decode(model.encode(pixels).latent_dist.mean).sample
    wanted, got = pixels.transpose(0, 1).flatten(1), output.transpose(0, 1).flatten(1)
    centered = got - got.mean(dim=1, keepdim=True)
    slope = (centered * (wanted - wanted.mean(dim=1, keepdim=True))).mean(dim=1) / centered.square().mean(dim=1)
    last.weight *= slope[:, None, None, None]
    last.bias += wanted.mean(dim=1) - slope * got.mean(dim=1)


def _carry(convolution: nn.Conv2d, tap: float) -> None:
    """Copy the carried channels; averages 2 x 2 pixels where the convolution halves the picture."""
    convolution.weight.mul_(0.5)
    convolution.weight[:_CARRIED] = 0.0
    convolution.bias[:_CARRIED] = 0.0
    for channel in range(_CARRIED):
        kernel = convolution.weight[channel, channel]
        if convolution.stride == (2, 2):
            kernel[0:2, 0:2] = tap
        else:
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = tap


def _open(convolution: nn.Conv2d, constant: float) -> None:
    """Spread three input channels over signed pairs and switch the constants on."""
    convolution.weight[:_CARRIED] = 0.0
    convolution.bias[:_CARRIED] = 0.0
    for channel in range(_COLOURS):
        convolution.weight[channel, channel, 1, 1] = 1.0
        convolution.weight[channel + _COLOURS, channel, 1, 1] = -1.0
    convolution.bias[_CONSTANTS[0]] = constant
    convolution.bias[_CONSTANTS[1]] = -constant


@torch.no_grad()
def warm_start_tiny(model: AutoencoderTiny, weights: Tensor, bias: Tensor) -> None:
    """Make an untrained tiny decoder show the linear preview, in place.

    Args:
        weights, bias: the linear map (4 x 3 and 3) from scaled latents to colours -1 to 1.
    """
    convolutions = [module for module in model.decoder.layers if isinstance(module, nn.Conv2d)]
    first, *between, last = convolutions
    first.weight[:3], first.bias[:3] = 0.0, 0.5 + 0.5 * bias
    first.weight[:3, :, 1, 1] = 0.5 * weights.T
    for convolution in between:
        convolution.weight[:3] = 0.0
        for channel in range(3):
            convolution.weight[channel, channel, 1, 1] = 1.0
    last.weight *= 0.1
    nn.init.zeros_(last.bias)
    for channel in range(3):
        last.weight[channel] = 0.0
        last.weight[channel, channel, 1, 1] = 1.0
    for block in model.decoder.modules():
        if hasattr(block, "fuse"):
            end = block.conv[-1]
            nn.init.zeros_(end.weight)
            nn.init.zeros_(end.bias)
