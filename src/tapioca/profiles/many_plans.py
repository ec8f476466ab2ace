"""Realignment of many plans from the states they share, and whether it goes with what they gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.profiles.deviation import mean_deviation, recentred_interval, removed_deviation
from tapioca.profiles.profiles import count_and_resample, scale_to_unit_length, state_geometry
from tapioca.stats import rank_correlation


def realign_plans(
    states: Mapping[Prefix, np.ndarray], reference: np.ndarray, plans: Sequence[Plan], draws: int, seed: int = 0
) -> np.ndarray:
    """Realignment of every kind of profile (see `deviation.measure_realignments`) of many plans, with resamples that are of the same
    examples for all of them.

    Args:
        states: of OOD examples, (example, width) each, by what was done with the layers up to them; the full model's
            and those of all plans (`observe.states_of_plans`).
        reference: of ID examples under the full model, (layer, example, width).
        plans: of which the realignment is asked.
        draws: resamples of the examples of both sets.

    Returns:
        float64 of shape (kind, 1 + draw, plan); at 0 stand the values of the examples as they are.
    """
    rng = np.random.default_rng(seed)
    counts = count_and_resample(len(next(iter(states.values()))), draws, rng)
    profiles = {
        prefix: state_geometry(prefix_states[None]).profiles(counts)[..., 0] for prefix, prefix_states in states.items()
    }
    reference_profiles = state_geometry(reference).profiles(count_and_resample(reference.shape[1], draws, rng))
    before = profiles_of_plan(profiles, Plan.full(plans[0].n_layers))
    realigned = [
        removed_deviation(before[..., plan.kept], profiles_of_plan(profiles, plan), reference_profiles[..., plan.kept])
        for plan in plans
    ]
    return np.stack(realigned, axis=-1)


REALIGNMENT_DEFINITIONS = ("raw", "raw_same_plan", "unit", "unit_same_plan")
"""What realignment is measured by: states as they are or divided by their length, and compared after the plan with ID states
under the full model or under the same plan."""

ProfilesByPrefix = dict[Prefix, np.ndarray]
"""Profiles of examples, (kind,), by what was done with the layers up to them."""


def profile_prefixes(states: Mapping[Prefix, np.ndarray]) -> tuple[ProfilesByPrefix, ProfilesByPrefix]:
    """The profiles of states as they are and of states of unit length, all of whose norms are 1."""
    return {prefix: _profile(of_prefix[None]) for prefix, of_prefix in states.items()}, {
        prefix: _profile(scale_to_unit_length(of_prefix[None])) for prefix, of_prefix in states.items()
    }


def realign_by_all_definitions(
    ood: tuple[ProfilesByPrefix, ProfilesByPrefix],
    reference: tuple[ProfilesByPrefix, ProfilesByPrefix],
    plans: Sequence[Plan],
) -> np.ndarray:
    """Realignment of every kind of profile of many plans, over the layers each keeps.

    Args:
        ood, reference: of OOD and of ID examples (`profile_prefixes`), under the full model and all plans.
        plans: each drops something.

    Returns:
        (definition, kind, plan), definitions in the order of `REALIGNMENT_DEFINITIONS`.
    """
    rows = []
    for ood_profiles, id_profiles in zip(ood, reference, strict=True):
        full_ood, full_id = (
            profiles_of_plan(of_prefix, Plan.full(plans[0].n_layers)) for of_prefix in (ood_profiles, id_profiles)
        )
        for plan in plans:
            after, same_plan = (profiles_of_plan(of_prefix, plan) for of_prefix in (ood_profiles, id_profiles))
            before = mean_deviation(full_ood[..., plan.kept], full_id[..., plan.kept])
            rows.append([before - mean_deviation(after, ids) for ids in (full_id[..., plan.kept], same_plan)])
    realigned = np.array(rows).reshape(2, len(plans), 2, -1)  # (length, plan, reference, kind)
    return realigned.transpose(0, 2, 3, 1).reshape(4, -1, len(plans))


def _profile(states: np.ndarray) -> np.ndarray:
    """(kind,) of states of shape (1, example, width)."""
    profiles: np.ndarray = state_geometry(states).profiles()[:, 0, 0]
    return profiles


def profiles_of_plan(profiles: Mapping[Prefix, np.ndarray], plan: Plan) -> np.ndarray:
    """The profiles of a plan over the layers it keeps, (kind, ..., layer), from those of the states after each layer."""
    plan_steps = list_steps(plan)
    return np.stack([profiles[plan_steps[: layer + 1]] for layer in plan.kept], axis=-1)


@dataclass(frozen=True)
class PlanCorrelation:
    """A rank correlation over plans; see `records.Correlation`."""

    value: float
    ci95: tuple[float, float]
    plans_ci95: tuple[float, float]
    p: float


def correlate_plans(
    first: np.ndarray, second: np.ndarray, relabelled: np.ndarray, seed: int = 0
) -> PlanCorrelation | None:
    """Spearman's rank correlation of two properties of plans.

    Plans share layers, and so what they gain and how they realign: shuffled plan by plan they would seem to be far more
    independent observations than there are layers. So the layers are relabelled instead, as the rows and columns of a
    matrix are in Mantel's test (1967, Cancer Research 27).

    Args:
        first, second: (1 + draw, plan); at 0 the values found, then those of resampled examples.
        relabelled: (permutation, plan), which plan each becomes when the layers change names.

    Returns:
        The interval over examples is moved to the value it belongs to, since resampling adds noise, which weakens a
        correlation. None where either is the same for all plans, so that there are no ranks.
    """
    if np.ptp(first[0]) == 0 or np.ptp(second[0]) == 0:
        return None
    coefficient, *draws = rank_correlation(first, second)
    n_plans = first.shape[1]
    plan_indices = np.random.default_rng(seed).integers(n_plans, size=(len(draws), n_plans))
    plan_bounds = np.percentile(rank_correlation(first[0][plan_indices], second[0][plan_indices]), [2.5, 97.5])
    shuffled = rank_correlation(first[0][None], second[0][relabelled])
    low, high = recentred_interval(float(coefficient), np.asarray(draws))
    return PlanCorrelation(
        value=float(coefficient),
        ci95=(max(low, -1.0), min(high, 1.0)),
        plans_ci95=(float(plan_bounds[0]), float(plan_bounds[1])),
        p=float((1 + (np.abs(shuffled) >= abs(coefficient) - 1e-12).sum()) / (1 + len(shuffled))),
    )
