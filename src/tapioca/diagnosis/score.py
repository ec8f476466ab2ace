"""How often verdicts on cases are right, and what pruning came to where the classifier was as sure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tapioca.diagnosis.records import (
    BAND_EDGES,
    CANNOT_TELL,
    Band,
    Case,
    Diagnosis,
    DiagnosisLabel,
    LeftOut,
    LeftOutScore,
    Unseen,
)
from tapioca.records.results import Interval
from tapioca.stats import bootstrap_counts, percentile_interval, widen

RESAMPLES = 2_000


def score_verdicts(
    cases: Sequence[Case], answers: Mapping[int, Diagnosis], left_out: LeftOut, n: int, seed: int = 0
) -> LeftOutScore:
    """Score what was said, at one number of examples, of the cases that are distorted or misaligned.

    Args:
        cases: all of them.
        answers: to cases above their null, by their places.
    """
    judged = [
        (index, case) for index, case in enumerate(cases) if case.n == n and case.truth in ("distorted", "misaligned")
    ]
    weighed = [(case, said) for index, case in judged if (said := answers.get(index)) and said.probability is not None]
    decided = [(case, said) for case, said in weighed if said.verdict != CANNOT_TELL]
    right, right_ci95 = measure_share([(case, said.verdict == case.truth) for case, said in decided], seed)
    truths = [case.truth for case, _ in weighed]
    balanced, balanced_ci95 = measure_share(
        [(case, _is_likelier_truth(case, said)) for case, said in weighed], seed, balanced=len(set(truths)) == 2
    )
    return LeftOutScore(
        left_out=left_out,
        n=n,
        cells=Counter(case.truth for _, case in judged if case.truth),
        decided=len(decided) / len(judged) if judged else 0.0,
        right=right,
        right_ci95=right_ci95,
        balanced=balanced,
        balanced_ci95=balanced_ci95,
    )


def _is_likelier_truth(case: Case, said: Diagnosis) -> bool:
    """Whether the likelier class is the truth."""
    return (said.probability is not None and said.probability >= 0.5) == (case.truth == "distorted")


def measure_share(
    hits: Sequence[tuple[Case, bool]], seed: int = 0, balanced: bool = False
) -> tuple[float | None, Interval | None]:
    """Share of cases that are hits, None of none, with a 95 % interval.

    The interval resamples kinds of shift and models, both, and takes each case as often as its kind times its model was
    drawn (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1), widened for the smaller number of the two
    (`stats.widen`): it is about other kinds and other models. It is never narrower than Wilson's interval for as many cases
    drawn at random, since all or none of them resample to one share. Resamples without a case are left out.

    Args:
        balanced: take the mean of the shares of each truth.
    """
    if not hits:
        return None, None
    rng, cases, is_hit = np.random.default_rng(seed), [case for case, _ in hits], np.array([hit for _, hit in hits])
    kinds, models = [case.kind for case in cases], [case.model for case in cases]
    weights = _count_draws(kinds, rng) * _count_draws(models, rng)
    truths = sorted({str(case.truth) for case in cases}) if balanced else [None]
    members = np.array([[truth is None or case.truth == truth for case in cases] for truth in truths], dtype=np.float64)
    totals = weights @ members.T
    complete = totals.all(axis=1)
    shares = ((weights[complete] * is_hit) @ members.T / totals[complete]).mean(axis=1)
    low, high = percentile_interval(widen(shares, len(set(kinds)), len(set(models))))
    of_cases = binomtest(int(is_hit.sum()), len(is_hit)).proportion_ci(method="wilson")
    return float(shares[0]), (max(min(low, of_cases.low), 0.0), min(max(high, of_cases.high), 1.0))


def _count_draws(labels: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """How often each case's label counts, (1 + resample, case): once, then as often as it was drawn."""
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    return bootstrap_counts(len(names), RESAMPLES, rng)[:, index]


def count_opposite(cases: Sequence[Case], answers: Iterable[Mapping[int, Diagnosis]]) -> int:
    """How many shifts are called distorted at one number of examples and misaligned at another, by weights fitted without the
    same group."""
    opposite = set()
    for answers_left_out in answers:
        verdicts = defaultdict[tuple[str, str, str, float], set[DiagnosisLabel]](set)
        for index, said in answers_left_out.items():
            verdicts[cases[index].shift].add(said.verdict)
        opposite |= {shift for shift, said_of_it in verdicts.items() if {"distorted", "misaligned"} <= said_of_it}
    return len(opposite)


def find_largest(cases: Sequence[Case]) -> list[int]:
    """Of every shift the place of the case with the most examples."""
    by_size = sorted(enumerate(cases), key=lambda pair: pair[1].n)
    return list({case.shift: index for index, case in by_size}.values())


def summarise_bands(cases: Sequence[Case], answers: Mapping[int, Diagnosis], seed: int = 0) -> tuple[Band, ...]:
    """What searches came to by the probability of distorted, of the cases with most examples on which a plan was searched."""
    bands = defaultdict[tuple[int, str], list[Case]](list)
    for index in find_largest(cases):
        said = answers.get(index)
        if said and said.probability is not None and cases[index].gain is not None:
            bands[find_band(said.probability), cases[index].metric].append(cases[index])
    return tuple(
        Band(low=BAND_EDGES[place], high=BAND_EDGES[place + 1], **_summarise_gains(members, seed))
        for (place, _), members in sorted(bands.items(), key=lambda pair: pair[0])
    )


def summarise_unseen(cases: Sequence[Case], seed: int = 0) -> tuple[Unseen, ...]:
    """What searches came to on cases in which no deviation is above its null, by number of examples."""
    unseen = defaultdict[tuple[int, str], list[Case]](list)
    for case in cases:
        if not case.is_shifted and case.gain is not None:
            unseen[case.n, case.metric].append(case)
    return tuple(Unseen(n=n, **_summarise_gains(members, seed)) for (n, _), members in sorted(unseen.items()))


def find_band(probability: float) -> int:
    """The place of the band that a probability of distorted lies in."""
    return min(int(np.searchsorted(BAND_EDGES, probability, side="right")), len(BAND_EDGES) - 1) - 1


def _summarise_gains(members: list[Case], seed: int) -> dict[str, Any]:
    """The fields of `Gains`."""
    has_gained = [(case, case.low is not None and case.low > 0) for case in members]
    gains = [case.gain for case in members if case.gain is not None]
    return {
        "metric": members[0].metric,
        "cases": len(members),
        "gained": sum(gained for _, gained in has_gained),
        "gained_ci95": measure_share(has_gained, seed)[1],
        "quartiles": tuple(np.percentile(gains, [25, 50, 75]).tolist()),
    }
