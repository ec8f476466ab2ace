"""Captured states are the model's own hidden states, before the final norm, whatever the padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tapioca.engine.sweep import Schedule
from tapioca.errors import NonFiniteError
from tapioca.models.capture import capture_residual_stream
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.tiny import tiny
from tapioca.observe import capture_states, capture_states_of_plans, draw_sample
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import list_steps
from tapioca.records import Example


def prompts(count: int = 7) -> tuple[Example, ...]:
    rng = np.random.default_rng(0)
    ids = [tuple(rng.integers(3, 128, 4 + at * 2 % 9).tolist()) for at in range(count)]
    return tuple(Example(id=str(at), group=str(at), rows=(), prompt=row) for at, row in enumerate(ids))


def test_states_equal_the_models_own_hidden_states(model: PreTrainedModel) -> None:
    examples = prompts()
    found = capture_states(model, Plan.full(4), examples, batch_size=3)
    assert found.shape == (4, 7, 32)
    for at, example in enumerate(examples):
        with torch.inference_mode():
            hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states
        for layer in range(3):  # transformers' last entry stands after the final norm
            assert found[layer, at] == pytest.approx(hidden[layer + 1][0, -1].numpy(), abs=2e-5)


def test_the_residual_stream_begins_before_the_first_layer(model: PreTrainedModel) -> None:
    example, seen = prompts(1)[0], {}
    capture_residual_stream(model, collate(model, [example.prompt]), seen.__setitem__)
    with torch.inference_mode():
        hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states
    assert sorted(seen) == [0, 1, 2, 3, 4]
    for depth in range(4):  # transformers' last entry stands after the final norm
        assert seen[depth].numpy() == pytest.approx(hidden[depth].numpy(), abs=2e-5)
    assert seen[4][0, -1].numpy() == pytest.approx(capture_states(model, Plan.full(4), (example,))[3, 0], abs=2e-5)


def test_the_last_state_is_taken_before_the_final_norm(model: PreTrainedModel) -> None:
    examples, seen = prompts(1), []
    with (
        find_layers(model)
        .blocks[3]
        .register_forward_hook(
            lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
        )
    ):
        model(torch.tensor([examples[0].prompt]))
    assert capture_states(model, Plan.full(4), examples)[3, 0] == pytest.approx(
        seen[0][0, -1].detach().numpy(), abs=2e-5
    )


def test_under_a_plan_only_kept_layers_have_states(model: PreTrainedModel) -> None:
    examples = prompts()
    full, planned = (capture_states(model, plan, examples) for plan in (Plan.full(4), Plan.drop(4, [1])))
    assert planned.shape == (3, 7, 32)
    assert np.array_equal(planned[0], full[0])
    assert np.abs(planned[1] - full[2]).max() > 0.01


def test_padding_changes_nothing(model: PreTrainedModel) -> None:
    examples = prompts()
    one, all_at_once = (capture_states(model, Plan.full(4), examples, batch_size=size) for size in (1, 7))
    assert np.abs(one - all_at_once).max() < 2e-5


def test_a_sample_is_seeded_and_in_order() -> None:
    examples = prompts(40)
    some = draw_sample(examples, 10, seed=1)
    assert [int(example.id) for example in some] == sorted(int(example.id) for example in some)
    assert some == draw_sample(examples, 10, seed=1)
    assert some != draw_sample(examples, 10, seed=2)
    assert len(draw_sample(examples, 512, seed=1)) == 40


def test_a_sample_takes_one_example_of_a_group() -> None:
    examples = tuple(Example(id=str(at), group=str(at // 5), rows=(), prompt=(1,)) for at in range(40))
    some = draw_sample(examples, 512, seed=0)
    assert sorted(example.group for example in some) == sorted(str(at) for at in range(8))


def test_states_that_are_not_finite_name_their_layer() -> None:
    model = tiny("llama")
    find_layers(model).blocks[1].mlp.down_proj.weight.data[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="after layer 1"):
        capture_states(model, Plan.full(4), prompts())


@pytest.mark.parametrize("memory", [None, 60_000])
def test_states_of_many_plans_are_those_of_each_alone(model: PreTrainedModel, memory: int | None) -> None:
    """Whatever the padding, and however many plans fit in memory at once."""
    examples, plans = prompts(), [Plan.full(4), *(Plan.drop(4, [at, 3]) for at in range(4)), Plan.scale(4, {1: 0.5})]
    found = capture_states_of_plans(model, plans, examples, 3, Schedule(way="single", max_bytes=memory))
    for plan in plans:
        alone = capture_states(model, plan, examples, batch_size=3)
        for layer, expected in zip(plan.kept, alone, strict=True):
            assert np.array_equal(found[list_steps(plan)[: layer + 1]], expected), (plan, layer)


def test_a_broken_state_of_many_plans_names_its_layer_and_plan() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight.fill_(float("inf"))
    plans = [Plan.drop(4, [1, 2]), Plan.drop(4, [1])]
    assert capture_states_of_plans(model, plans[:1], prompts()).keys() == {list_steps(plans[0])[:at] for at in (1, 4)}
    with pytest.raises(NonFiniteError, match="after layer 2 are NaN or infinite under plan 'drop 1'"):
        capture_states_of_plans(model, plans, prompts())
