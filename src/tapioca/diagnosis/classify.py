"""What a fitted classifier says of evidence, and where one is read from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.special import expit

from tapioca.diagnosis.records import CANNOT_TELL, NO_SHIFT, Diagnosis, DiagnosisLabel, ShiftClassifier, Weights
from tapioca.errors import DataError
from tapioca.profiles.evidence import EVIDENCE, MeasuredEvidence
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


def classify(classifier: ShiftClassifier, measured: MeasuredEvidence) -> Diagnosis:
    """The verdict on evidence.

    Raises:
        DataError: the classifier asks for evidence that is not there.
    """
    values = dict(zip(EVIDENCE, measured.values.tolist(), strict=True))
    lacking = [name for name in classifier.weights.names if name not in values]
    if lacking:
        raise DataError(f"the classifier asks for the evidence '{lacking[0]}', which is not measured; fit it again")
    if not measured.is_shifted:
        reason = "no deviation is above its null, that of equal ID samples"
        return Diagnosis(verdict=NO_SHIFT, probability=None, reason=reason)
    halves = dict(zip(EVIDENCE, measured.halves.T, strict=True))
    diagnosis = classify_by_weights(classifier.weights, classifier.threshold, values, halves)
    if classifier.cross_validation.clears_bar or diagnosis.probability is None or diagnosis.outside:
        return diagnosis
    reason = "a deviation is above its null; this classifier does not do well enough to say more than what came of such shifts"
    return diagnosis.model_copy(update={"verdict": CANNOT_TELL, "reason": reason})


def classify_by_weights(
    weights: Weights, threshold: float, evidence: Mapping[str, float], halves: Mapping[str, np.ndarray]
) -> Diagnosis:
    """What weights say of evidence that is above its null, whether or not they do well.

    A class is said where its probability is at least the threshold and its 95 % interval, by the scatter of halves, lies above
    one half: with few examples there is no verdict, rather than another one.

    Args:
        evidence: by name.
        halves: the same of random halves, each (half,).
    """
    if len(weights.missing) > 0:
        lacking = " and ".join(weights.missing)
        reason = f"the classifier has seen no {lacking} case to tell it from"
        return Diagnosis(verdict=CANNOT_TELL, probability=None, reason=reason)
    log_odds = weights.intercept + float(weigh(weights, evidence).sum())
    scatter = weigh(weights, halves).sum(axis=0).std(ddof=1)
    low, probability, high = expit(log_odds + np.array([-1.96, 0, 1.96]) * scatter).tolist()
    rows = zip(weights.names, weights.lows, weights.highs, strict=True)
    outside = tuple(name for name, least, most in rows if not least <= evidence[name] <= most)
    likelier: DiagnosisLabel = "distorted" if probability >= 0.5 else "misaligned"
    of_likelier = max(probability, 1 - probability)
    said = f"{likelier} is likelier, but its probability, {of_likelier:.2f}"
    if outside:
        reason = _explain_outside(weights, evidence, outside)
    elif of_likelier < threshold:
        reason = f"{said}, is below {threshold:g}"
    elif low < 0.5 < high:
        reason = f"{said}, is too uncertain with so few examples"
    else:
        reason = f"a deviation is above its null, and {likelier} has a probability of {of_likelier:.2f}"
        return Diagnosis(verdict=likelier, probability=probability, probability_ci95=(low, high), reason=reason)
    return Diagnosis(
        verdict=CANNOT_TELL, probability=probability, probability_ci95=(low, high), outside=outside, reason=reason
    )


def _explain_outside(weights: Weights, evidence: Mapping[str, float], outside: tuple[str, ...]) -> str:
    """Which number lies outside the range of the fitting, with as many digits as show it."""
    place = weights.names.index(outside[0])
    numbers = float(evidence[outside[0]]), weights.lows[place], weights.highs[place]
    value, low, high = numbers
    digits = next((n for n in range(3, 18) if signed(value, n) not in (signed(low, n), signed(high, n))), 18)
    texts = [signed(number, digits) for number in numbers]
    more = f", and {len(outside) - 1} more" if len(outside) > 1 else ""
    return (
        f"the evidence {outside[0]} is {texts[0]}, outside the {texts[1]} to {texts[2]} the classifier has seen{more}"
    )


def weigh(weights: Weights, evidence: Mapping[str, float] | Mapping[str, np.ndarray]) -> np.ndarray:
    """What each number adds to the log-odds of distorted against misaligned, in the order of the classifier's names:
    (name,), or (name, half) where each name has one number for each half."""
    values = np.array([evidence[name] for name in weights.names])
    means, sds, coefficients = (
        np.array(numbers).reshape(-1, *[1] * (values.ndim - 1))
        for numbers in (weights.means, weights.sds, weights.coefficients)
    )
    return (values - means) / sds * coefficients
