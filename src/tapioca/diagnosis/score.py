"""How often verdicts on cases are right, and what pruning came to where they were given."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from tapioca.diagnosis.records import Accuracy, Case, DiagnosisLabel, Expected, Shift
from tapioca.stats import bootstrap_counts, percentile_interval, widen

RESAMPLES = 2_000


def share_or_none(count: int, total: int) -> float | None:
    """A share; None of nothing."""
    return count / total if total else None


def measure_accuracy(
    cases: Sequence[Case], answers: Mapping[int, DiagnosisLabel], indices: Sequence[int], seed: int = 0
) -> Accuracy:
    """Balanced and plain accuracy of some answers.

    The interval resamples kinds of shift and models, both, and takes each case as often as its kind times its model was
    drawn (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1), widened for the smaller number of the two
    (`stats.stretch`): it is about other kinds and other models. Resamples that lack a truth have no balanced accuracy and
    are left out.

    Args:
        cases: all of them.
        answers: to cases, by their places.
        indices: of those that count; all have a truth.
    """
    chosen_cases = [cases[index] for index in indices]
    counts = Counter(case.truth for case in chosen_cases if case.truth)
    if not chosen_cases:
        return Accuracy(cases={}, balanced=None, ci95=None, plain=None, commonest=None)
    is_right = np.array([answers[index] == cases[index].truth for index in indices])
    is_of_truth = np.array([[case.truth == truth for case in chosen_cases] for truth in counts], dtype=np.float64)
    rng = np.random.default_rng(seed)
    kinds, models = [case.kind for case in chosen_cases], [case.model for case in chosen_cases]
    weights = _case_counts(kinds, rng) * _case_counts(models, rng)
    totals = weights @ is_of_truth.T
    is_complete = totals.all(axis=1)
    balanced = ((weights[is_complete] * is_right) @ is_of_truth.T / totals[is_complete]).mean(axis=1)
    low, high = percentile_interval(widen(balanced, len(set(kinds)), len(set(models))))
    return Accuracy(
        cases=dict(counts),
        balanced=float(balanced[0]),
        ci95=(max(low, 0.0), min(high, 1.0)),
        plain=float(is_right.mean()),
        commonest=max(counts.values()) / len(chosen_cases),
    )


def _case_counts(labels: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """How often each case's label counts, (1 + resample, case): once, then as often as it was drawn."""
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    return bootstrap_counts(len(names), RESAMPLES, rng)[:, index]


def count_confusion(
    cases: Sequence[Case], answers: Mapping[int, DiagnosisLabel], indices: Sequence[int]
) -> dict[Shift, dict[DiagnosisLabel, int]]:
    """By truth, how many of some cases were said to be what."""
    counts: dict[Shift, Counter[DiagnosisLabel]] = defaultdict(Counter)
    for index in indices:
        if truth := cases[index].truth:
            counts[truth][answers[index]] += 1
    return {truth: dict(said) for truth, said in counts.items()}


def summarise_gains(cases: Sequence[Case], answers: Mapping[int, DiagnosisLabel]) -> tuple[Expected, ...]:
    """What pruning came to by verdict, of the cases on which a plan was searched."""
    gains = defaultdict[tuple[DiagnosisLabel, str], list[tuple[float, bool]]](list)
    for index, case in enumerate(cases):
        if case.gain is not None:
            gains[answers[index], case.metric].append((case.gain, case.low is not None and case.low > 0))
    return tuple(
        Expected(
            verdict=verdict,
            metric=metric,
            cases=len(rows),
            gained=sum(is_sure for _, is_sure in rows) / len(rows),
            quartiles=tuple(np.percentile([gain for gain, _ in rows], [25, 50, 75]).tolist()),
        )
        for (verdict, metric), rows in sorted(gains.items())
    )
