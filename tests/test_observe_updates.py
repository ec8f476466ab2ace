"""What layers and branches add, as observed, equals what hooks on the branches themselves see; attribution in a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.contracts import NO_BRANCHES, POST_NORM, count_hooks, inputs
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.capture import capture_branch_stream, capture_residual_stream, list_branches
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.tiny import RECIPES, tiny
from tapioca.observe import measure_attribution, measure_updates
from tapioca.plan import Plan
from tapioca.records import Example

DIRECT = {
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm", 1.0),
    "gpt2": ("attn", "mlp", 1.0),
    "gpt_neox": ("attention", "mlp", 1.0),
    "granite": ("self_attn", "mlp", 0.8),
    "llama": ("self_attn", "mlp", 1.0),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm", 1.0),
    "opt": ("self_attn", "fc2", 1.0),
    "phi": ("self_attn", "mlp", 1.0),
}
"""Modules whose outputs are added to the stream, and the factor by which; GPT-NeoX and Phi are parallel,
Gemma 2 and OLMo 2 normalise what a branch gives before it is added."""


def prompts(count: int = 5) -> tuple[Example, ...]:
    rng = np.random.default_rng(0)
    ids = [tuple(rng.integers(3, 120, 4 + at * 2 % 9).tolist()) for at in range(count)]
    return tuple(Example(id=str(at), group=str(at), rows=(), prompt=row) for at, row in enumerate(ids))


def direct(model: PreTrainedModel, example: Example, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The first state, (width,), and each branch's update, (branch, width), of one prompt without padding."""
    attention, mlp, factor = DIRECT[name]
    seen: dict[tuple[int, str], Any] = {}
    handles = []
    for layer, block in enumerate(find_layers(model).blocks):
        for path in (attention, mlp):

            def hook(module: Any, args: Any, output: Any, key: tuple[int, str] = (layer, path)) -> None:
                seen[key] = (output[0] if isinstance(output, tuple) else output).reshape(1, -1, 32)[0, -1]

            handles.append(block.get_submodule(path).register_forward_hook(hook))
    with torch.inference_mode():
        hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states[0]
    for handle in handles:
        handle.remove()
    added = [factor * seen[layer, path].numpy() for layer in range(4) for path in (attention, mlp)]
    return hidden[0, -1].numpy(), np.stack(added)


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_branches_equal_what_their_own_modules_return(name: str) -> None:
    model, examples = tiny(name).double(), prompts()
    record = measure_updates(model, Plan.full(4), examples, "branch", batch_size=1)
    assert [(update.layer, update.branch) for update in record.updates] == [
        (layer, branch) for layer in range(4) for branch in ("attention", "mlp")
    ]
    norms, angles, shares, firsts = [], [], [], []
    for example in examples:
        first, added = direct(model, example, name)
        stream = first + np.cumsum(np.vstack([0 * first, added]), axis=0)
        before, final = stream[:-1], stream[-1]
        norms.append([np.sqrt(u @ u) for u in added])
        angles.append(
            [np.arccos(u @ h / np.sqrt((u @ u) * (h @ h))) / np.pi for u, h in zip(added, before, strict=True)]
        )
        shares.append([u @ final / (final @ final) for u in added])
        firsts.append(first @ final / (final @ final))
    assert [update.norm.value for update in record.updates] == pytest.approx(np.mean(norms, axis=0), rel=1e-6)
    assert [update.angle.value for update in record.updates] == pytest.approx(np.mean(angles, axis=0), rel=1e-6)
    assert [update.share.value for update in record.updates] == pytest.approx(
        np.mean(shares, axis=0), rel=1e-6, abs=1e-9
    )
    assert record.first_share.value == pytest.approx(np.mean(firsts), rel=1e-6)


@pytest.mark.parametrize("grain", ["layer", "branch"])
@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_padding_changes_nothing(name: str, grain: Any) -> None:
    model, examples = tiny(name).double(), prompts()
    one, together = (measure_updates(model, Plan.full(4), examples, grain, batch_size=size) for size in (1, 5))
    for a, b in zip(one.updates, together.updates, strict=True):
        assert [a.norm.value, a.angle.value, a.share.value] == pytest.approx(
            [b.norm.value, b.angle.value, b.share.value], rel=1e-6
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shares_sum_to_one_in_any_dtype(dtype: torch.dtype) -> None:
    record = measure_updates(tiny("llama").to(dtype), Plan.full(4), prompts(), "branch")
    total = record.first_share.value + sum(update.share.value for update in record.updates)
    assert total == pytest.approx(1, abs=1e-12)


def test_layers_equal_the_differences_of_the_models_own_hidden_states(model: PreTrainedModel) -> None:
    examples = prompts()
    record = measure_updates(model, Plan.full(4), examples)
    norms = []
    for example in examples:
        with torch.inference_mode():
            hidden = model(torch.tensor([example.prompt]), output_hidden_states=True).hidden_states
        norms.append([np.linalg.norm((hidden[at + 1] - hidden[at])[0, -1].numpy()) for at in range(3)])
    assert [update.norm.value for update in record.updates[:3]] == pytest.approx(np.mean(norms, axis=0), rel=1e-4)
    assert {update.branch for update in record.updates} == {None}


def test_under_a_plan_the_rest_is_observed_under_its_own_number() -> None:
    model, examples = tiny("llama").double(), prompts()
    full = measure_updates(model, Plan.full(4), examples, "branch")
    plan = Plan(n_layers=4, layers={1: 0.0}, attention={}, mlp={0: 0.5, 3: 0.0})
    planned = measure_updates(model, plan, examples, "branch")
    assert [update.layer for update in planned.updates] == [0, 0, 2, 2, 3, 3]
    assert planned.updates[0].norm.value == pytest.approx(full.updates[0].norm.value)
    assert planned.updates[1].norm.value == pytest.approx(full.updates[1].norm.value / 2)
    last = planned.updates[-1]
    assert (last.norm.value, last.angle.value, last.share.value) == (0, 0.5, 0)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_BRANCHES))
