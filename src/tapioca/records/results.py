"""What was found of plans: scores, gains, profiles and deviations; what searches tried stands in rounds.py. All but the scores go to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from tapioca.plan import Answerer, Plan
from tapioca.records.examples import Metric

Domain = Literal["ood", "id"]
ProfileKind = Literal["norm", "distance"]
"""What a profile of hidden states is the mean of: their norms, or the distances of pairs (profiles/profiles.py)."""
PROFILE_NAMES: dict[ProfileKind, str] = {"norm": "norm", "distance": "pairwise-distance"}
"""What they are called, before a word such as profile."""
Interval = tuple[float, float]


class Record(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Base of all that goes to JSON and back."""


class FileRecord(Record):
    """Base of records that are a file, where a fingerprint stands behind them (runs/records.py)."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_fingerprint(cls, content: Any) -> Any:
        return {key: content[key] for key in content if key != "fingerprint"} if isinstance(content, dict) else content


class RunHeader(FileRecord, protected_namespaces=()):
    """What the record of every finished command begins with.

    Attributes:
        folder: the run folder, where it was read from or is to be written; not part of the file.
        command: the command line that makes it again, in a folder that holds what it names.
        model, task, reference: the model, the OOD and the ID data, as they were asked for, those outside the working
            folder by their last part alone; None without ID data.
        model_hash: names the model by configuration, weights and dtype.
        notes: what was guessed or noticed, a sentence each.
    """

    folder: Path = Field(default=Path(), exclude=True)
    command: str
    model: str
    model_hash: str
    task: str
    reference: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scores:
    """Answers of several plans to the same examples.

    Attributes:
        plans: the plans, or sums of their outputs, one per row.
        ids: the examples, one per column.
        values: scores, float64 of shape (plan, example), higher is better.
        log_likelihoods: log-likelihoods of the gold answers, same shape.
        truncated: whether the text the model wrote broke off at its token budget, bool of the same shape.
        tied: whether the two likeliest choices were equally likely, so that rounding decided, bool of the same shape.
        predicted: index of the choice or label that was taken, int64 of the same shape; `NO_CHOICE` where there is none.
        unparsed: whether a written text holds no answer, bool of the same shape.
        lengths: tokens written, int64 of the same shape; 0 where nothing is written.

    What a stopped plan was not asked any more is NaN in `values` and `log_likelihoods`, and False, `NO_CHOICE` or 0 in the
    others.
    """

    plans: tuple[Answerer, ...]
    ids: tuple[str, ...]
    values: np.ndarray
    log_likelihoods: np.ndarray
    truncated: np.ndarray
    tied: np.ndarray
    predicted: np.ndarray
    unparsed: np.ndarray
    lengths: np.ndarray

    def select_plans(self, *plans: Answerer) -> Self:
        """The same of some of the plans, in the order given."""
        rows = [self.plans.index(plan) for plan in plans]
        arrays: dict[str, Any] = {
            name: array[rows] for name, array in vars(self).items() if name not in ("plans", "ids")
        }
        return replace(self, plans=plans, **arrays)

    def values_of(self, plan: Answerer) -> np.ndarray:
        """The scores of one plan, (example,)."""
        return self.values[self.plans.index(plan)]


class Preflight(Record):
    """What the data can show, found before the search."""

    n_search: int = Field(description="Examples of the search split.")
    n_scored: int | None = Field(
        default=None, description="Examples of the search split that `full` is of, evenly spread; None means all."
    )
    n_test: int = Field(description="Examples of the test split.")
    full: float = Field(description="Score of the full model on the search split.")
    ci95: Interval = Field(description="Of `full`.")
    chance: float | None = Field(description="Score of guessing; None where that means nothing.")
    above_chance: bool | None = Field(description="None where chance means nothing.")
    baseline_score: float | None = Field(description="Score of always answering the mean target; regression only.")
    reference_drop: Plan = Field(description="The mildest of a few single drops, the probe of `detectable`.")
    detectable: float = Field(description="Gain found with 80 % power if a plan changes as many answers as the probe.")
    unchanged: Interval | None = Field(
        default=None,
        description="The interval on the test split of a plan that changes no answer; accuracies only, as that of errors is 0.",
    )
    truncated: int = Field(
        default=0, description="Search answers of the full model that broke off at the token budget."
    )
    labels: dict[str, int] = Field(
        default={},
        description="How often each right answer stands in the search data; empty where there are no labels.",
    )
    tied: int = Field(
        default=0, description="Search answers of the full model whose two likeliest choices are equally likely."
    )

    def is_too_few_for(self, metric: Metric) -> bool:
        """Whether even a plan that changes nothing could not be shown to lose less than the margin."""
        return self.unchanged is not None and self.unchanged[0] < -metric.margin

    def count_needed(self, metric: Metric) -> int:
        """About how many test examples could show it; the interval narrows with their number."""
        return ceil(self.n_test * -self.unchanged[0] / metric.margin) if self.unchanged else self.n_test


class Written(Record):
    """How the texts of two plans ended, the full model's first; a plan can win by that alone."""

    unparsed: tuple[int, int] = Field(description="Texts in which no answer was found.")
    truncated: tuple[int, int] = Field(description="Texts that broke off at the token budget.")
    mean_length: tuple[float, float] = Field(description="Mean tokens of a text.")


