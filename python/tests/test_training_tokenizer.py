from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from training.networks import tokenize
from training.tokenizer import BOS, EOS, MAX_LENGTH, known_words, learn_merges, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def spelled(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "a beautiful sunset",
        "zürich ñandú",
        "日本語の夕焼け",
        "🌅🏔️ 4k!!",
        "don't (really) worry; it's 100%",
        "ｆｕｌｌ　ｗｉｄｔｈ",
        "\u0301\u200d\ufeff",
    ],
)
def test_odd_texts_survive_the_round_trip(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.eos_token_id not in ids
    assert spelled(str(tokenizer.decode(ids))) == spelled(tokenizer.backend_tokenizer.normalizer.normalize_str(text))


def test_token_ids_are_those_that_the_pipeline_makes(tokenizer: CLIPTokenizer) -> None:
    texts = ["", "a beautiful sunset", "zürich ñandú", "a red boat on the sea, 4k, " * 20]
    wanted = tokenizer(texts, padding="max_length", max_length=MAX_LENGTH, truncation=True).input_ids
    assert tokenize(tokenizer, texts).tolist() == wanted


@given(text=st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=60))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_becomes_known_ids_of_fixed_length(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text, padding="max_length", max_length=MAX_LENGTH, truncation=True).input_ids
    assert len(ids) == MAX_LENGTH
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id in ids
    assert max(ids) < len(tokenizer)


def test_known_words_are_one_token_each_in_any_case(tokenizer: CLIPTokenizer) -> None:
    for word in known_words():
        assert len(tokenizer.tokenize(word)) == 1, word
        assert tokenizer.tokenize(word.upper()) == tokenizer.tokenize(word)


def test_the_end_token_is_the_highest_id_and_pads(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.bos_token == BOS
    assert tokenizer.eos_token == tokenizer.pad_token == EOS
    assert tokenizer.eos_token_id == len(tokenizer) - 1 != 2
    assert tokenizer.model_max_length == MAX_LENGTH


def test_loading_gives_the_same_ids_as_making(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    texts = ["a red boat, at sunset!", "xyzzy 🌅", ""]
    assert write_tokenizer(tmp_path)(texts).input_ids == tokenizer(texts).input_ids


def test_merges_build_every_word_and_do_not_depend_on_order() -> None:
    words = ["sea", "seas", "sun", "sunset"]
    assert learn_merges(words) == learn_merges(words[::-1])
