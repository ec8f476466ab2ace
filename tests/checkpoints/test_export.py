"""Exported checkpoints are ordinary ones: they reload with plain transformers and equal the live plan."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.words import word_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
)

import tapioca
from tapioca.checkpoints.cut import cut_checkpoint, cut_config
from tapioca.checkpoints.verify import compare_reloaded, compute_expected, refuse_difference
from tapioca.commands.export.card import render_mergekit
from tapioca.errors import ExportError, ModelError, UsageError
from tapioca.models.edit import apply
from tapioca.models.load import PACKAGED
from tapioca.models.tiny import tiny
from tapioca.plan import HashedArray, Plan

IDS = torch.randint(3, 128, (2, 20), generator=torch.Generator().manual_seed(1))
SETTINGS = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}


@pytest.mark.parametrize("drops", [(0,), (3,), (1, 2)])
@pytest.mark.parametrize("shards", ["50GB", "20KB"])
def test_a_cut_checkpoint_equals_the_live_plan(
    model: PreTrainedModel, drops: tuple[int, ...], shards: str, tmp_path: Path
) -> None:
    plan = Plan.drop(4, drops)
    model.save_pretrained(tmp_path / "full", max_shard_size=shards)
    assert (len(list((tmp_path / "full").glob("*.safetensors"))) > 1) == (shards == "20KB")
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", plan, model)
    other, report = AutoModelForCausalLM.from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not any(report.values())
    with apply(model, plan), torch.inference_mode():
        assert torch.equal(model(IDS).logits, other(IDS).logits)
        assert torch.equal(model.generate(IDS, **SETTINGS), other.generate(IDS, **SETTINGS))
    assert len({path.stat().st_mode for path in (tmp_path / "cut").iterdir()}) == 1  # whoever reads one reads all


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_export_checks_in_a_fresh_process(dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a process of its own, as users have it; the other tests here take a copy of one."""
    if dtype == torch.bfloat16:
        monkeypatch.setattr("tapioca.checkpoints.verify.subprocess", subprocess)
    source = tmp_path / "full"
    tiny("llama").to(dtype).save_pretrained(source)
    word_tokenizer().save_pretrained(source)
    done = tapioca.export(source, tmp_path / "pruned", plan=Plan.drop(4, [2]))
    assert done.difference == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "pruned").encode("the cat") == [1, 3, 5]
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    assert reloaded.config.num_hidden_layers == 3
    assert reloaded.dtype == dtype


def test_a_live_model_is_exported_and_left_alone(tmp_path: Path) -> None:
    model = tiny("gpt2")
    before = model(IDS).logits
    assert tapioca.export(model, tmp_path / "pruned", plan=Plan.drop(4, [0])).difference == 0
    assert torch.equal(model(IDS).logits, before)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").config.n_layer == 3


def test_the_packaged_learner_is_exported_like_any_model(tmp_path: Path) -> None:
    from transformers import AutoModel

    assert tapioca.export(PACKAGED["learner"], tmp_path / "pruned", plan=Plan.drop(8, [5])).difference == 0
    assert len(AutoModel.from_pretrained(tmp_path / "pruned").body.layers) == 7


def check(model: PreTrainedModel, plan: Plan, folder: Path) -> float:
    expected = compute_expected(model, plan)
    [difference] = compare_reloaded([(folder, expected)])
    refuse_difference(difference, expected)
    return difference


