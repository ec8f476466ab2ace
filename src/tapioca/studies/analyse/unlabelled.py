"""What criteria without labels bring, and how many labels each is worth: the labels that greedy's search needs for as much."""

from dataclasses import dataclass

import numpy as np

from tapioca.search.criteria import LOSSES, UNLABELLED
from tapioca.search.floor import FAITHFUL_MARGIN
from tapioca.studies.analyse.cells import CellIndex
from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS, PlanSet, average_search_scores
from tapioca.studies.analyse.numbers import CellStatistic, SettingNumbers, StatTable, statistic_from_values
from tapioca.studies.analyse.statistics import CellStatistics
from tapioca.studies.cell import Cell, UnlabelledScores
from tapioca.studies.label_parts import LabelCurve, LabelPoint, UnlabelledCriterion
from tapioca.studies.measures import LOG_RATIO

DRAWS = 8
"""Sets of labelled prompts that each number of them is averaged over."""
SHORTLIST = 8
"""Plans that a criterion puts up for few labels to choose from."""


def list_allowed(scores: UnlabelledScores) -> np.ndarray:
    """Which plans answer ID prompts nearly as the full model does, bool of shape (plan,); all where that is not known."""
    rows = dict(zip(scores.names.tolist(), scores.scores, strict=True))
    faithful = rows.get("faithful")
    if faithful is None:
        return np.ones(scores.scores.shape[1], dtype=bool)
    allowed: np.ndarray = faithful >= faithful[0] - FAITHFUL_MARGIN
    return allowed


def rank_plans(scores: UnlabelledScores, name: str, sizes: np.ndarray) -> np.ndarray:
    """Places of the allowed plans by a criterion, the best first; the full model, the first plan, is always among them. As in
    `tapioca prune`, criteria that only say how little is lost (`LOSSES`) put up the largest."""
    row = scores.scores[scores.names.tolist().index(name)]
    places = np.flatnonzero(list_allowed(scores))
    order = np.lexsort((-row[places], -sizes[places])) if name in LOSSES else np.argsort(-row[places], kind="stable")
    ranked: np.ndarray = places[order]
    return ranked


def label_table_name(count: int) -> str:
    """The table of the log ratio of greedy's plan found with so many labels, a mean over sets of them."""
    return f"log_ratio_with_{count}_labels"


def unlabelled_table_name(criterion: str, count: int = 0) -> str:
    """The table of the log ratio of a criterion's plan, or of the best of its shortlist by so many labels."""
    return f"log_ratio_of_{criterion}" + (f"_with_{count}_labels" if count else "")


def empty_table_name(criterion: str) -> str:
    """The table of whether a criterion's plan drops nothing."""
    return f"{criterion}_drops_nothing"


@dataclass(frozen=True, eq=False)
class UnlabelledChoices:
    """Adds what plans bring that are chosen with few labels and with none, at the fixed strength of every kind.

    Attributes:
        statistics: of the cells, to whose tables it goes.
    """

    statistics: CellStatistics

    def add(self) -> None:
        """The numbers of every pair of a model and a kind where they were measured."""
        grid = self.statistics.grid
        for model in range(len(grid.models)):
            for kind in range(len(grid.kinds)):
                if pair := grid.unlabelled(model, kind):
                    self._add_pair((model, kind, 0), *pair)

    def _add_pair(self, index: CellIndex, scores: UnlabelledScores, cell: Cell) -> None:
        plans, ratios, prompts = self.statistics.plans(index[0]), self.statistics.log_ratios(cell), cell.test.shape[1]

        def add_average(table: str, places: list[int]) -> None:
            self.statistics.numbers.add(table, index, statistic_from_values(ratios[:, places].mean(axis=1), prompts))

        means_by_count = draw_mean_scores(cell, self.statistics.grid.study.seed)
        for count, means in means_by_count.items():
            add_average(label_table_name(count), [pick_greedily(plans, drawn) for drawn in means])
        for name in scores.names.tolist():
            best, *_ = ranked = rank_plans(scores, name, plans.sizes)
            add_average(unlabelled_table_name(name), [best])
            self.statistics.numbers.add(empty_table_name(name), index, CellStatistic(float(best == 0), None, prompts))
            for count, means in means_by_count.items():
                picks = [pick_best(drawn, ranked[:SHORTLIST]) for drawn in means]
                add_average(unlabelled_table_name(name, count), picks)


