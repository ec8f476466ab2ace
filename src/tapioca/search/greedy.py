"""TALE's greedy layer elimination (arXiv 2510.22767, Algorithm 1), as ask and tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.records import Metric, Round, Trial
from tapioca.search.path import SearchPath

EPSILON = 0.01
EPSILON_ROUNDING = 1e-12
"""So that a score exactly epsilon below the full model's is not lost to floating point."""


class Greedy(SearchPath):
    """Drop one layer at a time, always the one whose absence scores best.

    Start from the full model. In each round try every single further drop and take the best; stop
    when the best falls below `baseline - epsilon`, where the baseline is always the full model's
    score. Equal scores go to the lowest layer, or with ties="likelihood" to the higher likelihood of
    the gold answers.

    Ask for plans, score them, tell the trials; repeat until nothing is asked:

        search = Greedy(n_layers=8, metric=metric)
        while plans := search.ask():
            search.tell([Trial(plan=plan, score=..., log_likelihood=...) for plan in plans])

    Args:
        n_layers: layers of the full model.
        metric: accuracies have an absolute epsilon, errors one relative to the full model's error.
        epsilon: how far below the full model a round's winner may score.
        max_drops: stop after so many drops; at least one layer always stays.
        ties: what decides between equal scores.
        droppable: the layers the model can do without; by default all.
    """

    epsilon: float

    def __init__(
        self,
        n_layers: int,
        metric: Metric,
        epsilon: float | None = None,
        max_drops: int | None = None,
        ties: Literal["index", "likelihood"] = "index",
        droppable: Sequence[int] | None = None,
    ):
        super().__init__(epsilon=EPSILON if epsilon is None else epsilon)
        self.metric, self.ties = metric, ties
        self.droppable = range(n_layers) if droppable is None else droppable
        self.max_drops = min(max_drops or n_layers - 1, n_layers - 1, len(self.droppable))
        self.full = Plan.full(n_layers)

    @property
    def finished(self) -> bool:
        """Whether the last round fell below the floor, or no further drop is allowed."""
        return bool(self.rounds and not self.rounds[-1].accepted) or len(self.rounds) >= self.max_drops

    @property
    def floor(self) -> float:
        """The lowest score a round's winner may have; fixed by the full model alone."""
        baseline = self.path[0].score
        return baseline - self.epsilon * (1.0 if self.metric.kind == "accuracy" else abs(baseline))

    def ask(self) -> list[Plan]:
        """The plans to score next: first the full model, then each further drop; empty when finished."""
        if not self.path:
            return [self.full]
        if self.finished:
            return []
        current = self.path[-1].plan
        candidate_layers = [layer for layer in self.droppable if layer in current.kept]
        return [Plan.drop(current.n_layers, (*current.drops, layer)) for layer in candidate_layers]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take the scores of all plans last asked for; plans that were stopped on the way cannot win.

        Raises:
            UsageError: other plans are told than were asked.
        """
        asked_plans = self.ask()
        if {trial.plan for trial in trials} != set(asked_plans):
            raise UsageError(f"expected scores of the {len(asked_plans)} plans asked for, got {len(trials)} of others")
        self.tried += len(trials)
        if not self.path:
            self.path.append(trials[0])
            return
        position_by_plan = {asked_plan: position for position, asked_plan in enumerate(asked_plans)}
        finished_trials = [trial for trial in trials if trial.n_scored is None]
        winner = max(finished_trials, key=lambda trial: (*self._rank_key(trial), -position_by_plan[trial.plan]))
        accepted = winner.score >= self.floor - EPSILON_ROUNDING
        ties = sum(self._rank_key(trial) == self._rank_key(winner) for trial in finished_trials)
        self.rounds.append(Round(trials=tuple(trials), winner=winner, ties=ties, accepted=accepted))
        if accepted:
            self.path.append(winner)

    def _rank_key(self, trial: Trial) -> tuple[float, ...]:
        return (trial.score, trial.log_likelihood) if self.ties == "likelihood" else (trial.score,)
