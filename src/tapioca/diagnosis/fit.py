"""Fitting a classifier on cases whose truth labels have decided, and judging it on kinds of shift it was not fitted on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import TypeAdapter

from tapioca.diagnosis.classify import classify_by_weights, is_above_null, likelier_class
from tapioca.diagnosis.records import (
    CANNOT_TELL,
    Case,
    CrossValidation,
    DiagnosisLabel,
    Expected,
    Shift,
    ShiftClassifier,
    Weights,
)
from tapioca.diagnosis.score import count_confusion, measure_accuracy, share_or_none, summarise_gains
from tapioca.errors import DataError
from tapioca.reading import explain_damage, read_text
from tapioca.records import ProfileKind

NULL_TEST = tuple(f"{kind}_excess" for kind in get_args(ProfileKind))
THRESHOLD = 0.75
"""Least probability of a class for it to be said; a choice made before any classifier was fitted."""

FITTED_CLASSES: tuple[Shift, Shift] = ("misaligned", "distorted")
"""Above the gate; the second is the one whose log-odds the weights give."""


def fit_file(path: Path) -> ShiftClassifier:
    """Fit a classifier on a JSON file that holds a list of cases; its `model_dump_json` is a file for `read_classifier`.

    Raises:
        DataError: the file cannot be read, or its cases decide nothing.
    """
    with explain_damage(path, DataError, "expected a JSON list of cases"):
        return fit_classifier(TypeAdapter(list[Case]).validate_json(read_text(path)))


def fit_classifier(cases: Sequence[Case], seed: int = 0) -> ShiftClassifier:
    """Fit a classifier on all cases, and judge it on each kind of shift in turn, fitted without it.

    Args:
        cases: of any models and kinds; those without a truth are counted, and show what was gained.

    Raises:
        DataError: there is no case of a truth above its null, or cases lack evidence others have.
    """
    names = _shared_evidence_names(cases)
    weights = fit_weights(cases, names)
    if set(FITTED_CLASSES) <= set(weights.missing):
        raise DataError(
            f"none of {len(cases)} cases above its null is distorted or misaligned; there is nothing to fit"
        )
    cross_validation, expected_gains = cross_validate(cases, seed)
    return ShiftClassifier(
        null_test=NULL_TEST,
        weights=weights,
        threshold=THRESHOLD,
        cases=dict(Counter(case.truth for case in cases if case.truth)),
        cross_validation=cross_validation,
        expect=expected_gains,
    )


def cross_validate(cases: Sequence[Case], seed: int = 0) -> tuple[CrossValidation, tuple[Expected, ...]]:
    """Leave one kind of shift out after the other, all models' cases of it together, fit on the others and judge it.

    Returns:
        How often the verdicts are right, with intervals from 2,000 resamples of kinds and of models, and what pruning
        came to by verdict. The fits are not repeated in the resamples.
    """
    from sklearn.model_selection import LeaveOneGroupOut

    forced: dict[int, Shift] = {}
    answers: dict[int, DiagnosisLabel] = {}
    notes = []
    names, groups = _shared_evidence_names(cases), [case.kind for case in cases]
    for fitted, left_out in LeaveOneGroupOut().split(cases, groups=groups):
        weights = fit_weights([cases[index] for index in fitted], names)
        if weights.missing:
            notes.append(f"without {groups[left_out[0]]} there is no {' and no '.join(weights.missing)} case to fit")
        for index in left_out.tolist():
            evidence = cases[index].evidence
            answers[index] = classify_by_weights(weights, NULL_TEST, THRESHOLD, evidence).verdict
            is_shifted = is_above_null(NULL_TEST, evidence)
            forced[index] = likelier_class(weights, evidence)[0] if is_shifted else "in distribution"
    decided = [index for index, case in enumerate(cases) if case.truth]
    answered = [index for index in decided if answers[index] != CANNOT_TELL]
    beyond = [index for index in decided if _is_fitted(cases[index])]
    cross_validation = CrossValidation(
        kinds=tuple(sorted(set(groups))),
        models=tuple(sorted({case.model for case in cases})),
        forced=measure_accuracy(cases, forced, decided, seed),
        answered=measure_accuracy(cases, answers, answered, seed),
        beyond=measure_accuracy(cases, forced, beyond, seed),
        coverage=share_or_none(len(answered), len(decided)),
        confusion=count_confusion(cases, answers, decided),
        undecided=len(cases) - len(decided),
        notes=tuple(notes),
    )
    return cross_validation, summarise_gains(cases, answers)


def fit_weights(cases: Iterable[Case], names: tuple[str, ...]) -> Weights:
    """Fit distorted against misaligned on the cases that are above the gate.

    Classes weigh the same whatever their numbers. Without cases of one of them the weights are 0 and the intercept is
    sure of the other.
    """
    from sklearn.linear_model import LogisticRegression

    used_cases = [case for case in cases if _is_fitted(case)]
    features = np.array([[case.evidence[name] for name in names] for case in used_cases] or [[0.0] * len(names)])
    is_distorted = [case.truth == FITTED_CLASSES[1] for case in used_cases]
    missing = tuple(name for index, name in enumerate(FITTED_CLASSES) if bool(index) not in is_distorted)
    means, sds = features.mean(axis=0), features.std(axis=0)
    sds[sds == 0] = 1.0
    coefficients = np.zeros(len(names))
    intercept = float(FITTED_CLASSES[0] in missing) - float(FITTED_CLASSES[1] in missing)
    if not missing:
        fitted = LogisticRegression(class_weight="balanced", max_iter=1_000).fit((features - means) / sds, is_distorted)
        coefficients, intercept = fitted.coef_[0], float(fitted.intercept_[0])
    return Weights(
        names=names,
        means=means.tolist(),
        sds=sds.tolist(),
        coefficients=coefficients.tolist(),
        intercept=intercept,
        lows=features.min(axis=0).tolist(),
        highs=features.max(axis=0).tolist(),
        missing=missing,
    )


def _is_fitted(case: Case) -> bool:
    """Whether weights are fitted on a case, if it is not left out."""
    return case.truth in FITTED_CLASSES and is_above_null(NULL_TEST, case.evidence)


def _shared_evidence_names(cases: Sequence[Case]) -> tuple[str, ...]:
    """The evidence that all cases have.

    Raises:
        DataError: there are no cases, they differ in it, or the gate's is not there.
    """
    if not cases:
        raise DataError("got no cases; expected at least one of each class on each of several kinds of shift")
    names = tuple(cases[0].evidence)
    for index, case in enumerate(cases):
        if set(case.evidence) != set(names) or not set(NULL_TEST) <= set(names):
            raise DataError(
                f"case {index} ({case.model}, {case.kind}) has the evidence {', '.join(case.evidence) or 'of nothing'}; "
                f"all need the same, {', '.join(NULL_TEST)} among it"
            )
    return names
