"""What a study measures at every scale: the layers of greedy's plan, random ones, and all of them."""

import numpy as np

from tapioca.observe import capture_states_of_plans
from tapioca.plan import Plan
from tapioca.profiles.deviation import mean_deviation
from tapioca.profiles.profiles import PROFILE_KINDS, state_geometry
from tapioca.search.random import draw_matched_random_plans
from tapioca.studies.cell import Cell, CellKey, DoseResponse
from tapioca.studies.measure.cells import geometry_of_plan
from tapioca.studies.measure.model import StudyModel
from tapioca.tasks.base import Task


def measure_doses(bench: StudyModel, where: CellKey, measured: Cell) -> DoseResponse:
    """Scale sets of layers and score every scale on the test split; deviations are those of the search split.

    Args:
        measured: the cell of the same task.
    """
    search, test = bench.tasks[where.kind, where.strength]
    set_plans = _plans_of_sets(bench, bench.find_dropping_plan(measured.search, search))
    plans_by_alpha = [
        {alpha: plan for alpha in bench.study.scales if (plan := set_plan.dose(alpha)).kept} for set_plan in set_plans
    ]
    plans = list(dict.fromkeys(plan for plan_by_alpha in plans_by_alpha for plan in plan_by_alpha.values()))
    return DoseResponse(
        where=where,
        scales=np.array(bench.study.scales),
        layers=np.array([[layer in set_plan.drops for layer in range(set_plan.n_layers)] for set_plan in set_plans]),
        test=_score_doses(bench, plans_by_alpha, plans, test),
        weights=test.weights,
        deviation=_measure_dose_deviations(bench, set_plans, plans_by_alpha, plans, search),
    )


def _plans_of_sets(bench: StudyModel, chosen: Plan) -> list[Plan]:
    """The plans that drop the chosen layers, random ones of the same number, and all."""
    all_layers = Plan(n_layers=chosen.n_layers, layers=dict.fromkeys(bench.space.droppable, 0.0))
    return [chosen, *draw_matched_random_plans(bench.space, chosen, bench.study.random_sets), all_layers]


def _score_doses(
    bench: StudyModel, plans_by_alpha: list[dict[float, Plan]], plans: list[Plan], test: Task
) -> np.ndarray:
    """(set, scale, example)"""
    measured, scales = bench.score_plans(test, plans), bench.study.scales
    scores = np.full((len(plans_by_alpha), len(scales), len(test.examples)), np.nan)
    for row, plan_by_alpha in enumerate(plans_by_alpha):
        for alpha, plan in plan_by_alpha.items():
            scores[row, scales.index(alpha)] = measured.values_of(plan)
    return scores


def _measure_dose_deviations(
    bench: StudyModel, set_plans: list[Plan], plans_by_alpha: list[dict[float, Plan]], plans: list[Plan], search: Task
) -> np.ndarray:
    """(set, scale, kind)"""
    sample = bench.draw_sample(search)
    states = capture_states_of_plans(bench.loaded.model, plans, sample.ood, bench.study.batch_size)
    reference_states = bench.observe_id(sample)[0][1:]

    deviations = np.full((len(set_plans), len(bench.study.scales), len(PROFILE_KINDS)), np.nan)
    for row, (set_plan, plan_by_alpha) in enumerate(zip(set_plans, plans_by_alpha, strict=True)):
        layers = set_plan.kept or tuple(range(set_plan.n_layers))
        reference_profiles = state_geometry(reference_states[list(layers)]).profiles()
        for alpha, plan in plan_by_alpha.items():
            profiles = geometry_of_plan(states, plan, layers).profiles()
            deviations[row, bench.study.scales.index(alpha)] = mean_deviation(profiles, reference_profiles)[:, 0]
    return deviations
