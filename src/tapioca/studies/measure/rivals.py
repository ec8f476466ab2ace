"""What stands beside greedy's plan: other changes to the same model or to its outputs, each found on search prompts alone."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tapioca.errors import UsageError
from tapioca.evaluate.output_scale import fit_output_scale
from tapioca.observe.compensation import find_layers_behind_gaps, fit_factors
from tapioca.observe.mlp_maps import fit_maps
from tapioca.observe.norms import make_norm_plan, measure_norm_profiles
from tapioca.plan import Answerer, OutputSum, Plan, Tokens
from tapioca.records import Example
from tapioca.search.repeats import list_repeats
from tapioca.studies.cell import Cell, CellKey, RivalScores
from tapioca.studies.measure.model import ID, StudyModel
from tapioca.tasks.base import Task

LONGEST_REPEAT = 2
"""Layers of the longest block that is run twice; every block costs a pass of its own."""


@dataclass(eq=False)
class RivalSource:
    """What rivals are made from.

    Attributes:
        bench: the model and its data.
        search: OOD search prompts with their answers.
        drop: the best plan of greedy's path that drops something.
        ood_scores: of all plans on the search prompts, (plan, example).
    """

    bench: StudyModel
    search: Task
    drop: Plan
    ood_scores: np.ndarray

    @cached_property
    def id_prompts(self) -> list[Example]:
        """ID search prompts, read without their answers."""
        return list(self.bench.tasks[ID][0].examples)

    @cached_property
    def norms(self) -> dict[Tokens, np.ndarray]:
        """Mean norm of the ID stream in front of each layer."""
        return measure_norm_profiles(self.bench.loaded.model, self.id_prompts, self.bench.study.batch_size)

    def score(self, answerers: list[Answerer]) -> np.ndarray:
        """Mean scores on the OOD search prompts, (answerer,)."""
        return self.average(self.bench.score_plans(self.search, answerers).values)

    def average(self, scores: np.ndarray) -> np.ndarray:
        """Means over the OOD search prompts of scores of shape (..., example)."""
        return np.average(scores, axis=-1, weights=self.search.weights)

    def pick_best(self, plans: list[Plan]) -> Plan:
        """The plan with the best score on the OOD search prompts; of equals the first."""
        return plans[int(self.score(list(plans)).argmax())]


def _add_factors(source: RivalSource) -> Plan:
    if not find_layers_behind_gaps(source.drop):
        raise UsageError("no layer stands behind what is dropped")
    prompts = [example.prompt for example in source.id_prompts]
    return fit_factors(source.bench.loaded.model, source.drop, prompts, source.bench.study.batch_size)


def _add_maps(source: RivalSource) -> Plan:
    prompts = [example.prompt for example in source.id_prompts]
    return fit_maps(source.bench.loaded.model, source.drop, prompts, source.bench.study.batch_size)


def _scale_outputs(source: RivalSource) -> OutputSum:
    bench, search = source.bench, source.search
    number = fit_output_scale(search, bench.space.n_layers, lambda sums: bench.score_plans(search, sums))
    return OutputSum.times(number, bench.plans[0])


def _repeat_block(source: RivalSource) -> Plan:
    space = source.bench.space
    repeats = [plan for length in range(1, LONGEST_REPEAT + 1) for plan in list_repeats(space, length)]
    if not repeats:
        raise UsageError("no layer of the model can be repeated")
    return source.pick_best(repeats)


def _exit_early(source: RivalSource) -> Plan:
    """The model without its last layers, as many as is best: all of these plans are among those that were scored."""
    plans, n_layers = source.bench.plans, source.bench.space.n_layers
    exits = [index for index, plan in enumerate(plans) if plan.size and plan.kept == tuple(range(n_layers - plan.size))]
    if not exits:
        raise UsageError("the last layer cannot be dropped")
    return plans[exits[int(source.average(source.ood_scores[exits]).argmax())]]


MAKERS: dict[str, Callable[[RivalSource], Answerer]] = {
    "factors": _add_factors,
    "maps": _add_maps,
    "output_scale": _scale_outputs,
    "mean_of_outputs": lambda source: OutputSum.mean(source.bench.plans[0], source.drop),
    "repeat": _repeat_block,
    "norms_of_last_token": lambda source: make_norm_plan(source.norms["last"], "last"),
    "norms_of_all_tokens": lambda source: make_norm_plan(source.norms["all"], "all"),
    "early_exit": _exit_early,
}
"""By their names in `measures.RIVALS`; a UsageError says that there is none for a model or a task."""


def measure_rivals(bench: StudyModel, where: CellKey, measured: Cell) -> RivalScores:
    """Find every rival on the search prompts and score it on the test prompts.

    Args:
        measured: the cell of the same task.
    """
    search, test = bench.tasks[where.kind, where.strength]
    source = RivalSource(bench, search, bench.find_dropping_plan(measured.search, search), measured.search)
    rivals: dict[str, Answerer] = {}
    for name, make in MAKERS.items():
        with suppress(UsageError):
            rivals[name] = make(source)
    answerers = list(rivals.values())
    used = source.score(answerers) > source.average(measured.search[0])
    scores = bench.score_plans(test, answerers).values
    return RivalScores(
        where=where,
        names=np.array(list(rivals)),
        used=used,
        test=np.where(used[:, None], scores, measured.test[0]),
    )
