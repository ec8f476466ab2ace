"""What a search tried, round by round, and what that cost."""

from __future__ import annotations

from pydantic import Field

from tapioca.plan import Plan
from tapioca.records.results import Record

DIFFERENCE = (
    "Largest difference found between a layer's states for stacked streams and for one of them alone, as a share of the "
    "largest state,"
)


class Trial(Record):
    """One plan tried by a search, with its mean score and mean likelihood on the search split."""

    plan: Plan
    score: float = Field(
        description="Mean score on the search split; by the criterion itself where no answer was read."
    )
    log_likelihood: float | None = Field(
        default=None, description="Mean log-likelihood of the gold answer there; None where no answer was read."
    )
    change: float | None = Field(
        default=None,
        description="How far its answers to ID search data are from the full model's, in nats or in shares of the variance; None where answers to OOD data chose.",
    )
    n_scored: int | None = Field(
        default=None, description="Search examples it was scored on before it was stopped; None means all."
    )


class Work(Record):
    """What a round of a search computed, padding included."""

    layer_forwards: int = Field(description="Layers computed, times sequences; one without a branch counts half.")
    layer_tokens: int = Field(description="The same, times tokens.")
    flops: int = Field(
        description="Floating-point operations of its matrix products, counted on one batch and scaled by tokens."
    )
    seconds: float = Field(description="Time the model took on this machine.")
    difference: float | None = Field(default=None, description=f"{DIFFERENCE} in this round; None where none were.")


class Round(Record):
    """One round of a search, or one number of drops: every candidate, the winner, and how many tied with it."""

    trials: tuple[Trial, ...] = Field(description="The candidates.")
    winner: Trial = Field(description="The best of them.")
    ties: int = Field(description="Candidates whose score equals the winner's, the winner included.")
    accepted: bool = Field(description="False for the last round of a search that stopped at its floor.")
    work: Work | None = None
    bound: float | None = Field(
        default=None,
        description="What larger differences of two plans' scores on one example were cut to before plans were stopped; None where none were.",
    )

    @property
    def n_stopped_early(self) -> int:
        """Candidates that were stopped before they had seen all examples."""
        return sum(trial.n_scored is not None for trial in self.trials)


class CriterionCost(Record):
    """One criterion and what choosing by it costs alone, without the answers it shares with others."""

    name: str = Field(description="Of the criterion.")
    about: str = Field(description="What it does.")
    source: str = Field(description="Where it comes from.")
    reads: tuple[str, ...] | None = Field(
        default=None, description="What of the search data it read; None in records of before this was kept."
    )
    plans_tried: int = Field(description="Plans it had scored.")
    layer_forwards: int = Field(
        description="Layers computed, times sequences read; a layer without one branch counts half."
    )
    seconds: float = Field(description="Time the model ran for it.")
    search_gains: dict[int, float] = Field(
        default={},
        description="Gain of its plans of whole layers over those of tale on the search split, by number of drops; empty where tale was not asked.",
    )