def test_a_wrong_checkpoint_is_refused(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full")
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    assert check(model, Plan.drop(4, [1]), tmp_path / "cut") == 0
    with pytest.raises(ExportError, match="differs from the live plan by"):
        check(model, Plan.drop(4, [2]), tmp_path / "cut")
    with pytest.raises(ExportError, match="3 layers, expected 2"):
        check(model, Plan.drop(4, [1, 2]), tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    (tmp_path / "cut" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(ExportError, match="weights and architecture differ"):
        check(model, Plan.drop(4, [1, 2]), tmp_path / "cut")


def test_generation_that_breaks_with_the_cache_is_refused(tmp_path: Path) -> None:
    """Equal logits are not enough: what a cached step answers is compared as well."""
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full")
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    expected = compute_expected(model, Plan.drop(4, [1]))
    expected.answers["steps"][-1] += 1
    [difference] = compare_reloaded([(tmp_path / "cut", expected)])
    with pytest.raises(ExportError, match="differs from the live plan by 1 in an output"):
        refuse_difference(difference, expected)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("gemma2", torch.bfloat16),
        ("gpt2", torch.float32),
        ("olmo2", torch.float16),
        ("qwen3_moe", torch.bfloat16),
    ],
)
def test_branch_scales_go_into_the_weights(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tiny(name).to(dtype).save_pretrained(tmp_path / "full")
    plan = Plan(n_layers=4, layers={3: 0.0}, attention={0: 0.3, 1: 0.0}, mlp={2: 1.1})
    tapioca.export(tmp_path / "full", tmp_path / "scaled", plan)
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("full", "scaled"))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    ends = {
        "gemma2": ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight"),
        "gpt2": ("attn.c_proj", "mlp.c_proj"),
        "olmo2": ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight"),
        "qwen3_moe": ("self_attn.o_proj.weight", "mlp.down_proj.weight"),
    }[name]
    assert {name.split(ends[0])[0].split(".")[-2] for name in changed if ends[0] in name} == {"0", "1"}
    assert {name.split(ends[1])[0].split(".")[-2] for name in changed if ends[1] in name} == {"2"}
    assert all(ends[0] in name or ends[1] in name for name in changed)
    assert all(after[name].dtype == dtype for name in changed)


def test_the_scaled_weight_is_rounded_once(tmp_path: Path) -> None:
    tiny("gemma2").to(torch.bfloat16).save_pretrained(tmp_path / "full")
    tapioca.export(tmp_path / "full", tmp_path / "scaled", Plan.scale(4, {1: 0.3}, "mlp"))
    name = "model.layers.1.post_feedforward_layernorm.weight"
    before, after = (load_file(tmp_path / folder / "model.safetensors")[name] for folder in ("full", "scaled"))
    assert torch.equal(after, (0.3 * (before.double() + 1) - 1).to(torch.bfloat16))


def test_a_checkpoint_that_names_its_weights_otherwise_is_refused(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full")
    weights = tmp_path / "full" / "model.safetensors"
    save_file({name.replace("o_proj", "out"): tensor for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(ExportError, match=r"no weight is called self_attn\.o_proj\.\* in layer 1"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.scale(4, {1: 0.5}, "attention"), model)
    assert not (tmp_path / "cut").exists()


def test_layers_for_multi_token_prediction_are_left_out(tmp_path: Path) -> None:
    """They stand behind the counted layers and models find them by an absolute number."""
    model = tiny("glm4_moe")
    model.save_pretrained(tmp_path / "full")
    weights, config = tmp_path / "full" / "model.safetensors", tmp_path / "full" / "config.json"
    extra = {"model.layers.4.eh_proj.weight": torch.ones(2, 2), "model.layers.4.enorm.weight": torch.ones(2)}
    save_file({**load_file(weights), **extra}, weights, metadata={"format": "pt"})
    said = json.loads(config.read_text())
    config.write_text(json.dumps({**said, "num_nextn_predict_layers": 0}))
    with pytest.raises(
        ExportError, match=r"expected the tensors of one list of 4 layers, numbered from 0, saw: model\.layers\. \(5\)"
    ):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    config.write_text(json.dumps({**said, "num_nextn_predict_layers": 1}))
    model = tapioca.load(tmp_path / "full").model
    assert cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model) == (
        "layers for multi-token prediction: 2 tensors (model.layers.4.eh_proj.weight, ...), "
        "num_nextn_predict_layers is 0 instead of 1",
    )
    assert check(model, Plan.drop(4, [1]), tmp_path / "cut") == 0
    assert not any(
        "layers.3." in name or "layers.4." in name for name in load_file(tmp_path / "cut" / "model.safetensors")
    )
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["num_nextn_predict_layers"] == 0


def test_a_checkpoint_that_answers_nan_is_refused(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full")
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [1]), model)
    expected = compute_expected(model, Plan.drop(4, [1]))
    expected.answers["steps"][-1] = float("nan")
    [difference] = compare_reloaded([(tmp_path / "cut", expected)])
    with pytest.raises(ExportError, match="differs from the live plan by nan"):
        refuse_difference(difference, expected)
    with torch.no_grad():
        model.lm_head.weight[0] = float("nan")
    with pytest.raises(ExportError, match="the live model gives NaN or infinity"):
        compute_expected(model, Plan.drop(4, [1]))


@pytest.mark.parametrize(("name", "dtype"), [("llama", torch.bfloat16), ("qwen2_moe", torch.float16)])
def test_many_scales_in_few_digits_are_accepted(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tiny(name).to(dtype).save_pretrained(tmp_path / "full")
    plan = Plan(n_layers=4, layers={3: 0.0}, attention={0: 0.3, 1: 0.0}, mlp={0: 0.7, 2: 1.3})
    assert 0 < tapioca.export(tmp_path / "full", tmp_path / "scaled", plan).difference < 0.1


def test_a_model_under_a_plan_is_not_exported(tmp_path: Path) -> None:
    model = tiny("llama")
    with (
        apply(model, Plan.scale(4, {0: 0.1}, "mlp")),
        pytest.raises(UsageError, match="the model is under a plan; leave the with block, or compose the two plans"),
    ):
        tapioca.export(model, tmp_path / "pruned", Plan.drop(4, [1]))


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "gpt_oss", "smollm3"])
def test_fields_left_empty_are_derived_before_they_are_cut(name: str, tmp_path: Path) -> None:
    tiny(name).save_pretrained(tmp_path / "full")
    said = json.loads((tmp_path / "full" / "config.json").read_text())
    empty = {"layer_types": None, "no_rope_layers": None}
    (tmp_path / "full" / "config.json").write_text(
        json.dumps({**said, **{k: v for k, v in empty.items() if k in said}})
    )
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", Plan.drop(4, [0])).difference == 0


def test_text_and_pictures_with_equally_many_layers(tmp_path: Path) -> None:
    config = tiny("gemma3").config
    config.vision_config.num_hidden_layers = 4
    model = Gemma3ForConditionalGeneration(config).eval()
    assert tapioca.export(model, tmp_path / "pruned", Plan.drop(4, [1])).difference == 0
    config = json.loads((tmp_path / "pruned" / "config.json").read_text())
    assert config["text_config"]["num_hidden_layers"] == 3
    assert config["vision_config"]["num_hidden_layers"] == 4


def test_a_text_part_that_relies_on_the_default_count(tmp_path: Path) -> None:
    config = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}
    live = Gemma3Config(text_config={"num_hidden_layers": 26})
    cut = cut_config(config, Plan.drop(26, [3]), live)
    assert cut["text_config"]["num_hidden_layers"] == 25
    assert len(cut["text_config"]["layer_types"]) == 25


