"""What a fitted judge says of evidence, and where one is read from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from scipy.special import expit

from tapioca.errors import DataError
from tapioca.records import signed
from tapioca.records.diagnosis import UNTOLD, Judge, Said, Shift, Weights

PACKAGED = Path(__file__).parents[1] / "data" / "diagnosis.json"


def read_judge(path: Path | None = None) -> Judge:
    """A judge from a file; the one that ships with this package unless told.

    Raises:
        DataError: there is none, or this version cannot read it.
    """
    place = path or PACKAGED
    if path is None and not place.is_file():
        raise DataError("no judge ships with this version of tapioca; give a fitted one with --judge FILE")
    try:
        return Judge.model_validate_json(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read the judge {place}: {error.strerror or error}; give one that `fit_rows` made with --judge FILE"
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is not UTF-8"
        raise DataError(f"{place} is not a judge of this version: {why}; fit it again with `fit_rows`") from error


def say(judge: Judge, evidence: Mapping[str, float]) -> Said:
    """The verdict on evidence.

    Args:
        judge: fitted (diagnosis/fit.py).
        evidence: by name (geometry/evidence.py).

    Raises:
        DataError: the judge asks for evidence that is not there.
    """
    lacking = [name for name in (*judge.gate, *judge.weights.names) if name not in evidence]
    if lacking:
        raise DataError(f"the judge asks for the evidence '{lacking[0]}', which is not measured; fit it again")
    return verdict(judge.weights, judge.gate, judge.threshold, evidence)


def verdict(weights: Weights, gate: tuple[str, ...], threshold: float, evidence: Mapping[str, float]) -> Said:
    """As `say`, from the parts of a judge."""
    if not above(gate, evidence):
        reason = "no deviation is above its null, that of equal ID samples"
        return Said(verdict="in distribution", probability=None, reason=reason)
    if len(weights.missing) > 0:
        lacking = " and ".join(weights.missing)
        return Said(verdict=UNTOLD, probability=None, reason=f"the judge has seen no {lacking} case to tell it from")
    likelier, probability = likelier_of(weights, evidence)
    rows = zip(weights.names, weights.lows, weights.highs, strict=True)
    outside = {name: (low, high) for name, low, high in rows if not low <= evidence[name] <= high}
    if outside:
        name, (low, high) = next(iter(outside.items()))
        more = f", and {len(outside) - 1} more" if len(outside) > 1 else ""
        value = evidence[name]
        digits = next((n for n in range(3, 18) if signed(value, n) not in (signed(low, n), signed(high, n))), 18)
        told = [signed(number, digits) for number in (value, low, high)]
        reason = f"the evidence {name} is {told[0]}, outside the {told[1]} to {told[2]} the judge has seen{more}"
    elif probability < threshold:
        reason = f"{likelier} is likelier, but its probability, {probability:.2f}, is below {threshold:g}"
    else:
        reason = f"a deviation is above its null, and {likelier} has a probability of {probability:.2f}"
        return Said(verdict=likelier, probability=probability, reason=reason)
    return Said(verdict=UNTOLD, probability=probability, outside=tuple(outside), reason=reason)


def above(gate: tuple[str, ...], evidence: Mapping[str, float]) -> bool:
    """Whether a deviation is above its null."""
    return any(evidence[name] > 0 for name in gate)


def likelier_of(weights: Weights, evidence: Mapping[str, float]) -> tuple[Shift, float]:
    """Distorted or misaligned, whichever is likelier, and its probability."""
    probability = float(expit(weights.intercept + pulls(weights, evidence).sum()))
    return ("distorted", probability) if probability >= 0.5 else ("misaligned", 1 - probability)


def pulls(weights: Weights, evidence: Mapping[str, float]) -> np.ndarray:
    """What each number adds to the log-odds of distorted against misaligned, in the order of the judge's names."""
    values = np.array([evidence[name] for name in weights.names])
    return (values - np.array(weights.means)) / np.array(weights.sds) * np.array(weights.coefficients)
