"""What plans do to live models of every type: one plan per type in the fast tier, every single drop in the slow one."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.contracts import (
    FIRST_STAYS,
    GENERATING,
    IDS,
    NO_BRANCHES,
    NO_DROPS,
    NO_FACTORS,
    NO_MLP,
    NORMED_MLP,
    NOT_EXPORTED,
    PARALLEL,
    POST_NORM,
    branch_plan,
    check_generation,
    count_hooks,
    droppable,
    factor_plan,
    inputs,
    newer_plans,
    outputs,
)
from torch import nn
from transformers import PreTrainedModel

from tapioca.checkpoints.cut import cut_config
from tapioca.commands.inspect.config import InspectConfig
from tapioca.commands.inspect.run import collect_model_facts, inspect_model
from tapioca.errors import ModelError
from tapioca.models.branches import argument_names
from tapioca.models.capture import capture_layer_outputs
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import BRANCHES, Plan

WITHOUT_EMBEDDINGS = {"mamba", "mamba2", "rwkv"}
"""Types whose `hidden_states` begin after the first layer."""

OTHER_STATES = {"gemma3n_text"}
"""Types that keep several copies of the stream; nothing is read from them."""


@pytest.fixture(scope="module", params=sorted(RECIPES))
def case(request: pytest.FixtureRequest) -> tuple[str, PreTrainedModel]:
    """A model type and a small model of it; tests leave it as it was."""
    return request.param, tiny(request.param)


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


def test_inspection_says_what_can_be_done(case: tuple[str, PreTrainedModel], tmp_path: Path) -> None:
    name, model = case
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)  # a folder without weights
    found = inspect_model(InspectConfig(model=str(tmp_path)))
    assert found == collect_model_facts(model)
    assert len(find_layers(model)) == found.n_layers == 4
    assert list(found.droppable) == droppable(name)
    assert list(found.exportable) == [layer for layer in droppable(name) if (name, layer) not in NOT_EXPORTED]
    assert found.branches == found.written == (() if name in NO_BRANCHES else BRANCHES[: 1 if name in NO_MLP else 2])
    assert bool(found.no_layer_scales) == (name not in PARALLEL)
    assert list(found.repeatable) == droppable(name)
    assert list(found.doubled) == [layer for layer in droppable(name) if (name, layer) not in NOT_EXPORTED]
    assert bool(found.no_factors) == (name in NO_FACTORS)
    assert bool(found.no_maps) == (name in NORMED_MLP)
    assert bool(found.reasons) == (len(found.exportable) < 4 or len(found.branches) < 2)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_an_empty_plan_and_scales_of_one_change_nothing(case: tuple[str, PreTrainedModel]) -> None:
    _, model = case
    before = outputs(model)
    ones = dict.fromkeys(range(4), 1.0)
    for plan in (Plan.full(4), Plan(n_layers=4, layers=ones, attention=ones, mlp=ones)):
        with apply(model, plan):
            assert torch.equal(outputs(model), before)


def test_a_drop_equals_the_model_rebuilt_without_it(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if not droppable(name):
        pytest.skip("cannot be dropped")
    check_drop(name, model, droppable(name)[1])


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


def test_without_both_branches_a_layer_is_dropped(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if name in NO_BRANCHES:
        pytest.skip("its branches cannot be scaled alone")
    before = outputs(model)
    for layer in (0, 2):
        none = {layer: 0.0}
        mlp = {} if name in NO_MLP else none
        with apply(model, Plan(n_layers=4, attention=none, mlp=mlp)):
            without = outputs(model)
        assert (without - before).abs().max() > 0.01
        if layer in droppable(name):
            with apply(model, Plan.drop(4, [layer])):
                assert torch.equal(outputs(model), without)
        else:
            with apply(model, Plan.scale(4, {layer: 1e-30})):
                assert torch.allclose(outputs(model), without, atol=1e-5)


def test_a_dropped_branch_is_a_branch_scaled_to_nothing(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if name in NO_BRANCHES:
        pytest.skip("its branches cannot be scaled alone")
    before = outputs(model)
    for branch in BRANCHES[: 1 if name in NO_MLP else 2]:
        seen = []
        for scale in (0.0, 1e-30, 0.5):
            with apply(model, Plan.scale(4, {1: scale}, branch)):
                seen.append(outputs(model))
        assert torch.equal(seen[0], seen[1])
        assert all((output - before).abs().max() > 0.01 for output in seen[1:])
        assert (seen[2] - seen[1]).abs().max() > 0.01


def test_a_layer_scaled_to_nothing_is_skipped(case: tuple[str, PreTrainedModel]) -> None:
    _, model = case
    block, before = find_layers(model).blocks[1], outputs(model)

    def skip(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        start = args[0] if args else kwargs["hidden_states"]
        return type(output)((start, *output[1:])) if isinstance(output, (tuple, list)) else start

    with apply(model, Plan.scale(4, {1: 1e-30})):
        scaled = outputs(model)
    with block.register_forward_hook(skip, with_kwargs=True):
        assert torch.allclose(scaled, outputs(model), atol=1e-5)
    assert (scaled - before).abs().max() > 0.01


def test_a_factor_is_of_what_the_layer_reads(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    plan = factor_plan(name)
    with apply(model, plan):
        factored = outputs(model)
    with apply(model, Plan.drop(4, plan.drops)), ExitStack() as stack:
        without = outputs(model)
        for layer, factor in plan.factors:

            def enlarge(block: Any, args: Any, kwargs: Any, factor: float = factor) -> Any:
                first = argument_names(block)[0]
                return (
                    ((factor * args[0], *args[1:]), kwargs)
                    if args
                    else (args, {**kwargs, first: factor * kwargs[first]})
                )

            block = find_layers(model).blocks[plan.kept.index(layer)]
            stack.callback(block.register_forward_pre_hook(enlarge, with_kwargs=True).remove)
        assert torch.equal(factored, outputs(model))
    assert (factored - without).abs().max() > 0.01


def test_no_trace_is_left(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    before, counted, config = outputs(model), count_hooks(model), copy.deepcopy(model.config.to_dict())
    attributes = {path: set(vars(module)) for path, module in model.named_modules()}
    plans = [Plan(n_layers=4, layers={1: 0.5, **dict.fromkeys(droppable(name)[-1:], 0.0)}), *newer_plans(name).values()]
    for plan in plans if name in NO_BRANCHES else [*plans, branch_plan(name)]:
        with apply(model, plan):
            outputs(model)
    assert torch.equal(outputs(model), before)
    assert count_hooks(model) == counted
    assert model.config.to_dict() == config
    assert {path: set(vars(module)) for path, module in model.named_modules()} == attributes


def test_layers_are_numbered_by_their_place_and_lists_follow_them(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if not droppable(name):
        pytest.skip("cannot be dropped")
    config = find_layers(model).config
    types = getattr(config, "layer_types", None)
    with apply(model, Plan.drop(4, [1])):
        blocks = find_layers(model).blocks
        numbers = [[m.layer_idx for m in block.modules() if hasattr(m, "layer_idx")] for block in blocks]
        assert [set(found) for found in numbers if found] == [{place} for place, found in enumerate(numbers) if found]
        assert config.num_hidden_layers == len(blocks) == 3
        if types:
            assert list(config.layer_types) == [types[0], *types[2:]]


def test_states_equal_the_models_own(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if name in OTHER_STATES:
        pytest.skip("several copies of the residual stream")
    seen: dict[int, torch.Tensor] = {}
    batch = {**inputs(model), "attention_mask": torch.ones_like(IDS)} if "input_ids" in inputs(model) else inputs(model)
    capture_layer_outputs(model, batch, lambda place, state: seen.update({place: state.clone()}))
    with torch.inference_mode():
        own = model(**inputs(model), output_hidden_states=True).hidden_states
    assert own is not None
    first = 0 if name in WITHOUT_EMBEDDINGS else 1
    for place in range(3):  # the last entry may stand after a final norm
        assert torch.allclose(seen[place], own[place + first], atol=1e-5)


def test_half_precision(case: tuple[str, PreTrainedModel]) -> None:
    name, model = case
    if not droppable(name) or model.main_input_name == "pixel_values":
        pytest.skip("nothing to drop, or images")
    half = copy.deepcopy(model).to(torch.bfloat16)
    before = outputs(half)
    for plan in [Plan.drop(4, [2]), factor_plan(name)] + ([] if name in NO_BRANCHES else [branch_plan(name)]):
        with apply(half, plan):
            assert outputs(half).dtype == before.dtype
    assert torch.equal(outputs(half), before)


@pytest.mark.parametrize("name", GENERATING)
@pytest.mark.parametrize("what", ["layers", "branches"])
def test_generation_with_and_without_cache_and_padding(name: str, what: str) -> None:
    if (what != "branches" and name in NO_DROPS) or (what == "branches" and name in NO_BRANCHES):
        pytest.skip("cannot be dropped")
    model = tiny(name)
    try:
        model.generate(
            IDS[:, :12], cache_implementation="static", disable_compile=True, max_new_tokens=2, do_sample=False
        )
    except TypeError as error:
        pytest.skip(f"transformers {transformers.__version__} itself cannot: {error}")
    branches = what == "branches"
    plan = branch_plan(name).compose(first_attention_gone(name)) if branches else Plan.drop(4, [0, 2])
    check_generation(model, plan, static=True)


def first_attention_gone(name: str) -> Plan:
    """The first of each kind of attention, from whose place in the cache a model reads how far it has come."""
    return Plan.scale(4, {0: 0.0, 1: 0.0}, "attention")


@pytest.mark.parametrize("name", sorted(NO_DROPS | FIRST_STAYS))
def test_what_cannot_be_dropped_is_refused_with_a_reason(name: str) -> None:
    with (
        pytest.raises(ModelError, match=r"can(not)? be dropped: .{20,}; (scale layers instead|drop other layers)"),
        apply(tiny(name), Plan.drop(4, [0])),
    ):
        pytest.fail("must not get here")


@pytest.mark.parametrize("name", sorted(NO_BRANCHES | NO_MLP))
def test_branches_that_cannot_be_scaled_are_refused_with_a_reason(name: str) -> None:
    reason = {
        **dict.fromkeys(POST_NORM, "its layers normalise after the update was added"),
        **dict.fromkeys(NO_MLP, "has no mlp branch, it is made of: norm, mixer"),
    }.get(name, "is not known")
    with (
        pytest.raises(ModelError, match=f"{reason}; drop or scale whole layers"),
        apply(tiny(name), Plan.scale(4, {1: 0.5}, "mlp")),
    ):
        pytest.fail("must not get here")