def test_observing_branches_leaves_the_stream_of_every_type_alone(name: str) -> None:
    """The states after each layer are bit for bit those of the plain model, and no hook stays behind."""
    model, whole, parts = tiny(name), {}, {}
    batch = inputs(model)
    capture_residual_stream(model, batch, whole.__setitem__)
    capture_branch_stream(model, batch, parts.__setitem__)
    places = list_branches(model)
    ends = [at + 1 for at, (layer, _) in enumerate(places) if at + 1 == len(places) or places[at + 1][0] != layer]
    assert len(parts) == len(places) + 1
    assert [torch.equal(parts[at], whole[layer]) for layer, at in enumerate([0, *ends])] == [True] * 5
    assert count_hooks(model) == 0
    moved = [(parts[at + 1] - parts[at]).abs().max() for at in range(len(places))]
    assert min(moved) > 1e-3


@pytest.mark.parametrize("name", sorted(NO_BRANCHES))
def test_branches_that_cannot_be_told_apart_are_refused_and_layers_observed(name: str) -> None:
    model = tiny(name)
    reason = "its layers normalise after the update was added" if name in POST_NORM else "is not known"
    with pytest.raises(ModelError, match=f"cannot be observed: .*{reason}; observe whole layers"):
        measure_updates(model, Plan.full(4), prompts(), "branch")
    if name in POST_NORM:
        record = measure_updates(model, Plan.full(4), prompts())
        assert record.first_share.value + sum(update.share.value for update in record.updates) == pytest.approx(1)


def planted(layer: int) -> PreTrainedModel:
    """A small Llama in which one layer amplifies the first axis, on which tokens from 60 on differ from the others."""
    model = tiny("llama")
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        embedding[:, 0] = 0
        embedding[60:, 0] = torch.linspace(0.3, 0.9, len(embedding) - 60)
        for at, block in enumerate(find_layers(model).blocks):
            block.input_layernorm.weight.fill_(1)
            block.mlp.down_proj.weight *= 0.05
            for projection in (block.self_attn.v_proj, block.self_attn.o_proj):
                projection.weight.zero_()
            block.mlp.down_proj.weight[0] = 0
            if at == layer:
                block.self_attn.v_proj.weight[0, 0] = 1
                block.self_attn.o_proj.weight[0, 0] = 5
    return model


def tokens(low: int, high: int) -> tuple[Example, ...]:
    return tuple(Example(id=str(at), group=str(at), rows=(), prompt=(at,)) for at in range(low, high))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_model_with_one_layer_that_amplifies_a_shift_is_attributed_to_it(layer: int) -> None:
    for found in measure_attribution(planted(layer), tokens(64, 120), tokens(4, 60), range(4)):
        along, removal = ([share.value for share in shares] for shares in (found.along, found.removal))
        assert int(np.argmax(along)) == int(np.argmax(removal)) == layer
        assert found.along[layer].ci95[0] > 0
        assert found.removal[layer].ci95[0] > 0
        assert along[layer] > 3 * max(np.abs(np.delete(along, layer)))


def test_layers_not_asked_for_have_no_share_by_removal() -> None:
    found = measure_attribution(tiny("llama"), prompts(), prompts(), [2])
    assert [share is None for share in found[0].removal] == [True, True, False, True]
    assert found[0].before == 0
    with pytest.raises(ModelError, match="cannot be dropped"):
        measure_attribution(tiny("t5 (encoder)"), prompts(), prompts(), [0])


def test_the_stream_of_branches_is_padded_as_any_other() -> None:
    model, seen = tiny("llama"), {}
    capture_branch_stream(model, collate(model, [(3, 4, 5), (6,)]), seen.__setitem__)
    assert {tuple(states.shape) for states in seen.values()} == {(2, 3, 32)}
    assert len(seen) == 9
