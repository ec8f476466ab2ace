"""What every model type must do: one plan per type in the fast tier, every single drop in the slow one."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from tapioca.checkpoints.cut import cut_checkpoint, cut_config
from tapioca.errors import ExportError, ModelError
from tapioca.flows.inspect import facts, inspect
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.tiny import RECIPES, tiny
from tapioca.models.watch import layer_outputs
from tapioca.records import Plan

NO_DROPS = {"jamba"}
FIRST_STAYS = {"t5 (encoder)"}
NOT_EXPORTED = {("modernbert", 0)}
"""What cannot be dropped or expressed in a checkpoint, each refused with a reason."""

WITHOUT_EMBEDDINGS = {"mamba2"}
"""Types whose `hidden_states` begin after the first layer."""

IDS = torch.randint(3, 128, (2, 24), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
GENERATING = [name for name, recipe in RECIPES.items() if "CausalLM" in recipe.model or "LMHead" in recipe.model]


@pytest.fixture(scope="module", params=sorted(RECIPES))
def case(request: pytest.FixtureRequest) -> tuple[str, PreTrainedModel]:
    """A model type and a small model of it; tests leave it as it was."""
    return request.param, tiny(request.param)


def inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {"pixel_values": IMAGES} if model.main_input_name == "pixel_values" else {"input_ids": IDS}


def outputs(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        found = model(**inputs(model))
    return found["logits"] if "logits" in found else found["last_hidden_state"]


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def rebuilt(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """The model built anew from the cut config, with its own weights under their new names."""
    config = type(model.config).from_dict(cut_config(model.config.to_dict(), plan, model.config))
    other = type(model)(config)
    kept = nn.ModuleList(find_layers(model).blocks[layer] for layer in plan.kept)
    find_layers(other).blocks.load_state_dict(kept.state_dict())
    path = find_layers(model).path + "."
    rest = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(path)}
    assert not other.load_state_dict(rest, strict=False).unexpected_keys
    return other.eval()


def droppable(name: str) -> list[int]:
    return [] if name in NO_DROPS else [layer for layer in range(4) if layer or name not in FIRST_STAYS]


def test_the_layers_are_found(case: tuple[str, PreTrainedModel]) -> None:
    assert len(find_layers(case[1])) == 4


def test_inspection_says_what_can_be_done(case: tuple[str, PreTrainedModel], tmp_path: Path) -> None:
    name, model = case
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)  # a folder without weights
    found = inspect(str(tmp_path))
    assert found == facts(model)
    assert list(found.droppable) == droppable(name)
    assert list(found.exportable) == [layer for layer in droppable(name) if (name, layer) not in NOT_EXPORTED]
    assert len(found.reasons) == (len(found.exportable) < 4)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_an_empty_plan_and_scales_of_one_change_nothing(case: tuple[str, PreTrainedModel]) -> None:
    _, model = case
    before = outputs(model)
    for plan in (Plan.full(4), Plan.scale(4, dict.fromkeys(range(4), 1.0))):
        with apply(model, plan):
            assert torch.equal(outputs(model), before)


def test_a_drop_equals_the_model_rebuilt_without_it(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    for layer in droppable(name)[1:2]:
        check_drop(name, model, layer)


@pytest.mark.slow
@pytest.mark.parametrize("layer", range(4))
def test_every_drop_equals_the_model_rebuilt_without_it(case: tuple[str, PreTrainedModel], layer: int) -> None:
    if layer in droppable(case[0]):
        check_drop(*case, layer)


def check_drop(name: str, model: PreTrainedModel, layer: int) -> None:
    plan, before = Plan.drop(4, [layer]), outputs(model)
    with apply(model, plan):
        live = outputs(model)
    assert (live - before).abs().max() > 0.01
    if (name, layer) not in NOT_EXPORTED:
        assert torch.equal(live, outputs(rebuilt(model, plan)))


def test_no_trace_is_left(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    before, counted, config = outputs(model), hooks(model), copy.deepcopy(model.config.to_dict())
    drop = {droppable(name)[-1]: 0.0} if droppable(name) else {}
    with apply(model, Plan(n_layers=4, layers={1: 0.5, **drop})):
        outputs(model)
    assert torch.equal(outputs(model), before)
    assert hooks(model) == counted
    assert model.config.to_dict() == config


def test_states_equal_the_models_own(case: tuple[str, PreTrainedModel]) -> None:
    _, model = case
    seen: dict[int, torch.Tensor] = {}
    batch = {**inputs(model), "attention_mask": torch.ones_like(IDS)} if "input_ids" in inputs(model) else inputs(model)
    layer_outputs(model, batch, lambda place, state: seen.update({place: state.clone()}))
    with torch.inference_mode():
        own = model(**inputs(model), output_hidden_states=True).hidden_states
    assert own is not None
    first = 0 if case[0] in WITHOUT_EMBEDDINGS else 1
    for place in range(3):  # the last entry may stand after a final norm
        assert torch.allclose(seen[place], own[place + first], atol=1e-5)


def test_half_precision(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if not droppable(name) or model.main_input_name == "pixel_values":
        pytest.skip("nothing to drop, or images")
    half = copy.deepcopy(model).to(torch.bfloat16)
    before = outputs(half)
    with apply(half, Plan.drop(4, [2])):
        assert outputs(half).dtype == before.dtype
    assert torch.equal(outputs(half), before)


@pytest.mark.parametrize("name", [name for name in GENERATING if name not in NO_DROPS])
def test_generation_with_and_without_cache_and_padding(name: str) -> None:
    model = tiny(name)
    both = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.long), IDS[:1, :9]], dim=1), IDS[1:, :12]])
    mask = torch.ones_like(both)
    mask[0, :3] = 0
    settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with apply(model, Plan.drop(4, [0, 2])):
        cached = model.generate(both, attention_mask=mask, use_cache=True, **settings)
        uncached = model.generate(both, attention_mask=mask, use_cache=False, **settings)
        alone = model.generate(IDS[:1, :9], use_cache=True, **settings)
        whole = model.generate(IDS[:, :12], use_cache=True, **settings)
        static = model.generate(IDS[:, :12], cache_implementation="static", disable_compile=True, **settings)
    assert torch.equal(whole, static)
    assert torch.equal(cached, uncached)
    assert torch.equal(cached[0, 3:], alone[0])


def test_a_cut_checkpoint_equals_the_live_plan(case: tuple[str, PreTrainedModel], tmp_path: Path) -> None:
    name, model = case
    if not droppable(name):
        pytest.skip("no layer can be dropped")
    plan = Plan.drop(4, [2, 3] if name in ("qwen3_moe", "deepseek_v3") else [2])
    model.save_pretrained(tmp_path / "full")
    cut_checkpoint(tmp_path / "full", tmp_path / "cut", plan, model)
    kind = getattr(transformers, RECIPES[name].model)
    other, report = kind.from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not any(report.values())
    with apply(model, plan):
        assert torch.equal(outputs(model), outputs(other))


@pytest.mark.parametrize("name", sorted(NO_DROPS | FIRST_STAYS))
def test_what_cannot_be_dropped_is_refused_with_a_reason(name: str) -> None:
    with (
        pytest.raises(ModelError, match=r"can(not)? be dropped: .{20,}; (scale layers instead|drop other layers)"),
        apply(tiny(name), Plan.drop(4, [0])),
    ):
        pytest.fail("must not get here")


def test_the_guard_refuses_what_a_checkpoint_cannot_express(tmp_path: Path) -> None:
    model = tiny("modernbert")
    model.save_pretrained(tmp_path / "full")
    with pytest.raises(ExportError, match="cannot keep layer 1 as it is: the kind of attn_norm would be Identity"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [0]), model)
    assert not (tmp_path / "cut").exists()
