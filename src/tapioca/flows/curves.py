"""Curves over the scale: every scale of every set of layers asked for at once, and what comes of the answers."""

from __future__ import annotations

import time

import numpy as np

from tapioca.flows.doses import Geometry, Response, doses, observed
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import Job
from tapioca.geometry.alignment import DRAWS, around
from tapioca.geometry.profiles import KINDS
from tapioca.models.inputs import collate, forward
from tapioca.records import Curve, Dose, Draw, Estimate, Gain, Outcome, Plan, Scores
from tapioca.records.results import Data
from tapioca.records.tree import layers_computed
from tapioca.report.words import duration
from tapioca.stats import resampled_interval, resampled_means
from tapioca.tasks.batches import batches


class Bench:
    """Asks for every scale of every set of layers at once, and turns the answers into curves.

    Attributes:
        every: the plan that drops all layers.
        geometry: None without ID data.
        drawn: the responses of the random sets, by the plans that drop them.
    """

    def __init__(self, job: Job, alphas: tuple[float, ...], chosen: Plan, every: Plan, others: list[Plan]):
        self.job, self.alphas, self.every = job, alphas, every
        self.full = Plan.full(job.n_layers)
        plans = {data: self._plans([chosen, every, *(others if data == "ood" else ())]) for data in job.test}
        job.watcher.say(self._forecast(plans, [chosen, every, *others]))
        self.answers = {data: self._answers(data, scaled) for data, scaled in plans.items()}
        self.geometry = Geometry(job) if "id" in job.test else None
        self.drawn = {drops: self._response(drops, draws=0) for drops in others}

    def curve(self, drops: Plan, others: dict[Plan, Response]) -> Curve:
        """The dose-response of one set of layers, beside random ones."""
        response, made = self._response(drops, DRAWS), doses(drops, self.alphas)
        gains = {data: self._gains(data, list(made.values())) for data in self.job.test}
        reference = self._means("id", list(made.values()), DRAWS) if "id" in gains else None
        columns: dict[str, list[Estimate]] = {y: _estimates(y, found) for y, found in response.outcomes.items()}
        columns |= {"id_score": _estimates("score", reference)} if reference is not None else {}
        found = [
            Dose(
                alpha=alpha,
                plan=plan,
                gain=gains["ood"][plan],
                id_gain=gains["id"][plan] if "id" in gains else None,
                **{name: columns[name][at] if name in columns else None for name in ("score", "id_score", *KINDS)},
            )
            for at, (alpha, plan) in enumerate(made.items())
        ]
        rivals = list(others.values())
        return Curve(
            drops=drops,
            layers=_measured(drops),
            doses=tuple(found),
            trends=response.trends(rivals),
            changes=response.changes(rivals),
        )

    def draw(self, drops: Plan) -> Draw:
        """What a random set of layers does."""
        return Draw(drops=drops, **{y: tuple(found[0].tolist()) for y, found in self.drawn[drops].outcomes.items()})

    def _plans(self, sets: list[Plan]) -> list[Plan]:
        """The full model, and every scale of some sets of layers."""
        return list(
            dict.fromkeys([self.full, *(plan for drops in sets for plan in doses(drops, self.alphas).values())])
        )

    def _forecast(self, plans: dict[Data, list[Plan]], sets: list[Plan]) -> str:
        """How many plans are to run on how many examples, and about how long that takes at most."""
        job, n_layers = self.job, self.job.n_layers
        layers = sum(layers_computed(tuple(asked)) * len(job.test[data].examples) for data, asked in plans.items())
        if "id" in job.test:
            layers += sum(layers_computed(tuple(self._plans([drops]))) for drops in sets) * observed(job)
        seconds = layers / n_layers * self._time_example()
        counts = " and ".join(
            f"{len(asked)} plans on {len(job.test[data].examples)} {data.upper()} examples"
            for data, asked in plans.items()
        )
        return f"{len(self.alphas)} scales of {len(sets)} sets of layers: {counts}; about {duration(seconds)} on this machine"

    def _time_example(self) -> float:
        """Seconds of one OOD example under the full model."""
        cut = batches(self.job.test["ood"], self.job.config.batch_size)
        examples, model = cut[len(cut) // 2].examples, self.job.loaded.model
        inputs = collate(model, [row.inputs for example in examples for row in example.rows])
        start = time.perf_counter()
        forward(model, inputs, keep=1)
        return (time.perf_counter() - start) / len(examples)

    def _answers(self, data: Data, plans: list[Plan]) -> Scores:
        """Of some plans: all of a batch run in one sweep."""
        return self.job.evaluate(self.job.test[data], plans, f"{len(plans)} plans on {data.upper()} test data")

    def _gains(self, data: Data, plans: list[Plan]) -> dict[Plan, Gain]:
        task, answers, seed = self.job.test[data], self.answers[data], self.job.config.seed
        self.job.watcher.stage(f"intervals on {data.upper()} test data", len(plans))
        found = {}
        for plan in plans:
            found[plan] = gain_of(task, answers, self.full, plan, seed)
            self.job.watcher.advance(1)
        return found

    def _means(self, data: Data, plans: list[Plan], draws: int) -> np.ndarray:
        """Mean scores, (1 + draw, plan)."""
        task, answers = self.job.test[data], self.answers[data]
        values = answers.values[[answers.plans.index(plan) for plan in plans]]
        return resampled_means(values, task.weights, task.groups, draws, self.job.config.seed)

    def _response(self, drops: Plan, draws: int) -> Response:
        made, geometry = doses(drops, self.alphas), self.geometry
        plans = list(made.values())
        outcomes: dict[Outcome, np.ndarray] = {"score": self._means("ood", plans, draws)}
        if geometry:
            what = f"geometry of {str(drops).replace('drop ', '')} at {len(plans)} scales"
            self.job.watcher.stage(what, len(plans) * geometry.size)
            outcomes |= geometry.deviations(plans, _measured(drops), draws > 0)
        return Response(np.array(list(made)), outcomes)


def _measured(drops: Plan) -> tuple[int, ...]:
    """The layers after which deviations are measured at every scale: those kept at 0, or all where none is."""
    return drops.kept or tuple(range(drops.n_layers))


def _estimates(y: str, found: np.ndarray) -> list[Estimate]:
    """The columns of (1 + draw, scale) with intervals; those of deviations are moved, since resamples are biased upward."""
    made = []
    for column in found.T:
        value = float(column[0])
        low, high = resampled_interval(column) if y == "score" else around(value, column[1:])
        made.append(Estimate(value=value, ci95=(low if y == "score" else max(low, 0.0), high)))
    return made
