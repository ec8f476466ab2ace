"""Tokenizers with one token per word."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = [
    *("<unk>", "<s>", "</s>", "the", "a", "cat", "dog", "sat", "ran", "on", "mat", "rug", "and", "then", "it", "was"),
    *("big", "red", ".", ",", "Question", ":", "Answer", "yes", "no", "one", "two", "three"),
]


def word_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, with or without a BOS of its own."""
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def whole_tokenizer() -> PreTrainedTokenizerFast:
    """The words of `word_tokenizer`, and one more for every other output of the small models."""
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([f"w{number}" for number in range(len(WORDS), 128)])
    return tokenizer
