"""Fitting a classifier on cases whose truth labels have decided, and judging it on what it was not fitted on."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from tapioca.diagnosis.classify import classify_by_weights
from tapioca.diagnosis.records import (
    Case,
    CrossValidation,
    Diagnosis,
    LeftOut,
    Shift,
    ShiftClassifier,
    Weights,
)
from tapioca.diagnosis.score import count_opposite, find_largest, score_verdicts, summarise_bands, summarise_unseen
from tapioca.errors import DataError
from tapioca.profiles.evidence import NULL_TEST
from tapioca.reading import explain_damage, read_text

THRESHOLD = 0.75
"""Least probability of a class for it to be said; a choice made before any classifier was fitted."""

FITTED_CLASSES: tuple[Shift, Shift] = ("misaligned", "distorted")
"""Above the gate; the second is the one whose log-odds the weights give."""

GROUPS: dict[LeftOut, Callable[[Case], str]] = {
    "kind": lambda case: case.kind,
    "model": lambda case: case.model,
    "setting": lambda case: case.setting,
}
"""What is left out, one group after the other."""


def fit_file(path: Path) -> ShiftClassifier:
    """Fit a classifier on a JSON file that holds a list of cases; its `model_dump_json` is a file for `read_classifier`.

    Raises:
        DataError: the file cannot be read, or its cases decide nothing.
    """
    with explain_damage(path, DataError, "expected a JSON list of cases"):
        return fit_classifier(TypeAdapter(list[Case]).validate_json(read_text(path)))


def fit_classifier(cases: Sequence[Case], seed: int = 0) -> ShiftClassifier:
    """Fit a classifier on the cases with the most examples of each shift, and judge it on kinds of shift, models and settings in
    turn, fitted without them, at every number of examples.

    Args:
        cases: of any models and kinds; those without a truth are counted, and show what was gained.

    Raises:
        DataError: there is no case of a truth above its null, or cases lack evidence others have.
    """
    names = _shared_evidence_names(cases)
    weights = fit_weights(list_fitted_cases(cases), names)
    if set(FITTED_CLASSES) <= set(weights.missing):
        raise DataError(
            f"none of {len(cases)} cases above its null is distorted or misaligned; there is nothing to fit"
        )
    answers = {left_out: answer_left_out(cases, names, left_out) for left_out in GROUPS}
    return ShiftClassifier(
        weights=weights,
        threshold=THRESHOLD,
        cases=dict(Counter(case.truth for case in list_fitted_cases(cases) if case.truth)),
        cross_validation=cross_validate(cases, answers, seed),
        bands=summarise_bands(cases, answers["kind"], seed),
        unseen=summarise_unseen(cases, seed),
    )


def list_fitted_cases(cases: Sequence[Case]) -> list[Case]:
    """Of every shift above its null whose truth is one of `FITTED_CLASSES`, the case with the most examples."""
    return [
        cases[index]
        for index in find_largest(cases)
        if cases[index].truth in FITTED_CLASSES and cases[index].is_shifted
    ]


def answer_left_out(cases: Sequence[Case], names: tuple[str, ...], left_out: LeftOut) -> dict[int, Diagnosis]:
    """What is said of every case above its null by weights fitted without its group, by the case's place; empty where there is
    but one group."""
    groups = [GROUPS[left_out](case) for case in cases]
    answers: dict[int, Diagnosis] = {}
    for group in sorted(set(groups)) if len(set(groups)) > 1 else ():
        fitted_cases = [case for case, name in zip(cases, groups, strict=True) if name != group]
        weights = fit_weights(list_fitted_cases(fitted_cases), names)
        for index, case in enumerate(cases):
            if groups[index] == group and case.is_shifted:
                halves = dict(zip(names, np.array(case.halves).T, strict=True))
                answers[index] = classify_by_weights(weights, THRESHOLD, case.evidence, halves)
    return answers


def cross_validate(
    cases: Sequence[Case], answers: dict[LeftOut, dict[int, Diagnosis]], seed: int = 0
) -> CrossValidation:
    """How often the verdicts on what was left out are right, whatever was left out.

    Args:
        answers: by what was left out, as `answer_left_out` gives them.

    Returns:
        Shares with intervals from 2,000 resamples of kinds and of models. The fits are not repeated in the resamples.
    """
    sizes = sorted({case.n for case in cases})
    largest = find_largest(cases)
    unfitted = sorted(
        {
            f"{left_out} {GROUPS[left_out](cases[index])}"
            for left_out, found in answers.items()
            for index, said in found.items()
            if said.probability is None
        }
    )
    return CrossValidation(
        kinds=tuple(sorted({case.kind for case in cases})),
        models=tuple(sorted({case.model for case in cases})),
        settings=tuple(sorted({case.setting for case in cases})),
        held=tuple(
            score_verdicts(cases, found, left_out, n, seed)
            for left_out, found in answers.items()
            if found
            for n in sizes
        ),
        shifts=len(largest) if len(sizes) > 1 else 0,
        opposite=count_opposite(cases, answers.values()),
        undecided=sum(cases[index].truth is None for index in largest),
        notes=tuple(f"without the {group} there is a class with no case to fit" for group in unfitted),
    )


def fit_weights(cases: Sequence[Case], names: tuple[str, ...]) -> Weights:
    """Fit distorted against misaligned.

    Classes weigh the same whatever their numbers. Without cases of one of them the weights are 0 and the intercept is
    sure of the other.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.array([[case.evidence[name] for name in names] for case in cases] or [[0.0] * len(names)])
    is_distorted = [case.truth == FITTED_CLASSES[1] for case in cases]
    missing = tuple(name for index, name in enumerate(FITTED_CLASSES) if bool(index) not in is_distorted)
    means, sds = features.mean(axis=0), features.std(axis=0)
    sds[sds == 0] = 1.0
    coefficients = np.zeros(len(names))
    intercept = float(FITTED_CLASSES[0] in missing) - float(FITTED_CLASSES[1] in missing)
    if not missing:
        model = LogisticRegression(class_weight="balanced", max_iter=1_000)
        fitted = model.fit((features - means) / sds, is_distorted)
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


def _shared_evidence_names(cases: Sequence[Case]) -> tuple[str, ...]:
    """The evidence that all cases have.

    Raises:
        DataError: there are no cases, they differ in it, or what says whether there is a deviation is not there.
    """
    if not cases:
        raise DataError("got no cases; expected at least one of each class on each of several kinds of shift")
    names = tuple(cases[0].evidence)
    for index, case in enumerate(cases):
        if tuple(case.evidence) != names or set(case.excess) != set(NULL_TEST):
            raise DataError(
                f"case {index} ({case.model}, {case.kind}) has the evidence {', '.join(case.evidence) or 'of nothing'} and the "
                f"excess {', '.join(case.excess) or 'of nothing'}; all need the same evidence and {', '.join(NULL_TEST)}"
            )
        if len(case.halves) < 2 or any(len(half) != len(names) for half in case.halves):
            raise DataError(
                f"case {index} ({case.model}, {case.kind}) has {len(case.halves)} halves; expected at least two, of "
                f"{len(names)} numbers each"
            )
    return names
