"""Token ids as lm-evaluation-harness would make them: one BOS, and an exact boundary."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.words import word_tokenizer
from tokenizers import Regex, Tokenizer, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tapioca.errors import DataError
from tapioca.tasks.text import Encoder


def test_one_bos_where_the_tokenizer_adds_one() -> None:
    encoder = Encoder(word_tokenizer(), 64)
    assert encoder.encode_text("the cat") == [1, 3, 5]
    assert encoder.encode_text("<s> the cat") == [1, 3, 5]


def test_no_bos_where_the_tokenizer_adds_none() -> None:
    encoder = Encoder(word_tokenizer(bos=False), 64)
    assert encoder.encode_text("the cat") == [3, 5]
    assert encoder.prefix == 1


def test_spaces_before_the_answer_belong_to_it() -> None:
    encoder = Encoder(word_tokenizer(), 64)
    assert (
        encoder.encode_pair("the cat  ", "sat", "here")
        == encoder.encode_pair("the cat", "  sat", "here")
        == ([1, 3, 5], [7])
    )


def test_an_empty_prompt_becomes_the_prefix() -> None:
    assert Encoder(word_tokenizer(), 64).encode_pair("", "the cat", "here") == ([1], [3, 5])


def test_without_bos_and_eos_an_empty_prompt_is_refused() -> None:
    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    )
    bare.name_or_path = "own/model"
    with pytest.raises(DataError, match=r"^the tokenizer of own/model has neither BOS nor EOS"):
        Encoder(bare, 64).encode_pair("", "a", "here")


def test_long_rows_are_refused_not_cut() -> None:
    encoder = Encoder(word_tokenizer(), 4)
    assert encoder.encode_pair("the cat", " sat on", "f:1") == ([1, 3, 5], [7, 9])
    with pytest.raises(DataError, match="f:1: 5 tokens, but the model reads at most 4"):
        encoder.encode_pair("the cat", " sat on the", "f:1")


def test_an_answer_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="f:1: the answer '' has no tokens"):
        Encoder(word_tokenizer(), 64).encode_pair("the cat", "", "f:1")
    damaged = word_tokenizer()
    damaged.backend_tokenizer.normalizer, damaged.name_or_path = normalizers.Replace(Regex("yes"), ""), "own/model"
    with pytest.raises(
        DataError, match=r"^f:1: the answer 'yes' has no tokens of its own by the tokenizer of own/model; exp"
    ):
        Encoder(damaged, 64).encode_pair("the cat", "yes", "f:1")


def test_the_boundary_of_a_real_tokenizer(shared: Path) -> None:
    encoder = Encoder(AutoTokenizer.from_pretrained(shared / "models" / "stories260K"), 512)
    before, after = encoder.encode_pair("Once upon a time", " there was a dog.", "here")
    assert before == encoder.encode_text("Once upon a time")
    assert before + after == encoder.encode_text("Once upon a time there was a dog.")
    assert before.count(1) == 1
    assert 1 not in after