class Gain(Record):
    """Full model against a plan on the same examples.

    Attributes:
        full, planned: mean scores, higher is better.
        gain: planned - full for accuracies, 1 - planned/full for errors; above 0 is better.
        n, groups: examples, and groups of them that are resampled as one.
        ci95: its paired 95 % interval over groups; it decides. (0, 0) where the plan is the full model.
        p, test: the p-value, and the name of its test; None where the plan is the full model, so that nothing was tested.
        improved, worsened: share of examples with a higher or lower score under the plan.
        tail_only: mean and share of examples disagree in sign: few examples make the mean.
        carriers: examples that make half of all change, whichever its sign, from the largest on; None for accuracies.
        typical: the median gain of an example, 1 - planned/full of its own errors; None for accuracies, and where more than
            half of the full model's errors are 0.
        written: how the texts ended; None where the model wrote none.
    """

    metric: Metric
    n: int
    groups: int
    full: float
    planned: float
    gain: float
    ci95: Interval
    p: float | None
    test: str
    improved: float
    worsened: float
    tail_only: bool
    carriers: int | None = None
    typical: float | None = None
    written: Written | None = None

    def of_full_model(self) -> Gain:
        """The same for a plan that is the full model: its difference to itself is 0 on any examples."""
        return self.model_copy(update={"ci95": (0.0, 0.0), "p": None})

    @property
    def rests_on_few(self) -> bool:
        """Whether so few examples make half of the change that the mean is theirs: a twentieth, or three of thirty and more.

        Errors with tails as heavy as those of Student's t with 2 degrees of freedom, squared, are told so in nine of ten
        samples, squared normal errors in one of twenty.
        """
        return self.carriers is not None and self.carriers <= max(self.n / 20, min(3, self.n / 10))

    def __str__(self) -> str:
        """The gain and its interval: '−6.1 points [−9.5, −2.5]', or 'error × 0.750 [0.700, 0.800]'."""
        return self.metric.format_effect(self.gain, self.ci95, named=True)


class HeldOutResult(Record):
    """A plan judged on one held-out data set; on OOD data beside random plans that drop as many layers."""

    data: Domain = Field(description="Which data set.")
    role: Literal["best", "without compensation", "most layers dropped", "best non-empty"] = Field(
        description="Why it is judged."
    )
    plan: Plan = Field(description="The plan judged.")
    result: Gain
    baseline_score: float | None = Field(description="Score of always answering the mean target; regression only.")
    random: tuple[float, ...] = Field(description="Gains of the random plans.")
    random_n: int | None = Field(
        default=None, description="Held-out examples that the random plans were scored on; None means all."
    )
    gain_beside: float | None = Field(
        default=None, description="Gain of the plan on the examples of the random plans; None where those are all."
    )
    companion: Gain | None = Field(
        default=None, description="Exact match or accuracy, where the gold answer's likelihood decides."
    )

    @property
    def gain_on_same(self) -> float:
        """Gain of the plan on the examples of the random plans."""
        return self.result.gain if self.gain_beside is None else self.gain_beside

    @property
    def written(self) -> Written | None:
        """How the texts ended, whether they decide or stand beside; None where the model wrote none."""
        return (self.companion or self.result).written


class Profile(Record):
    """Norm and pairwise distance of the hidden states after each kept layer, with 95 % bands.

    Attributes:
        data, planned: which data, and whether under the plan or the full model.
        layers: those after which it is measured; the fields below have one entry for each.
        n: examples.
        norm, norm_band: mean Euclidean norm of the states, and its band.
        distance, distance_band: mean distance of two states, and its band.
    """

    data: Domain
    planned: bool
    layers: tuple[int, ...]
    n: int
    norm: tuple[float, ...]
    norm_band: tuple[Interval, ...]
    distance: tuple[float, ...]
    distance_band: tuple[Interval, ...]


class Deviation(Record):
    """How far a profile is from the full model's profile on ID data.

    Attributes:
        data, planned: which data, and whether under the plan or the full model.
        kind: the profile.
        layers: those that are compared.
        signed: log ratio to the reference, one per layer.
        effect: the same difference in standard deviations of one example (Cohen's d), one per layer.
        value, ci95: mean of |signed| over the layers, and its interval.
        null_mean, null_upper: mean and 95th percentile of `value` between two ID samples of the same sizes.
    """

    data: Domain
    planned: bool
    kind: ProfileKind
    layers: tuple[int, ...]
    signed: tuple[float, ...]
    effect: tuple[float, ...] = ()
    value: float
    ci95: Interval
    null_mean: float
    null_upper: float

    @property
    def excess(self) -> float:
        """The deviation beyond what two ID samples differ by."""
        return self.value - self.null_mean


class Verdict(Record):
    """What to do, and why, in one sentence."""

    action: Literal[
        "prune",
        "prune OOD traffic only",
        "keep the full model",
        "repeat layers",
        "repeat layers for OOD traffic only",
        "take B",
        "take B for OOD traffic only",
        "keep A",
        "take the healed model",
        "take the healed model for OOD traffic only",
    ] = Field(description="What to do.")
    reason: str = Field(description="Why, with the numbers.")
    tail_only: bool = Field(default=False, description="As in `Gain`, of the best plan on OOD data.")
