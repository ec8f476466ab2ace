"""What plans bring on one cell: which plan a search on its search prompts finds, and what plans do to the error on others.

A log ratio is ln(error of the full model / error of the plan), above 0 where the plan is better; a plan is named by its place
among all plans of the cell.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tapioca.errors import DataError
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.records import Metric, Trial
from tapioca.search.base import SearchSpace
from tapioca.search.floor import FlooredSearch
from tapioca.search.path import SearchPath
from tapioca.search.stepwise import greedy
from tapioca.stats import Pairing
from tapioca.studies.cell import ERROR_METRIC, Cell

PROMPT_COUNTS = (4, 8, 16, 32, 64, 128, 256)
"""Numbers of search prompts that a search is tried with."""


@dataclass(frozen=True, eq=False)
class PlanSet:
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
    def index_by_plan(self) -> dict[Plan, int]:
        """The place of each plan."""
        return {plan: index for index, plan in enumerate(self.plans)}

    @cached_property
    def sizes(self) -> np.ndarray:
        """Layers each plan drops, (plan,)."""
        return (~self.kept).sum(axis=1)

    @cached_property
    def single_layer_plans(self) -> tuple[np.ndarray, np.ndarray]:
        """The layers that can be dropped alone, ascending, and the places of the plans that do."""
        places = np.flatnonzero(self.sizes == 1)
        layers = (~self.kept[places]).argmax(axis=1)
        order = np.argsort(layers)
        return layers[order], places[order]

    def of_size(self, size: int) -> np.ndarray:
        """Places of all plans that drop so many layers."""
        return np.flatnonzero(self.sizes == size)

    def run_greedy(self, means: np.ndarray, metric: Metric = ERROR_METRIC) -> SearchPath:
        """TALE's search, told mean scores that are known already, (plan,), up to as many drops as there are plans of."""
        droppable_layers = self.single_layer_plans[0].tolist()
        space = SearchSpace.of_layers(self.kept.shape[1], droppable_layers, int(self.sizes.max()))
        search = FlooredSearch(greedy(), space, metric)
        while plans := search.ask():
            scores = [float(means[self.index_by_plan[plan]]) for plan in plans]
            rows = zip(plans, scores, strict=True)
            search.tell([Trial(plan=plan, score=score, log_likelihood=score) for plan, score in rows])
        return search


@dataclass(frozen=True)
class Choice:
    """What searches on the search prompts of a cell choose.

    Attributes:
        best: greedy's plan; 0, the full model, where it finds nothing better.
        best_nonempty: the best plan of its path that drops something.
        oracle: the best of all plans.
        few: greedy's plan found with the first so many prompts.
        tried, tree, scratch: plans greedy tried and layers it computed for one prompt, shared and alone.
    """

    best: int
    best_nonempty: int
    oracle: int
    few: dict[int, int]
    tried: int
    tree: float
    scratch: float


def search_cell(plans: PlanSet, cell: Cell) -> Choice:
    """Search a cell.

    Raises:
        ValueError: the model has no layer that can be dropped.
    """
    search = plans.run_greedy(mean_search_scores(cell))
    if search.best_nonempty is None:
        raise ValueError(f"no layer of {cell.where.model} can be dropped, so nothing can be searched")
    counts = [count for count in PROMPT_COUNTS if count <= cell.search.shape[1]]
    rounds = [(search.path[0].plan,), *(tuple(trial.plan for trial in tried.trials) for tried in search.rounds)]
    return Choice(
        best=plans.index_by_plan[search.best.plan],
        best_nonempty=plans.index_by_plan[search.best_nonempty.plan],
        oracle=int(mean_search_scores(cell).argmax()),
        few={
            count: plans.index_by_plan[plans.run_greedy(mean_search_scores(cell, count)).best.plan] for count in counts
        },
        tried=search.tried,
        tree=sum(map(count_layers_computed, rounds)),
        scratch=float(sum(len(plan.kept) for round_plans in rounds for plan in round_plans)),
    )


def mean_search_scores(cell: Cell, count: int | None = None) -> np.ndarray:
    """Mean score of every plan on the search prompts, or on so many of them, drawn at random, (plan,)."""
    prompts = np.random.default_rng(0).permutation(cell.search.shape[1])[:count]
    return average_search_scores(cell, prompts)


def average_search_scores(cell: Cell, prompts: np.ndarray) -> np.ndarray:
    """Mean score of every plan on some of the search prompts, (plan,)."""
    means: np.ndarray = np.average(cell.search[:, prompts], axis=1, weights=cell.search_weights[prompts])
    return means


def measure_log_ratios(cell: Cell, draws: int, seed: int) -> np.ndarray:
    """Test log ratios of every plan, and those of resampled groups of prompts, the same for all plans.

    Returns:
        (1 + draw, plan).

    Raises:
        DataError: an error is not above 0, so that there is no ratio of it.
    """
    try:
        return log_ratios_from_scores(cell.test, cell.pairing(seed), 0, draws)
    except DataError as error:
        raise DataError(f"{cell.where.model} on {cell.where.task}: {error}") from error


def log_ratios_from_scores(scores: np.ndarray, pairing: Pairing, full: int, draws: int) -> np.ndarray:
    """Log ratios of rows of scores over one of them, (1 + draw, row).

    Args:
        scores: negated errors, (row, example).
        full: the row of the full model.

    Raises:
        DataError: a mean error is not above 0.
    """
    errors = -pairing.resample_means(scores, draws)
    if not (errors > 0).all():
        raise DataError(f"log ratios are of errors, which must be above 0; the smallest mean is {errors.min():.3g}")
    log_errors = np.log(errors)
    ratios: np.ndarray = log_errors[:, full, None] - log_errors
    return ratios
