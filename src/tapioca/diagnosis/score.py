"""How often verdicts on cases are right, and what pruning came to where they were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tapioca.records.diagnosis import Accuracy, Case, Diagnosis, Expected, Shift
from tapioca.stats import redraws, resampled_interval, widened

RESAMPLES = 2_000


def share(part: int, whole: int) -> float | None:
    """A share; None of nothing."""
    return part / whole if whole else None


def accuracy(rows: Sequence[Case], answers: Mapping[int, Diagnosis], at: Sequence[int], seed: int = 0) -> Accuracy:
    """Balanced and plain accuracy of some answers.

    The interval resamples kinds of shift and models, both, and takes each case as often as its kind times its model was
    drawn (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1), widened for the smaller number of the two
    (`stats.stretch`): it is about other kinds and other models. Resamples that lack a truth have no balanced accuracy and
    are left out.

    Args:
        rows: all cases.
        answers: to cases, by their places.
        at: the places of those that count; all have a truth.
        seed: of the resampling.
    """
    chosen = [rows[place] for place in at]
    counts = Counter(row.truth for row in chosen if row.truth)
    if not chosen:
        return Accuracy(cases={}, balanced=None, ci95=None, plain=None, commonest=None)
    right = np.array([answers[place] == rows[place].truth for place in at])
    of = np.array([[row.truth == truth for row in chosen] for truth in counts], dtype=np.float64)
    rng = np.random.default_rng(seed)
    kinds, models = [row.kind for row in chosen], [row.model for row in chosen]
    weights = _drawn(kinds, rng) * _drawn(models, rng)
    totals = weights @ of.T
    whole = totals.all(axis=1)
    balanced = ((weights[whole] * right) @ of.T / totals[whole]).mean(axis=1)
    low, high = resampled_interval(widened(balanced, len(set(kinds)), len(set(models))))
    return Accuracy(
        cases=dict(counts),
        balanced=float(balanced[0]),
        ci95=(max(low, 0.0), min(high, 1.0)),
        plain=float(right.mean()),
        commonest=max(counts.values()) / len(chosen),
    )


def _drawn(labels: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """How often each case's label counts, (1 + resample, case): once, then as often as it was drawn."""
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    return redraws(len(names), RESAMPLES, rng)[:, index]


def confusion(
    rows: Sequence[Case], answers: Mapping[int, Diagnosis], at: Sequence[int]
) -> dict[Shift, dict[Diagnosis, int]]:
    """By truth, how many of some cases were said to be what."""
    found: dict[Shift, dict[Diagnosis, int]] = {}
    for place in at:
        if truth := rows[place].truth:
            said = found.setdefault(truth, {})
            said[answers[place]] = said.get(answers[place], 0) + 1
    return found


def expected(rows: Sequence[Case], answers: Mapping[int, Diagnosis]) -> tuple[Expected, ...]:
    """What pruning came to by verdict, of the cases on which a plan was searched."""
    found = []
    for verdict in sorted(set(answers.values())):
        for metric in ("accuracy", "error"):
            cases = [row for at, row in enumerate(rows) if answers[at] == verdict and row.metric == metric]
            gains = [row.gain for row in cases if row.gain is not None]
            if gains:
                sure = sum(row.low is not None and row.low > 0 for row in cases if row.gain is not None)
                quartiles = tuple(np.percentile(gains, [25, 50, 75]).tolist())
                found.append(
                    Expected(
                        verdict=verdict,
                        metric=metric,
                        cases=len(gains),
                        gained=sure / len(gains),
                        quartiles=quartiles,
                    )
                )
    return tuple(found)
