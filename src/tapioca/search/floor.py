"""Rules that stop a search which drops one layer after another: TALE's (arXiv 2510.22767, Algorithm 1), and one that reads no
answer to OOD data."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.records import Metric, Round, Trial
from tapioca.search.base import PlanSearch, Search, SearchSpace, rank_plans
from tapioca.search.path import SearchPath

EPSILON = 0.01
FAITHFUL_MARGIN = 0.1
"""How far a plan chosen without labels may change the answers to ID data: by so many nats (divergence of answers from the full
model's, or likelihood of its texts per token), or by so much of the variance of its numbers."""

EPSILON_ROUNDING = 1e-12
"""So that a score exactly epsilon below the full model's is not lost to floating point."""


def find_floor(metric: Metric, baseline: float, epsilon: float) -> float:
    """The lowest score a plan on the path may have, from the full model's: accuracies have an absolute epsilon, errors one
    relative to the full model's error."""
    return baseline - epsilon * (1.0 if metric.kind == "accuracy" else abs(baseline))


class SteppedSearch(SearchPath, ABC):
    """A search that stops after the first round whose best plan is not accepted.

    Args:
        choose: the search, whose every round adds one drop to a plan of the round before.
        space: what it may choose from.
        epsilon: how far below the full model's score the path may go; None where another rule stops it.
    """

    def __init__(self, choose: PlanSearch, space: SearchSpace, epsilon: float | None = None):
        super().__init__(epsilon=epsilon)
        self._full, self._search = Plan.full(space.n_layers), Search(choose, space)

    @abstractmethod
    def accepts(self, trial: Trial) -> bool:
        """Whether a plan may be on the path."""

    @abstractmethod
    def _key(self, trial: Trial) -> tuple[float, ...]:
        """What plans of a round are compared by; higher is better."""

    def ask(self) -> list[Plan]:
        """The plans to score next: first the full model, then those of each round; empty when finished."""
        if not self.path:
            return [self._full]
        question, is_below = self._search.ask(), bool(self.rounds) and not self.rounds[-1].accepted
        return list(question.plans) if question and not is_below else []

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take the scores of all plans last asked for; plans that were stopped on the way cannot win.

        Raises:
            UsageError: other plans are told than were asked.
        """
        plans, trial_by_plan = self.ask(), {trial.plan: trial for trial in trials}
        if trial_by_plan.keys() != set(plans):
            raise UsageError(f"expected scores of the {len(plans)} plans asked for, got {len(trials)} of others")
        self.tried += len(trials)
        if not self.path:
            self.path.append(trials[0])
            return
        ranks = self._rank_trials([trial_by_plan[plan] for plan in plans])
        winner = trial_by_plan[rank_plans(plans, ranks)[0]]
        accepted = self.accepts(winner)
        self.rounds.append(Round(trials=tuple(trials), winner=winner, ties=ranks.count(max(ranks)), accepted=accepted))
        if accepted:
            self.path.append(winner)
            self._search.tell(ranks)

    def _rank_trials(self, trials: Sequence[Trial]) -> list[int]:
        """What the search is told in place of scores, since it looks at their order alone; equal trials have equal ranks."""
        keys = sorted({self._key(trial) for trial in trials if trial.n_scored is None})
        return [keys.index(self._key(trial)) if trial.n_scored is None else -1 for trial in trials]


class FlooredSearch(SteppedSearch):
    """A search that stops when the best plan of a round falls below a floor, which the full model alone fixes.

    With `stepwise.greedy()` this is TALE. Ask for plans, score them, tell the trials; repeat until nothing is asked:

        search = FlooredSearch(greedy(), SearchSpace.of_layers(8), metric)
        while plans := search.ask():
            search.tell([Trial(plan=plan, score=..., log_likelihood=...) for plan in plans])

    Args:
        choose: the search, whose every round adds one drop to a plan of the round before.
        space: what it may choose from.
        metric: says whether epsilon is absolute.
        epsilon: how far below the full model a round's winner may score.
        ties: what decides between equal scores: the order in which plans are asked for, lowest layer first, or the
            likelihood of the gold answers.
    """

    epsilon: float

    def __init__(
        self,
        choose: PlanSearch,
        space: SearchSpace,
        metric: Metric,
        epsilon: float | None = None,
        ties: Literal["index", "likelihood"] = "index",
    ):
        super().__init__(choose, space, EPSILON if epsilon is None else epsilon)
        self.metric, self.ties = metric, ties

    @property
    def floor(self) -> float:
        """The lowest score a round's winner may have."""
        return find_floor(self.metric, self.path[0].score, self.epsilon)

    def accepts(self, trial: Trial) -> bool:
        return trial.score >= self.floor - EPSILON_ROUNDING

    def _key(self, trial: Trial) -> tuple[float, ...]:
        return (trial.score, trial.log_likelihood or 0.0) if self.ties == "likelihood" else (trial.score,)


class FaithfulSearch(SteppedSearch):
    """A search without answers to OOD data: plans must stay faithful to the full model on ID data, and of those the best by the
    criterion is taken. It stops when no plan of a round is faithful.

    Args:
        choose: the search, whose every round adds one drop to a plan of the round before.
        space: what it may choose from.
        takes_most: whether the largest faithful plan is taken instead, since nothing can be better than the full model.
    """

    def __init__(self, choose: PlanSearch, space: SearchSpace, takes_most: bool = False):
        super().__init__(choose, space)
        self.takes_most = takes_most

    def accepts(self, trial: Trial) -> bool:
        return trial.change is not None and trial.change <= FAITHFUL_MARGIN

    def _key(self, trial: Trial) -> tuple[float, ...]:
        return float(self.accepts(trial)), trial.score

    @property
    def best(self) -> Trial:
        return self.path[-1] if self.takes_most else super().best
