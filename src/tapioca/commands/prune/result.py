"""A whole run: what a user asks of `tapioca prune`, and its verdict, cost and canary, which go to JSON and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from tapioca.plan import Plan
from tapioca.records.examples import ExampleResult, Metric
from tapioca.records.results import (
    Deviation,
    Domain,
    Gain,
    HeldOutResult,
    Preflight,
    Profile,
    Record,
    RunHeader,
    Verdict,
)
from tapioca.records.rounds import DIFFERENCE, Round
from tapioca.runs.records import read_record


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


class WithoutLabels(Record):
    """What a search went by that read no answer to OOD data, not even for the number of drops."""

    guide: str = Field(description="What plans were scored by, higher is better.")
    reads: tuple[str, ...] = Field(description="What of the search data that reads.")
    full: float = Field(description="The full model's score by it.")
    margin: float = Field(
        description="How far answers to ID search data might be from the full model's, in nats or in shares of the variance."
    )


class TargetedPlan(Record):
    """A plan of the search beside the targets."""

    plan: Plan
    score: float = Field(description="On the OOD search split.")
    parameters: float = Field(description="Share of the model's parameters that it leaves.")
    on_id: Gain | None = Field(description="What it changes on the ID search split; None where harm has no limit.")


class Targets(Record):
    """What the plan was to meet, and every plan of the search beside that."""

    parameters: float | None = Field(description="Largest share of the parameters; None where size has no limit.")
    harm: float | None = Field(
        description="Largest loss on ID data, by the lower end of the 95 % interval; None where there is no limit."
    )
    plans: tuple[TargetedPlan, ...] = Field(description="The full model first, then one for each number of drops.")

    def is_small(self, row: TargetedPlan) -> bool:
        """Whether a plan leaves few enough parameters."""
        return self.parameters is None or row.parameters <= self.parameters

    def is_harmless(self, row: TargetedPlan) -> bool:
        """Whether a plan surely costs little enough on ID data."""
        return self.harm is None or (row.on_id is not None and row.on_id.ci95[0] >= -self.harm)

    @property
    def met(self) -> tuple[TargetedPlan, ...]:
        """The plans that meet all targets, the best first; among equals the one that drops least."""
        meeting = (row for row in self.plans if self.is_small(row) and self.is_harmless(row))
        return tuple(sorted(meeting, key=lambda row: (-row.score, row.plan.size)))


class PruneResult(RunHeader):
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
    without_labels: WithoutLabels | None = Field(
        default=None, description="What the search went by; None where answers to OOD data chose."
    )
    targets: Targets | None = Field(
        default=None, description="What the plan was to meet; None where nothing was asked."
    )
    checks: dict[Domain, Preflight]
    judgements: tuple[HeldOutResult, ...]
    compensation: dict[Domain, Gain] = Field(
        default={},
        description="What compensation changed of the best plan, on each data set; empty where there is none.",
    )
    profiles: tuple[Profile, ...]
    deviations: tuple[Deviation, ...]
    verdict: Verdict
    cost: Cost
    canary: Canary | None = Field(default=None, description="How free text fares, where the model writes text.")
    changed: tuple[ExampleResult, ...] = Field(
        default=(), description="Held-out examples that changed most under the plan shown, from better to worse."
    )

    @model_validator(mode="after")
    def _whole(self) -> PruneResult:
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


def read_run(folder: Path) -> PruneResult:
    """The record of a finished `tapioca prune`.

    Raises:
        StoreError: the folder holds none, or one this version cannot read.
        UsageError: arrays of its plan are missing or damaged.
    """
    info = read_record(PruneResult, folder, "run.json", "prune")
    return info.model_copy(update={"plan": info.plan.load_arrays(folder / "plan.json")})
