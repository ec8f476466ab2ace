"""The claims C1 to C9: what each measures, and its rule as studies/claims.yaml has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tapioca.geometry.profiles import KINDS
from tapioca.lab.study.causes import Causes
from tapioca.lab.study.measure import Measure, Resampling, sizes
from tapioca.lab.study.numbers import Numbers
from tapioca.lab.study.pool import Drawn
from tapioca.lab.study.rules import Bound, Conditions, EverySize, all_above, all_below
from tapioca.records import Unit
from tapioca.records.study import Claim

GAIN: Unit = "log ratio of errors"
BEND: Unit = "mean |log ratio|"
RANKS: Unit = "rank correlation"
SLOPE: Unit = "log ratio per e-fold of size"
ANY = (-np.inf, np.inf)
WITHIN: dict[Unit, tuple[float, float]] = {
    GAIN: ANY,
    BEND: ANY,
    RANKS: (-1.0, 1.0),
    SLOPE: ANY,
    "share": (0.0, 1.0),
    "accuracy": (0.0, 1.0),
}
"""What values cannot leave."""
LEAST_BEND = 0.01
"""Excess deviation below which the rules of C3 and C4 hold there to be none."""


@dataclass(frozen=True, eq=False)
class Question:
    """A claim in one setting.

    Attributes:
        rule: its conditions.
        beside: measures that are shown and decide nothing.
    """

    rule: Conditions
    beside: tuple[Measure, ...] = ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them, those that decide first."""
        deciding = [one.measure for one in (*self.rule.supported, *self.rule.not_supported)]
        return tuple({measure.name: measure for measure in (*deciding, *self.beside)}.values())


