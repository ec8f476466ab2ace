"""Curves over the scale: every scale of every set of layers asked for at once, and what comes of the answers."""

from __future__ import annotations

import time

import numpy as np

from tapioca.flows.doses import DeviationSweep, ScaleResponses, observed, plans_by_scale
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import RunContext
from tapioca.models.inputs import collate, run_forward
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.profiles.deviation import DRAWS, recentred_interval
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Curve, Dose, Estimate, Gain, Outcome, RandomSet, Scores
from tapioca.records.results import Domain
from tapioca.report.format import format_duration
from tapioca.stats import percentile_interval, resample_means
from tapioca.tasks.batches import make_batches


class DoseSweep:
    """Asks for every scale of every set of layers at once, and turns the answers into curves.

    Attributes:
        drop_all: the plan that drops all layers.
        geometry: None without ID data.
        random_responses: the responses of the random sets, by the plans that drop them.
    """

    def __init__(
        self, job: RunContext, alphas: tuple[float, ...], chosen: Plan, drop_all: Plan, random_sets: list[Plan]
    ):
        self.job, self.scales, self.drop_all = job, alphas, drop_all
        self.full = Plan.full(job.n_layers)
        plans = {
            domain: self._plans([chosen, drop_all, *(random_sets if domain == "ood" else ())]) for domain in job.test
        }
        job.watcher.note(self._forecast(plans, [chosen, drop_all, *random_sets]))
        self.answers = {domain: self._answers(domain, scaled) for domain, scaled in plans.items()}
        self.geometry = DeviationSweep(job) if "id" in job.test else None
        self.random_responses = {drops: self._measure_response(drops, draws=0) for drops in random_sets}

    def measure_curve(self, drops: Plan, random_responses: dict[Plan, ScaleResponses]) -> Curve:
        """The dose-response of one set of layers, beside random ones."""
        response, plans_by_alpha = self._measure_response(drops, DRAWS), plans_by_scale(drops, self.scales)
        gains = {domain: self._gains_by_plan(domain, list(plans_by_alpha.values())) for domain in self.job.test}
        reference = self._resample_means("id", list(plans_by_alpha.values()), DRAWS) if "id" in gains else None
        columns: dict[str, list[Estimate]] = {
            y: _estimates_by_scale(y, values_by_scale) for y, values_by_scale in response.outcomes.items()
        }
        columns |= {"id_score": _estimates_by_scale("score", reference)} if reference is not None else {}
        values_by_scale = [
            Dose(
                scale=alpha,
                plan=plan,
                gain=gains["ood"][plan],
                id_gain=gains["id"][plan] if "id" in gains else None,
                **{
                    name: columns[name][index] if name in columns else None
                    for name in ("score", "id_score", *PROFILE_KINDS)
                },
            )
            for index, (alpha, plan) in enumerate(plans_by_alpha.items())
        ]
        rival_responses = list(random_responses.values())
        return Curve(
            drops=drops,
            layers=_observed_layers(drops),
            doses=tuple(values_by_scale),
            trends=response.measure_trends(rival_responses),
            changes=response.measure_changes(rival_responses),
        )

    def summarize_random_set(self, drops: Plan) -> RandomSet:
        """What a random set of layers does."""
        return RandomSet(
            drops=drops,
            **{y: tuple(outcome[0].tolist()) for y, outcome in self.random_responses[drops].outcomes.items()},
        )

    def _plans(self, sets: list[Plan]) -> list[Plan]:
        """The full model, and every scale of some sets of layers."""
        return list(
            dict.fromkeys(
                [self.full, *(plan for drops in sets for plan in plans_by_scale(drops, self.scales).values())]
            )
        )

    def _forecast(self, plans: dict[Domain, list[Plan]], sets: list[Plan]) -> str:
        """How many plans are to run on how many examples, and about how long that takes at most."""
        job, n_layers = self.job, self.job.n_layers
        layers = sum(
            count_layers_computed(tuple(asked)) * len(job.test[data].examples) for data, asked in plans.items()
        )
        if "id" in job.test:
            layers += sum(count_layers_computed(tuple(self._plans([drops]))) for drops in sets) * observed(job)
        seconds = layers / n_layers * self._time_example()
        counts = " and ".join(
            f"{len(asked)} plans on {len(job.test[data].examples)} {data.upper()} examples"
            for data, asked in plans.items()
        )
        return f"{len(self.scales)} scales of {len(sets)} sets of layers: {counts}; about {format_duration(seconds)} on this machine"

    def _time_example(self) -> float:
        """Seconds of one OOD example under the full model."""
        cut = make_batches(self.job.test["ood"], self.job.config.batch_size)
        examples, model = cut[len(cut) // 2].examples, self.job.loaded.model
        inputs = collate(model, [row.inputs for example in examples for row in example.rows])
        start = time.perf_counter()
        run_forward(model, inputs, keep=1)
        return (time.perf_counter() - start) / len(examples)

    def _answers(self, data: Domain, plans: list[Plan]) -> Scores:
        """Of some plans: all of a batch run in one sweep."""
        return self.job.evaluate(self.job.test[data], plans, f"{len(plans)} plans on {data.upper()} test data")

    def _gains_by_plan(self, domain: Domain, plans: list[Plan]) -> dict[Plan, Gain]:
        task, answers, seed = self.job.test[domain], self.answers[domain], self.job.config.seed
        self.job.watcher.stage(f"intervals on {domain.upper()} test data", len(plans))
        gains = {}
        for plan in plans:
            gains[plan] = gain_of(task, answers, self.full, plan, seed)
            self.job.watcher.advance(1)
        return gains

    def _resample_means(self, domain: Domain, plans: list[Plan], draws: int) -> np.ndarray:
        """Mean scores, (1 + draw, plan)."""
        task, answers = self.job.test[domain], self.answers[domain]
        values = answers.values[[answers.plans.index(plan) for plan in plans]]
        return resample_means(values, task.weights, task.groups, draws, self.job.config.seed)

    def _measure_response(self, drops: Plan, draws: int) -> ScaleResponses:
        plans_by_alpha, geometry = plans_by_scale(drops, self.scales), self.geometry
        plans = list(plans_by_alpha.values())
        outcomes: dict[Outcome, np.ndarray] = {"score": self._resample_means("ood", plans, draws)}
        if geometry:
            what = f"geometry of {str(drops).replace('drop ', '')} at {len(plans)} scales"
            self.job.watcher.stage(what, len(plans) * geometry.size)
            outcomes |= geometry.measure_deviations_by_plan(plans, _observed_layers(drops), draws > 0)
        return ScaleResponses(np.array(list(plans_by_alpha)), outcomes)


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
