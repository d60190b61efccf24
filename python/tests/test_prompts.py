"""Prompts of any length and weight, held against the encoders and against compel."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from compel import CompelForSDXL
from torch import Tensor

from latentcast_worker.model.prompt_chunks import MAX_CHUNKS, split_prompt
from latentcast_worker.model.prompts import CACHED_CHUNKS, PromptEncoder, TextEmbedding
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.policy import CallCosts
from latentcast_worker.protocol import Result

from .fakes import EngineRun, FakeModel
from .reference import denoised
from .requests import a_params, a_request
from .test_parity import LONG_PROMPT, assert_same
from .tiny_checkpoint import TinyCheckpoint

ROOM = 75


def encoder_of(pipeline: Any) -> PromptEncoder:
    tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
    return PromptEncoder(tokenizers, (pipeline.text_encoder, pipeline.text_encoder_2), torch.device("cpu"))


@pytest.fixture(scope="module")
def prompts(tiny: TinyCheckpoint) -> PromptEncoder:
    return encoder_of(tiny.pipeline)


@torch.inference_mode()
def by_pipeline(pipeline: Any, text: str, clip_skip: int | None = None) -> tuple[Tensor, Tensor]:
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompt=text, do_classifier_free_guidance=False, num_images_per_prompt=1, clip_skip=clip_skip
    )
    return tokens, pooled


@torch.inference_mode()
def encoded(prompts: PromptEncoder, text: str, *arguments: Any, **options: Any) -> TextEmbedding:
    return prompts.encode(text, *arguments, **options)


# One token a byte: in the tiny tokenizer a text of n letters without spaces has n tokens.


@pytest.mark.parametrize("syntax", ["weighted", "plain"])
@pytest.mark.parametrize("text", ["", "a cat", "x" * ROOM, "(x" * 30, "é, 日"])
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_plain_text_that_fits_gives_the_pipelines_embeddings(
    tiny: TinyCheckpoint, prompts: PromptEncoder, text: str, syntax: Any, clip_skip: int | None
) -> None:
    embedding = encoded(prompts, text, clip_skip, syntax)
    tokens, pooled = by_pipeline(tiny.pipeline, text, clip_skip)
    assert torch.equal(embedding.tokens, tokens)
    assert torch.equal(embedding.pooled, pooled)


@pytest.mark.parametrize("text", [LONG_PROMPT, "(a:1.3) BREAK [b]"])
def test_plain_syntax_reads_what_the_pipeline_reads(tiny: TinyCheckpoint, prompts: PromptEncoder, text: str) -> None:
    embedding = encoded(prompts, text, None, "plain")
    tokens, pooled = by_pipeline(tiny.pipeline, text)
    assert torch.equal(embedding.tokens, tokens)
    assert torch.equal(embedding.pooled, pooled)


def test_each_chunk_is_what_its_text_gives_alone(tiny: TinyCheckpoint, prompts: PromptEncoder) -> None:
    parts = ["a" * ROOM, "b" * ROOM, "c" * 3]
    # Without spaces a text is one word, which the tokenizer ends with another token: the split is told by BREAK here.
    embedding = encoded(prompts, "BREAK".join(f" {part} " for part in parts))
    assert embedding.tokens.shape[1] == 77 * 3
    for chunk, part in zip(embedding.tokens.split(77, dim=1), parts, strict=True):
        assert torch.equal(chunk, by_pipeline(tiny.pipeline, part)[0])
    assert torch.equal(embedding.pooled, by_pipeline(tiny.pipeline, parts[0])[1])


def ids_of(tiny: TinyCheckpoint, text: str) -> list[list[int]]:
    return [list(chunk.ids) for chunk in split_prompt(tiny.pipeline.tokenizer, text, "weighted").chunks]


def whole(tiny: TinyCheckpoint, text: str) -> list[int]:
    return tiny.pipeline.tokenizer(text, add_special_tokens=False).input_ids


def test_chunks_together_are_the_whole_text(tiny: TinyCheckpoint) -> None:
    text = "x" * (2 * ROOM + 1)
    assert [len(chunk) for chunk in ids_of(tiny, text)] == [ROOM, ROOM, 1]
    assert list(itertools.chain(*ids_of(tiny, text))) == whole(tiny, text)


@pytest.mark.parametrize(("before", "lengths"), [(60, [61, 19]), (54, [75, 5]), (74, [75, 5])])
def test_a_chunk_ends_at_a_comma_within_reach(tiny: TinyCheckpoint, before: int, lengths: list[int]) -> None:
    text = "x" * before + "," + "y" * (79 - before)
    assert [len(chunk) for chunk in ids_of(tiny, text)] == lengths
    assert list(itertools.chain(*ids_of(tiny, text))) == whole(tiny, text)


# Weights


@pytest.mark.parametrize(
    ("ours", "compels", "words"),
    [
        ("a cat", "a cat", "a cat"),
        ("a (cat:1.3) here", "a (cat)1.3 here", "a cat here"),
        ("(a cat:1.5) and (a dog:2)", "(a cat)1.5 and (a dog)2", "a cat and a dog"),
        ("(x:1.2)", "(x)1.2", "x"),
    ],
)
@torch.inference_mode()
def test_weights_work_as_in_compel(
    tiny: TinyCheckpoint, prompts: PromptEncoder, ours: str, compels: str, words: str
) -> None:
    expected = CompelForSDXL(tiny.pipeline)(compels)
    embedding = prompts.encode(ours)
    torch.testing.assert_close(embedding.tokens, expected.embeds, rtol=1e-5, atol=1e-5)
    # Compel pools the text with its syntax in it; ours is that of the words.
    assert torch.equal(embedding.pooled, prompts.encode(words).pooled)


def test_a_weight_of_one_keeps_the_bits(prompts: PromptEncoder) -> None:
    assert torch.equal(encoded(prompts, "a (cat:1) here").tokens, encoded(prompts, "a cat here").tokens)


def test_a_weight_changes_its_own_tokens_only(prompts: PromptEncoder) -> None:
    plain, weighted = encoded(prompts, "ab cd ef").tokens, encoded(prompts, "ab (cd:0.5) ef").tokens
    changed = (plain != weighted).any(dim=-1)[0].nonzero().flatten().tolist()
    assert changed == [3, 4]
    empty = encoded(prompts, "").tokens
    torch.testing.assert_close(weighted[:, changed], (plain[:, changed] + empty[:, changed]) / 2)


# Lengths


def test_the_shorter_prompt_is_filled_up_with_empty_chunks(prompts: PromptEncoder) -> None:
    short, empty = encoded(prompts, "a cat"), encoded(prompts, "")
    filled = encoded(prompts, "a cat", chunks=3)
    assert torch.equal(filled.tokens, torch.cat([short.tokens, empty.tokens, empty.tokens], dim=1))
    assert filled.pooled is short.pooled


@pytest.mark.parametrize(
    ("prompt", "negative_prompt", "tokens"),
    [("a", "b", 77), (LONG_PROMPT, "b", 231), ("a", "x" * 76, 154), ("x" * 76, LONG_PROMPT, 231)],
)
def test_both_prompts_of_an_image_are_equally_long(
    tiny_model: SdxlModel, prompt: str, negative_prompt: str, tokens: int
) -> None:
    params = a_params(prompt=prompt, negative_prompt=negative_prompt)
    sample = denoised(tiny_model, params)
    assert sample.conditioning.tokens.shape[:2] == (2, tokens)
    assert sample.shape == (8, 8, tokens)
    assert torch.isfinite(sample.latents).all()


def test_the_end_of_a_long_prompt_changes_the_image(tiny_model: SdxlModel) -> None:
    texts = [f"{LONG_PROMPT}, {end}" for end in ("a boat", "a bird")]
    first, second = (denoised(tiny_model, a_params(prompt=text)).latents for text in texts)
    assert not torch.equal(first, second)


def test_images_of_unequal_prompt_length_go_side_by_side(tiny_model: SdxlModel) -> None:
    sharing = replace(
        tiny_model,
        costs=CallCosts((1.0, 1.1, 1.2, 1.3)),
        capabilities=replace(tiny_model.capabilities, max_batch=4),
    )
    run = EngineRun(sharing)
    jobs = [
        a_request("short"),
        a_request("long", prompt=LONG_PROMPT),
        a_request("other", seed=8),
        a_request("longer", prompt=f"{LONG_PROMPT} {LONG_PROMPT}"),
    ]
    run.run(*jobs, endings=4)
    assert all(isinstance(run.ending(job.job_id), Result) for job in jobs)


def test_weights_work_in_an_image_and_plain_syntax_switches_them_off(pipeline: Any, tiny_model: SdxlModel) -> None:
    text = "a (beautiful:1.4) sunset"
    weighted = denoised(tiny_model, a_params(prompt=text)).latents
    assert not torch.equal(weighted, denoised(tiny_model, a_params(prompt="a beautiful sunset")).latents)
    assert_same(pipeline, tiny_model, a_params(prompt=text, prompt_syntax="plain"))


# What is cut


def test_what_is_cut_is_named(prompts: PromptEncoder) -> None:
    text = "x" * ROOM + " and a boat"
    assert prompts.warning("prompt", text, "weighted") is None
    warning = prompts.warning("prompt", text, "plain")
    assert warning is not None
    assert "prompt is too long: its last" in warning
    assert "boat" in warning


def test_more_than_the_most_chunks_are_cut(prompts: PromptEncoder) -> None:
    text = "x" * (ROOM * MAX_CHUNKS)
    assert prompts.warning("prompt", text, "weighted") is None
    warning = prompts.warning("prompt", f"{text} boat", "weighted")
    assert warning is not None
    assert "last 4 tokens" in warning
    assert encoded(prompts, f"{text} boat").chunks == MAX_CHUNKS


def test_a_negative_prompt_that_is_not_read_is_not_warned_about(tiny_model: SdxlModel) -> None:
    texts = {"negative_prompt": LONG_PROMPT, "prompt_syntax": "plain"}
    assert len(tiny_model.warnings(a_params(**texts))) == 1
    assert tiny_model.warnings(a_params(guidance_scale=1.0, **texts)) == []


def test_a_result_carries_its_warnings() -> None:
    run = EngineRun(FakeModel())
    run.run(a_request("plain"), a_request("warned", prompt="with a warning"), endings=2)
    endings = [run.ending(job_id) for job_id in ("plain", "warned")]
    assert [ending.warnings for ending in endings if isinstance(ending, Result)] == [
        (),
        ("with a warning was read",),
    ]


def test_the_cache_is_bounded_by_chunks(tiny: TinyCheckpoint) -> None:
    prompts = encoder_of(tiny.pipeline)
    for index in range(CACHED_CHUNKS // MAX_CHUNKS + 3):
        encoded(prompts, f"{index} " + "x" * (ROOM * MAX_CHUNKS))
    cache = prompts._cache  # pyright: ignore[reportPrivateUsage]
    assert sum(embedding.chunks for embedding in cache.values()) <= CACHED_CHUNKS
