"""What plans bring on one cell: which plan a search on its search prompts finds, and what plans do to the error on others.

A log ratio is ln(error of the full model / error of the plan), above 0 where the plan is better; a plan is named by its place
among all plans of the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tapioca.errors import DataError
from tapioca.records import Metric, Plan, Trial
from tapioca.records.tree import layers_computed
from tapioca.search.greedy import Greedy
from tapioca.stats import resampled_means
from tapioca.studies.cell import Cell

ERROR = Metric(name="error", kind="error")
PROMPT_COUNTS = (4, 8, 16, 32, 64, 128)
"""Numbers of search prompts that a search is tried with."""


@dataclass(frozen=True, eq=False)
class Plans:
    """All plans of a cell.

    Attributes:
        kept: bool of shape (plan, layer).
    """

    kept: np.ndarray

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The plans, in their order."""
        return tuple(Plan.drop(len(row), np.flatnonzero(~row).tolist()) for row in self.kept)

    @cached_property
    def place(self) -> dict[Plan, int]:
        """The place of each plan."""
        return {plan: at for at, plan in enumerate(self.plans)}

    @cached_property
    def sizes(self) -> np.ndarray:
        """Layers each plan drops, (plan,)."""
        return (~self.kept).sum(axis=1)

    @cached_property
    def singles(self) -> tuple[np.ndarray, np.ndarray]:
        """The layers that can be dropped alone, ascending, and the places of the plans that do."""
        places = np.flatnonzero(self.sizes == 1)
        layers = (~self.kept[places]).argmax(axis=1)
        order = np.argsort(layers)
        return layers[order], places[order]

    def of_size(self, size: int) -> np.ndarray:
        """Places of all plans that drop so many layers."""
        return np.flatnonzero(self.sizes == size)

    def greedy(self, means: np.ndarray) -> Greedy:
        """TALE's search, told scores that are known already.

        Args:
            means: mean search scores, (plan,).
        """
        search = Greedy(self.kept.shape[1], ERROR, droppable=self.singles[0].tolist())
        while asked := search.ask():
            search.tell([self._trial(plan, means) for plan in asked])
        return search

    def _trial(self, plan: Plan, means: np.ndarray) -> Trial:
        score = float(means[self.place[plan]])
        return Trial(plan=plan, score=score, likelihood=score)


@dataclass(frozen=True)
class Choice:
    """What searches on the search prompts of a cell choose.

    Attributes:
        best: greedy's plan; 0, the full model, where it finds nothing better.
        mildest: the best plan of its path that drops something.
        oracle: the best of all plans.
        few: greedy's plan found with the first so many prompts.
        tried, tree, scratch: plans greedy tried and layers it computed for one prompt, shared and alone.
    """

    best: int
    mildest: int
    oracle: int
    few: dict[int, int]
    tried: int
    tree: float
    scratch: float


def choose(plans: Plans, cell: Cell) -> Choice:
    """Search a cell.

    Raises:
        ValueError: the model has no layer that can be dropped.
    """
    search = plans.greedy(search_means(cell))
    if search.mildest is None:
        raise ValueError(f"no layer of {cell.where.model} can be dropped, so nothing can be searched")
    few = {count: search_means(cell, count) for count in PROMPT_COUNTS if count <= cell.search.shape[1]}
    rounds = [(search.full,), *(tuple(trial.plan for trial in found.trials) for found in search.rounds)]
    return Choice(
        best=plans.place[search.best.plan],
        mildest=plans.place[search.mildest.plan],
        oracle=int(search_means(cell).argmax()),
        few={count: plans.place[plans.greedy(means).best.plan] for count, means in few.items()},
        tried=search.tried,
        tree=sum(map(layers_computed, rounds)),
        scratch=float(sum(len(plan.kept) for asked in rounds for plan in asked)),
    )


def search_means(cell: Cell, count: int | None = None) -> np.ndarray:
    """Mean score of every plan on the search prompts, or on so many of them, drawn at random, (plan,)."""
    chosen = np.random.default_rng(0).permutation(cell.search.shape[1])[:count]
    means: np.ndarray = np.average(cell.search[:, chosen], axis=1, weights=cell.search_weights[chosen])
    return means


def log_ratios(cell: Cell, draws: int, seed: int) -> np.ndarray:
    """Test log ratios of every plan, and those of resampled groups of prompts, the same for all plans.

    Returns:
        (1 + draw, plan).

    Raises:
        DataError: an error is not above 0, so that there is no ratio of it.
    """
    try:
        return log_ratios_over(cell.test, cell.weights, cell.groups, 0, draws, seed)
    except DataError as error:
        raise DataError(f"{cell.where.model} on {cell.where.task}: {error}") from error


def log_ratios_over(
    scores: np.ndarray, weights: np.ndarray, groups: np.ndarray, full: int, draws: int, seed: int
) -> np.ndarray:
    """Log ratios of rows of scores over one of them, (1 + draw, row).

    Args:
        scores: negated errors, (row, example).
        weights, groups: (example,).
        full: the row of the full model.
        draws: resamples of groups.
        seed: of the resamples.

    Raises:
        DataError: a mean error is not above 0.
    """
    errors = -resampled_means(scores, weights, groups.tolist(), draws, seed)
    if not (errors > 0).all():
        raise DataError(f"log ratios are of errors, which must be above 0; the smallest mean is {errors.min():.3g}")
    logs = np.log(errors)
    found: np.ndarray = logs[:, full, None] - logs
    return found
