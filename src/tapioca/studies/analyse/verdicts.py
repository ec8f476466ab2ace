"""Rules of claims: conditions on intervals, what they come to, and the sentence that says why.

A claim is supported where all its conditions for that hold, not supported where one of the others does. Where both come
true at once, as for a log ratio that is surely above 0 and surely below the margin, it is inconclusive.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tapioca.records import with_interval
from tapioca.stats import CONFIDENCE_LEVEL, correct_holm, percentile_interval
from tapioca.studies.analyse.estimates import Measure, model_sizes
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

    def try_on(self, kind: str | None = None) -> ConditionResult:
        """Try it on all kinds but controls, or on one; what has no kinds counts for each."""
        measure = self.measure.of_kinds(kind) if kind and self.measure.shifted else self.measure.without_controls
        return self._try_sizes(measure) if self.at == "every size" else self._try_interval(measure)

    def _try_interval(self, measure: Measure) -> ConditionResult:
        values = measure.finite_resamples()
        if values is None:
            return ConditionResult(measure.name, False, 1.0, f"{measure.name}: not measured")
        low, high = percentile_interval(values)
        number_text = f"{measure.name} {with_interval(values[0], (low, high), '+.3f')}"
        if measure.models < self.min_models:
            return ConditionResult(measure.name, False, 1.0, f"{number_text}, of too few models ({measure.models})")
        holds = self._holds(low if self.side == "above" else high)
        on_wrong_side = values[1:] <= self.bound if self.side == "above" else values[1:] >= self.bound
        p = min(1.0, 2 * (int(on_wrong_side.sum()) + 1) / len(values))
        return ConditionResult(measure.name, holds, p, f"{number_text}, {'' if holds else 'not '}{self._requirement}")

    def _try_sizes(self, measure: Measure) -> ConditionResult:
        of_sizes, n_sizes = measure.estimate_by_size(None), len(model_sizes(measure.axes))
        if n_sizes < 2 or len(of_sizes) < n_sizes:
            reason = f"{measure.name}: {len(of_sizes)} model size{'s' * (len(of_sizes) != 1)} measured"
            return ConditionResult(measure.name, False, 1.0, reason)
        n_holding = sum(self._holds(of_size.value.value) for of_size in of_sizes)
        reason = f"{measure.name} {self._requirement} at {n_holding} of {len(of_sizes)} sizes"
        return ConditionResult(measure.name, n_holding == len(of_sizes), 0.0, reason)

    def _holds(self, number: float) -> bool:
        return number > self.bound if self.side == "above" else number < self.bound

    @property
    def _requirement(self) -> str:
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
        return "; ".join(dict.fromkeys(outcome.reason for outcome in self.results))

    @property
    def told_by(self) -> tuple[str, ...]:
        """The measures behind it."""
        return tuple(dict.fromkeys(outcome.measure for outcome in self.results))


@dataclass(frozen=True, eq=False)
class MeasuredRule:
    """A claim's rule and its numbers.

    Attributes:
        supported: all of these.
        not_supported: one of these is enough, of which all conditions must hold.
        beside: measures that are shown and decide nothing.
    """

    supported: tuple[MeasuredCondition, ...]
    not_supported: tuple[tuple[MeasuredCondition, ...], ...]
    beside: tuple[Measure, ...] = ()

    @property
    def deciding(self) -> tuple[Measure, ...]:
        """What its conditions are about."""
        return tuple(condition.measure for condition in (*self.supported, *chain(*self.not_supported)))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them, those that decide first."""
        return tuple({measure.name: measure for measure in (*self.deciding, *self.beside)}.values())

    def decide(self, kind: str | None = None) -> Ruling:
        """Try the rule on all kinds but controls, or on one."""
        supporting, *opposing = (
            [condition.try_on(kind) for condition in conditions] for conditions in (self.supported, *self.not_supported)
        )
        p_by_side: dict[Decision, float] = {
            "supported": _largest_p(supporting),
            "not supported": min(1.0, len(opposing) * min(map(_largest_p, opposing), default=1.0)),
        }
        fulfilled = [outcome for outcomes in opposing if _all_hold(outcomes) for outcome in outcomes]
        if _all_hold(supporting):
            return Ruling("inconclusive" if fulfilled else "supported", (*supporting, *fulfilled), p_by_side)
        if fulfilled:
            return Ruling("not supported", tuple(fulfilled), p_by_side)
        return Ruling("inconclusive", tuple(outcome for outcome in supporting if not outcome.holds), p_by_side)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds its measures have numbers of, controls left out."""
        return tuple(dict.fromkeys(kind for measure in self.deciding for kind in measure.kinds))

    def decide_by_kind(self, reason_by_kind: dict[str, str]) -> tuple[KindDecision, ...]:
        """The rule on each kind alone; p-values are corrected over kinds, and a decision needs one below 5 %, and no reason
        why the kind cannot be decided on."""
        rulings = {kind: self.decide(kind) for kind in self.kinds}
        p_for, p_against = (
            correct_holm([ruling.p[side] for ruling in rulings.values()]) for side in ("supported", "not supported")
        )
        return tuple(
            _decide_kind(kind, ruling, against if ruling.decision == "not supported" else p, reason_by_kind.get(kind))
            for (kind, ruling), p, against in zip(rulings.items(), p_for, p_against, strict=True)
        )


def _largest_p(outcomes: list[ConditionResult]) -> float:
    return max((outcome.p for outcome in outcomes), default=1.0)


def _all_hold(outcomes: list[ConditionResult]) -> bool:
    return bool(outcomes) and all(outcome.holds for outcome in outcomes)


def _decide_kind(kind: str, ruling: Ruling, p_holm: float, unjudged: str | None) -> KindDecision:
    decision, reason = ruling.decision, ruling.reason
    if unjudged:
        decision, reason = "inconclusive", f"{unjudged}; {reason}"
    elif decision != "inconclusive" and p_holm >= 1 - CONFIDENCE_LEVEL:
        decision, reason = "inconclusive", f"{reason}, but p = {p_holm:.3f} after Holm's correction over kinds"
    return KindDecision(kind=kind, decision=decision, reason=reason, p_holm=p_holm)
