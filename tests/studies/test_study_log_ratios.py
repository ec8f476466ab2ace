"""Searches and gains on cells, and what cells truly are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.simulated_cells import World, all_plans, cell

from tapioca.studies.analyse.labels import label_cell, simultaneous_upper_bound
from tapioca.studies.analyse.log_ratios import PlanSet, mean_search_scores, measure_log_ratios, search_cell
from tapioca.studies.cell import Cell, CellKey

SHIFT = CellKey("toy", "m0", 100, "kind_0", 0, "t")


def made(world: World, dial: float = 1.0, seed: int = 0) -> Cell:
    return cell(world, SHIFT, dial, np.random.default_rng(seed))


def test_log_ratios_are_of_weighted_errors() -> None:
    found = made(World(gain=0.5, harm=0.2))
    found = replace(found, weights=np.linspace(1, 2, 32))
    full, plan = (float(-(found.test[at] * found.weights).sum()) for at in (0, 5))
    assert measure_log_ratios(found, 0, 0)[0, 5] == pytest.approx(np.log(full / plan))
    assert measure_log_ratios(found, 20, 0).shape == (21, 15)
    assert (measure_log_ratios(found, 20, 0)[:, 0] == 0).all()


def test_prompts_are_resampled_by_group() -> None:
    found = made(World(gain=0.5))
    one = replace(found, groups=np.zeros(32, dtype=int))
    assert measure_log_ratios(one, 50, 0)[:, 3].std() == pytest.approx(0)
    assert measure_log_ratios(found, 50, 0)[1:, 3].std() > 0


def test_an_error_of_zero_has_no_ratio() -> None:
    found = made(World())
    with pytest.raises(ValueError, match=r"errors, which must be above 0; the smallest mean is -?0"):
        measure_log_ratios(replace(found, test=found.test * (np.arange(15) > 0)[:, None]), 0, 0)


def test_greedy_finds_the_planted_layer_and_counts_what_it_computes() -> None:
    found = made(World(gain=0.5, harm=0.8, noise=0.05))
    plans = PlanSet(found.kept)
    choice = search_cell(plans, found)
    assert plans.plans[choice.best].drops == (3,)
    assert choice.best == choice.best_nonempty == choice.oracle
    assert choice.tried == 1 + 4 + 3  # one drop is taken, and no second one
    # first the full model, then all but one layer each, then all but layer 3 and another
    assert choice.scratch == 4 + 4 * 3 + 3 * 2
    assert choice.tree == 4 + (3 + 3 + 2 + 1) + (2 + 2 + 1)
    assert set(choice.few) == {4, 8, 16, 32}
    assert choice.few[32] == choice.best


def test_where_every_drop_harms_the_best_plan_is_empty_and_the_mildest_is_not() -> None:
    found = made(World(gain=-0.2, harm=0.5, noise=0.05))
    plans = PlanSet(found.kept)
    choice = search_cell(plans, found)
    assert choice.best == choice.oracle == 0
    assert plans.plans[choice.best_nonempty].drops == (3,)


def test_few_prompts_are_drawn_at_random_and_weigh_as_they_should() -> None:
    """Files may be sorted, by label for instance, so the first rows say little."""
    found = replace(made(World()), search_weights=np.arange(1.0, 33.0))
    assert mean_search_scores(found, 32) == pytest.approx(mean_search_scores(found))
    drawn = [at for at in range(32) if mean_search_scores(replace(found, search=np.eye(32)[[at]]), 4)[0] > 0]
    assert len(drawn) == 4
    assert drawn != [0, 1, 2, 3]
    weights = found.search_weights[drawn]
    assert mean_search_scores(found, 4) == pytest.approx((found.search[:, drawn] * weights).sum(axis=1) / weights.sum())


def test_layers_that_cannot_be_dropped_are_in_no_plan() -> None:
    kept = all_plans(4)
    some = kept[kept[:, 0]]
    found = made(World(gain=0.5, harm=0.2, noise=0.05))
    part = replace(found, kept=some, search=found.search[kept[:, 0]], test=found.test[kept[:, 0]])
    plans = PlanSet(some)
    assert plans.single_layer_plans[0].tolist() == [1, 2, 3]
    assert plans.plans[search_cell(plans, part).best].drops == (3,)
    stuck = replace(part, kept=kept[:1], search=found.search[:1], test=found.test[:1])
    with pytest.raises(ValueError, match="no layer of m0 can be dropped"):
        search_cell(PlanSet(stuck.kept), stuck)


@pytest.mark.parametrize(
    ("world", "truth"),
    [
        (World(gain=0.4, bend=0.2, harm=0.3, noise=0.05), "distorted"),
        (World(gain=-0.4, bend=0.2, harm=0.3, noise=0.05), "misaligned"),
        (World(gain=0.0, bend=0.2, harm=0.3, noise=0.6), "undecided"),
        (World(gain=0.4, bend=-0.02, harm=0.3, noise=0.05), "in distribution"),
    ],
)
def test_planted_truths_are_told(world: World, truth: str) -> None:
    told = []
    for seed in range(10):
        found = made(world, seed=seed)
        choice = search_cell(PlanSet(found.kept), found)
        told.append(label_cell(found, measure_log_ratios(found, 300, seed), choice.best, 0.0202).truth)
    assert told.count(truth) >= 8


def test_a_bound_on_every_gain_holds_for_the_largest_and_ignores_wrecks() -> None:
    """95 % of the bounds are above all true gains; a plan with a very uncertain, very low gain does not move them."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        prompts = rng.normal(0, 1, (100, 30))
        drawn = rng.multinomial(100, np.full(100, 0.01), size=200) @ prompts / 100
        held += simultaneous_upper_bound(np.vstack([prompts.mean(axis=0), drawn])) > 0
    assert held / 300 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)
    rows = rng.normal(0, 0.01, (400, 5))
    rows[0] = 0
    wreck = np.column_stack([rows, rng.normal(-3, 0.3, 400)])
    wreck[0, -1] = -3
    assert simultaneous_upper_bound(wreck) == pytest.approx(simultaneous_upper_bound(rows), abs=0.005)
    assert simultaneous_upper_bound(wreck) < 0.05
