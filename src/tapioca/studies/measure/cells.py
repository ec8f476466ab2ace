"""What a study measures of one model on one task: every plan's scores, and what each does to the geometry."""

import numpy as np

from tapioca.observe import GeometrySample, capture_states_of_plans
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.profiles.attribution import shares_along_stream, shares_by_removal
from tapioca.profiles.deviation import mean_deviation, measure_null, signed_log_ratio
from tapioca.profiles.many_plans import REALIGNMENT_DEFINITIONS, profile_prefixes, realign_by_all_definitions
from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, count_and_resample, state_geometry
from tapioca.studies.cell import Cell, CellKey
from tapioca.studies.measure.model import StudyModel
from tapioca.tasks.base import Task

RESAMPLES = 200
"""Resamples of examples that are kept of a deviation."""


def measure_cell(bench: StudyModel, where: CellKey) -> Cell:
    """Score every plan on both splits of a task, and measure the geometry on the search split."""
    task_key = (where.kind, where.strength)
    search, test = bench.tasks[task_key]
    search_scores, test_scores = (bench.score_plans(task, bench.plans).values for task in (search, test))
    chosen_plan = bench.run_greedy(search_scores, search).best.plan
    _, groups = np.unique(np.asarray(test.groups), return_inverse=True)
    chance = test.companion.chance if test.companion else None
    return Cell(
        where=where,
        kept=bench.kept,
        search=search_scores,
        search_weights=search.weights,
        test=test_scores,
        weights=test.weights,
        groups=groups,
        companion=_score_companion(bench, test, chosen_plan),
        chance=np.array(np.nan if chance is None else float(chance.mean())),
        **(_zero_geometry(bench) | ({} if where.kind == "id" else _measure_geometry(bench, search, not where.tuned))),
        baselines=bench.baseline_errors(task_key, test),
    )


def _score_companion(bench: StudyModel, test: Task, plan: Plan) -> np.ndarray:
    """Whether the full model and a plan are right, where the score stands in for it."""
    if not test.companion:
        return np.empty((2, 0))
    return bench.score_plans(test.companion, [bench.plans[0], plan]).values


def _zero_geometry(bench: StudyModel) -> dict[str, np.ndarray]:
    """What stands for ID data, which deviate from nothing."""
    by_layer = np.zeros((len(PROFILE_KINDS), bench.kept.shape[1]))
    return {
        **dict.fromkeys(("signed", "along", "removal"), by_layer),
        **dict.fromkeys(("null_mean", "null_upper"), by_layer[:, 0]),
        "deviation": np.zeros((len(PROFILE_KINDS), 1 + RESAMPLES)),
        "realigned": np.zeros((len(REALIGNMENT_DEFINITIONS), len(PROFILE_KINDS), len(bench.plans))),
    }


def _measure_geometry(bench: StudyModel, search: Task, with_plans: bool) -> dict[str, np.ndarray]:
    """How OOD search examples deviate from ID ones, which layers make it and, if asked for, what every plan does about it."""
    seed, sample = bench.study.seed, bench.draw_sample(search)
    first_id, second_id = bench.observe_id(sample)
    ood_geometry, id_geometry, pool_geometry = (
        state_geometry(bench.observe_states(sample.ood)),
        state_geometry(first_id),
        state_geometry(np.concatenate([first_id, second_id], axis=1)[1:]),
    )
    nulls = measure_null(pool_geometry, seed)
    profiles, id_profiles = (geometry.profiles()[:, 0] for geometry in (ood_geometry, id_geometry))
    return {
        "signed": signed_log_ratio(profiles, id_profiles)[:, 1:],
        "deviation": _resample_deviation(ood_geometry, id_geometry, seed),
        "null_mean": nulls.mean(axis=-1),
        "null_upper": np.percentile(nulls, 95, axis=-1),
        "along": shares_along_stream(profiles, id_profiles),
        **(_measure_plans(bench, sample, profiles[:, 1:], id_profiles[:, 1:]) if with_plans else {}),
    }


def _measure_plans(
    bench: StudyModel, sample: GeometrySample, profiles: np.ndarray, id_profiles: np.ndarray
) -> dict[str, np.ndarray]:
    """What every plan does about the deviation, and which layers make it by what it loses without them."""
    states = capture_states_of_plans(bench.loaded.model, bench.plans, sample.ood, bench.study.batch_size)
    realigned = realign_by_all_definitions(
        profile_prefixes(states), bench.profile_id_under_plans(sample), bench.plans[1:]
    )
    return {
        "realigned": np.pad(realigned, ((0, 0), (0, 0), (1, 0))),
        "removal": _shares_by_removal(bench, states, profiles, id_profiles),
    }


def _resample_deviation(geometry: StateGeometry, reference: StateGeometry, seed: int) -> np.ndarray:
    """Deviation over the layers, of the examples and of resampled ones, (kind, 1 + draw); resamples are biased upward, so
    they are moved to the value they belong to."""
    rng = np.random.default_rng(seed)
    profiles, reference_profiles = (
        side.profiles(count_and_resample(side.n_examples, RESAMPLES, rng))[..., 1:] for side in (geometry, reference)
    )
    deviations = mean_deviation(profiles, reference_profiles)
    deviations[:, 1:] += deviations[:, :1] - deviations[:, 1:].mean(axis=1, keepdims=True)
    return deviations


def _shares_by_removal(
    bench: StudyModel, states_by_prefix: dict[Prefix, np.ndarray], profiles: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """Each layer's share by removal, (kind, layer); 0 where a layer cannot be dropped."""
    shares = np.zeros_like(base)
    for plan in bench.plans:
        if plan.size == 1:
            without = geometry_of_plan(states_by_prefix, plan, plan.kept).profiles()[:, 0]
            shares[:, plan.drops[0]] = shares_by_removal(profiles, without, base, plan.drops[0])
    return shares


def geometry_of_plan(states_by_prefix: dict[Prefix, np.ndarray], plan: Plan, layers: tuple[int, ...]) -> StateGeometry:
    """The shape of a plan's states after some layers that it computes."""
    plan_steps = list_steps(plan)
    return state_geometry(np.stack([states_by_prefix[plan_steps[: layer + 1]] for layer in layers]))
