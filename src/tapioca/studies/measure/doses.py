"""What a study measures at every scale: the layers of greedy's plan, random ones, and all of them."""

from __future__ import annotations

import numpy as np

from tapioca.geometry.alignment import deviation
from tapioca.geometry.profiles import KINDS, shape
from tapioca.observe import sample, states_of_plans
from tapioca.records import Plan
from tapioca.search.random import rivals
from tapioca.studies.cell import Cell, Dose, Where
from tapioca.studies.measure.cells import shape_of
from tapioca.studies.measure.model import Bench
from tapioca.tasks.base import Task


def dose(bench: Bench, where: Where, measured: Cell) -> Dose:
    """Scale sets of layers and score every scale on the test split; deviations are those of the search split.

    Args:
        bench: the model and its data.
        where: what is to be measured.
        measured: the cell of the same task.
    """
    search, test = bench.tasks[where.kind, where.strength]
    found = bench.searched(measured.search, search)
    assert found.mildest is not None  # a bench has layers that can be dropped, so there was a round
    sets = _sets(bench, (found.best if found.best.plan.size else found.mildest).plan)
    made = [{alpha: plan for alpha in bench.study.alphas if (plan := one.dose(alpha)).kept} for one in sets]
    plans = list(dict.fromkeys(plan for doses in made for plan in doses.values()))
    return Dose(
        where=where,
        alphas=np.array(bench.study.alphas),
        layers=np.array([[layer in one.drops for layer in range(one.n_layers)] for one in sets]),
        test=_scores(bench, made, plans, test),
        weights=test.weights,
        deviation=_deviations(bench, sets, made, plans, search),
    )


def _sets(bench: Bench, chosen: Plan) -> list[Plan]:
    """The plans that drop the chosen layers, random ones of the same number, and all."""
    every = Plan(n_layers=chosen.n_layers, layers=dict.fromkeys(bench.space.droppable, 0.0))
    return [chosen, *rivals(bench.space, chosen, bench.study.random_sets), every]


def _scores(bench: Bench, made: list[dict[float, Plan]], plans: list[Plan], test: Task) -> np.ndarray:
    """(set, scale, example)"""
    values = dict(zip(plans, bench.scores(test, plans).values, strict=True))
    nothing = np.full(len(test.examples), np.nan)
    rows = [[values[doses[alpha]] if alpha in doses else nothing for alpha in bench.study.alphas] for doses in made]
    return np.array(rows)


def _deviations(
    bench: Bench, sets: list[Plan], made: list[dict[float, Plan]], plans: list[Plan], search: Task
) -> np.ndarray:
    """(set, scale, kind)"""
    size = min(bench.sample(search), bench.id_states[0].shape[1])
    seen = sample(search.examples, size, bench.study.seed)
    states = states_of_plans(bench.loaded.model, plans, seen, bench.study.batch_size)
    reference = bench.id_states[0][1:, :size]

    def deviations(one: Plan, plan: Plan | None) -> np.ndarray:
        layers = one.kept or tuple(range(one.n_layers))
        if plan is None:
            return np.full(len(KINDS), np.nan)
        own, base = shape_of(states, plan, layers), shape(reference[list(layers)])
        return deviation(np.stack(own.profiles()), np.stack(base.profiles()))[:, 0]

    rows = zip(sets, made, strict=True)
    return np.array([[deviations(one, doses.get(alpha)) for alpha in bench.study.alphas] for one, doses in rows])
