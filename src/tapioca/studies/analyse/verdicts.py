"""Rules of claims: conditions on intervals, what they come to, and the sentence that says why.

A claim is supported where all its conditions for that hold, not supported where one of the others does. Where both come
true at once, as for a log ratio that is surely above 0 and surely below the margin, it is inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tapioca.records import signed_interval
from tapioca.stats import LEVEL, holm
from tapioca.studies.analyse.estimates import Measure, interval, sizes
from tapioca.studies.results import KindDecision
from tapioca.studies.rules import Decision


@dataclass(frozen=True, eq=False)
class ConditionResult:
    """One condition tried.

    Attributes:
        measure: what it is about.
        holds: whether it holds; False where nothing was measured.
        p: two-sided bootstrap p-value of its bound; 1 where nothing was measured, 0 where it is about no interval.
        reason: the number, its interval and what was asked of it.
    """

    measure: str
    holds: bool
    p: float
    reason: str


@dataclass(frozen=True, eq=False)
class MeasuredCondition:
    """A condition on a number: that its whole 95 % interval, or its mean at every model size, lies above or below a bound.

    A number of too few models fulfils none: its interval does not know how models differ. Nor does the mean of sizes where
    there are not at least two.

    Attributes:
        measure: the number.
        side, bound: where it must lie.
        min_models: numbers of fewer decide nothing.
        at: whether the interval is meant or the mean of each size.
    """

    measure: Measure
    side: Literal["above", "below"]
    bound: float
    min_models: int
    at: Literal["pooled", "every size"] = "pooled"

    def judge(self, kind: str | None = None) -> ConditionResult:
        """Try it on all kinds but controls, or on one; what has no kinds counts for each."""
        measure = self.measure.of(kind) if kind and self.measure.shifted else self.measure.main
        return self._judge_sizes(measure) if self.at == "every size" else self._judge_interval(measure)

    def _judge_interval(self, measure: Measure) -> ConditionResult:
        drawn = measure.drawn()
        if drawn is None:
            return ConditionResult(measure.name, False, 1.0, f"{measure.name}: not measured")
        low, high = interval(drawn)
        number = f"{measure.name} {signed_interval(drawn[0], (low, high), 3)}"
        if measure.models < self.min_models:
            return ConditionResult(measure.name, False, 1.0, f"{number}, of too few models ({measure.models})")
        holds = self._holds(low if self.side == "above" else high)
        wrong = drawn[1:] <= self.bound if self.side == "above" else drawn[1:] >= self.bound
        p = min(1.0, 2 * (int(np.sum(wrong)) + 1) / len(drawn))
        return ConditionResult(measure.name, holds, p, f"{number}, {'' if holds else 'not '}{self._asked}")

    def _judge_sizes(self, measure: Measure) -> ConditionResult:
        rows, wanted = measure.sizes(None), len(sizes(measure.grid))
        if wanted < 2 or len(rows) < wanted:
            reason = f"{measure.name}: {len(rows)} model size{'s' * (len(rows) != 1)} measured"
            return ConditionResult(measure.name, False, 1.0, reason)
        count = sum(self._holds(row.value.value) for row in rows)
        reason = f"{measure.name} {self._asked} at {count} of {len(rows)} sizes"
        return ConditionResult(measure.name, count == len(rows), 0.0, reason)

    def _holds(self, value: float) -> bool:
        return value > self.bound if self.side == "above" else value < self.bound

    @property
    def _asked(self) -> str:
        return f"{self.side} {self.bound:.3g}"


@dataclass(frozen=True, eq=False)
class Ruling:
    """What a rule comes to.

    Attributes:
        decision: the verdict.
        results: of the conditions that decided, or that kept it from being decided.
        p: of each side of the rule; all conditions must hold for the one, and one of several for the other.
    """

    decision: Decision
    results: tuple[ConditionResult, ...]
    p: dict[Decision, float]

    @property
    def reason(self) -> str:
        """Why, with the numbers."""
        return "; ".join(dict.fromkeys(result.reason for result in self.results))

    @property
    def told_by(self) -> tuple[str, ...]:
        """The measures behind it."""
        return tuple(dict.fromkeys(result.measure for result in self.results))


@dataclass(frozen=True, eq=False)
class MeasuredRule:
    """A claim's rule and its numbers.

    Attributes:
        supported: all of these.
        not_supported: one of these.
    """

    supported: tuple[MeasuredCondition, ...]
    not_supported: tuple[MeasuredCondition, ...]

    def judge(self, kind: str | None = None) -> Ruling:
        """Try the rule on all kinds but controls, or on one."""
        good, bad = ([condition.judge(kind) for condition in side] for side in (self.supported, self.not_supported))
        p: dict[Decision, float] = {
            "supported": max((result.p for result in good), default=1.0),
            "not supported": min(1.0, len(bad) * min((result.p for result in bad), default=1.0)),
        }
        yes, against = bool(good) and all(result.holds for result in good), [result for result in bad if result.holds]
        if yes and against:
            return Ruling("inconclusive", (*good, *against), p)
        if yes:
            return Ruling("supported", tuple(good), p)
        if against:
            return Ruling("not supported", tuple(against), p)
        return Ruling("inconclusive", tuple(result for result in good if not result.holds), p)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds its measures have numbers of, controls left out."""
        conditions = (*self.supported, *self.not_supported)
        return tuple(dict.fromkeys(kind for condition in conditions for kind in condition.measure.kinds))

    def by_kind(self, unjudged: dict[str, str]) -> tuple[KindDecision, ...]:
        """The rule on each kind alone; p-values are corrected over kinds, and a decision needs one below 5 %.

        Args:
            unjudged: why kinds cannot be decided on.
        """
        rulings = {kind: self.judge(kind) for kind in self.kinds}
        sides: tuple[Decision, ...] = ("supported", "not supported")
        corrected = {
            side: dict(zip(rulings, holm([ruling.p[side] for ruling in rulings.values()]), strict=True))
            for side in sides
        }
        return tuple(
            self._kind(kind, ruling, {side: corrected[side][kind] for side in sides}, unjudged.get(kind, ""))
            for kind, ruling in rulings.items()
        )

    def _kind(self, kind: str, ruling: Ruling, p: dict[Decision, float], unjudged: str) -> KindDecision:
        p_holm = p["supported"] if ruling.decision == "inconclusive" else p[ruling.decision]
        decision, reason = ruling.decision, ruling.reason
        if unjudged:
            decision, reason = "inconclusive", f"{unjudged}; {reason}"
        elif decision != "inconclusive" and p_holm >= 1 - LEVEL:
            decision, reason = "inconclusive", f"{reason}, but p = {p_holm:.3f} after Holm's correction over kinds"
        return KindDecision(kind=kind, decision=decision, reason=reason, p_holm=p_holm)
