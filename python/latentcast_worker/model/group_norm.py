"""Group normalization that fills a GPU.

torch gives the moments of each group to one thread block. An image has 32 groups, a GPU several times as many places
for a block: at 1024 px on an H200 half of the VAE's time went there, and 7 % of a step. Here a group is cut into parts,
each with a block of its own. The arithmetic is the same, in fp32; sums are taken in another order, which is fixed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Values of a group below which torch's own is as fast.
WORTH_SPLITTING = 65_536

# Values of a part: enough for a block to have something to do.
PART = 4096


class SplitGroupNorm(nn.GroupNorm):
    """Takes the place of torch's on CUDA; elsewhere, and for few values, it is torch's."""

    def forward(self, input: Tensor) -> Tensor:
        if not (input.is_cuda and self.affine and input[0].numel() >= WORTH_SPLITTING * self.num_groups):
            return super().forward(input)
        return split_group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def split_group_norms(module: nn.Module) -> None:
    """Replaces every group normalization in `module`."""
    for part in module.modules():
        if type(part) is nn.GroupNorm:
            part.__class__ = SplitGroupNorm


def split_group_norm(input: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """torch.nn.functional.group_norm, for CUDA tensors."""
    rows, channels = input.shape[:2]
    area = input[0, 0].numel()
    parts = _parts(area)
    cut = input.contiguous().view(1, rows * channels * parts, area // parts)
    # Both in fp32. The second is 1 / sqrt(variance + eps) of each part.
    means, deviations = (each.view(rows * groups, -1) for each in torch.batch_norm_stats(cut, eps))
    spread, mean = torch.var_mean(means, dim=1, correction=0, keepdim=True)
    # The variance of a whole is that of its parts' means and the mean of theirs; eps is in each, so in the mean once.
    deviation = (deviations.pow(-2).mean(dim=1, keepdim=True) + spread).rsqrt()
    scale, shift = (each.view(1, channels, 1).expand(rows, channels, parts).reshape(-1) for each in (weight, bias))
    mean, deviation = (each.expand_as(means).reshape(-1) for each in (mean, deviation))
    return torch.batch_norm_elemt(cut, scale, shift, mean, deviation, eps).view(input.shape)


def _parts(area: int) -> int:
    """Into how many equal parts to cut the values of a channel."""
    parts = 1
    while area % (2 * parts) == 0 and area // (2 * parts) >= PART:
        parts *= 2
    return parts
