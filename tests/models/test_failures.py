"""A model that cannot be built or cannot compute is one line that names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tapioca.cli.main import main
from tapioca.engine.options import SweepInput
from tapioca.engine.sweep import Schedule, sweep
from tapioca.errors import ModelError
from tapioca.models.inputs import collate, run_forward
from tapioca.models.load import load, load_on_meta
from tapioca.models.tiny import tiny
from tapioca.plan import Plan


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "m"))


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 2**31},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": "4"},
        {"hidden_act": "nothing"},
        {"hidden_size": -8},
        {"num_attention_heads": 0},
        {"vocab_size": "many"},
        {"architectures": [3]},
        {"model_type": []},
        {"rope_scaling": 7},
    ],
)
def test_a_strange_configuration(fields: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(folder / "config.json", **fields)
    assert main(["inspect", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(folder) in error
    assert error.count("\n") == 1
    with pytest.raises(ModelError, match=str(folder)):
        load_on_meta(folder)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("tokenizer_config.json", {"model_max_length": {}}), ("tokenizer.json", {"model": None}), ("tokenizer.json", {})],
)
def test_a_strange_tokenizer(name: str, fields: dict[str, Any], folder: Path) -> None:
    change(folder / name, **fields)
    if not fields:
        (folder / name).write_text("[" * 100_000)
    with pytest.raises(ModelError, match=rf"^cannot load the tokenizer of '{folder}': "):
        load(folder)


def test_a_model_that_cannot_compute(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    model = tiny("llama")
    model.name_or_path = "odd"
    model.model.layers[1].mlp.down_proj = torch.nn.Linear(3, 3)
    with pytest.raises(
        ModelError, match=r"^'odd' cannot compute: RuntimeError: mat1 and mat2 shapes cannot be multiplied"
    ):
        run_forward(model, collate(model, [(1, 2, 3)]), keep=1)
    change(folder / "generation_config.json", eos_token_id={})
    argv = ["generate", str(folder), "--plan", Plan.drop(4, [1]).to_json(), "--prompt", "the cat", "--tokens", "2"]
    assert main(argv) == 2
    assert f"'{folder}' cannot compute: TypeError" in capsys.readouterr().err


def test_the_memory_of_the_cpu_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    batch = collate(model, [(1, 2, 3)] * 2)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setattr(model.model.layers[2], "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        run_forward(model, batch, keep=1)
    with pytest.raises(
        ModelError, match=r"^cpu has no memory for 2 rows of 3 tokens under one plan; halve --batch-size$"
    ):
        list(sweep(model, [Plan.full(4), Plan.drop(4, [1])], SweepInput(batch, 1), Schedule(way="single")))
