"""How close the states of OOD inputs under a plan come to those of ID inputs under the full model."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.profiles.deviation import removed_deviation
from tapioca.profiles.many_plans import profiles_of_plan
from tapioca.profiles.profiles import PROFILE_KINDS, scale_to_unit_length, state_geometry


class StateReference:
    """States of ID inputs under the full model, which those of plans are held against.

    Args:
        states: (layer, example, width).
    """

    def __init__(self, states: np.ndarray):
        self.states = states

    def measure_geometry(self, states: Mapping[Prefix, np.ndarray], plans: Sequence[Plan]) -> np.ndarray:
        """Realignment of both profiles, mean norm and mean pairwise distance: what a plan takes from the deviation, mean |log
        ratio| over the layers that it keeps, averaged over the two; float64 of shape (plan,), 0 for the full model.

        Args:
            states: of OOD inputs, (example, width), by what was done with the layers up to them
                (`observe.capture_states_of_plans`); those of the full model and of all plans.
            plans: of any drops.
        """
        profiles = {prefix: _profile(of_prefix) for prefix, of_prefix in states.items()}
        return _realign(profiles, _profile_layers(self.states), plans)

    def measure_unit_geometry(self, states: Mapping[Prefix, np.ndarray], plans: Sequence[Plan]) -> np.ndarray:
        """The same of states divided by their norm, whose norm profile says nothing: realignment of mean pairwise distance
        alone."""
        distance = PROFILE_KINDS.index("distance")
        profiles = {prefix: _profile(scale_to_unit_length(of_prefix))[distance] for prefix, of_prefix in states.items()}
        return _realign(profiles, _profile_layers(scale_to_unit_length(self.states))[distance], plans)

    def measure_mahalanobis(self, states: Mapping[Prefix, np.ndarray], plans: Sequence[Plan]) -> np.ndarray:
        """Minus the mean Mahalanobis distance of the states after a plan's last layer from the ID states after the full
        model's, whose covariance is shrunk (Ledoit and Wolf 2004); float64 of shape (plan,)."""
        last = {plan: states[list_steps(plan)[: plan.kept[-1] + 1]] for plan in plans}
        return np.array(
            [-np.sqrt(self._covariance.mahalanobis(last[plan].astype(np.float64))).mean() for plan in plans]
        )

    @cached_property
    def _covariance(self):  # type: ignore[no-untyped-def]
        from sklearn.covariance import LedoitWolf

        return LedoitWolf().fit(self.states[-1].astype(np.float64))


def _profile(states: np.ndarray) -> np.ndarray:
    """Both profiles' values for the states after one layer, (kind,)."""
    return _profile_layers(states[None])[:, 0]


def _profile_layers(states: np.ndarray) -> np.ndarray:
    """Both profiles, (kind, layer)."""
    if states.shape[1] < 2:
        raise UsageError(f"distances need at least 2 inputs, got {states.shape[1]}; give more groups")
    return state_geometry(states).profiles()[:, 0]


def _realign(profiles: Mapping[Prefix, np.ndarray], reference: np.ndarray, plans: Sequence[Plan]) -> np.ndarray:
    """The mean deviation that each plan removes over the layers it keeps, and over kinds of profile."""
    before, scores = profiles_of_plan(profiles, Plan.full(plans[0].n_layers)), []
    for plan in plans:
        after = profiles_of_plan(profiles, plan)
        scores.append(removed_deviation(before[..., plan.kept], after, reference[..., plan.kept]).mean())
    return np.array(scores)
