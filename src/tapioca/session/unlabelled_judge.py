"""Plans scored without any right answer to OOD data: what `prune` and `compare` choose by where OOD requests come without
answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from transformers import PreTrainedModel

from tapioca.evaluate import evaluate
from tapioca.evaluate.full_answers import read_choice_values, write_full_texts
from tapioca.models.find import find_layers
from tapioca.observe.blocks import measure_block_residuals
from tapioca.observe.capture import capture_states, capture_states_of_plans
from tapioca.observe.sample import MAX_EXAMPLES, draw_sample
from tapioca.plan import Answerer, Plan
from tapioca.plan.prefix_tree import sort_by_prefix
from tapioca.profiles.closeness import StateReference
from tapioca.progress import SILENT, Progress
from tapioca.records import Example, Scores
from tapioca.session.unlabelled_data import CLOSENESS, UnlabelledData
from tapioca.stats.agreement import measure_concordance, measure_kappa, measure_relative_error
from tapioca.tasks.base import Task
from tapioca.tasks.choice import OneOfSeveral
from tapioca.tasks.generate import Generate
from tapioca.tasks.regress import Regression
from tapioca.tasks.without_answers import (
    ask_divergence,
    ask_likelihood,
    ask_prediction,
    ask_sureness,
    change_requests,
)

DIGITS = 12
"""Decimals of a score."""
PLANS_AT_ONCE = 256
"""Plans whose states are held at once."""

CLOSENESS_MEASURES = {
    "geometry": StateReference.measure_geometry,
    "geometry-unit": StateReference.measure_unit_geometry,
    "mahalanobis": StateReference.measure_mahalanobis,
}

Evaluate = Callable[[Task, Sequence[Answerer], str], Scores]
"""Scores plans on a task; told what for, too."""


@dataclass(eq=False)
class UnlabelledJudge:
    """Scores plans on some data without right answers; what it reads of the full model is read once.

    Args:
        model: left as it was.
        data: what plans are scored on.
        batch_size: examples in a batch.
        evaluate: scores plans on a task; by default in this process, remembering the last answers.
        progress: told what goes on where states are read.
    """

    model: PreTrainedModel
    data: UnlabelledData
    batch_size: int = 16
    evaluate: Evaluate | None = None
    progress: Progress = SILENT
    _last_scores: dict[int, Scores] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def score(self, name: str, plans: Sequence[Plan]) -> np.ndarray:
        """The scores of a criterion, float64 of shape (plan,); higher is better."""
        return self.score_all([name], plans)[name]

    def score_all(self, names: Sequence[str], plans: Sequence[Plan]) -> dict[str, np.ndarray]:
        """The scores of several criteria; what states are read for serves all that are measured on them. Plans that differ by
        rounding alone are equal, so that of them the one that drops least is taken."""
        unique = list(dict.fromkeys(plans))
        scores = self._measure_closeness([name for name in names if name in CLOSENESS], unique)
        scores |= {name: MEASURES[name](self, unique) for name in names if name not in CLOSENESS}
        places = [unique.index(plan) for plan in plans] if len(unique) < len(plans) else slice(None)
        return {name: np.round(scores[name][places], DIGITS) for name in names}

    def _evaluate(self, task: Task, plans: Sequence[Plan], what: str) -> Scores:
        if self.evaluate:
            return self.evaluate(task, plans, what)
        last = self._last_scores.get(id(task))
        if last is None or last.plans != tuple(plans):
            last = evaluate(self.model, task, plans, batch_size=self.batch_size)
            self._last_scores[id(task)] = last
        return last

    def _average(self, values: np.ndarray, task: Task) -> np.ndarray:
        return np.average(values, axis=1, weights=task.weights)

    def _score_entropy(self, plans: Sequence[Plan]) -> np.ndarray:
        scores = self._evaluate(self.requests, plans, "entropy of answers to OOD requests")
        return self._average(scores.values, self.requests)

    def _score_margin(self, plans: Sequence[Plan]) -> np.ndarray:
        scores = self._evaluate(self.requests, plans, "margin of answers to OOD requests")
        return self._average(scores.log_likelihoods, self.requests)

    def _score_agreement(self, plans: Sequence[Plan]) -> np.ndarray:
        asked, changed = (
            self._evaluate(task, plans, f"answers to {what} OOD requests")
            for task, what in ((self.requests, "the"), (self.changed_requests, "changed"))
        )
        columns, weights = [asked.ids.index(example_id) for example_id in changed.ids], self.changed_requests.weights
        if isinstance(self.requests, Regression):
            return measure_concordance(asked.values[:, columns], changed.values, weights)
        return measure_kappa(asked.predicted[:, columns], changed.predicted, weights)

    def _score_proxy(self, plans: Sequence[Plan]) -> np.ndarray:
        scores = self._evaluate(self.proxies, plans, "likelihood of the full model's sure answers")
        return self._average(scores.values, self.proxies)

    def _score_faithful(self, plans: Sequence[Plan]) -> np.ndarray:
        task, what = self.id_requests, "faithfulness on ID requests"
        if not isinstance(task, Regression):
            return self._average(self._evaluate(task, plans, what).values, task)
        full = Plan.full(self.n_layers)
        by_plan = self._evaluate(task, list(dict.fromkeys([full, *plans])), what)
        predicted = by_plan.select_plans(*plans).values
        return -measure_relative_error(predicted, by_plan.select_plans(full).values, task.weights)

    def take_notes(self) -> list[str]:
        """What is to be said aloud, once."""
        notes, self._notes = self._notes, []
        return notes

    def measure_changes(self, plans: Sequence[Plan]) -> np.ndarray:
        """How far answers to ID requests are from the full model's, (plan,): what `faithful` is below the full model's."""
        full, *others = self.score("faithful", [Plan.full(self.n_layers), *plans])
        return full - np.array(others)

    def list_tasks(self, name: str) -> tuple[Task, ...]:
        """The tasks that plans answer to be scored; none where their states are read."""
        tasks = {"agreement": ("requests", "changed_requests"), "proxy": ("proxies",), "faithful": ("id_requests",)}
        tasks |= dict.fromkeys(("entropy", "margin"), ("requests",))
        return tuple(getattr(self, task) for task in tasks.get(name, ()))

    def _score_linear(self, plans: Sequence[Plan]) -> np.ndarray:
        return np.array([-sum(self.residuals[start, end] for start, end in list_blocks(plan)) for plan in plans])

    def _measure_closeness(self, names: Sequence[str], plans: Sequence[Plan]) -> dict[str, np.ndarray]:
        """Some of `CLOSENESS`, from the states of some plans at a time."""
        scores: dict[str, dict[Plan, float]] = {name: {} for name in names}
        full, ordered = Plan.full(self.n_layers), sort_by_prefix(plans) if names else []
        if names:
            self.progress.stage(f"states of {len(plans)} plans on OOD requests", len(plans) * len(self.ood_sample))
        for group in (ordered[start : start + PLANS_AT_ONCE] for start in range(0, len(ordered), PLANS_AT_ONCE)):
            states = capture_states_of_plans(
                self.model, [full, *group], self.ood_sample, self.batch_size, on_batch=self.progress.advance
            )
            for name, by_plan in scores.items():
                values = CLOSENESS_MEASURES[name](self.id_states, states, group)
                by_plan |= dict(zip(group, values.tolist(), strict=True))
        return {name: np.array([by_plan[plan] for plan in plans]) for name, by_plan in scores.items()}

    @property
    def n_layers(self) -> int:
        """Layers of the full model."""
        return len(find_layers(self.model))

    @cached_property
    def requests(self) -> OneOfSeveral | Regression:
        """OOD data, blind."""
        task = self.data.ood
        assert isinstance(task, (OneOfSeveral, Regression))
        return ask_prediction(task) if isinstance(task, Regression) else ask_sureness(task)

    @cached_property
    def changed_requests(self) -> OneOfSeveral | Regression:
        """The same with every request changed so that the answer should stay."""
        changed = self.requests.select_examples(change_requests(self.data.ood, self.data.seed))
        if n_left_out := len(self.requests.examples) - len(changed.examples):
            self._notes.append(
                f"agreement: {n_left_out} of {len(self.requests.examples)} OOD requests are too short to be changed, and are left out"
            )
        return changed

    @cached_property
    def proxies(self) -> OneOfSeveral:
        """The half of OOD requests whose answer the full model is surest of, with that for the right one."""
        full = Plan.full(self.n_layers)
        scores = self._evaluate(self.requests, [full], "answers of the full model to OOD requests")
        order = np.argsort(-scores.log_likelihoods[0], kind="stable")[: max(1, len(scores.ids) // 2)]
        assert isinstance(self.data.ood, OneOfSeveral)
        return ask_likelihood(self.data.ood, {scores.ids[index]: int(scores.predicted[0, index]) for index in order})

    @cached_property
    def id_requests(self) -> Task:
        """ID data, to be answered as the full model does."""
        task = self.data.id
        if isinstance(task, OneOfSeveral):
            return ask_divergence(task, read_choice_values(self.model, task, self.batch_size))
        if isinstance(task, Regression):
            return ask_prediction(task)
        if isinstance(task, Generate):
            return write_full_texts(self.model, task, self.batch_size)
        assert task
        return task

    @cached_property
    def id_states(self) -> StateReference:
        """ID states under the full model."""
        assert self.data.id
        full = Plan.full(self.n_layers)
        return StateReference(capture_states(self.model, full, self._draw(self.data.id), self.batch_size))

    @cached_property
    def residuals(self) -> np.ndarray:
        """What a linear map leaves unexplained of each block of layers on OOD inputs, (layer + 1, layer + 1)."""
        self.progress.stage("states around blocks of layers", len(self.ood_sample))
        read = self.progress.advance
        return measure_block_residuals(self.model, self.ood_sample, self.batch_size, self.data.seed, read)

    @cached_property
    def ood_sample(self) -> tuple[Example, ...]:
        """The OOD requests whose states are read."""
        return self._draw(self.data.ood)

    def _draw(self, task: Task) -> tuple[Example, ...]:
        return draw_sample(task.examples, MAX_EXAMPLES, self.data.seed)


def list_blocks(plan: Plan) -> list[tuple[int, int]]:
    """The blocks of neighbouring layers that a plan drops: the first of each, and the one behind its last."""
    edges = [-1, *plan.kept, plan.n_layers]
    return [(before + 1, behind) for before, behind in pairwise(edges) if behind > before + 1]


MEASURES: Mapping[str, Callable[[UnlabelledJudge, Sequence[Plan]], np.ndarray]] = {
    "agreement": UnlabelledJudge._score_agreement,
    "entropy": UnlabelledJudge._score_entropy,
    "margin": UnlabelledJudge._score_margin,
    "faithful": UnlabelledJudge._score_faithful,
    "proxy": UnlabelledJudge._score_proxy,
    "linear": UnlabelledJudge._score_linear,
}
"""How each criterion that is not measured on states of plans scores them, by name."""
