"""Captured states are the model's own hidden states, before the final norm, whatever the padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.tiny import tiny
from tapioca.models.watch import residual_stream
from tapioca.observe import sample, states, swept_states
from tapioca.records import Example, Plan


def prompts(count: int = 7) -> tuple[Example, ...]:
    rng = np.random.default_rng(0)
    ids = [tuple(rng.integers(3, 128, 4 + at * 2 % 9).tolist()) for at in range(count)]
    return tuple(Example(id=str(at), group=str(at), rows=(), prompt=row) for at, row in enumerate(ids))


def test_states_equal_the_models_own_hidden_states(model: PreTrainedModel) -> None:
    examples = prompts()
    found = states(model, Plan.full(4), examples, batch_size=3)
    assert found.shape == (4, 7, 32)
    for at, example in enumerate(examples):
        with torch.inference_mode():
            hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states
        for layer in range(3):  # transformers' last entry stands after the final norm
            assert found[layer, at] == pytest.approx(hidden[layer + 1][0, -1].numpy(), abs=2e-5)


def test_the_residual_stream_begins_before_the_first_layer(model: PreTrainedModel) -> None:
    example, seen = prompts(1)[0], {}
    residual_stream(model, collate(model, [example.prompt]), seen.__setitem__)
    with torch.inference_mode():
        hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states
    assert sorted(seen) == [0, 1, 2, 3, 4]
    for depth in range(4):  # transformers' last entry stands after the final norm
        assert seen[depth].numpy() == pytest.approx(hidden[depth].numpy(), abs=2e-5)
    assert seen[4][0, -1].numpy() == pytest.approx(states(model, Plan.full(4), (example,))[3, 0], abs=2e-5)


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
    assert states(model, Plan.full(4), examples)[3, 0] == pytest.approx(seen[0][0, -1].detach().numpy(), abs=2e-5)


def test_under_a_plan_only_kept_layers_have_states(model: PreTrainedModel) -> None:
    examples = prompts()
    full, planned = (states(model, plan, examples) for plan in (Plan.full(4), Plan.drop(4, [1])))
    assert planned.shape == (3, 7, 32)
    assert np.array_equal(planned[0], full[0])
    assert np.abs(planned[1] - full[2]).max() > 0.01


def test_padding_changes_nothing(model: PreTrainedModel) -> None:
    examples = prompts()
    one, all_at_once = (states(model, Plan.full(4), examples, batch_size=size) for size in (1, 7))
    assert np.abs(one - all_at_once).max() < 2e-5


def test_a_sample_is_seeded_and_in_order() -> None:
    examples = prompts(40)
    some = sample(examples, 10, seed=1)
    assert [int(example.id) for example in some] == sorted(int(example.id) for example in some)
    assert some == sample(examples, 10, seed=1)
    assert some != sample(examples, 10, seed=2)
    assert len(sample(examples, 512, seed=1)) == 40


def test_a_sample_takes_one_example_of_a_group() -> None:
    examples = tuple(Example(id=str(at), group=str(at // 5), rows=(), prompt=(1,)) for at in range(40))
    some = sample(examples, 512, seed=0)
    assert sorted(example.group for example in some) == sorted(str(at) for at in range(8))


def test_states_that_are_not_finite_name_their_layer() -> None:
    model = tiny("llama")
    find_layers(model).blocks[1].mlp.down_proj.weight.data[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="after layer 1"):
        states(model, Plan.full(4), prompts())


@pytest.mark.parametrize("followed", [True, False])
def test_states_of_a_sweep_are_those_of_each_plan_alone(
    model: PreTrainedModel, followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, drops and scales and repeated plans, where the model can be followed and where plans run alone."""
    if not followed:
        monkeypatch.setattr("tapioca.models.sweep._grown", lambda *args: None)
    plans, done = [Plan.drop(4, [1]), Plan.scale(4, {1: 0.5}), Plan.full(4), Plan.scale(4, {1: 2.0, 3: 0.5})], []
    found = swept_states(model, [*plans, plans[0]], prompts(), [0, 2, 3], batch_size=3, on_batch=done.append)
    assert set(found) == set(plans)
    for plan in plans:
        alone = states(model, plan, prompts(), batch_size=3)
        assert np.array_equal(found[plan], alone[[plan.kept.index(layer) for layer in (0, 2, 3)]])
    assert sum(done) == 4 * 7


def test_states_of_a_sweep_that_are_not_finite_name_their_layer() -> None:
    model = tiny("llama")
    find_layers(model).blocks[1].mlp.down_proj.weight.data[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="after layer 1 are NaN or infinite under plan"):
        swept_states(model, [Plan.full(4), Plan.scale(4, {3: 0.5})], prompts(), [0, 1])
