"""What stands in real model folders: left-over indexes, layers for multi-token prediction, files of other tools, cards."""

from __future__ import annotations

import json
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file
from support.words import word_tokenizer
from transformers import AutoConfig, AutoTokenizer, LlamaConfig, PretrainedConfig

import tapioca
from tapioca.checkpoints.companions import copy_companions
from tapioca.checkpoints.cut import cut_checkpoint, cut_config
from tapioca.checkpoints.files import code_files, companion_files
from tapioca.checkpoints.older import add_version_4_fields, add_version_4_tokenizer_fields
from tapioca.commands.export.card import fence_code, find_base_model, read_licence, render_model_card
from tapioca.errors import ExportError, ModelError
from tapioca.models.files import find_weight_files
from tapioca.models.prediction import find_prediction_counts, is_prediction_weight, remove_prediction_layers
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def write_index(folder: Path, *shards: str, name: str = INDEX) -> None:
    (folder / name).write_text(json.dumps({"weight_map": {f"t{at}": shard for at, shard in enumerate(shards)}}))


@pytest.mark.parametrize(
    ("files", "shards", "config", "chosen"),
    [
        ([SINGLE], None, {}, [SINGLE]),
        (
            ["a.safetensors", "b.safetensors"],
            ["b.safetensors", "a.safetensors"],
            {},
            ["a.safetensors", "b.safetensors"],
        ),
        ([SINGLE], ["a.safetensors"], {}, [SINGLE]),  # the shards of an old index are gone
        ([SINGLE], [SINGLE], {}, [SINGLE]),
        (["a.safetensors", "left.safetensors"], ["a.safetensors"], {}, ["a.safetensors"]),
        ([SINGLE, "consolidated.safetensors"], None, {}, [SINGLE]),
        ([SINGLE, "own.safetensors"], None, {"transformers_weights": "own.safetensors"}, ["own.safetensors"]),
        (["a.safetensors"], ["a.safetensors"], {"transformers_weights": INDEX}, ["a.safetensors"]),
    ],
)
def test_the_files_that_transformers_reads(
    files: list[str], shards: list[str] | None, config: dict[str, Any], chosen: list[str], tmp_path: Path
) -> None:
    touch(tmp_path, *files)
    if shards:
        write_index(tmp_path, *shards)
    assert [path.name for path in find_weight_files(tmp_path, config)] == chosen