class Claims:
    """The claims of one setting.

    Args:
        numbers: what was measured.
        causes: the same of tuned models and scaled layers.
        margin: the gain held to be nothing.
        how: of intervals.
    """

    def __init__(self, numbers: Numbers, causes: Causes, margin: float, how: Resampling):
        self.numbers, self.causes, self.margin, self.how = numbers, causes, margin, how

    def question(self, claim: Claim) -> Question:
        """One claim's measures and rule."""
        asked: dict[Claim, Callable[[], Question]] = {
            "C1": self._in_distribution,
            "C2": self._out_of_distribution,
            "C3": lambda: self._bent("norm"),
            "C4": lambda: self._bent("distance"),
            "C5": self._realigned,
            "C6": self._attributed,
            "C7": self._caused,
            "C8": self._scaled,
            "C9": self._sized,
        }
        return asked[claim]()

    def measure(self, name: str, table: str, unit: Unit, decides: bool = True, shifted: bool = True) -> Measure:
        """A measure from the numbers of one name."""
        found = self.numbers.tables.get(table) or self.causes.tables.get(table) or {}
        return Measure(name, unit, self.numbers.grid, found, self.how, decides, shifted, within=WITHIN[unit])

    def _zero(self) -> Measure:
        return self.measure("ID gain of greedy's plan searched on ID data", "id gain", GAIN, shifted=False)

    def gain(self) -> Measure:
        """The gain of C2."""
        return self.measure("OOD gain of greedy's plan", "gain", GAIN)

    def _in_distribution(self) -> Question:
        gain = self._zero()
        rule = Conditions(all_below([gain], self.margin), all_above([gain]))
        name = "ID gain of the best plan that drops something"
        return Question(rule, (self.measure(name, "id mildest", GAIN, decides=False, shifted=False),))

    def _out_of_distribution(self) -> Question:
        gain = self.gain()
        beside = (
            self.measure("what that plan does to ID prompts", "gain on id", GAIN, decides=False),
            self.measure("share of plans of its size that gain more", "rank", "share", decides=False),
            self.measure("mean gain of all plans of its size", "mean of its size", GAIN, decides=False),
            self.measure("gain of the best of all plans on the search prompts", "oracle", GAIN, decides=False),
            self.measure("accuracy of the full model", "accuracy", "accuracy", decides=False),
            self.measure("accuracy under that plan", "accuracy planned", "accuracy", decides=False),
        )
        rule = Conditions(all_above([gain]), all_below([gain], self.margin))
        return Question(rule, tuple(measure for measure in beside if measure.table))

    def _bent(self, kind: str) -> Question:
        excess = self.measure(f"{kind} deviation less its null", f"{kind} excess", BEND)
        return Question(Conditions(all_above([excess]), all_below([excess], LEAST_BEND)))

    def _realigned(self) -> Question:
        removed = [self.measure(f"{kind} realignment by greedy's plan", f"{kind} realigned", BEND) for kind in KINDS]
        over = [
            self.measure(f"{kind} realignment with gain over all plans of its size", f"{kind} over plans", RANKS)
            for kind in KINDS
        ]
        return Question(Conditions(all_above([*removed, *over]), all_below(removed)))

    def _attributed(self) -> Question:
        along, removal = (
            [
                self.measure(f"{kind} share {how} with gain over layers", f"{kind} {way}", RANKS, way == "along")
                for kind in KINDS
            ]
            for way, how in (("along", "along the stream"), ("removal", "by removal"))
        )
        return Question(Conditions(all_above(along), all_below(along)), tuple(removal))

    def _caused(self) -> Question:
        names = [("anew", "gain of a plan searched anew"), *((kind, f"{kind} deviation") for kind in KINDS)]
        rising = [self.measure(f"{said} with strength", f"{name} with strength", RANKS) for name, said in names]
        zero = self._zero()
        after = self.measure("gain on shifted data after tuning on them", "tuned", GAIN)
        less = self.measure("gain of the control less that after tuning", "control less tuned", GAIN)
        within = (Bound(zero, "above", -self.margin), Bound(zero, "below", self.margin))
        rule = Conditions(
            (*all_above(rising), *within, Bound(after, "below", self.margin), Bound(less, "above")),
            all_below([*rising, less]),
        )
        beside = (
            self.measure("gain of the fixed plan with strength", "fixed with strength", RANKS, decides=False),
            self.measure("gain of the fixed plan", "fixed gain", GAIN, decides=False),
            self.measure("gain on shifted data of models tuned on ID data", "control", GAIN, decides=False),
            self.measure("gain on former ID data after tuning on shifted data", "former", GAIN, decides=False),
            *(
                self.measure(f"{kind} deviation of former ID data less its null", f"former {kind}", BEND, decides=False)
                for kind in KINDS
            ),
        )
        return Question(rule, beside)

    def _scaled(self) -> Question:
        together = [self.measure(f"error with {kind} deviation over scales", f"dose {kind}", RANKS) for kind in KINDS]
        less = [
            replace(
                self.measure(f"the same for {kind} less that of random sets", f"dose {kind} less random", RANKS),
                within=(-2.0, 2.0),
            )
            for kind in KINDS
        ]
        beside = [
            self.measure(f"the same for {kind} of random sets", f"dose {kind} random", RANKS, decides=False)
            for kind in KINDS
        ]
        return Question(Conditions(all_above([*together, *less]), all_below(together)), tuple(beside))

    def _sized(self) -> Question:
        gain, known = self.gain(), sizes(self.numbers.grid)
        if len(known) < 2:
            return Question(Conditions((EverySize(gain),), ()))
        ends = [self.line(known[0], "smallest"), self.line(known[-1], "largest")]
        return Question(Conditions((EverySize(gain), *all_above(ends)), all_below(ends)), (self._slope(),))

    def line(self, parameters: float, name: str) -> Measure:
        """The regression line of the gain on log parameters, at one size."""
        logs, at = np.log(self.numbers.grid.parameters), float(np.log(parameters))

        def there(drawn: Drawn) -> np.ndarray:
            middle, mean, slope = drawn.line(logs)
            return np.asarray(mean + slope * (at - middle))

        return replace(self.gain(), name=f"regression line of the gain at the {name} size", reduce=there, is_mean=False)

    def _slope(self) -> Measure:
        logs = np.log(self.numbers.grid.parameters)
        gain = replace(self.gain(), name="slope of that line", unit=SLOPE, decides=False, is_mean=False)
        return replace(gain, reduce=lambda drawn: drawn.line(logs)[2])
