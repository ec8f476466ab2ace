"""Identity layers planted in a trained model: criteria must find exactly them, wherever they are and however many."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.find import find_layers
from tapioca.models.load import load
from tapioca.observe import measure_similarity
from tapioca.plan import Plan
from tapioca.search.base import Search, SearchSpace
from tapioca.search.criteria import CRITERIA

WHOLE = [name for name in CRITERIA if not (CRITERIA[name].branches or CRITERIA[name].repeats)]
SIMILAR = [name for name in WHOLE if CRITERIA[name].guide == "states"]
SCORED = [
    name
    for name, criterion in CRITERIA.items()
    if criterion.guide in ("score", "likelihood", "text") and not criterion.repeats
]
PLACES = [(at, count) for count in (1, 2, 3) for at in range(9)]
"""Before each of the eight layers, and after the last."""
QUICK = {(0, 1), (3, 2), (8, 1)}


def planted(at: int, count: int) -> PreTrainedModel:
    """The packaged learner with `count` layers that do nothing from place `at` on."""
    model = load("learner").model
    layers = find_layers(model)
    blocks = list(layers.blocks)
    for _ in range(count):
        block = deepcopy(blocks[min(at, 7)])
        nn.init.zeros_(block.self_attn.o_proj.weight)
        nn.init.zeros_(block.mlp.down_proj.weight)
        blocks.insert(at, block)
    for index, block in enumerate(blocks):
        block.self_attn.layer_idx = index
    setattr(layers.parent, layers.name, nn.ModuleList(blocks))
    layers.config.num_hidden_layers = len(blocks)
    return model


def space(model: PreTrainedModel, count: int, **fields: object) -> SearchSpace:
    every = tuple(range(len(find_layers(model))))
    return SearchSpace(len(every), (count,), every, {"attention": every, "mlp": every}, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("at", "count"), PLACES)
def test_every_similarity_criterion_finds_exactly_the_planted_layers(at: int, count: int) -> None:
    model = planted(at, count)
    found = measure_similarity(model, load_lab_task("lab:id,n=20").examples, batch_size=20)
    for name in SIMILAR:
        search = Search(CRITERIA[name].choose, space(model, count, similarity=found))
        assert search.picks == {count: Plan.drop(8 + count, range(at, at + count))}, name


@pytest.mark.parametrize(
    ("at", "count"),
    [(at, count) if (at, count) in QUICK else pytest.param(at, count, marks=pytest.mark.slow) for at, count in PLACES],
)
def test_every_criterion_by_score_holds_the_planted_layers_for_nothing(at: int, count: int) -> None:
    """On the data the learner was trained on, nothing but a layer without effect can go for free."""
    model, task = planted(at, count), load_lab_task("lab:id,n=12")
    known: dict[Plan, float] = {}

    def score(plan: Plan) -> float:
        if plan not in known:
            known[plan] = float(evaluate(model, task, [plan], batch_size=12).values.mean())
        return known[plan]

    full = score(Plan.full(8 + count))
    for name in SCORED:
        search = Search(CRITERIA[name].choose, space(model, count, repeats=400))
        while question := search.ask():
            search.tell([score(plan) for plan in question.plans])
        plan = search.picks[count]
        touched = {layer for layer, _ in (*plan.layers, *plan.attention, *plan.mlp)}
        assert touched <= set(range(at, at + count)), name
        assert score(plan) == full, name


def test_padding_changes_no_similarity() -> None:
    """Prompts of two lengths in one batch, against each length alone."""
    model = load("learner").model
    short, long = load_lab_task("lab:id,n=5,points=8").examples, load_lab_task("lab:id,n=7").examples
    mixed = measure_similarity(model, (*short, *long), batch_size=12)
    alone = [(measure_similarity(model, some, batch_size=12), some) for some in (short, long)]
    tokens = [sum(len(example.prompt) for example in some) for _, some in alone]
    for name in ("influence", "magnitude"):
        parts = [getattr(found, name) for found, _ in alone]
        assert getattr(mixed, name) == pytest.approx(np.average(parts, axis=0, weights=tokens), abs=1e-5)
    angles = np.average([found.angles for found, _ in alone], axis=0, weights=[5, 7])
    assert mixed.angles == pytest.approx(angles, abs=1e-4)


def test_measuring_leaves_no_hooks() -> None:
    model = load("learner").model
    measure_similarity(model, load_lab_task("lab:id,n=8").examples)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_nan_names_its_layer() -> None:
    model = load("learner").model
    with torch.no_grad():
        find_layers(model).blocks[5].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ArithmeticError, match="around layer 5, a hidden state is NaN, infinite or zero"):
        measure_similarity(model, load_lab_task("lab:id,n=8").examples)
