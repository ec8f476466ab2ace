"""Shared fixtures: small models and tokenizers built in code, and real data where it is at hand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything reads it: no test may wait for a network
os.environ["OMP_NUM_THREADS"] = "1"  # the models here are so small that a second thread only waits for the first
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(
    prefix="modules-"
)  # where transformers keeps code that comes with models

import pytest
import torch
from hypothesis import settings
from support.real_data import SHARED
from support.warm_python import WarmPython
from support.words import word_tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tapioca.models.tiny import tiny

settings.register_profile("shared machine", deadline=None)  # what an example takes depends on what else runs
settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """No test leaves more threads to the tests after it, which would take many times as long."""
    yield
    assert torch.get_num_threads() == 1


@pytest.fixture(scope="session", autouse=True)
def _warm_reloads() -> Iterator[None]:
    """Exported checkpoints are reloaded in processes that need not import transformers first, which takes 5 seconds."""
    warm = WarmPython()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tapioca.checkpoints.verify.subprocess", warm)
        yield
    warm.close()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where models lie is noted in a cache of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """One small model of each of the commonest families; `tests/contracts` has them all."""
    return tiny(request.param)


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


@pytest.fixture
def shared() -> Path:
    """The folder of real models and data, or a visible skip."""
    if not SHARED.is_dir():
        pytest.skip("real models and data are not at hand (../shared)")
    return SHARED


@pytest.fixture(scope="session")
def scan_data() -> None:
    """SCAN's files where the task files of the studies look for them."""
    from scan import write_splits

    write_splits()
