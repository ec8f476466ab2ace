"""A model, a plan, and what there is to see of ID and OOD examples under both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from transformers import PreTrainedModel

from tapioca.flows.run_geometry import measure_profile_deviations, profile_from_geometry
from tapioca.flows.space import find_droppable_layers
from tapioca.observe import capture_states, measure_attribution, measure_updates
from tapioca.plan import Plan
from tapioca.profiles.deviation import measure_realignments
from tapioca.profiles.permutation import Profiles, deviation_statistic, realignment_statistic, run_permutation_test
from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, state_geometry
from tapioca.profiles.summary import measure_representation
from tapioca.progress import Progress
from tapioca.records import Attribution, Example, GeometryConfig, Realignment, TestedDeviation, Updates, View
from tapioca.records.results import Domain

DOMAINS: tuple[Domain, ...] = ("id", "ood")


@dataclass(frozen=True, eq=False)
class StateSets:
    """The states of the three sets of examples under one plan, (kept layer, example, width)."""

    reference: np.ndarray
    id: np.ndarray
    ood: np.ndarray

    def states_of_domain(self, domain: Domain) -> np.ndarray:
        """The states of one data set."""
        return self.ood if domain == "ood" else self.id

    def select_layers(self, layers: Sequence[int]) -> StateSets:
        """The states after some of the layers only."""
        indices = list(layers)
        return StateSets(self.reference[indices], self.id[indices], self.ood[indices])


class GeometryMeasurement:
    """A model, a plan and the examples they are observed on; states are observed once, when it is made."""

    def __init__(
        self,
        model: PreTrainedModel,
        full: Plan,
        plan: Plan | None,
        reference: tuple[Example, ...],
        samples: dict[Domain, tuple[Example, ...]],
        config: GeometryConfig,
        watcher: Progress,
    ):
        self.model, self.full, self.plan, self.config, self.watcher = model, full, plan, config, watcher
        self.reference, self.samples, self.n = reference, samples, len(reference)
        watcher.stage("hidden states", 6 if plan else 3)
        self.before = self._observe_sets(full)
        self.planned = self._observe_sets(plan) if plan else None
        self.pool = state_geometry(np.concatenate([self.before.reference, self.before.id], axis=1))
        self.pairs = {
            domain: self._geometry_of_pair(self.before.states_of_domain(domain), self.before.reference)
            for domain in DOMAINS
        }

    def measure_views(self) -> tuple[View, ...]:
        """Everything observed of ID and OOD data, under the full model and under the plan."""
        states_by_plan = [(self.full, self.before)] + (
            [(self.plan, self.planned)] if self.plan and self.planned else []
        )
        self.watcher.stage("updates of the residual stream", len(states_by_plan) * len(DOMAINS))
        return tuple(
            self._measure_view(plan, plan_states, domain) for plan, plan_states in states_by_plan for domain in DOMAINS
        )

    def measure_attributions(self) -> tuple[Attribution, ...]:
        """Each layer's own share of the OOD deviation under the full model."""
        layers = find_droppable_layers(self.model)
        self.watcher.stage("attribution: each layer dropped alone", len(layers))
        return measure_attribution(
            self.model,
            self.samples["ood"],
            self.reference,
            layers,
            self.config.batch_size,
            self.config.seed,
            on_layer=lambda: self.watcher.advance(1),
        )

    def test_all_layers(self) -> tuple[TestedDeviation, ...]:
        """From the reference under the full model, over all layers."""
        self.watcher.stage("permutation tests", 0)
        return tuple(self._test_deviations(self.pairs, self.pool, self.full.kept, planned=False))

    def test_kept_layers(self) -> tuple[TestedDeviation, ...]:
        """The same over the layers the plan keeps, under the full model and under the plan."""
        if self.plan is None or self.planned is None:
            return ()
        reference, layers = self.before.select_layers(self.plan.kept).reference, self.plan.kept
        pool = self.pool.select(layers=layers)
        before = {domain: pair.select(layers=layers) for domain, pair in self.pairs.items()}
        after = {domain: self._geometry_of_pair(self.planned.states_of_domain(domain), reference) for domain in DOMAINS}
        return (
            *self._test_deviations(before, pool, layers, planned=False),
            *self._test_deviations(after, pool, layers, planned=True),
        )

    def measure_realigned(self) -> tuple[Realignment, ...]:
        """What the plan takes off the deviation of OOD data, and of ID data."""
        if self.plan is None or self.planned is None:
            return ()
        first_half, seed = range(self.n), self.config.seed
        reference = self.pool.select(self.plan.kept, first_half)
        before = {domain: pair.select(layers=self.plan.kept) for domain, pair in self.pairs.items()}
        after = {
            domain: self._geometry_of_pair(self.planned.states_of_domain(domain), self.planned.reference)
            for domain in DOMAINS
        }
        realignments = {
            domain: measure_realignments(
                before[domain].select(examples=first_half), after[domain].select(examples=first_half), reference, seed
            )
            for domain in DOMAINS
        }
        profile_pairs = zip(_profile_functions(before["ood"]), _profile_functions(after["ood"]), strict=True)
        tests = [run_permutation_test(realignment_statistic(*pair), self.n, self.n, seed) for pair in profile_pairs]
        return tuple(
            Realignment(kind=kind, ood=realignments["ood"][index], id=realignments["id"][index], permuted=tests[index])
            for index, kind in enumerate(PROFILE_KINDS)
        )

    def _observe_sets(self, plan: Plan) -> StateSets:
        sampled_states = []
        for examples in (self.reference, self.samples["id"], self.samples["ood"]):
            sampled_states.append(capture_states(self.model, plan, examples, self.config.batch_size))
            self.watcher.advance(1)
        return StateSets(*sampled_states)

    def _geometry_of_pair(self, data_states: np.ndarray, reference: np.ndarray) -> StateGeometry:
        return state_geometry(np.concatenate([data_states, reference], axis=1))

    def _measure_view(self, plan: Plan, plan_states: StateSets, domain: Domain) -> View:
        full = self.before.select_layers(plan.kept)
        same = None if plan.is_full else full.states_of_domain(domain)
        view = View(
            profile=profile_from_geometry(
                state_geometry(plan_states.states_of_domain(domain)), domain, plan, self.config.seed
            ),
            measures=measure_representation(plan, plan_states.states_of_domain(domain), same, full.reference),
            layers=self._measure_updates(plan, domain, "layer"),
            branches=self._measure_updates(plan, domain, "branch") if self.config.branches else None,
        )
        self.watcher.advance(1)
        return view

    def _measure_updates(self, plan: Plan, domain: Domain, grain: Literal["layer", "branch"]) -> Updates:
        return measure_updates(self.model, plan, self.samples[domain], grain, self.config.batch_size, self.config.seed)

    def _test_deviations(
        self, pairs: dict[Domain, StateGeometry], pool: StateGeometry, layers: Sequence[int], planned: bool
    ) -> list[TestedDeviation]:
        """Every data set against the reference, the second half of its pair and the first of the pool."""
        n, seed, tested = self.n, self.config.seed, []
        for domain, pair in pairs.items():
            data_geometry, reference = pair.select(examples=range(n)), pool.select(examples=range(n))
            deviations = measure_profile_deviations(
                data_geometry, reference, pool, domain, planned, tuple(layers), seed
            )
            tests = [
                run_permutation_test(deviation_statistic(profiles), n, n, seed) for profiles in _profile_functions(pair)
            ]
            tested += [TestedDeviation(deviation=d, permuted=p) for d, p in zip(deviations, tests, strict=True)]
        return tested


def _profile_functions(shape: StateGeometry) -> tuple[Profiles, Profiles]:
    """In the order of `PROFILE_KINDS`."""
    return shape.norm_profile, shape.distance_profile
