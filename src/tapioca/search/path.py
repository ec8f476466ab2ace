"""Where a search has gone: plans with ever more drops and their scores, and which of them to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tapioca.records import Round, Trial


@dataclass
class SearchPath:
    """The full model and the plans chosen for ever more drops, by their scores on the search split.

    Attributes:
        path: the full model first, then one plan for each number of drops, ascending.
        rounds: how each plan was chosen; also that of a plan turned down.
        epsilon: how far below the full model the path may go; None where nothing stops it.
        tried: how many plans were looked at, the full model included.
    """

    path: list[Trial] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    epsilon: float | None = None
    tried: int = 0

    @classmethod
    def from_picks(cls, full: Trial, picks: Sequence[Trial], tried: int) -> SearchPath:
        """The path of a criterion that picks one plan for each number of drops."""
        rounds = [Round(trials=(pick,), winner=pick, ties=1, accepted=True) for pick in picks]
        return cls([full, *picks], rounds, None, tried)

    @property
    def best(self) -> Trial:
        """The highest score on the path, the full model included; among equals the fewest drops."""
        return max(self.path, key=lambda trial: (trial.score, -trial.plan.size))

    @property
    def most_dropped(self) -> Trial:
        """TALE's BSBA: the most layers dropped at or above the full model's score; the full model where none is dropped."""
        good = (trial for trial in self.path if trial.score >= self.path[0].score)
        return max(good, key=lambda trial: trial.plan.size)

    @property
    def best_nonempty(self) -> Trial | None:
        """The best plan that drops something, even if the full model scores higher; None before any round."""
        winners = [search_round.winner for search_round in self.rounds]
        return max(winners, key=lambda trial: (trial.score, -trial.plan.size), default=None)
