"""What plans do beyond dropping and scaling, for models of every type: by hand, and while the model writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.contracts import (
    FIRST_STAYS,
    GENERATING,
    NO_DROPS,
    NO_MAPS,
    NO_NORMS,
    PADDING_TELLS,
    WIDTH,
    check_generation,
    inputs,
    map_plan,
    newer_plans,
    norm_plan,
    outputs,
    repeat_plan,
)
from transformers import PreTrainedModel

from tapioca.errors import ModelError, UsageError
from tapioca.models.capture import capture_branch_stream, capture_layer_outputs, list_branches
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import HashedArray, Plan, Tokens

FAST = {"gpt2", "mamba", "mistral", "opt", "qwen3_next"}
"""Types that write in the fast tier: learned and rotary positions, a window, recurrent states, an odd way to call its body."""


def read_states(model: PreTrainedModel, plan: Plan) -> list[torch.Tensor]:
    """The states after each layer that runs."""
    states: list[torch.Tensor] = []
    with apply(model, plan):
        capture_layer_outputs(model, inputs(model), lambda place, state: states.append(state))
    return states


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_MAPS))
def test_a_map_is_of_what_the_mlp_adds(name: str) -> None:
    model, streams = tiny(name), dict[int, torch.Tensor]()
    capture_branch_stream(model, inputs(model), streams.__setitem__)
    after = list_branches(model).index((0, "mlp")) + 1
    matrix = torch.from_numpy(np.array(map_plan(name).maps[0][1].array))
    expected = streams[after - 1] + (streams[after] - streams[after - 1]) @ matrix.T
    assert torch.allclose(read_states(model, map_plan(name))[0], expected, atol=2e-5)
    assert (expected - streams[after]).abs().max() > 0.01


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_DROPS))
def test_a_repeated_block_reads_its_own_output(name: str) -> None:
    model, plan = tiny(name), repeat_plan(name)
    states = read_states(model, plan)
    assert len(states) == len(plan.order) == (5 if plan.drops else 6)
    assert plan.order[:5] == (0, 1, 2, 1, 2)
    halves = [Plan(n_layers=4, layers={1: scale}) for scale in (0.5, 1.0)]  # of both runs of a layer
    assert torch.equal(read_states(model, halves[1])[2], states[2])
    with apply(model, plan):
        layer_ids = {
            module.layer_idx
            for block in find_layers(model).blocks
            for module in block.modules()
            if hasattr(module, "layer_idx")
        }
        shared = [list(find_layers(model).blocks[place].parameters()) for place in (1, 3)]
        assert layer_ids in (set(), set(range(len(states))))
        assert all(first is second for first, second in zip(*shared, strict=True))
    assert len({float(state.double().sum()) for state in states}) == len(states)


@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_NORMS))
def test_norms_are_set_in_front_of_a_layer(name: str, tokens: Tokens) -> None:
    """A layer whose update is scaled to next to nothing hands on what it reads."""
    model, still = tiny(name), {1: 1e-30}
    before = read_states(model, Plan(n_layers=4, layers=still))[1]
    after = read_states(model, Plan(n_layers=4, layers=still, norms={1: 3.0}, norm_tokens=tokens))[1]
    changed = slice(1, None) if tokens == "all" else slice(-1, None)
    expected = before.clone()
    expected[:, changed] *= 3.0 / before[:, changed].norm(dim=-1, keepdim=True)
    assert torch.allclose(after, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["factors", "maps", "repeats", "norms"])
@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in GENERATING
        if name not in PADDING_TELLS
    ],
)
def test_generation_with_and_without_cache_and_padding(name: str, kind: str) -> None:
    if kind not in newer_plans(name):
        pytest.skip(f"has no {kind}")
    check_generation(tiny(name), newer_plans(name)[kind], static=False)


def test_padding_counts_for_nothing_where_norms_are_set() -> None:
    model, ids = tiny("llama"), torch.arange(5, 14)[None]
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], dim=1)
    mask = (padded > 0).long()
    for tokens in ("all", "last"):
        with torch.inference_mode(), apply(model, norm_plan(tokens)):
            alone = model(ids).logits[0]
            left = model(padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clip(0)).logits[0, 3:]
            right = model(padded.roll(-3, 1), attention_mask=mask.flip(1)).logits[0, :-3]
        assert torch.allclose(left, alone, atol=1e-5)
        assert torch.allclose(right, alone, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NO_MAPS))
def test_maps_of_no_mlp_are_refused_with_a_reason(name: str) -> None:
    plan = Plan(n_layers=4, maps={1: HashedArray.hold(np.eye(WIDTH))})
    with pytest.raises(ModelError, match=r"normalise after|is not known|has no mlp branch"), apply(tiny(name), plan):
        pytest.fail("must not get here")


@pytest.mark.parametrize("name", sorted(NO_DROPS | FIRST_STAYS))
def test_what_cannot_be_repeated_is_refused_with_a_reason(name: str) -> None:
    with (
        pytest.raises(ModelError, match=r"can(not)? be repeated: .{20,}"),
        apply(tiny(name), Plan(n_layers=4, repeats=[(0, 0)])),
    ):
        pytest.fail("must not get here")


def test_what_a_model_cannot_do_is_refused_in_one_line() -> None:
    model = tiny("llama")
    wide, unread = HashedArray.hold(np.eye(7)), HashedArray("0" * 64)
    with pytest.raises(ModelError, match="the map of layer 1 is for a model of width 7, this one has 32"):
        apply(model, Plan(n_layers=4, maps={1: wide})).__enter__()
    with pytest.raises(
        UsageError, match=r"array 000000000000 of the plan is not here: it lies in the .safetensors file"
    ):
        apply(model, Plan(n_layers=4, maps={1: unread})).__enter__()
    with (
        apply(model, Plan.scale(4, {1: 0.5})),
        pytest.raises(ModelError, match="layers that another plan changes cannot be repeated; compose both plans"),
    ):
        apply(model, Plan(n_layers=4, repeats=[(1, 2)])).__enter__()
    with (
        apply(model, norm_plan("last")),
        pytest.raises(ModelError, match="norms set at the last token alone are for reading"),
    ):
        model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=3, do_sample=False, pad_token_id=0, eos_token_id=None)
    several_streams = tiny("gemma3n_text")
    with (
        apply(several_streams, norm_plan()),
        pytest.raises(
            ModelError, match=r"layers are handed \(batch, token, width\), these are handed \(2, 2, 24, 32\)"
        ),
    ):
        outputs(several_streams)