@pytest.mark.parametrize("kind", [LlamaModel, GPT2Model])
def test_a_checkpoint_of_a_bare_decoder(kind: type[PreTrainedModel], tmp_path: Path) -> None:
    config = tiny("llama").config if kind is LlamaModel else tiny("gpt2").config
    config.tie_word_embeddings = True
    kind(config).save_pretrained(tmp_path / "full")
    # the copy is read in another process, where the addresses of arrays, and with them the rounding of products, may differ
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", Plan.drop(4, [1])).difference < 1e-6


def test_a_generation_config_with_beams_and_stop_strings(tmp_path: Path) -> None:
    model = tiny("llama")
    model.generation_config.num_beams = 2
    model.generation_config.stop_strings = ["the"]
    model.save_pretrained(tmp_path / "full")
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", Plan.drop(4, [1])).difference == 0


def test_only_the_files_transformers_reads_are_copied(tmp_path: Path) -> None:
    model = tiny("llama")
    model.save_pretrained(tmp_path / "full", max_shard_size="20KB")
    save_file({"layers.0.attention.wo.weight": torch.ones(2)}, tmp_path / "full" / "consolidated.safetensors")
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", Plan.drop(4, [1])).difference == 0
    assert not (tmp_path / "pruned" / "consolidated.safetensors").exists()
    index = json.loads((tmp_path / "pruned" / "model.safetensors.index.json").read_text())
    shards = [load_file(path) for path in (tmp_path / "pruned").glob("*.safetensors")]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for shard in shards for tensor in shard.values())
    assert sorted(index["weight_map"]) == sorted(name for shard in shards for name in shard)


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        (Plan.full(4), ExportError, "changes nothing"),
        (Plan.scale(4, {1: 0.5}), ExportError, "its MLP reads what attention wrote; scale branches"),
        (Plan.drop(5, [1]), ModelError, "for a model of 5 layers, this one has 4"),
        (Plan.drop(4, range(4)), ModelError, "drops all 4 layers"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    plan: Plan, error: type[Exception], message: str, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tapioca.export(model_folder, tmp_path / "pruned", plan=plan)
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_taken_and_sources_that_are_none(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        tapioca.export(model_folder, tmp_path, plan=Plan.drop(4, [1]))
    with pytest.raises(UsageError, match="is no run folder"):
        tapioca.export(model_folder, tmp_path / "new")


def test_configs() -> None:
    plan = Plan.drop(4, [1])
    llama = {
        "num_hidden_layers": 4,
        "layer_types": ["a", "b", "c", "d"],
        "eos_token_id": [1, 2, 3, 4],
        "hidden_size": 4,
    }
    assert cut_config(llama, plan, LlamaConfig()) == {**llama, "num_hidden_layers": 3, "layer_types": ["a", "c", "d"]}
    assert cut_config({"model_type": "x", "text_config": llama}, plan, LlamaConfig())["text_config"]["layer_types"] == [
        "a",
        "c",
        "d",
    ]


def test_lists_that_transformers_derives_from_positions_are_written_out(tmp_path: Path) -> None:
    """A Qwen2 folder of the older form says only from which layer on attention slides; a shorter model would slide elsewhere."""
    model = tiny("qwen2")
    model.save_pretrained(tmp_path / "full")
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    types = config.pop("layer_types")
    (tmp_path / "full" / "config.json").write_text(json.dumps(config))
    assert types == ["full_attention"] * 2 + ["sliding_attention"] * 2
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", plan=Plan.drop(4, [0])).difference == 0
    assert json.loads((tmp_path / "pruned" / "config.json").read_text())["layer_types"] == types[1:]


def test_one_shard_with_an_index(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "full")
    weights = tmp_path / "full" / "model.safetensors"
    names = list(load_file(weights))
    weights.rename(tmp_path / "full" / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (tmp_path / "full" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert tapioca.export(tmp_path / "full", tmp_path / "pruned", plan=Plan.drop(4, [0])).difference == 0


def test_a_model_that_computes_with_its_layers_numbers_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(n_layer=4, n_embd=32, n_head=4, vocab_size=128, scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(
        ExportError, match=r"cannot keep layer 1 as it is: attn\.scaling would be 0\.35\d* instead of 0\.17"
    ):
        tapioca.export(GPT2LMHeadModel(config).eval(), tmp_path / "pruned", plan=Plan.drop(4, [0]))
    assert list(tmp_path.iterdir()) == []


@given(
    st.integers(2, 20).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1))
    )
)
def test_mergekit_keeps_exactly_the_kept_layers(case: tuple[int, set[int]]) -> None:
    plan = Plan.drop(*case)
    slices = yaml.safe_load(render_mergekit("org/model", plan))["slices"]
    ranges = [part["sources"][0]["layer_range"] for part in slices]
    assert [layer for start, end in ranges for layer in range(start, end)] == list(plan.kept)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_a_card_without_a_run_says_only_what_is_known(model_folder: Path, tmp_path: Path) -> None:
    tapioca.export(model_folder, tmp_path / "pruned", plan=Plan.drop(4, [1, 2]))
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert "without layers 1–2" in card
    assert "llama-quantize --prune-layers 1,2 " in card
    assert "Verdict" not in card


def test_a_card_says_what_became_of_every_layer(model_folder: Path, tmp_path: Path) -> None:
    matrix = HashedArray.hold(torch.eye(32) + 0.1)
    plan = Plan(n_layers=4, layers={3: 0.0}, repeats=[(1, 2)], maps={0: matrix})
    exported = tapioca.export(model_folder, tmp_path / "longer", plan)
    assert exported.difference < 1e-4
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "longer").config.num_hidden_layers == 5
    card = (tmp_path / "longer" / "README.md").read_text()
    assert "without layers 3 and with layers 1–2 twice" in card
    assert "(numbered from 0: 1–2): their weights stand here twice." in card
    assert "What the MLPs of layers 0 add goes through a linear map, multiplied into their last weights" in card
    assert "mergekit" not in card  # which knows no maps
    tapioca.export(model_folder, tmp_path / "factors", Plan.drop(4, [1]).compensate({2: 1.25}))
    assert "what is added behind them is divided by 1.25 (layer 2)" in (tmp_path / "factors" / "README.md").read_text()
    tapioca.export(model_folder, tmp_path / "repeats", Plan(n_layers=4, repeats=[(1, 2)]))
    card = (tmp_path / "repeats" / "README.md").read_text()
    assert "layer_range: [0, 3]" in card
    assert "layer_range: [1, 4]" in card
    assert "llama-quantize" not in card  # which only leaves layers out


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4, unique=True))
def test_mergekit_repeats_exactly_the_repeated_layers(bounds: list[int]) -> None:
    ordered = sorted(bounds)
    blocks = list(zip(ordered[::2], ordered[1::2], strict=False))
    plan = Plan(n_layers=10, layers={bounds[0]: 0.0}, repeats=blocks)
    ranges = [part["sources"][0]["layer_range"] for part in yaml.safe_load(render_mergekit("m", plan))["slices"]]
    assert tuple(layer for first, end in ranges for layer in range(first, end)) == plan.order
