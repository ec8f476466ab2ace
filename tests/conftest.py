"""Shared fixtures: small models and tokenizers built in code, and real data where it is at hand."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything reads it: no test may wait for a network
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(
    prefix="modules-"
)  # where transformers keeps code that comes with models

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tapioca.models.tiny import tiny

SHARED = Path(__file__).parents[2] / "shared"
WORDS = [
    "<unk>",
    "<s>",
    "</s>",
    *[
        "the",
        "a",
        "cat",
        "dog",
        "sat",
        "ran",
        "on",
        "mat",
        "rug",
        "and",
        "then",
        "it",
        "was",
        "big",
        "red",
        ".",
        ",",
        "Question",
        ":",
        "Answer",
        "yes",
        "no",
        "one",
        "two",
        "three",
    ],
]


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """One thread: the models here are so small that a second one only waits for the first."""
    torch.set_num_threads(1)


@pytest.fixture(params=["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One small model of each of the commonest families; `tests/contracts` has them all."""
    return tiny(request.param)


def word_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, with or without a BOS of its own."""
    core = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with a tokenizer, saved as an ordinary folder."""
    folder = tmp_path_factory.mktemp("model")
    tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def write_lines(path: Path, rows: list[dict]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice_rows(count: int, start: int = 0) -> list[dict]:
    """Four-way choices over the words of `make_word_tokenizer`, two rows to a group."""
    nouns, verbs = ["cat", "dog", "mat", "rug"], ["sat", "ran", "was", "and"]
    return [
        {
            "id": f"r{at}",
            "group": f"g{at // 2}",
            "context": f"the {nouns[at % 4]} {verbs[at // 4 % 4]} on the {nouns[at // 16 % 4]} "
            + "then " * (at % 7 + at // 64),
            "choices": ["the cat", "a big dog", "one red mat", "it"],
            "answer": (at * 7 + at // 5) % 4,
        }
        for at in range(start, start + count)
    ]


def check_figures(folder: Path, charts: Iterable[str]) -> None:
    """See that every chart is there as SVG, PNG and PDF, and nothing else."""
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert {path.name for path in folder.iterdir()} == {f"{chart}.{kind}" for chart in charts for kind in begins}
    for path in folder.iterdir():
        assert path.read_bytes().startswith(begins[path.suffix[1:]])
        assert path.stat().st_size > 1000


@pytest.fixture
def shared() -> Path:
    """The folder of real models and data, or a visible skip."""
    if not SHARED.is_dir():
        pytest.skip("real models and data are not at hand (../shared)")
    return SHARED