@pytest.mark.parametrize(
    ("files", "shards", "message"),
    [
        (
            [SINGLE, "a.safetensors"],
            ["a.safetensors"],
            r"holds two sets of weights: model\.safetensors, which transformers reads, and model\.safetensors\.index\.json "
            r"with a\.safetensors, which other tools read; remove the one that is left over",
        ),
        (
            ["a.safetensors"],
            ["a.safetensors", "b.safetensors"],
            r"names 2 files of weights, b\.safetensors is not there",
        ),
        (["consolidated.safetensors"], None, r"no model\.safetensors and no .*, only consolidated\.safetensors"),
        (["model.fp16.safetensors"], None, r"only model\.fp16\.safetensors"),
        (["pytorch_model.bin"], None, r"only pytorch_model\.bin, which may run code when read"),
        ([], None, "has no weights; save the model there with save_pretrained"),
    ],
)
def test_weights_that_leave_open_which_are_meant(
    files: list[str], shards: list[str] | None, message: str, tmp_path: Path
) -> None:
    touch(tmp_path, *files)
    if shards:
        write_index(tmp_path, *shards)
    with pytest.raises(ModelError, match=message):
        find_weight_files(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": 3}', "{"])
def test_an_index_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(
        ModelError, match=r"cannot read \S+model\.safetensors\.index\.json: .*; expected an index of weights"
    ):
        find_weight_files(tmp_path)


def test_a_left_over_index_is_neither_read_nor_copied(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full", max_shard_size="20KB")
    for path in (tmp_path / "full").glob("*.safetensors"):
        path.unlink()
    write_index(tmp_path / "full", "pytorch_model-00001-of-00002.bin", name="pytorch_model.bin.index.json")
    newer = tiny("llama", seed=1)
    save_file(newer.state_dict(), tmp_path / "full" / SINGLE, metadata={"format": "pt"})
    loaded = tapioca.load(tmp_path / "full").model
    assert torch.equal(loaded.lm_head.weight, newer.lm_head.weight)
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [0]), loaded)
    held = load_file(tmp_path / "cut" / SINGLE)
    assert torch.equal(held["model.layers.0.mlp.up_proj.weight"], newer.model.layers[1].mlp.up_proj.weight)
    assert not list((tmp_path / "cut").glob("*index*"))


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("mtp_num_hidden_layers", ["mtp.fc.weight", "mtp.layers.0.self_attn.q_proj.weight"]),
        ("num_nextn_predict_layers", ["model.layers.4.eh_proj.weight", "model.layers.4.shared_head.norm.weight"]),
        ("num_mtp_layers", ["model.mtp_layers.0.mlp.up_proj.weight"]),
        ("num_mtp_modules", ["model.mtp.layers.0.weight", "model.mtp_emb_norm.0.weight"]),
        ("mtp_num_layers", ["model.layers.4.enorm.weight", "model.layers.5.enorm.weight"]),
        ("num_nextn_predict_layers", ["nextn_predict_layers.0.weight"]),
    ],
)
def test_what_is_counted_and_what_is_held_agree(field: str, names: list[str], tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "full")
    weights, config = tmp_path / "full" / SINGLE, tmp_path / "full" / "config.json"
    save_file({**load_file(weights), **{name: torch.ones(2) for name in names}}, weights, metadata={"format": "pt"})
    config.write_text(json.dumps({**json.loads(config.read_text()), field: 2}))
    (tmp_path / "full" / "generation_config.json").write_text('{"use_mtp": true, "eos_token_id": 2}')
    model = tapioca.load(tmp_path / "full").model  # which does not take them for layers nobody counts
    [sentence] = cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    assert (
        sentence
        == f"layers for multi-token prediction: {len(names)} tensors ({names[0]}, ...), {field} is 0 instead of 2"
    )
    held = load_file(tmp_path / "cut" / SINGLE)
    assert not held.keys() & set(names)
    assert not any(is_prediction_weight(name, 3, 2) for name in held)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())[field] == 0
    assert json.loads((tmp_path / "cut" / "generation_config.json").read_text()) == {"eos_token_id": 2}
    assert tapioca.load(tmp_path / "cut").model.config.num_hidden_layers == 3


def test_a_count_that_only_the_class_makes_is_written_as_0(tmp_path: Path) -> None:
    model = tiny("deepseek_v3")
    model.save_pretrained(tmp_path / "full")
    config = tmp_path / "full" / "config.json"
    said = json.loads(config.read_text())
    config.write_text(
        json.dumps({name: value for name, value in said.items() if not find_prediction_counts({name: value})})
    )
    assert find_prediction_counts(vars(AutoConfig.from_pretrained(tmp_path / "full")))
    [sentence] = cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [2]), model)
    assert sentence.startswith("layers for multi-token prediction: no tensors, ")
    assert not find_prediction_counts(vars(AutoConfig.from_pretrained(tmp_path / "cut")))


def test_fields_about_multi_token_prediction() -> None:
    config = {
        "num_hidden_layers": 4,
        "mtp_num_hidden_layers": 1,
        "mtp_layer_types": ["full_attention"],
        "mtp_loss_scaling_factor": 0.3,
        "mtp_hidden_states_first": True,
        "mtp_config": {"num_nextn_predict_layers": 2, "num_hidden_layers": 2, "local_layer_ids": [0]},
    }
    assert find_prediction_counts(config) == {"mtp_num_hidden_layers": 1}
    assert remove_prediction_layers(config) == {
        **config,
        "mtp_num_hidden_layers": 0,
        "mtp_layer_types": [],
        "mtp_config": {"num_nextn_predict_layers": 0, "num_hidden_layers": 0, "local_layer_ids": [0]},
    }


def test_a_list_by_layer_that_counts_prediction_layers_as_well() -> None:
    config = {"num_hidden_layers": 4, "num_nextn_predict_layers": 2, "layer_types": ["a", "b", "c", "d", "m", "m"]}
    cut = cut_config(config, Plan.drop(4, [1]), LlamaConfig(num_hidden_layers=4))
    assert cut["layer_types"] == ["a", "c", "d"]
    assert (cut["num_hidden_layers"], cut["num_nextn_predict_layers"]) == (3, 0)


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight", "smtp.weight", "model.layers.3.mtpx"]
)
def test_tensors_that_are_no_prediction_layers(name: str) -> None:
    assert not is_prediction_weight(name, 4, 2)


