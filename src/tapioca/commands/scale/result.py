"""Residual scaling: what a user asks for, and what was found; the findings go to JSON and back."""

from typing import Literal

from pydantic import Field

from tapioca.plan import Plan
from tapioca.records.examples import Metric
from tapioca.records.measures import Estimate
from tapioca.records.results import Domain, Gain, Interval, ProfileKind, Record, RunHeader

Outcome = Literal["score"] | ProfileKind
"""What answers to a scale: the OOD score, or one of the two deviations from ID."""


class Dose(Record):
    """One scale of one set of layers, on held-out data.

    Attributes:
        scale: the scale; at 0 the layers are dropped, at 1 the model is as it came.
        plan: what that makes of the model.
        score: mean OOD score, higher is better, with its interval over groups.
        gain: on OOD data, paired with the full model.
        id_score, id_gain: the same on ID data; None without.
        norm, distance: deviations of OOD data under the plan from ID data under the full model; None without ID data.
    """

    scale: float
    plan: Plan
    score: Estimate
    gain: Gain
    id_score: Estimate | None
    id_gain: Gain | None
    norm: Estimate | None
    distance: Estimate | None


class Trend(Record):
    """Whether two columns of a curve rise together, or one falls as the other rises.

    Attributes:
        x, y: the columns.
        first, last: the range of scales it is about.
        rho: Spearman's rank correlation over these scales.
        ci95: its bootstrap interval over examples.
        p: bootstrap p-value, two-sided, that it is 0.
        as_strong: (b + 1) / (m + 1) for b of m random sets whose correlation has the same sign and is at least as
            large; None where none were drawn, or where the curve is not that of the chosen layers.
    """

    x: Literal["alpha", "score"]
    y: Outcome
    first: float
    last: float
    rho: float
    ci95: Interval
    p: float
    as_strong: float | None = None


class Change(Record):
    """What an outcome rises by from the full model to the smallest scale, negative where it falls.

    Attributes:
        y: the outcome.
        value: what it rises by.
        ci95: its bootstrap interval over examples.
        as_strong: as in `Trend`, by size instead of correlation.
    """

    y: Outcome
    value: float
    ci95: Interval
    as_strong: float | None = None


class Curve(Record):
    """The dose-response of one set of layers.

    Attributes:
        drops: the plan that drops them.
        layers: those after which the deviations are measured: all that `drops` keeps, or all where it keeps none.
        doses: by scale, ascending; one at which no layer would be left is missing.
        trends: over the scales up to 1 where there are enough, and over all.
    """

    drops: Plan
    layers: tuple[int, ...]
    doses: tuple[Dose, ...]
    trends: tuple[Trend, ...]
    changes: tuple[Change, ...]

    @property
    def description(self) -> str:
        """The layers, or branches, as people write them: 'layers 2, 4–5', or 'attention 3'."""
        dropped = str(self.drops).replace("drop ", "")
        return f"layer{'s' if len(self.drops.drops) > 1 else ''} {dropped}" if self.drops.drops else dropped

    def find_trend(self, x: str, y: str, last: float) -> Trend | None:
        """The trend of two columns up to a scale; None where there is none."""
        return next((t for t in self.trends if (t.x, t.y, t.last) == (x, y, last)), None)


class RandomSet(Record):
    """A random set of layers: its OOD score and its deviations at every scale of the request."""

    drops: Plan = Field(description="The plan that drops them.")
    score: tuple[float, ...] = Field(description="One per scale.")
    norm: tuple[float, ...] = Field(default=(), description="One per scale; empty without ID data.")
    distance: tuple[float, ...] = Field(default=(), description="One per scale; empty without ID data.")


class ScaleResult(RunHeader):
    """One finished sweep of scales: what `tapioca scale` returns and `scale.json` holds."""

    metric: Metric
    scales: tuple[float, ...] = Field(description="The scales, ascending.")
    examples: dict[Domain, int] = Field(description="Held-out examples the scores are of.")
    observed: int = Field(description="OOD and as many ID examples the deviations are of; 0 without ID data.")
    null: dict[Outcome, float] = Field(
        description="95th percentile of each deviation between two ID samples of the same size, over the chosen curve's layers."
    )
    chosen: Curve
    every: Curve = Field(description="All layers of the model, or all branches of the kind.")
    random_sets: tuple[RandomSet, ...]

    @property
    def all_of(self) -> str:
        """What the curve `every` scales."""
        return "all layers" if self.every.drops.drops else "all branches"
