"""What a fitted classifier says of evidence, and where one is read from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.special import expit

from tapioca.diagnosis.records import CANNOT_TELL, Diagnosis, Shift, ShiftClassifier, Weights
from tapioca.errors import DataError
from tapioca.reading import explain_damage, read_text
from tapioca.records import signed

PACKAGED_CLASSIFIER = Path(__file__).parents[1] / "data" / "diagnosis.json"


def read_classifier(path: Path | None = None) -> ShiftClassifier:
    """A classifier from a file; the one that ships with this package unless told.

    Raises:
        DataError: there is none, or this version cannot read it.
    """
    classifier_path = path or PACKAGED_CLASSIFIER
    if path is None and not classifier_path.is_file():
        raise DataError("no classifier ships with this version of tapioca; give a fitted one with --classifier FILE")
    with explain_damage(
        classifier_path, DataError, "give one that `fit_file` of this version made with --classifier FILE"
    ):
        return ShiftClassifier.model_validate_json(read_text(classifier_path))


def classify(classifier: ShiftClassifier, evidence: Mapping[str, float]) -> Diagnosis:
    """The verdict on evidence.

    Args:
        classifier: fitted (diagnosis/fit.py).
        evidence: by name (profiles/evidence.py).

    Raises:
        DataError: the classifier asks for evidence that is not there.
    """
    lacking = [name for name in (*classifier.null_test, *classifier.weights.names) if name not in evidence]
    if lacking:
        raise DataError(f"the classifier asks for the evidence '{lacking[0]}', which is not measured; fit it again")
    return classify_by_weights(classifier.weights, classifier.null_test, classifier.threshold, evidence)


def classify_by_weights(
    weights: Weights, gate: tuple[str, ...], threshold: float, evidence: Mapping[str, float]
) -> Diagnosis:
    """As `classify`, from the parts of a classifier."""
    if not is_above_null(gate, evidence):
        reason = "no deviation is above its null, that of equal ID samples"
        return Diagnosis(verdict="in distribution", probability=None, reason=reason)
    if len(weights.missing) > 0:
        lacking = " and ".join(weights.missing)
        return Diagnosis(
            verdict=CANNOT_TELL, probability=None, reason=f"the classifier has seen no {lacking} case to tell it from"
        )
    likelier, probability = likelier_class(weights, evidence)
    rows = zip(weights.names, weights.lows, weights.highs, strict=True)
    outside = {name: (low, high) for name, low, high in rows if not low <= evidence[name] <= high}
    if outside:
        name, (low, high) = next(iter(outside.items()))
        suffix = f", and {len(outside) - 1} more" if len(outside) > 1 else ""
        value = evidence[name]
        digits = next((n for n in range(3, 18) if signed(value, n) not in (signed(low, n), signed(high, n))), 18)
        texts = [signed(number, digits) for number in (value, low, high)]
        reason = (
            f"the evidence {name} is {texts[0]}, outside the {texts[1]} to {texts[2]} the classifier has seen{suffix}"
        )
    elif probability < threshold:
        reason = f"{likelier} is likelier, but its probability, {probability:.2f}, is below {threshold:g}"
    else:
        reason = f"a deviation is above its null, and {likelier} has a probability of {probability:.2f}"
        return Diagnosis(verdict=likelier, probability=probability, reason=reason)
    return Diagnosis(verdict=CANNOT_TELL, probability=probability, outside=tuple(outside), reason=reason)


def is_above_null(gate: tuple[str, ...], evidence: Mapping[str, float]) -> bool:
    """Whether a deviation is above its null."""
    return any(evidence[name] > 0 for name in gate)


def likelier_class(weights: Weights, evidence: Mapping[str, float]) -> tuple[Shift, float]:
    """Distorted or misaligned, whichever is likelier, and its probability."""
    probability = float(expit(weights.intercept + contributions(weights, evidence).sum()))
    return ("distorted", probability) if probability >= 0.5 else ("misaligned", 1 - probability)


def contributions(weights: Weights, evidence: Mapping[str, float]) -> np.ndarray:
    """What each number adds to the log-odds of distorted against misaligned, in the order of the classifier's names."""
    values = np.array([evidence[name] for name in weights.names])
    return (values - np.array(weights.means)) / np.array(weights.sds) * np.array(weights.coefficients)
