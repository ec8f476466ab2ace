"""What labels and criteria without labels bring: parts of a study's result."""

from pydantic import Field

from tapioca.records.measures import Estimate
from tapioca.records.results import Record


class LabelPoint(Record):
    """What a plan found with so many labels brings."""

    prompts: int = Field(description="Search prompts whose answers are used.")
    log_ratio: Estimate = Field(description="Held out, a mean over sets of so many prompts.")


class UnlabelledCriterion(Record):
    """What a plan brings that was chosen without any right answer to OOD data."""

    name: str = Field(description="The criterion, as `--criterion` has it.")
    log_ratio: Estimate = Field(description="Held out, of the plan it ranks first among those faithful on ID data.")
    empty: float = Field(description="Share of the models and kinds where that is the full model.")
    labels_worth: float | None = Field(
        description="Labels that greedy's search needs for as much; None if all bring less."
    )
    labels_worth_ci95: tuple[float | None, float | None] = Field(description="Its interval over models and kinds.")
    prior: tuple[LabelPoint, ...] = Field(description="Of the best, by so many labels, of the plans it ranks first.")


class LabelCurve(Record):
    """Search with few labels and with none, at the fixed strength of every kind but controls."""

    draws: int = Field(description="Sets of prompts that each number of labels is averaged over.")
    shortlist: int = Field(description="Plans that a criterion puts up for few labels to choose from.")
    points: tuple[LabelPoint, ...] = Field(description="Greedy's search, by number of labels.")
    criteria: tuple[UnlabelledCriterion, ...] = Field(description="Without labels.")
