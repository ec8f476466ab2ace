"""What is said of unlabelled inputs before a search, by what, and how well that does; goes to JSON and back."""

from typing import Literal

from pydantic import Field

from tapioca.records.results import Interval, Record

Shift = Literal["in distribution", "distorted", "misaligned"]
DiagnosisLabel = Literal["in distribution", "distorted", "misaligned", "cannot tell without labels"]
CANNOT_TELL: DiagnosisLabel = "cannot tell without labels"


class Case(Record):
    """One model on one shift, with what can be seen without labels and what labels say.

    Attributes:
        size: parameters of the model.
        kind: of shift; all cases of a kind are left out together when the classifier is judged.
        strength: on the dial of the kind.
        evidence: by name (profiles/evidence.py).
        truth: with labels; None where they do not decide either.
        gain: held-out gain of the plan searched on the shifted data, `low` its lower 95 % bound; None where no plan
            was searched.
        metric: what a gain is in: a difference of accuracies, or the share of the error that is gone.
    """

    model: str
    size: int
    kind: str
    strength: float
    evidence: dict[str, float]
    truth: Shift | None = None
    gain: float | None = None
    low: float | None = None
    metric: Literal["accuracy", "error"] = "error"


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


class Accuracy(Record):
    """How often verdicts are right over some decided cases.

    Attributes:
        cases: how many there are of each truth.
        balanced: mean over these truths of the share that is said right; None without cases.
        ci95: from resampling kinds of shift and models, both; None without cases.
        plain: share said right.
        commonest: share said right by always giving the commonest truth; balanced, that is 1 / number of truths.
    """

    cases: dict[Shift, int]
    balanced: float | None
    ci95: Interval | None
    plain: float | None
    commonest: float | None

    @property
    def chance(self) -> float | None:
        """Balanced accuracy of always giving the commonest truth."""
        return 1 / len(self.cases) if self.cases else None


class CrossValidation(Record):
    """Verdicts on kinds of shift that were left out of the fitting, one kind after the other.

    Attributes:
        kinds, models: of the cases.
        forced: all decided cases, the likelier class taken where the classifier would rather not tell.
        answered: those on which it tells.
        beyond: forced, distorted against misaligned alone, among cases whose deviation is above its null: the gate has
            no part in it.
        coverage: share of the decided cases on which it tells.
        confusion: by truth, how many cases were said to be what.
        undecided: cases of which labels do not decide the truth; neither fitted nor judged.
        notes: kinds without which a class had no case to fit, and the like.
    """

    kinds: tuple[str, ...]
    models: tuple[str, ...]
    forced: Accuracy
    answered: Accuracy
    beyond: Accuracy
    coverage: float | None
    confusion: dict[Shift, dict[DiagnosisLabel, int]]
    undecided: int
    notes: tuple[str, ...] = ()


class Expected(Record):
    """What pruning came to where a verdict was given, on kinds of shift left out of the fitting, undecided cases included.

    Attributes:
        verdict: what was said.
        metric: what the gains are in: a difference of accuracies, or the share of the error that is gone.
        cases: how many were said to be that.
        gained: share of the cases whose held-out gain has a lower 95 % bound above 0.
        quartiles: lower quartile, median and upper quartile of the held-out gains.
    """

    verdict: DiagnosisLabel
    metric: Literal["accuracy", "error"]
    cases: int
    gained: float
    quartiles: tuple[float, float, float]


class ShiftClassifier(Record):
    """What gives a verdict on evidence, with where it comes from and how well it does.

    Attributes:
        null_test: names of the evidence that is above 0 where a deviation is above its null; where none is, the verdict is
            "in distribution", by definition and not by weights.
        threshold: least probability of a class for it to be said.
        cases: how many it was fitted on, of each class.
    """

    null_test: tuple[str, ...]
    weights: Weights
    threshold: float = Field(gt=0.5, lt=1)
    cases: dict[Shift, int]
    cross_validation: CrossValidation
    expect: tuple[Expected, ...]


class Diagnosis(Record):
    """A verdict.

    Attributes:
        verdict: the class, or that none can be told.
        probability: of the class said, or where none is, of the likelier one; None where there is nothing to weigh.
        outside: names of the evidence that lies outside what the classifier has seen.
        reason: why, in words.
    """

    verdict: DiagnosisLabel
    probability: float | None
    outside: tuple[str, ...] = ()
    reason: str