def test_files_of_other_tools_stay_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "full", tmp_path / "cut"
    word_tokenizer().save_pretrained(source)
    target.mkdir()
    stale = (
        "adapter_config.json", "params.json", "trainer_state.json", "training.json", "training_args.json",
        "consolidated.safetensors.index.json", "model.safetensors.index.fp16.json", "pytorch_model.bin.index.json",
    )  # fmt: skip
    kept = ("generation_config.json", "LICENSE.txt", "LICENCE", "NOTICE", "qwen.tiktoken", "chat_template.jinja")
    for name in (*stale, *kept):
        (source / name).write_text("{}")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (source / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "../outside"}]))
    assert copy_companions(source, target, PLAN, code=False) == []
    there = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert there >= {*kept, "modules.json", "1_Pooling/config.json", "tokenizer.json", "tokenizer_config.json"}
    assert not there & set(stale)


def test_code_that_settings_name_and_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"auto_map": {"AutoConfig": "conf.C", "AutoModel": "model.M", "AutoModelForCausalLM": "gone.L"}})
    )
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["slow.T", null]}}')
    (tmp_path / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "org/other--proc.P"}}')
    (tmp_path / "conf.py").write_text("import torch\n")
    (tmp_path / "model.py").write_text("from .conf import C\nfrom .layers import L\n")
    (tmp_path / "layers.py").write_text("from .deep import D\nimport os\n")
    for name in ("deep.py", "slow.py", "unused.py", "proc.py"):
        (tmp_path / name).write_text("")
    assert [path.name for path in code_files(tmp_path)] == ["conf.py", "deep.py", "layers.py", "model.py", "slow.py"]
    for code, left in ((True, {"AutoConfig", "AutoModel"}), (False, set())):
        target = tmp_path / str(code)
        target.mkdir()
        (target / "config.json").write_text((tmp_path / "config.json").read_text())
        [sentence] = copy_companions(tmp_path, target, PLAN, code)
        assert json.loads((target / "config.json").read_text()).get("auto_map", {}).keys() == left
        assert ("auto_map" in json.loads((target / "processor_config.json").read_text())) == code
        assert len(list(target.glob("*.py"))) == (5 if code else 0)
        assert sentence.startswith("auto_map of config.json")
        assert "which names code that is not in the checkpoint" in sentence


