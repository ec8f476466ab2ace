"""Checkpoints that do not hold what their configuration says: the line names the file, what was found and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

import tapioca
from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.errors import ExportError, ModelError, TapiocaError
from tapioca.models.find import find_layers
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PLAN, SCALED = Plan.drop(4, [2]), Plan.scale(4, {1: 0.5}, "attention")
ANEW = "; save the model anew with save_pretrained"
Tensors = dict[str, torch.Tensor]


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def rename(before: str, after: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(before, after): tensor for name, tensor in tensors.items()}


def add_list(tensors: Tensors) -> Tensors:
    copies = {name.replace("model.", "other."): tensor.clone() for name, tensor in tensors.items() if "layers" in name}
    return {**tensors, **copies}


def expect_layers(saw: str) -> str:
    return f"full/{SINGLE}: expected the tensors of one list of 4 layers, numbered from 0, saw: {saw}{ANEW}"


@pytest.mark.parametrize(
    ("change", "plan", "message"),
    [
        (without("layers"), PLAN, expect_layers("none")),
        (lambda tensors: {}, PLAN, expect_layers("none")),
        (rename("model.layers.", "net.stack."), PLAN, expect_layers("none")),
        (without("layers.1."), PLAN, expect_layers("model.layers. (3, without 1)")),
        (without("layers.3."), PLAN, expect_layers("model.layers. (3)")),
        (rename("layers.3.", "layers.7."), PLAN, expect_layers("model.layers. (4, without 3)")),
        (
            lambda tensors: {**tensors, "model.layers.4.x": torch.ones(1)},
            PLAN,
            expect_layers("model.layers. (5)"),
        ),
        (add_list, PLAN, expect_layers("model.layers. (4), other.layers. (4)")),
        (
            rename("o_proj", "out"),
            SCALED,
            f"full/{SINGLE}: no weight is called self_attn.o_proj.* in layer 1, so the scale of its attention cannot be "
            "written; use the plan live with tapioca generate",
        ),
        (
            without("layers.1.mlp.up_proj"),
            PLAN,
            "full: 1 weights do not match the architecture (missing keys: model.layers.1.mlp.up_proj.weight, ...); they would "
            "be random numbers; fetch or save the model again, or mend its config.json",
        ),
        (
            lambda tensors: {**tensors, "lm_head.weight": tensors["lm_head.weight"] * torch.nan},
            PLAN,
            "full: the live model gives NaN or infinity, so nothing can be compared; check its weights",
        ),
        (
            lambda tensors: {**tensors, "extra.weight": torch.ones(1)},
            PLAN,
            "full: the exported checkpoint does not reload in a fresh process: weights and architecture differ: 1 unexpected "
            f"keys (extra.weight, ...){ANEW}",
        ),
    ],
)
def test_weights_of_another_model(
    change: Callable[[Tensors], Tensors], plan: Plan, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny("llama").save_pretrained("full")
    save_file(change(load_file(f"full/{SINGLE}")), f"full/{SINGLE}", metadata={"format": "pt"})
    with pytest.raises(TapiocaError) as caught:
        tapioca.export("full", "out", plan)
    assert str(caught.value) == message
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def keep_one_file(index: dict[str, Any]) -> dict[str, Any]:
    [first, *_] = sorted(set(index["weight_map"].values()))
    return {**index, "weight_map": {"x": first}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            keep_one_file,
            f"full/{INDEX}: expected the tensors of one list of 4 layers, numbered from 0, saw: none{ANEW}",
        ),
        (
            lambda index: {**index, "weight_map": {}},
            f"full/{INDEX}: expected the tensors of one list of 4 layers, numbered from 0, saw: none{ANEW}",
        ),
        (
            lambda index: {"weight_map": index["weight_map"]},
            "cannot load the weights of 'full': it lacks 'metadata'",
        ),
        (
            lambda index: {**index, "weight_map": {**index["weight_map"], "x": "gone.safetensors"}},
            f"full/{INDEX} names 13 files of weights, gone.safetensors is not there; fetch or save the model again",
        ),
    ],
)
def test_an_index_of_other_files(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny("llama").save_pretrained("full", max_shard_size="20KB")
    index = Path("full", INDEX)
    index.write_text(json.dumps(change(json.loads(index.read_text()))))
    with pytest.raises(TapiocaError) as caught:
        tapioca.export("full", "out", PLAN)
    assert str(caught.value) == message


def test_settings_that_do_not_fit_the_plan_are_named_with_their_folder(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full")
    with pytest.raises(
        ModelError, match=rf"^{tmp_path}/full: the plan is for a model of 5 layers, this one has 4; use"
    ):
        tapioca.export(tmp_path / "full", tmp_path / "out", Plan.drop(5, [1]))
    (tmp_path / "full" / "quant_config.json").write_text('{"ignore": ["model.layers.1*"]}')
    with pytest.raises(
        ExportError, match=rf"^{tmp_path}/full/quant_config\.json: ignore names layers by 'model\.layers"
    ):
        tapioca.export(tmp_path / "full", tmp_path / "out", PLAN)
    config = tmp_path / "full" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "quantization_config": {"ignore": ["re:.*layers\\.(1|2)"]}}))
    with pytest.raises(ExportError, match=rf"^{config}: quantization_config: ignore names layers by "):
        cut_checkpoint(tmp_path / "full", tmp_path / "out", PLAN, model)


def test_a_live_model_is_named_and_not_the_folder_it_was_saved_to(tmp_path: Path) -> None:
    class Renamed(LlamaForCausalLM):
        def save_pretrained(self, folder: Any, **options: Any) -> None:  # type: ignore[override]
            super().save_pretrained(folder, **options)
            weights = Path(folder) / SINGLE
            save_file(rename("layers", "stack")(load_file(weights)), weights, metadata={"format": "pt"})

    model = Renamed(tiny("llama").config)
    with pytest.raises(ExportError, match=rf"^llama/{SINGLE}: expected the tensors of one list of 4 layers"):
        tapioca.export(model, tmp_path / "out", PLAN)


def test_a_model_whose_layers_are_not_found_is_named() -> None:
    model = tiny("llama")
    model.name_or_path, model.config.num_hidden_layers = "own/model", 7
    with pytest.raises(ModelError) as caught:
        find_layers(model)
    assert (
        str(caught.value)
        == "cannot tell which modules are the 7 layers of 'own/model' (llama); expected one list of that length, saw: model.layers (4)"
    )
