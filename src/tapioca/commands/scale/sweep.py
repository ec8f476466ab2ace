"""Curves over the scale: every scale of every set of layers asked for at once, and what comes of the answers."""

import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.commands.scale.responses import DeviationSweep, ScaleResponses, plans_by_scale
from tapioca.commands.scale.result import Curve, Dose, Outcome
from tapioca.models.inputs import collate, run_forward
from tapioca.observe import GeometrySample
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.profiles.deviation import RESAMPLES, recentred_interval
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Estimate
from tapioca.records.results import Domain
from tapioca.report.format import format_duration
from tapioca.session.context import AnyRun
from tapioca.session.held_out import HeldOutScores
from tapioca.stats import percentile_interval
from tapioca.tasks.batches import make_batches


@dataclass(frozen=True, eq=False)
class DoseSweep:
    """Every scale of every set of layers on held-out data, which become curves.

    Attributes:
        scales: ascending.
        scores: of the full model and every scale of the sets, those of random sets on OOD data alone.
        deviations: None without ID data.
    """

    job: AnyRun
    scales: tuple[float, ...]
    scores: HeldOutScores
    deviations: DeviationSweep | None

    @classmethod
    def evaluate(cls, job: AnyRun, scales: tuple[float, ...], drops: list[Plan], random_sets: list[Plan]) -> Self:
        """Ask for every scale at once: all plans of a batch run in one sweep.

        Args:
            drops: the plans whose drops are scaled.
            random_sets: those of random layers.
        """
        asked = {domain: _scale_all([*drops, *(random_sets if domain == "ood" else ())], scales) for domain in job.test}
        sample = None
        if "id" in job.test:
            sample = GeometrySample.draw_held_out(job.search, job.test, job.config.seed)
        sets = [*drops, *random_sets]
        job.progress.note(_forecast(job, scales, asked, sets, sample.size if sample else 0))
        scores = HeldOutScores.evaluate(job, asked)
        return cls(job, scales, scores, DeviationSweep.observe(job, sample) if sample else None)

    def measure_curve(self, drops: Plan, random_responses: list[ScaleResponses]) -> Curve:
        """The dose-response of one set of layers, beside random ones."""
        plans_by_alpha = plans_by_scale(drops, self.scales)
        plans, response = list(plans_by_alpha.values()), self.measure_response(drops, RESAMPLES)
        gains = {domain: self.scores.measure_gains(domain, plans) for domain in self.job.test}
        columns = {name: _estimates_by_scale(name, outcomes) for name, outcomes in response.outcomes.items()}
        id_scores = (
            _estimates_by_scale("score", self._resample_means("id", plans, RESAMPLES)) if "id" in gains else None
        )
        doses = [
            Dose(
                scale=alpha,
                plan=plan,
                gain=gains["ood"][plan],
                id_gain=gains["id"][plan] if "id" in gains else None,
                score=columns["score"][index],
                id_score=id_scores[index] if id_scores else None,
                **{kind: columns[kind][index] if kind in columns else None for kind in PROFILE_KINDS},
            )
            for index, (alpha, plan) in enumerate(plans_by_alpha.items())
        ]
        return Curve(
            drops=drops,
            layers=_observed_layers(drops),
            doses=tuple(doses),
            trends=response.measure_trends(random_responses),
            changes=response.measure_changes(random_responses),
        )

    def measure_response(self, drops: Plan, draws: int = 0) -> ScaleResponses:
        """The outcomes of one set of layers at every scale."""
        plans_by_alpha = plans_by_scale(drops, self.scales)
        plans = list(plans_by_alpha.values())
        outcomes: dict[Outcome, np.ndarray] = {"score": self._resample_means("ood", plans, draws)}
        if self.deviations:
            what = f"geometry of {str(drops).replace('drop ', '')} at {len(plans)} scales"
            self.job.progress.stage(what, len(plans) * self.deviations.size)
            outcomes |= self.deviations.measure_deviations_by_plan(plans, _observed_layers(drops), draws > 0)
        return ScaleResponses(np.array(list(plans_by_alpha)), outcomes)

    def _resample_means(self, domain: Domain, plans: list[Plan], draws: int) -> np.ndarray:
        """Mean scores, (1 + draw, plan)."""
        values = np.stack([self.scores.by_domain[domain].values_of(plan) for plan in plans])
        return self.scores.pairing(domain).resample_means(values, draws)


def _scale_all(sets: list[Plan], scales: tuple[float, ...]) -> list[Plan]:
    """The full model, and every scale of some sets of layers."""
    scaled_plans = [plan for drops in sets for plan in plans_by_scale(drops, scales).values()]
    return list(dict.fromkeys([Plan.full(sets[0].n_layers), *scaled_plans]))


def _forecast(
    job: AnyRun, scales: tuple[float, ...], asked: dict[Domain, list[Plan]], sets: list[Plan], n_observed: int
) -> str:
    """How many plans are to run on how many examples, and about how long that takes at most."""
    sizes = {domain: len(job.test[domain].examples) for domain in asked}
    layers = sum(count_layers_computed(tuple(plans)) * sizes[domain] for domain, plans in asked.items())
    layers += sum(count_layers_computed(tuple(_scale_all([drops], scales))) for drops in sets) * n_observed
    seconds = layers / job.n_layers * _time_example(job)
    shares = (f"{len(plans)} plans on {sizes[data]} {data.upper()} examples" for data, plans in asked.items())
    return f"{len(scales)} scales of {len(sets)} sets of layers: {' and '.join(shares)}; about {format_duration(seconds)} on this machine"


def _time_example(job: AnyRun) -> float:
    """Seconds of one OOD example under the full model."""
    cut = make_batches(job.test["ood"], job.config.batch_size)
    examples, model = cut[len(cut) // 2].examples, job.loaded.model
    inputs = collate(model, [row.inputs for example in examples for row in example.rows])
    start = time.perf_counter()
    run_forward(model, inputs, keep=1)
    return (time.perf_counter() - start) / len(examples)


def _observed_layers(drops: Plan) -> tuple[int, ...]:
    """The layers after which deviations are measured at every scale: those kept at 0, or all where none is."""
    return drops.kept or tuple(range(drops.n_layers))


def _estimates_by_scale(y: str, outcome: np.ndarray) -> list[Estimate]:
    """The columns of (1 + draw, scale) with intervals; those of deviations are moved, since resamples are biased upward."""
    estimates = []
    for column in outcome.T:
        value = float(column[0])
        low, high = percentile_interval(column) if y == "score" else recentred_interval(value, column[1:])
        estimates.append(Estimate(value=value, ci95=(low if y == "score" else max(low, 0.0), high)))
    return estimates