OLDER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}},
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
    ),
    (
        {"model_type": "qwen2", "dtype": "bfloat16", "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
        {"torch_dtype": "bfloat16", "rope_theta": 1e6, "rope_scaling": None},
    ),
    (
        {
            "model_type": "gpt_neox",
            "rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.5},
        },
        {"rotary_emb_base": 1e4, "rotary_pct": 0.5, "rope_scaling": None},
    ),
    (
        {
            "model_type": "stablelm",
            "rope_parameters": {"rope_theta": 1e4, "rope_type": "default", "partial_rotary_factor": 0.25},
        },
        {"rope_theta": 1e4, "partial_rotary_factor": 0.25, "rope_scaling": None},
    ),
    (
        {
            "model_type": "gemma3_text",
            "rope_parameters": {
                "full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_theta": 2e4, "rope_type": "default"},
            },
        },
        {"rope_theta": 1e6, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    (
        {
            "model_type": "modernbert",
            "rope_parameters": {"full_attention": {"rope_theta": 1.6e5}, "sliding_attention": {"rope_theta": 1e4}},
        },
        {"global_rope_theta": 1.6e5, "local_rope_theta": 1e4, "rope_scaling": None},
    ),
    ({"model_type": "qwen3_moe", "num_local_experts": 4}, {"num_experts": 4}),
    ({"model_type": "mixtral", "num_local_experts": 4}, {}),
    ({"model_type": "mamba2", "time_step_limit": [0.0, {"__float__": "Infinity"}]}, {"time_step_limit": [0.0, inf]}),
    (
        {"model_type": "modernbert", "layer_types": ["full_attention", *["sliding_attention"] * 2, "full_attention"]},
        {"global_attn_every_n_layers": 3},
    ),
    (
        {
            "model_type": "modernbert-decoder",
            "layer_types": ["full_attention", "full_attention"],
            "global_attn_every_n_layers": 3,
        },
        {"global_attn_every_n_layers": 1},
    ),
    ({"model_type": "modernbert", "layer_types": ["sliding_attention", "full_attention"]}, {}),
    ({"model_type": "llama", "rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e4}, "torch_dtype": "float16"}, {}),
    ({"model_type": "llama", "rope_theta": 1e4, "rope_scaling": None}, {}),
    ({"model_type": "unheard_of", "rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, {}),
]


@pytest.mark.parametrize(("config", "added"), OLDER)
def test_fields_of_version_5_in_the_form_of_version_4(config: dict[str, Any], added: dict[str, Any]) -> None:
    assert add_version_4_fields(config) == {**config, **added}
    nested = add_version_4_fields({"model_type": "x", "text_config": config})
    assert nested["text_config"] == {**config, **added}


def test_what_version_4_has_no_form_for_is_said(tmp_path: Path) -> None:
    model = tiny("modernbert")  # layers of full attention: 0 and 2
    model.save_pretrained(tmp_path / "full")
    assert cut_checkpoint(tmp_path / "full", tmp_path / "even", Plan.drop(4, [2]), model) == ()
    [sentence] = cut_checkpoint(tmp_path / "full", tmp_path / "uneven", Plan.drop(4, [1]), model)
    assert sentence == "a form for transformers 4, whose modernbert has full attention in every n-th layer only"


def test_an_infinite_limit_of_time_steps(tmp_path: Path) -> None:
    model = tiny("mamba2")
    model.save_pretrained(tmp_path / "full")
    config = tmp_path / "full" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "time_step_limit": [0.0, inf]}))  # as on the hub
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["time_step_limit"] == [0.0, inf]
    assert AutoConfig.from_pretrained(tmp_path / "cut").time_step_limit == [0.0, inf]


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "qwen2", "olmo3", "gpt_neox", "modernbert", "phi", "cohere2"])
def test_version_5_reads_both_forms_as_the_new_one(name: str) -> None:
    config = tiny(name).config
    said = json.loads(config.to_json_string(use_diff=False))

    def read(fields: dict[str, Any]) -> dict[str, Any]:
        live: PretrainedConfig = type(config).from_dict(fields)
        return {**(live.rope_parameters or {}), "dtype": live.dtype}

    assert add_version_4_fields(said).keys() > said.keys()
    assert read(add_version_4_fields(said)) == read(said)


def test_a_tokenizer_written_by_version_5_is_read_as_before(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<a>", "<b>"]})
    tokenizer.save_pretrained(tmp_path / "full")
    said = json.loads((tmp_path / "full" / "tokenizer_config.json").read_text())
    assert (said["tokenizer_class"], said["extra_special_tokens"]) == ("TokenizersBackend", ["<a>", "<b>"])
    (tmp_path / "cut").mkdir()
    copy_companions(tmp_path / "full", tmp_path / "cut", PLAN, code=False)
    written = json.loads((tmp_path / "cut" / "tokenizer_config.json").read_text())
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert written["additional_special_tokens"] == ["<a>", "<b>"]
    before, after = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("full", "cut"))
    text = "the cat <a> sat <b> . </s>"
    assert before(text)["input_ids"] == after(text)["input_ids"]
    assert before.all_special_tokens == after.all_special_tokens
    assert add_version_4_tokenizer_fields({"tokenizer_class": "LlamaTokenizer"}) == {
        "tokenizer_class": "LlamaTokenizer"
    }


PLAN = Plan.drop(4, [1])


@pytest.mark.parametrize(
    ("model", "folder", "own", "base"),
    [
        ("org/model", "x", None, "org/model"),
        ("gpt2", "x", None, "gpt2"),
        ("out/checkpoint-500", "out/checkpoint-500", None, None),  # looks like an id, and is a folder
        ("learner", "x", None, None),
        ("/home/me/models/llama", "x", None, None),
        ("../llama", "x", "org/base", "org/base"),
        ("../llama", "x", "/home/me/base", None),
        ("../llama", "x", ["org/a", "org/b"], None),
        ("/c/hub/models--org--name/snapshots/0a1", "models--org--name/snapshots/0a1", None, "org/name"),
        ("/c/hub/models--gpt2/snapshots/0a1", "models--gpt2/snapshots/0a1", None, "gpt2"),
    ],
)
def test_base_models(
    model: str, folder: str, own: object, base: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True)
    if own:
        (Path(folder) / "README.md").write_text(f"---\n{yaml.safe_dump({'base_model': own})}---\n# x\n")
    assert find_base_model(model, Path(folder)) == base
    text = render_model_card(model, PLAN, Path(folder))
    (tmp_path / "README.md").write_text(text)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == base
    assert card.data.library_name == "transformers"
    assert card.data.tags == ["layer-pruning"]
    assert not any(path in text for path in ("/home", "/c/hub", ".."))


