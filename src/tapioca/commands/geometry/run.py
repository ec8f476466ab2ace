"""The layerwise geometry of ID and OOD data, under the full model and under a plan."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from transformers import PreTrainedModel

from tapioca.commands import save_result
from tapioca.commands.geometry.config import GeometryConfig
from tapioca.commands.geometry.result import GeometryResult, OtherRealignment, Realignment, TestedDeviation, View
from tapioca.errors import ModelError, UsageError
from tapioca.models.capture import list_branches
from tapioca.models.edit import check_fits
from tapioca.models.find import find_layers
from tapioca.observe import GeometrySample, capture_states, measure_attribution, measure_updates
from tapioca.plan import Plan
from tapioca.profiles.deviation import measure_realignments
from tapioca.profiles.permutation import deviation_statistic, realignment_statistic, run_permutation_test
from tapioca.profiles.profiles import StateGeometry, scale_to_unit_length, state_geometry
from tapioca.profiles.summary import measure_representation
from tapioca.progress import SILENT, Progress, advancing
from tapioca.reading import explain_damage
from tapioca.records import Attribution, Example, Updates
from tapioca.records.results import Domain
from tapioca.session.context import RunInputs, load_inputs, open_folder
from tapioca.session.geometry import measure_profile_deviations, profile_from_geometry
from tapioca.session.search_space import find_droppable_layers

DOMAINS: tuple[Domain, ...] = ("id", "ood")
SetName = Literal["reference", "id", "ood"]
ExampleSets = dict[SetName, tuple[Example, ...]]
StateSets = dict[SetName, np.ndarray]
PairsUnderPlans = dict[tuple[Domain, bool], StateGeometry]
"""Data sets with the reference, by their name and whether under the plan."""


def measure_geometry(
    config: GeometryConfig, progress: Progress = SILENT, inputs: RunInputs | None = None
) -> GeometryResult:
    """Measure the geometry of a model on ID and OOD data, before and after a plan.

    Observed are the samples `tapioca prune` observes for the same data and seed, so that no search has seen them: of
    both test splits, and of the ID search split as the reference. Answers are not used.
    """
    plan = Plan.read(config.plan) if config.plan else None
    if plan is not None and plan.is_full:
        raise UsageError(f"{config.plan} changes nothing; give a plan that drops or scales, or leave it out")
    inputs = inputs or load_inputs(config, progress)
    model = inputs.loaded.model
    full = Plan.full(len(find_layers(model)))
    with explain_damage(config.plan or config.model, ModelError):
        check_fits(model, plan or full)
    if config.branches:
        list_branches(model)
    with open_folder(config, inputs, plan=(plan or full).model_dump(mode="json")) as header:
        sample = GeometrySample.draw_held_out(inputs.search, inputs.test, config.seed)
        observed = ObservedStates.capture(model, config, progress, plan, sample)
        result = GeometryResult(
            **header,
            plan=plan or full,
            n=sample.size,
            views=observed.measure_views(),
            attributions=observed.measure_attributions(),
            deviations=observed.test_all_layers(),
            kept=observed.test_kept_layers(),
            realigned=observed.measure_realigned(),
            realigned_otherwise=observed.measure_other_realignments(),
        )
        if plan:
            plan.write(result.folder / "plan.json")
        save_result("geometry", result)
    return result


@dataclass(frozen=True, eq=False)
class ObservedStates:
    """The hidden states of the three sets of examples under the full model and under a plan, and what is measured of them.

    Attributes:
        full, plan: the plans; the second is None where only the full model is observed.
        examples: of each set, equally many.
        states: by plan and set, (kept layer, example, width).
    """

    model: PreTrainedModel
    config: GeometryConfig
    progress: Progress
    full: Plan
    plan: Plan | None
    examples: ExampleSets
    states: dict[Plan, StateSets]

    @classmethod
    def capture(
        cls,
        model: PreTrainedModel,
        config: GeometryConfig,
        progress: Progress,
        plan: Plan | None,
        sample: GeometrySample,
    ) -> Self:
        """Run all examples under each plan."""
        examples: ExampleSets = {"reference": sample.reference, "id": sample.id, "ood": sample.ood}
        full = Plan.full(len(find_layers(model)))
        plans = [full, plan] if plan else [full]
        progress.stage("hidden states", len(plans) * len(examples))
        states: dict[Plan, StateSets] = {under: {} for under in plans}
        for under in plans:
            for name in advancing(progress, examples):
                states[under][name] = capture_states(model, under, examples[name], config.batch_size)
        return cls(model, config, progress, full, plan, examples, states)

    @property
    def size(self) -> int:
        """Examples of each set."""
        return len(self.examples["reference"])

    @cached_property
    def pool(self) -> StateGeometry:
        """The reference and the ID examples under the full model."""
        full_states = self.states[self.full]
        return state_geometry(np.concatenate([full_states["reference"], full_states["id"]], axis=1))

    @cached_property
    def pairs(self) -> dict[Domain, StateGeometry]:
        """Each data set and the reference under the full model."""
        return _pair_with_reference(self.states[self.full], self.states[self.full]["reference"])

    def measure_views(self) -> tuple[View, ...]:
        """Everything observed of ID and OOD data, under the full model and under the plan."""
        self.progress.stage("updates of the residual stream", len(self.states) * len(DOMAINS))
        return tuple(self._measure_view(plan, domain) for plan in self.states for domain in DOMAINS)

    def measure_attributions(self) -> tuple[Attribution, ...]:
        """Each layer's own share of the OOD deviation under the full model."""
        layers = find_droppable_layers(self.model)
        self.progress.stage("attribution: each layer dropped alone", len(layers))
        return measure_attribution(
            self.model,
            self.examples["ood"],
            self.examples["reference"],
            advancing(self.progress, layers),
            self.config.batch_size,
            self.config.seed,
        )

    def test_all_layers(self) -> tuple[TestedDeviation, ...]:
        """From the reference under the full model, over all layers."""
        self.progress.stage("permutation tests", 0)
        return self._test_deviations(_under_plan(self.pairs, planned=False), self.full.kept)

    def test_kept_layers(self) -> tuple[TestedDeviation, ...]:
        """The same over the layers the plan keeps, under the full model and under the plan."""
        if self.plan is None:
            return ()
        layers = self.plan.kept
        full_pairs = {domain: pair.select(layers=layers) for domain, pair in self.pairs.items()}
        planned_pairs = _pair_with_reference(self.states[self.plan], self.states[self.full]["reference"][list(layers)])
        return self._test_deviations(_under_plan(full_pairs, False) | _under_plan(planned_pairs, True), layers)

    def measure_realigned(self) -> tuple[Realignment, ...]:
        """What the plan takes off the deviation of OOD data, and of ID data."""
        if self.plan is None:
            return ()
        size, seed, planned = self.size, self.config.seed, self.states[self.plan]
        reference = self.pool.select(self.plan.kept, range(size))
        full_pairs = {domain: pair.select(layers=self.plan.kept) for domain, pair in self.pairs.items()}
        planned_pairs = _pair_with_reference(planned, planned["reference"])
        first = range(size)
        ood, id_data = (
            measure_realignments(
                full_pairs[domain].select(None, first), planned_pairs[domain].select(None, first), reference, seed
            )
            for domain in reversed(DOMAINS)
        )
        profiles_before, profiles_after = full_pairs["ood"].profile_functions, planned_pairs["ood"].profile_functions
        tests = {
            kind: run_permutation_test(realignment_statistic(profiles, profiles_after[kind]), size, size, seed)
            for kind, profiles in profiles_before.items()
        }
        return tuple(
            Realignment(kind=kind, ood=ood[kind], id=id_data[kind], permuted=test) for kind, test in tests.items()
        )

    def measure_other_realignments(self) -> tuple[OtherRealignment, ...]:
        """The same where states under the plan are compared with ID states under it, and where directions alone count."""
        if self.plan is None:
            return ()
        layers, found = list(self.plan.kept), []
        for length, scale in (("raw", np.asarray), ("unit", scale_to_unit_length)):
            full = {name: state_geometry(scale(states[layers])) for name, states in self.states[self.full].items()}
            planned = {name: state_geometry(scale(states)) for name, states in self.states[self.plan].items()}
            for reference, after in (("full model", full["reference"]), ("same plan", planned["reference"])):
                ood, id_data = (
                    measure_realignments(full[name], planned[name], full["reference"], self.config.seed, after)
                    for name in reversed(DOMAINS)
                )
                found += [
                    OtherRealignment(kind=kind, reference=reference, length=length, ood=ood[kind], id=id_data[kind])
                    for kind in ood
                    if (length, reference) != ("raw", "full model") and (length, kind) != ("unit", "norm")
                ]
        return tuple(found)

    def _measure_view(self, plan: Plan, domain: Domain) -> View:
        layers, full, states = list(plan.kept), self.states[self.full], self.states[plan][domain]
        same = None if plan.is_full else full[domain][layers]
        view = View(
            profile=profile_from_geometry(state_geometry(states), domain, plan, self.config.seed),
            measures=measure_representation(plan, states, same, full["reference"][layers]),
            layers=self._measure_updates(plan, domain, "layer"),
            branches=self._measure_updates(plan, domain, "branch") if self.config.branches else None,
        )
        self.progress.advance(1)
        return view

    def _measure_updates(self, plan: Plan, domain: Domain, grain: Literal["layer", "branch"]) -> Updates:
        return measure_updates(self.model, plan, self.examples[domain], grain, self.config.batch_size, self.config.seed)

    def _test_deviations(self, pairs: PairsUnderPlans, layers: tuple[int, ...]) -> tuple[TestedDeviation, ...]:
        """Every data set against the reference, the second half of its pair and the first of the pool."""
        size, seed, pool = self.size, self.config.seed, self.pool.select(layers=layers)
        geometries = {key: pair.select(examples=range(size)) for key, pair in pairs.items()}
        deviations = measure_profile_deviations(geometries, pool, layers, seed)
        tests = (
            run_permutation_test(deviation_statistic(profiles), size, size, seed)
            for pair in pairs.values()
            for profiles in pair.profile_functions.values()
        )
        return tuple(TestedDeviation(deviation=d, permuted=p) for d, p in zip(deviations, tests, strict=True))


def _under_plan(pairs: dict[Domain, StateGeometry], planned: bool) -> PairsUnderPlans:
    return {(domain, planned): pair for domain, pair in pairs.items()}


def _pair_with_reference(states: StateSets, reference: np.ndarray) -> dict[Domain, StateGeometry]:
    """Each data set's examples, then those of the reference."""
    return {domain: state_geometry(np.concatenate([states[domain], reference], axis=1)) for domain in DOMAINS}
