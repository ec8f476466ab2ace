"""What an exported checkpoint holds of a model's folder: files known by name, under new numbers, and nothing from elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support.words import word_tokenizer
from transformers import AutoTokenizer

import tapioca
from tapioca.checkpoints.companions import copy_companions
from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.checkpoints.renumber import renumber_layers
from tapioca.cli.main import main
from tapioca.errors import ExportError, ModelError
from tapioca.models.files import find_weight_files
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

PLAN = Plan.drop(4, [1])

PRIVATE = (
    "credentials.json", "token.txt", "trainer_state.json", "training_args.json", "all_results.json", "notes.txt", "prompts.json",
    "vocab_private.txt", "merges_of_mine.txt", "secret.model", "id_rsa", "optimizer.pt", "run.jsonl", "settings.jinja", "wandb.json",
    "pytorch_model.bin", "params.json", "index.json", "data.index.json", ".env", "service_account.JSON",
)  # fmt: skip


def make_model(folder: Path) -> Path:
    tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_files_that_are_not_known_stay_behind_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_model(tmp_path / "full")
    for name in PRIVATE:
        (source / name).write_text("{}")
    write_json(source / "checkpoint-5" / "trainer_state.json", {})
    (tmp_path / "plan.json").write_text(PLAN.to_json())
    assert main(["export", str(source), "--plan", str(tmp_path / "plan.json"), "--to", str(tmp_path / "out")]) == 0
    there = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    printed = " ".join(capsys.readouterr().out.split())
    named = sorted({*(name for name in PRIVATE if not name.startswith(".")), "checkpoint-5"})
    assert (
        f"left out what is not known to belong to a model: {', '.join(named[:10])}, ... ({len(named)} in all)"
        in printed
    )


@pytest.mark.parametrize(
    "name", ["notes.txt", "tokenizer.json", "LICENSE", "model.safetensors", "config.json", "1_Pooling/config.json"]
)
def test_a_link_out_of_the_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    source, outside = make_model(tmp_path / "full"), tmp_path / "outside"
    outside.mkdir()
    if "/" in name:
        write_json(source / "modules.json", [{"path": ""}, {"path": "1_Pooling"}])
    path = source / name
    target = outside / path.name
    if path.exists():
        path.rename(target)
    else:
        target.write_text("{}")
    if "/" in name:
        path.parent.symlink_to(outside)
    else:
        path.symlink_to(os.path.relpath(target, source))
    if name == "notes.txt":
        left_out = tapioca.export(source, tmp_path / "out", PLAN).left_out
        assert left_out == ("what is not known to belong to a model: notes.txt",)
        assert not (tmp_path / "out" / name).exists()
        return
    with pytest.raises(
        ModelError, match=rf"full/{name} is a link to .*outside.*, out of the model's folder; put the file itself there"
    ):
        tapioca.export(source, tmp_path / "out", PLAN)
    assert not (tmp_path / "out").exists()


def test_the_hubs_cache_is_made_of_links(tmp_path: Path) -> None:
    repository = tmp_path / "models--own--model"
    saved = make_model(repository / "snapshots" / "abc")
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(saved.iterdir())):
        path.rename(repository / "blobs" / str(number))
        path.symlink_to(Path("../../blobs") / str(number))
    assert tapioca.export(saved, tmp_path / "out", PLAN).difference == 0
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_symlink()]
    (tmp_path / "linked").symlink_to(saved)  # a folder under another name
    assert tapioca.export(tmp_path / "linked", tmp_path / "again", PLAN).difference == 0
    (tmp_path / "token").write_text("secret")
    (saved / "LICENSE").symlink_to("../../../token")
    with pytest.raises(ModelError, match=r"LICENSE is a link to .*token, out of the model's folder"):
        tapioca.export(saved, tmp_path / "third", PLAN)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", r"..\x", r"C:\x", 3, None]
)
def test_an_index_names_files_beside_it_alone(shard: Any, tmp_path: Path) -> None:
    source = make_model(tmp_path / "full")
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").rename(tmp_path / "outside.safetensors")
    write_json(source / "model.safetensors.index.json", {"weight_map": dict.fromkeys(weights, shard)})
    for use in (lambda: tapioca.load(source), lambda: tapioca.export(source, tmp_path / "out", PLAN)):
        with pytest.raises(
            ModelError, match=r"full/model\.safetensors\.index\.json names the weights .*; expected a file in"
        ):
            use()
    config = json.loads((source / "config.json").read_text())
    with pytest.raises(
        ModelError, match=r"full/config\.json: transformers_weights names the weights '\.\./outside\.safetensors'"
    ):
        find_weight_files(source, {**config, "transformers_weights": "../outside.safetensors"})


@pytest.mark.parametrize("place", ["/etc", "../outside", "a/../../outside", r"..\outside", "./"])
def test_parts_of_a_sentence_encoder_lie_inside(place: str, tmp_path: Path) -> None:
    source, target = tmp_path / "full", tmp_path / "cut"
    write_json(tmp_path / "outside" / "config.json", {"a": 1})
    write_json(source / "1_Dense" / "config.json", {"in_features": 3})
    write_json(source / "1_Dense" / "secrets.json", {})
    write_json(source / "modules.json", [{"path": place}, {"path": "1_Dense"}])
    target.mkdir()
    copy_companions(source, target, PLAN, code=False)
    there = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert there == {"modules.json", "1_Dense/config.json"}
    write_json(source / "1_Dense" / "config.json", {"layer_start": 1, "num_hidden_layers": 4})
    with pytest.raises(ExportError, match=r"1_Dense/config\.json counts the layers of the model"):
        copy_companions(source, target, PLAN, code=False)


NAMES = {
    "modules_to_not_convert": [
        "lm_head",
        "model.layers.0.mlp",
        "model.layers.1.mlp",
        "model.layers.3.self_attn.q_proj",
        "layers.2",
    ],
    "extra_config": {"model.layers.1.mlp.up_proj": {"bits": 8}, "model.layers.2.mlp": {"bits": 4}, "layers": 3},
    "config_groups": {"group_0": {"targets": ["Linear", "re:.*mlp.*"], "weights": {"num_bits": 4}}},
    "ignore": [
        "vision_tower.layers.1.mlp",
        "transformer.h.3",
        "model.layers.12.x",
        "model.layers.2.experts.1.layers.0",
    ],
    "block_name_to_quantize": "model.layers",
}
RENUMBERED = {
    "modules_to_not_convert": ["lm_head", "model.layers.0.mlp", "model.layers.2.self_attn.q_proj", "layers.1"],
    "extra_config": {"model.layers.1.mlp": {"bits": 4}, "layers": 3},
    "config_groups": NAMES["config_groups"],
    "ignore": [
        "vision_tower.layers.1.mlp",
        "transformer.h.2",
        "model.layers.12.x",
        "model.layers.1.experts.1.layers.0",
    ],
    "block_name_to_quantize": "model.layers",
}


def test_names_of_layers_get_new_numbers(tmp_path: Path) -> None:
    assert renumber_layers(NAMES, PLAN, "config.json") == RENUMBERED
    source, target = make_model(tmp_path / "full"), tmp_path / "cut"
    for name in ("quantize_config.json", "quant_config.json", "hf_quant_config.json"):
        write_json(source / name, {"quantization": NAMES})
    model = tapioca.load(source).model
    write_json(
        source / "config.json", {**json.loads((source / "config.json").read_text()), "compression_config": NAMES}
    )
    cut_checkpoint(source, target, PLAN, model)
    for name in ("quantize_config.json", "quant_config.json", "hf_quant_config.json"):
        assert json.loads((target / name).read_text()) == {"quantization": RENUMBERED}
    assert json.loads((target / "config.json").read_text())["compression_config"] == RENUMBERED


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1*",
        r"re:model\.layers\.[0-3]\..*",
        r"+:.*layers\.(?:1|2)\..*",
        r"re:.*layers.\d+.mlp.3",
        "re:.*h.[13].attn",
    ],
)
def test_layers_named_by_a_pattern_are_refused(name: str) -> None:
    if r"\d+" in name:
        assert renumber_layers({"ignore": [name]}, PLAN, "x") == {"ignore": [name]}
        return
    with pytest.raises(
        ExportError, match=r"^quant_config\.json: ignore names layers by .*, which cannot be given new numbers"
    ):
        renumber_layers({"ignore": [name]}, PLAN, "quant_config.json")
    with pytest.raises(ExportError, match="a layer that the plan drops; take it out of the file"):
        renumber_layers({"only": "model.layers.1.mlp"}, PLAN, "quant_config.json")


def test_a_generation_config_says_nothing_of_single_layers(tmp_path: Path) -> None:
    for name, settings, kept in (
        ("a", {"dola_layers": [1, 3], "assistant_early_exit": 4, "top_k": 5}, {"top_k": 5}),
        ("b", {"dola_layers": "low", "top_k": 5}, {"dola_layers": "low", "top_k": 5}),
    ):
        write_json(tmp_path / name / "generation_config.json", settings)
        (tmp_path / f"{name}-cut").mkdir()
        left_out = copy_companions(tmp_path / name, tmp_path / f"{name}-cut", PLAN, code=False)
        assert json.loads((tmp_path / f"{name}-cut" / "generation_config.json").read_text()) == kept
        assert bool(left_out) == (name == "a")


def test_settings_name_no_folder_of_another_machine(tmp_path: Path) -> None:
    source = make_model(tmp_path / "full")
    config = json.loads((source / "config.json").read_text())
    write_json(source / "config.json", {**config, "_name_or_path": "/home/someone/model"})
    paths = {
        "name_or_path": "/home/someone/model",
        "tokenizer_file": "/home/someone/t.json",
        "special_tokens_map_file": r"C:\x",
    }
    settings = json.loads((source / "tokenizer_config.json").read_text())
    write_json(source / "tokenizer_config.json", {**settings, **paths})
    model = tapioca.load(source).model
    cut_checkpoint(source, tmp_path / "out", PLAN, model)
    for path in (tmp_path / "out").glob("*.json"):
        assert "someone" not in path.read_text()
    write_json(source / "tokenizer_config.json", {**settings, "name_or_path": "owner/model"})
    cut_checkpoint(source, tmp_path / "again", PLAN, model)
    assert json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())["name_or_path"] == "owner/model"
    assert AutoTokenizer.from_pretrained(tmp_path / "out").encode("the cat") == [1, 3, 5]
