"""A whole run: what a user asks of `tapioca prune`, and its verdict, cost and canary, which go to JSON and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from tapioca.plan import Plan
from tapioca.records.config import ChoosingConfig
from tapioca.records.examples import ExampleResult, Metric
from tapioca.records.results import (
    DIFFERENCE,
    Deviation,
    Domain,
    HeldOutResult,
    Preflight,
    Profile,
    Record,
    Round,
    RunHeader,
)

TALE_EPSILON = 0.08
"""How far below the full model TALE's code lets its search go (github.com/omyokun/tale)."""


class PruneConfig(ChoosingConfig):
    """The request behind `tapioca prune`."""

    verb = "prune"

    criterion: str = Field(
        default="tale",
        min_length=1,
        description="How plans are chosen: tale stops by itself; any other of `compare` (sleb, shortgpt, mlp, ...) picks one for each number of drops, and their search scores decide.",
    )
    epsilon: float | None = Field(
        default=None,
        ge=0,
        description="How far below the full model the search may go: 0.01 by default, relative for errors (TALE's code, --compat tale: 0.08).",
    )
    max_drops: int | None = Field(
        default=None,
        ge=1,
        description="Drop at most so many layers (or branches); all but tale stop at half the number of layers if not told.",
    )
    ties: Literal["index", "likelihood"] = Field(
        default="index", description="Among equal scores take the lowest layer, or the likeliest answers."
    )
    race: bool = Field(
        default=False,
        description="Stop plans that are unlikely to win a round; the best one is stopped with a probability of at most 5 % a round. Where scores have no bounds, that holds for means of differences cut at a bound, which the run says.",
    )
    dry_run: bool = Field(
        default=False, description="Stop before the search: show the data, one prompt, and what the search would cost."
    )

    def __init__(self, **fields: Any):
        if fields.get("compat") == "tale" and fields.get("epsilon") is None:
            fields["epsilon"] = TALE_EPSILON
        super().__init__(**fields)

    @property
    def order_seed(self) -> int | None:
        """A race needs examples in a random order."""
        return self.seed if self.race else None


class Fluency(Record):
    """How a few free continuations read."""

    repetition: float = Field(description="Mean share of 4-grams that stood earlier in the same text.")
    early: int = Field(description="Texts that ended before 16 tokens.")
    loss: float | None = Field(
        description="Loss per token of the texts under the full model; None where all are empty."
    )


class Canary(Record):
    """Greedy continuations of the same test prompts under the full model and under a plan."""

    plan: Plan
    prompts: int = Field(description="How many there are.")
    tokens: int = Field(description="Most tokens of a text.")
    full: Fluency = Field(description="Under the full model.")
    planned: Fluency = Field(description="Under the plan.")

    @property
    def alarm(self) -> str:
        """What is much worse under the plan, in a few words; empty if nothing is."""
        full, planned = self.full, self.planned
        if planned.repetition > full.repetition + 0.2:
            return "its texts repeat themselves"
        if planned.early > full.early + self.prompts // 4:
            return "its texts stop early"
        if full.loss is not None and planned.loss is not None and planned.loss > full.loss + np.log(2):
            return "its texts are more than twice as perplexing to the full model"
        return ""


class Cost(Record):
    """What a run cost, and what its plan saves."""

    plans_tried: int = Field(description="Plans that the search scored.")
    search_examples: int = Field(description="OOD examples of the search split.")
    evaluations: int = Field(description="Plan times example, over everything stored in the run's folder.")
    seconds: float = Field(description="Time spent running the model, over everything stored in the run's folder.")
    parameters_full: int = Field(description="Parameters of the model.")
    parameters_planned: int = Field(description="Parameters that the plan leaves.")
    flops_full: int = Field(description="Floating-point operations of the matrix products of one batch.")
    flops_planned: int = Field(description="The same under the plan.")
    difference: float | None = Field(default=None, description=f"{DIFFERENCE} in the run; None where none were.")


class Verdict(Record):
    """What to do, and why, in one sentence."""

    action: Literal["prune", "prune OOD traffic only", "keep the full model"] = Field(description="What to do.")
    reason: str = Field(description="Why, with the numbers.")
    tail_only: bool = Field(default=False, description="As in `Gain`, of the best plan on OOD data.")


class RunInfo(RunHeader):
    """One finished run: what `tapioca prune` returns and `run.json` holds."""

    revision: str | None = Field(description="Of a hub model, as asked for.")
    adapter: str | None = Field(default=None, description="Folder of the adapter that was merged first.")
    trust_remote_code: bool = Field(default=False, description="Whether code that comes with the model ran.")
    dtype: str = Field(description="As asked for; auto is the checkpoint's own.")
    metric: Metric
    criterion: str = Field(default="tale", description="Name of what chose the plans.")
    chosen_by: str = Field(default="", description="What that does, and where it comes from.")
    plan: Plan = Field(description="The best plan of the search; it may be the full model.")
    shown: Plan = Field(description="The plan whose geometry was measured: the best, or the mildest drop.")
    most_dropped: Plan = Field(description="TALE's BSBA: most layers dropped at or above the full model's score.")
    rounds: tuple[Round, ...]
    epsilon: float | None = Field(description="Of the floor; None where the criterion has none.")
    checks: dict[Domain, Preflight]
    judgements: tuple[HeldOutResult, ...]
    profiles: tuple[Profile, ...]
    deviations: tuple[Deviation, ...]
    verdict: Verdict
    cost: Cost
    canary: Canary | None = Field(default=None, description="How free text fares, where the model writes text.")
    changed: tuple[ExampleResult, ...] = Field(
        default=(), description="Held-out examples that changed most under the plan shown, from better to worse."
    )

    @model_validator(mode="after")
    def _whole(self) -> RunInfo:
        if "ood" not in self.checks or not self.find_result("ood") or not self.rounds:
            raise ValueError("a run has a check, a search and a judgement of the OOD data")
        return self

    def find_result(self, domain: Domain, role: str = "best") -> HeldOutResult | None:
        """The judgement of one plan on one data set; None where it was not made."""
        return next(
            (judgement for judgement in self.judgements if judgement.data == domain and judgement.role == role), None
        )

    def summary(self) -> dict[str, Any]:
        """What the screen says, for scripts: plan, criterion, verdict, cost, and the best plan's result on each data set.

        Accuracies and errors stand as people read them; `gain` and `ci95` are above 0 where the plan is better.
        """
        summary: dict[str, Any] = {
            "plan": self.plan.model_dump(),
            "criterion": self.criterion,
            "verdict": self.verdict.model_dump(),
            "cost": self.cost.model_dump(),
        }
        for judgement in self.judgements:
            if judgement.plan == self.plan:
                gain, metric = judgement.result, judgement.result.metric
                summary[judgement.data] = {
                    "metric": metric.name,
                    "n": gain.n,
                    "full": metric.to_display(gain.full),
                    "planned": metric.to_display(gain.planned),
                    "gain": gain.gain,
                    "ci95": gain.ci95,
                    "p": gain.p,
                }
                if judgement.written:
                    summary[judgement.data]["written"] = judgement.written.model_dump()
        return summary
