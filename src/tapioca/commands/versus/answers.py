"""What each of two models answers to the same rows, and what the second changes over the first."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from tapioca.commands.prune.examples import collect_example_results
from tapioca.commands.prune.judge import mention_baseline
from tapioca.commands.versus.result import Comparison
from tapioca.commands.versus.sides import Side
from tapioca.plan import Plan
from tapioca.progress import Progress
from tapioca.records import ExampleResult, Scores, Verdict
from tapioca.records.results import Domain
from tapioca.session.context import open_run
from tapioca.session.held_out import gain_of_pair
from tapioca.stats import decide_verdict
from tapioca.tasks.base import Task

ACTIONS = {
    "prune": "take B",
    "prune OOD traffic only": "take B for OOD traffic only",
    "keep the full model": "keep A",
}
"""What verdicts on plans are called of two models."""


@dataclass(frozen=True, eq=False)
class SideAnswers:
    """What a model answers.

    Attributes:
        tasks, scores: the rows and how it did on them, by data set.
        companions: exact match or accuracy, where the likelihood decides.
        notes: what was noted of it.
        seed: of the resampling.
    """

    tasks: dict[Domain, Task]
    scores: dict[Domain, Scores]
    companions: dict[Domain, tuple[Task, Scores]]
    notes: tuple[str, ...]
    seed: int

    @classmethod
    def evaluate(cls, side: Side, folder: Path, progress: Progress) -> Self:
        """Ask a model its rows; answers that its part of the folder holds are not computed again."""
        config = side.config.model_copy(update={"out": folder / f"answers_{side.letter.lower()}"})
        with open_run(config, progress, side.open()) as job:
            full, scores, companions = Plan.full(job.n_layers), {}, {}
            for domain, task in job.test.items():
                what = f"{len(task.examples)} {domain.upper()} rows"
                scores[domain] = job.evaluate(task, [full], what)
                if companion := task.companion:
                    companions[domain] = (
                        companion,
                        job.evaluate(companion, [full], f"{companion.metric.name} on {what}"),
                    )
            return cls(dict(job.test), scores, companions, job.notes, config.seed)


def stack_scores(first: Scores, second: Scores) -> Scores:
    """The answers of A and of B as two rows."""
    arrays: dict[str, Any] = {
        name: np.concatenate([array, getattr(second, name)])
        for name, array in vars(first).items()
        if name not in ("plans", "ids")
    }
    return replace(first, plans=(*first.plans, *second.plans), **arrays)


def compare(first: SideAnswers, second: SideAnswers, domain: Domain, left_out: int = 0) -> Comparison:
    """What B changes over A on a data set, of which so many rows were left out."""
    task, companion = first.tasks[domain], None
    if domain in first.companions and domain in second.companions:
        (companion_task, ours), (_, theirs) = first.companions[domain], second.companions[domain]
        companion = gain_of_pair(companion_task, stack_scores(ours, theirs), first.seed)
    return Comparison(
        result=gain_of_pair(task, stack_scores(first.scores[domain], second.scores[domain]), first.seed),
        companion=companion,
        chance=None if task.chance is None else float(task.chance.mean()),
        baseline_score=task.baseline_score,
        left_out=left_out,
    )


def list_examples(first: SideAnswers, second: SideAnswers, domain: Domain) -> list[ExampleResult]:
    """Every row under A and under B, each answer in the words of the model that gave it."""
    scores, written = stack_scores(first.scores[domain], second.scores[domain]), None
    if first.tasks[domain].max_new_tokens:
        written = scores
    elif domain in first.companions and first.companions[domain][0].max_new_tokens:
        written = stack_scores(first.companions[domain][1], second.companions[domain][1])
    ours, theirs = (collect_example_results(side.tasks[domain], domain, scores, written) for side in (first, second))
    return [one.model_copy(update={"plan": other.plan}) for one, other in zip(ours, theirs, strict=True)]


def decide(comparisons: dict[Domain, Comparison]) -> Verdict:
    """The verdict by the rule of `tapioca prune`, OOD first."""
    ood, reference = comparisons["ood"], comparisons.get("id")
    verdict = decide_verdict(ood.result, reference.result if reference else None, "B")
    verdict = verdict.model_copy(update={"action": ACTIONS[verdict.action]})
    return mention_baseline(verdict, ood.result, ood.baseline_score, "both are")