@pytest.mark.parametrize(
    ("front", "files", "expected"),
    [
        ("license: mit", [], {"license": "mit"}),
        (
            "license: other\nlicense_name: own\nlicense_link: LICENSE",
            ["LICENSE"],
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
        ),
        ("language: en", ["LICENSE.txt"], {"license": "other", "license_link": "LICENSE.txt"}),
        ("", ["LICENCE"], {"license": "other", "license_link": "LICENCE"}),
        ("", [], {}),
        ("license: [mit", ["LICENSE"], {"license": "other", "license_link": "LICENSE"}),
    ],
)
def test_licences(front: str, files: list[str], expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# x\n" if front else "# x\n")
    touch(tmp_path, *files)
    assert read_licence(tmp_path) == expected
    data = ModelCard(render_model_card("org/model", PLAN, tmp_path)).data.to_dict()
    assert {name: data[name] for name in expected} == expected
    assert ("license" in data) == ("license" in expected)


@pytest.mark.parametrize(
    ("needs", "sentence", "tags"),
    [
        ("", "It loads with plain transformers.", ["layer-pruning"]),
        (
            "import tapioca.models.learner",
            "`import tapioca.models.learner` before loading it with `AutoModel`",
            ["layer-pruning"],
        ),
        ("trust_remote_code=True", "It loads with `trust_remote_code=True`", ["layer-pruning", "custom_code"]),
    ],
)
def test_a_card_says_what_loading_takes(needs: str, sentence: str, tags: list[str], tmp_path: Path) -> None:
    card = ModelCard(render_model_card("org/model", PLAN, tmp_path, needs=needs))
    assert sentence in card.text
    assert card.data.tags == tags


NAMES = [
    "a`b\n\n# Heading",
    "<img src=x onerror=alert(1)>",
    "[text](http://x)",
    "*_bold_*",
    "a|b",
    "~~~",
    "$x$ &amp;",
    "- item\n---",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_card_is_text_and_nothing_else(name: str, tmp_path: Path) -> None:
    card = str(render_model_card(f"/models/{name}", PLAN, tmp_path, adapter=name))
    front, _, text = card.partition("\n---\n")
    assert yaml.safe_load(front.removeprefix("---"))["tags"] == ["layer-pruning"]
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    kinds = Counter(token.type for token in parsed for token in (token, *(token.children or ())))
    plain = Counter(
        token.type
        for token in MarkdownIt("gfm-like", {"linkify": False}).parse(
            str(render_model_card("/models/a", PLAN, tmp_path, adapter="a")).partition("\n---\n")[2]
        )
        for token in (token, *(token.children or ()))
    )
    assert kinds.keys() - {"text_special"} == plain.keys() - {"text_special"}
    assert kinds["heading_open"] == plain["heading_open"]
    shown = " ".join(name.split())
    assert f"The adapter {shown} was merged" in "".join(
        child.content for token in parsed for child in token.children or () if child.type in ("text", "text_special")
    )


@pytest.mark.parametrize("text", ["a", "``` x", "x\n```\n# y", "`````"])
def test_nothing_ends_a_block_of_code_but_its_own_fence(text: str) -> None:
    [token] = MarkdownIt().parse(fence_code(text))
    assert (token.type, token.content) == ("fence", f"{text}\n")


def test_settings_that_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{")
    (tmp_path / "cut").mkdir()
    with pytest.raises(ExportError, match=r"cannot read \S+tokenizer_config\.json: "):
        copy_companions(tmp_path, tmp_path / "cut", PLAN, code=False)
    assert [path.name for path in companion_files(tmp_path)] == ["tokenizer_config.json"]
