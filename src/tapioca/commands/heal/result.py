"""What healing gave; it goes to JSON and back."""

from pydantic import Field

from tapioca.commands.heal.config import Source
from tapioca.commands.versus.result import ComparedModel, Comparison
from tapioca.plan import Plan
from tapioca.records.examples import Metric
from tapioca.records.results import Domain, Record, RunHeader, Verdict


class Training(Record):
    """How the student was trained."""

    by: Source = Field(description="What it learnt from.")
    rank: int = Field(description="Of the adapters, which are merged; 0 where all weights were trained.")
    rows: dict[str, int] = Field(description="Rows that it was trained on, by data set; steps take these in turn.")
    steps: int = Field(description="Optimiser steps.")
    batch: int = Field(description="Rows in a step.")
    learning_rate: float = Field(description="Peak of AdamW.")
    seed: int = Field(description="Of batches and adapters.")
    losses: tuple[float, ...] = Field(description="Of every step, before it.")
    seconds: float = Field(description="Of training; where it was interrupted, since it went on.")


class OrderTrial(Record):
    """One order of pruning and tuning with one seed."""

    seed: int = Field(description="Of the training.")
    plan: Plan = Field(
        description="What its last search found: of the full model, or of the one that was trained before it."
    )
    seconds: float = Field(
        description="Spent on all its steps: the runs with their searches and judgements, and training."
    )
    over_full: dict[Domain, Comparison] = Field(description="What it changes over the full model.")


class OrderResult(Record):
    """One order of pruning and tuning."""

    order: str = Field(description="What was done to the full model, one step after the other.")
    trials: tuple[OrderTrial, ...] = Field(description="Seed by seed; pruning alone has none, and is there once.")


class HealResult(RunHeader):
    """One healed plan: what `tapioca heal` returns and `heal.json` holds."""

    run: str = Field(description="The run whose plan it is, and whose test rows it is judged on.")
    plan: Plan = Field(description="What was dropped before the training.")
    training: Training
    checkpoint: str = Field(description="Folder of the healed model, in that of this record.")
    metric: Metric
    models: tuple[ComparedModel, ComparedModel, ComparedModel] = Field(
        description="The full model, that under the plan, and the healed one."
    )
    over_full: dict[Domain, Comparison] = Field(description="What the healed model changes over the full one.")
    over_plan: dict[Domain, Comparison] = Field(description="What healing changes over the plan as it was.")
    plan_over_full: dict[Domain, Comparison] = Field(description="What the plan changed over the full model before.")
    verdict: Verdict = Field(description="On the healed model beside the full one.")
    orders: tuple[OrderResult, ...] = Field(
        default=(), description="Pruning and tuning in every order, where it was asked."
    )
