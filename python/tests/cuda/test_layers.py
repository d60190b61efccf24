"""Parts that a device computes in another way: group normalization, prompts from a graph."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from latentcast_worker.model.group_norm import SplitGroupNorm

from .support import DEVICE, Load, needs_cuda, needs_device

pytestmark = [needs_device, needs_cuda]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 320, 128, 128), (1, 128, 512, 512), (2, 96, 127, 93), (1, 64, 500_000)])
def test_split_group_normalization_is_group_normalization(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator(DEVICE).manual_seed(0)
    channels = shape[1]
    # A mean that is large beside the deviation is what a careless sum of squares stumbles over.
    given = (torch.randn(shape, generator=generator, device=DEVICE) + 20).to(dtype)
    norm = SplitGroupNorm(32, channels, eps=1e-5, device=DEVICE, dtype=dtype)
    with torch.inference_mode():
        norm.weight.normal_(1, 0.3, generator=generator)
        norm.bias.normal_(0, 0.3, generator=generator)
        ours = norm(given)
        weight, bias = norm.weight.double(), norm.bias.double()
        expected = torch.nn.functional.group_norm(given.double(), 32, weight, bias, 1e-5)
        theirs = torch.nn.functional.group_norm(given, 32, norm.weight, norm.bias, 1e-5)
        again = norm(given)
    ours_off, theirs_off = ((each.double() - expected).norm() / expected.norm() for each in (ours, theirs))
    assert ours.dtype == dtype
    assert float(ours_off) <= 1.1 * float(theirs_off)
    assert torch.equal(again, ours)


@torch.inference_mode()
def test_a_prompt_is_the_same_every_time_and_nearly_that_without_a_graph(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = load().prompts
    asked = [(f"a cat, number {number}", clip_skip) for number in range(5) for clip_skip in (None, 1)]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    first = [prompts.encode(text, clip_skip) for text, clip_skip in asked]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    again = [prompts.encode(text, clip_skip) for text, clip_skip in reversed(asked)][::-1]
    monkeypatch.setattr(prompts, "_cache", OrderedDict())
    monkeypatch.setattr(prompts, "_graphs", None)
    plain = [prompts.encode(text, clip_skip) for text, clip_skip in asked]
    for ours, repeated, theirs in zip(first, again, plain, strict=True):
        assert torch.equal(ours.tokens, repeated.tokens)
        assert torch.equal(ours.pooled, repeated.pooled)
        assert float((ours.tokens - theirs.tokens).norm() / theirs.tokens.norm()) < 0.01
        assert float((ours.pooled - theirs.pooled).norm() / theirs.pooled.norm()) < 0.01
