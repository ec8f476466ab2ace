"""Rules of claims: conditions on intervals, what they come to, and the sentence that says why.

A claim is supported where all its conditions for that hold, not supported where one of the others does. Where both come
true at once, as for a gain that is surely above 0 and surely below the margin, it is inconclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tapioca.lab.study.grid import FEWEST_MODELS
from tapioca.lab.study.measure import Measure, interval, sizes
from tapioca.records import Decision, KindDecision
from tapioca.stats import LEVEL, holm


@dataclass(frozen=True, eq=False)
class Judged:
    """One condition tried.

    Attributes:
        holds: whether it holds; False where nothing was measured.
        p: two-sided bootstrap p-value of the bound it is about; 1 where nothing was measured.
        said: the number, its interval and what was asked of it.
    """

    holds: bool
    p: float
    said: str


@dataclass(frozen=True, eq=False)
class Bound:
    """The condition that the whole 95 % interval of a measure lies above or below a number.

    A number of fewer than three models fulfils none: its interval does not know how models differ.
    """

    measure: Measure
    side: Literal["above", "below"]
    at: float = 0.0

    def judge(self, kind: str | None = None) -> Judged:
        """Try it on all kinds but controls, or on one; what has no kinds counts for each."""
        measure = self.measure.of(kind) if kind and self.measure.shifted else self.measure.main
        drawn = measure.drawn()
        asked = f"{self.side} {self.at:.3g}"
        if drawn is None:
            return Judged(False, 1.0, f"{measure.name}: not measured")
        low, high = interval(drawn)
        said = f"{measure.name} {drawn[0]:+.3f} [{low:+.3f}, {high:+.3f}]"
        if measure.models < FEWEST_MODELS:
            return Judged(False, 1.0, f"{said}, of too few models ({measure.models})")
        holds = low > self.at if self.side == "above" else high < self.at
        wrong = drawn[1:] <= self.at if self.side == "above" else drawn[1:] >= self.at
        p = min(1.0, 2 * (int(wrong.sum()) + 1) / len(drawn))
        return Judged(holds, p, f"{said}, {'' if holds else 'not '}{asked}")


@dataclass(frozen=True, eq=False)
class EverySize:
    """The condition that a mean is above 0 at every model size, of which there are at least two."""

    measure: Measure

    def judge(self, kind: str | None = None) -> Judged:
        """Try it on all kinds but controls, or on one."""
        measure = self.measure.of(kind) if kind else self.measure.main
        rows, wanted = measure.sizes(None), len(sizes(measure.grid))
        if wanted < 2 or len(rows) < wanted:
            return Judged(False, 1.0, f"{measure.name}: {len(rows)} model size{'s' * (len(rows) != 1)} measured")
        above = sum(row.sign == "+" for row in rows)
        holds = above == len(rows)
        return Judged(holds, 0.0, f"{measure.name} above 0 at {above} of {len(rows)} sizes")


Condition = Bound | EverySize


@dataclass(frozen=True, eq=False)
class Ruling:
    """What a rule comes to.

    Attributes:
        p: of each side of the rule; all conditions must hold for the one, and one of several for the other.
    """

    decision: Decision
    reason: str
    p: dict[Decision, float]


@dataclass(frozen=True, eq=False)
class Conditions:
    """A claim's rule.

    Attributes:
        supported: all of these.
        not_supported: one of these.
    """

    supported: tuple[Condition, ...]
    not_supported: tuple[Condition, ...]

    def judge(self, kind: str | None = None) -> Ruling:
        """Try the rule on all kinds but controls, or on one."""
        good, bad = ([one.judge(kind) for one in side] for side in (self.supported, self.not_supported))
        yes, no = all(one.holds for one in good), any(one.holds for one in bad)
        if yes and no:
            decision: Decision = "inconclusive"
            telling = [*good, *(one for one in bad if one.holds)]
        elif yes or no:
            decision = "supported" if yes else "not supported"
            telling = good if yes else [one for one in bad if one.holds]
        else:
            decision, telling = "inconclusive", [one for one in good if not one.holds]
        p: dict[Decision, float] = {
            "supported": max(one.p for one in good),
            "not supported": min(1.0, len(bad) * min((one.p for one in bad), default=1.0)),
        }
        return Ruling(decision, "; ".join(dict.fromkeys(one.said for one in telling)), p)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds its measures have numbers of, controls left out."""
        found = [kind for one in (*self.supported, *self.not_supported) for kind in one.measure.kinds]
        return tuple(dict.fromkeys(found))

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
        if unjudged:
            ruling = replace(ruling, decision="inconclusive", reason=f"{unjudged}; {ruling.reason}")
        elif ruling.decision != "inconclusive" and p_holm >= 1 - LEVEL:
            reason = f"{ruling.reason}, but p = {p_holm:.3f} after Holm's correction over kinds"
            ruling = replace(ruling, decision="inconclusive", reason=reason)
        return KindDecision(kind=kind, decision=ruling.decision, reason=ruling.reason, p_holm=p_holm)


def all_above(measures: Sequence[Measure], at: float = 0.0) -> tuple[Bound, ...]:
    """Bounds below which no interval may reach."""
    return tuple(Bound(measure, "above", at) for measure in measures)


def all_below(measures: Sequence[Measure], at: float = 0.0) -> tuple[Bound, ...]:
    """Bounds above which no interval may reach."""
    return tuple(Bound(measure, "below", at) for measure in measures)
