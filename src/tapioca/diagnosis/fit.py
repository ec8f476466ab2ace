"""Fitting a judge on cases whose truth labels have decided, and judging it on kinds of shift it was not fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tapioca.diagnosis.judge import above, likelier_of, verdict
from tapioca.diagnosis.score import accuracy, confusion, expected, share
from tapioca.errors import DataError
from tapioca.records.diagnosis import UNTOLD, Case, Expected, Judge, Judged, Said, Shift, Weights

GATE = ("norm_excess", "distance_excess")
THRESHOLD = 0.75
"""Least probability of a class for it to be said; a choice made before any judge was fitted."""

TOLD_APART: tuple[Shift, Shift] = ("misaligned", "distorted")
"""Above the gate; the second is the one whose log-odds the weights give."""


def fit_rows(path: Path) -> Judge:
    """Fit a judge on a JSON file that holds a list of cases; its `model_dump_json` is a file for `read_judge`.

    Raises:
        DataError: the file cannot be read, or its cases decide nothing.
    """
    try:
        rows = TypeAdapter(list[Case]).validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; expected a JSON list of cases") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {place}: {first['msg']}; expected a JSON list of cases") from error
    return fit(rows)


def fit(rows: Sequence[Case], seed: int = 0) -> Judge:
    """Fit a judge on all cases, and judge it on each kind of shift in turn, fitted without it.

    Args:
        rows: cases of any models and kinds; those without a truth are counted, and show what was gained.
        seed: of the resampling.

    Raises:
        DataError: there is no case of a truth above its null, or cases lack evidence others have.
    """
    names = _names(rows)
    weights = weigh(rows, names)
    if set(TOLD_APART) <= set(weights.missing):
        raise DataError(f"none of {len(rows)} cases above its null is distorted or misaligned; there is nothing to fit")
    found, expect = judged(rows, seed)
    return Judge(
        gate=GATE,
        weights=weights,
        threshold=THRESHOLD,
        cases=dict(Counter(row.truth for row in rows if row.truth)),
        judged=found,
        expect=expect,
    )


def judged(rows: Sequence[Case], seed: int = 0) -> tuple[Judged, tuple[Expected, ...]]:
    """Leave one kind of shift out after the other, all models' cases of it together, fit on the others and judge it.

    Args:
        rows, seed: as for `fit`.

    Returns:
        How often the verdicts are right, with intervals from 2,000 resamples of kinds and of models, and what pruning
        came to by verdict. The fits are not repeated in the resamples.
    """
    from sklearn.model_selection import LeaveOneGroupOut

    forced: dict[int, Shift] = {}
    said: dict[int, Said] = {}
    notes = []
    names, groups = _names(rows), [row.kind for row in rows]
    for fitted, left_out in LeaveOneGroupOut().split(rows, groups=groups):
        weights = weigh([rows[index] for index in fitted], names)
        if weights.missing:
            notes.append(f"without {groups[left_out[0]]} there is no {' and no '.join(weights.missing)} case to fit")
        for index in left_out.tolist():
            evidence = rows[index].evidence
            said[index] = verdict(weights, GATE, THRESHOLD, evidence)
            forced[index] = likelier_of(weights, evidence)[0] if above(GATE, evidence) else "in distribution"
    decided = [at for at, row in enumerate(rows) if row.truth]
    told = [at for at in decided if said[at].verdict != UNTOLD]
    beyond = [at for at in decided if rows[at].truth in TOLD_APART and above(GATE, rows[at].evidence)]
    answers = {at: one.verdict for at, one in said.items()}
    found = Judged(
        kinds=tuple(sorted(set(groups))),
        models=tuple(sorted({row.model for row in rows})),
        forced=accuracy(rows, forced, decided, seed),
        answered=accuracy(rows, answers, told, seed),
        beyond=accuracy(rows, forced, beyond, seed),
        coverage=share(len(told), len(decided)),
        confusion=confusion(rows, answers, decided),
        undecided=len(rows) - len(decided),
        notes=tuple(notes),
    )
    return found, expected(rows, answers)


def weigh(rows: Iterable[Case], names: tuple[str, ...]) -> Weights:
    """Fit distorted against misaligned on the cases that are above the gate.

    Classes weigh the same whatever their numbers. Without cases of one of them the weights are 0 and the intercept is
    sure of the other.
    """
    from sklearn.linear_model import LogisticRegression

    used = [row for row in rows if row.truth in TOLD_APART and above(GATE, row.evidence)]
    seen = np.array([[row.evidence[name] for name in names] for row in used]).reshape(len(used), len(names))
    truth = np.array([row.truth == TOLD_APART[1] for row in used], dtype=bool)
    missing = tuple(name for at, name in enumerate(TOLD_APART) if not (truth == bool(at)).any())
    if not used:
        seen = np.zeros((1, len(names)))
    means, sds = seen.mean(axis=0), seen.std(axis=0)
    sds[sds == 0] = 1.0
    coefficients, intercept = np.zeros(len(names)), float(TOLD_APART[0] in missing) - float(TOLD_APART[1] in missing)
    if not missing:
        fitted = LogisticRegression(class_weight="balanced", max_iter=1_000).fit((seen - means) / sds, truth)
        coefficients, intercept = fitted.coef_[0], float(fitted.intercept_[0])
    return Weights(
        names=names,
        means=means.tolist(),
        sds=sds.tolist(),
        coefficients=coefficients.tolist(),
        intercept=intercept,
        lows=seen.min(axis=0).tolist(),
        highs=seen.max(axis=0).tolist(),
        missing=missing,
    )


def _names(rows: Sequence[Case]) -> tuple[str, ...]:
    """The evidence that all cases have.

    Raises:
        DataError: there are no cases, they differ in it, or the gate's is not there.
    """
    if not rows:
        raise DataError("got no cases; expected at least one of each class on each of several kinds of shift")
    names = tuple(rows[0].evidence)
    for at, row in enumerate(rows):
        if set(row.evidence) != set(names) or not set(GATE) <= set(names):
            raise DataError(
                f"case {at} ({row.model}, {row.kind}) has the evidence {', '.join(row.evidence) or 'of nothing'}; "
                f"all need the same, {', '.join(GATE)} among it"
            )
    return names