@dataclass(frozen=True, eq=False)
class LabelCurveBuilder:
    """Joins these numbers over models and all kinds but controls.

    Attributes:
        numbers: of a setting.
    """

    numbers: SettingNumbers

    def build(self) -> LabelCurve | None:
        """The curve and the criteria beside it; None where nothing was measured."""
        curve = {
            count: self._measure(table) for count in PROMPT_COUNTS if (table := label_table_name(count)) in self._tables
        }
        if not curve:
            return None
        points = [(count, measure.estimate()) for count, measure in curve.items()]
        resampled = {count: drawn for count, measure in curve.items() if (drawn := measure.resample()) is not None}
        return LabelCurve(
            draws=DRAWS,
            shortlist=SHORTLIST,
            points=tuple(LabelPoint(prompts=count, log_ratio=estimate) for count, estimate in points if estimate),
            criteria=tuple(
                self._describe(name, resampled) for name in UNLABELLED if unlabelled_table_name(name) in self._tables
            ),
        )

    @property
    def _tables(self) -> dict[str, StatTable]:
        return self.numbers.tables

    def _measure(self, table: str) -> Measure:
        return Measure(table, LOG_RATIO, self.numbers.axes, self._tables[table]).without_controls

    def _describe(self, name: str, curve: dict[int, np.ndarray]) -> UnlabelledCriterion:
        """A criterion beside what the search brings by number of labels, (1 + draw,) each."""
        measure = self._measure(unlabelled_table_name(name))
        estimate, values = measure.estimate(), measure.resample()
        assert estimate is not None  # a criterion stands here where it chose something
        assert values is not None
        worth = count_labels_worth(values, np.array(list(curve)), np.stack(list(curve.values()), axis=1))
        low, high = np.percentile(worth[1:], [2.5, 97.5], method="closest_observation")
        priors = [(count, self._measure(unlabelled_table_name(name, count)).estimate()) for count in curve]
        return UnlabelledCriterion(
            name=name,
            log_ratio=estimate,
            empty=float(np.mean([number.value for number in self._tables[empty_table_name(name)].values()])),
            labels_worth=_finite(worth[0]),
            labels_worth_ci95=(_finite(low), _finite(high)),
            prior=tuple(LabelPoint(prompts=count, log_ratio=prior) for count, prior in priors if prior),
        )


def draw_mean_scores(cell: Cell, seed: int) -> dict[int, list[np.ndarray]]:
    """Mean scores of all plans, (plan,), on sets of search prompts, by the number of prompts; all of them are one set."""
    rng, size = np.random.default_rng(seed), cell.search.shape[1]
    orders = [rng.permutation(size) for _ in range(DRAWS)]
    return {
        count: [average_search_scores(cell, order[:count]) for order in orders[: DRAWS if count < size else 1]]
        for count in PROMPT_COUNTS
        if count <= size
    }


def pick_greedily(plans: PlanSet, means: np.ndarray) -> int:
    """The place of greedy's plan by mean scores."""
    return plans.index_by_plan[plans.run_greedy(means).best.plan]


def pick_best(means: np.ndarray, shortlist: np.ndarray) -> int:
    """The place of the best plan of a shortlist and the full model by mean scores; of equals the full model."""
    places = np.array([0, *shortlist])
    return int(places[means[places].argmax()])


def count_labels_worth(values: np.ndarray, counts: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """With how many labels a search reaches what a criterion does, value by value.

    Args:
        values: what the criterion brings, (1 + draw,).
        counts: numbers of labels, ascending, (count,).
        curve: what the search brings with them, (1 + draw, count). It starts at 0 with none and is taken not to fall.

    Returns:
        float64 of shape (1 + draw,): linear between numbers of labels; 0 where nothing is brought, infinite where all labels
        bring less.
    """
    rising = np.maximum.accumulate(np.pad(curve, ((0, 0), (1, 0))), axis=1)
    labels = np.array([0, *counts], dtype=float)
    rows = zip(values, rising, strict=True)
    return np.array([np.interp(value, row, labels, right=np.inf) if value > 0 else 0.0 for value, row in rows])


def _finite(count: float) -> float | None:
    return float(count) if np.isfinite(count) else None
