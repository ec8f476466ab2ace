"""What is said of unlabelled inputs before a search, by what, and how well that does; goes to JSON and back."""

from typing import Literal

from pydantic import Field

from tapioca.records.results import Interval, Record

Shift = Literal["in distribution", "distorted", "misaligned"]
DiagnosisLabel = Literal["no shift seen", "distorted", "misaligned", "cannot tell without labels"]
NO_SHIFT: DiagnosisLabel = "no shift seen"
CANNOT_TELL: DiagnosisLabel = "cannot tell without labels"
LeftOut = Literal["kind", "model", "setting"]

BAR_EXAMPLES, BAR_DECIDED, BAR_RIGHT = 512, 0.5, 0.8
"""Distorted and misaligned are said by a classifier that at this many examples decides this share of the cells it was not fitted
on, this share of them rightly; fixed before any was fitted."""

BAND_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the probability of distorted: which cases are like which."""


class Case(Record):
    """One model on one shift, with what can be seen without labels of so many inputs, and what labels say.

    Attributes:
        setting: models and tasks of one sort; with `model`, `kind` and `strength` it names the shift.
        size: parameters of the model.
        kind: of shift.
        strength: on the dial of the kind.
        n: examples in each set that the evidence is of.
        excess: by name, what is above 0 where a deviation is above its null (profiles/evidence.py).
        evidence: by name.
        halves: the evidence between random halves of the sets, in the same order; its scatter is that of `evidence`.
        truth: with labels; None where they do not decide either.
        gain: held-out gain of the plan searched on the shifted data, `low` its lower 95 % bound; None where no plan
            was searched.
        metric: what a gain is in: a difference of accuracies, or the share of the error that is gone.
    """

    setting: str
    model: str
    size: int
    kind: str
    strength: float
    n: int
    excess: dict[str, float]
    evidence: dict[str, float]
    halves: tuple[tuple[float, ...], ...] = ()
    truth: Shift | None = None
    gain: float | None = None
    low: float | None = None
    metric: Literal["accuracy", "error"] = "error"

    @property
    def shift(self) -> tuple[str, str, str, float]:
        """What the inputs are drawn from, and by what model they are read."""
        return self.setting, self.model, self.kind, self.strength

    @property
    def is_shifted(self) -> bool:
        """Whether a deviation is above its null."""
        return any(value > 0 for value in self.excess.values())


class Weights(Record):
    """A logistic regression on standardised evidence: distorted against misaligned.

    Attributes:
        names: of the evidence; the fields below have one number each.
        means, sds: what the evidence is standardised by.
        coefficients, intercept: of the log-odds of distorted against misaligned.
        lows, highs: range seen in fitting.
        missing: what there was no case of; with one class alone nothing is told apart.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    missing: tuple[Shift, ...] = ()


class LeftOutScore(Record):
    """Verdicts at one number of examples on cases whose kind of shift, model or setting the classifier was not fitted on.

    Attributes:
        left_out: what was: all cases of one kind of shift, of one model or of one setting, one after the other.
        n: examples in each set.
        cells: how many cases there are of each truth.
        decided: share of them that is called distorted or misaligned.
        right: share of these that is called rightly; None where none is decided.
        right_ci95: from resampling kinds of shift and models, both.
        balanced: mean over the two truths of the share that is likelier rightly, where the classifier must choose.
        balanced_ci95: likewise.
    """

    left_out: LeftOut
    n: int
    cells: dict[Shift, int]
    decided: float
    right: float | None
    right_ci95: Interval | None
    balanced: float | None
    balanced_ci95: Interval | None

    @property
    def clears_bar(self) -> bool:
        """Whether enough is decided, and enough of it rightly."""
        return self.decided >= BAR_DECIDED and self.right is not None and self.right >= BAR_RIGHT


class Gains(Record):
    """What searches came to on some shifts, undecided ones included.

    Attributes:
        metric: what gains are in: a difference of accuracies, or the share of the error that is gone.
        cases: how many there are.
        gained: of how many the held-out gain of the searched plan has a lower 95 % bound above 0.
        gained_ci95: of the share, from resampling kinds of shift and models, both.
        quartiles: lower quartile, median and upper quartile of the held-out gains.
    """

    metric: Literal["accuracy", "error"]
    cases: int
    gained: int
    gained_ci95: Interval
    quartiles: tuple[float, float, float]


class Band(Gains):
    """Where the classifier was as sure, with the kind of shift left out of the fitting.

    Attributes:
        low, high: the probability of distorted lies between.
    """

    low: float
    high: float


class Unseen(Gains):
    """Where so many examples show no deviation above its null.

    Attributes:
        n: examples in each set.
    """

    n: int


class CrossValidation(Record):
    """How a classifier does on what it was not fitted on.

    Attributes:
        kinds, models, settings: of the cases.
        held: by what is left out and number of examples.
        shifts: how many shifts were judged at two numbers of examples or more.
        opposite: of these, how many were called distorted at one and misaligned at another.
        undecided: shifts of which labels do not decide the truth; neither fitted nor judged.
        notes: groups without which a class had no case to fit, and the like.
    """

    kinds: tuple[str, ...]
    models: tuple[str, ...]
    settings: tuple[str, ...]
    held: tuple[LeftOutScore, ...]
    shifts: int
    opposite: int
    undecided: int
    notes: tuple[str, ...] = ()

    @property
    def clears_bar(self) -> bool:
        """Whether the words distorted and misaligned may be said: by `BAR_DECIDED` and `BAR_RIGHT` at the least number of examples
        that is no smaller than `BAR_EXAMPLES`, or the largest, whatever is left out, and no shift is called both."""
        sizes = sorted({row.n for row in self.held})
        bar = next((n for n in sizes if n >= BAR_EXAMPLES), None)
        rows = [row for row in self.held if row.n == bar]
        return self.opposite == 0 and len(rows) > 0 and all(row.clears_bar for row in rows)


class ShiftClassifier(Record):
    """What gives a verdict on evidence, with where it comes from and how well it does.

    Attributes:
        threshold: least probability of a class for it to be said.
        cases: how many it was fitted on, of each class.
        bands: what searches came to, by probability.
        unseen: what they came to where no deviation is seen, by number of examples.
    """

    weights: Weights
    threshold: float = Field(gt=0.5, lt=1)
    cases: dict[Shift, int]
    cross_validation: CrossValidation
    bands: tuple[Band, ...]
    unseen: tuple[Unseen, ...]


class Diagnosis(Record):
    """A verdict.

    Attributes:
        verdict: the class, or that none can be told.
        probability: of distorted against misaligned; None where there is nothing to weigh.
        probability_ci95: by the scatter of the evidence.
        outside: names of the evidence that lies outside what the classifier has seen.
        reason: why, in words.
    """

    verdict: DiagnosisLabel
    probability: float | None
    probability_ci95: Interval | None = None
    outside: tuple[str, ...] = ()
    reason: str
