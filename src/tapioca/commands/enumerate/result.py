"""Evaluating every plan of drops: what a user asks for, and what was found, which goes to JSON and back."""

from pydantic import Field

from tapioca.plan import Plan
from tapioca.records.examples import Metric
from tapioca.records.results import Domain, Gain, Interval, Preflight, ProfileKind, Record, RunHeader


class PlanInSpace(Record):
    """One of all plans.

    Attributes:
        drops: the layers it drops.
        ood, id: gains over the full model on the test splits, as `Gain.gain`; `id` is None without reference data.
        norm, distance: realignment on OOD search examples, the deviation it removes over the layers it keeps; None
            without reference data.
    """

    drops: tuple[int, ...]
    search: float = Field(description="Mean score on the OOD search split: it chooses plans, and is no result.")
    ood: float
    id: float | None = None
    norm: float | None = None
    distance: float | None = None


class RankedPlan(Record):
    """A plan chosen on the search split, judged on held-out data, and its place among all plans of its size.

    Attributes:
        plan: the plan chosen.
        ood, id: against the full model on the test splits; `id` is None without reference data.
        better: how many plans of its size have a higher OOD test score.
    """

    plan: Plan
    ood: Gain
    id: Gain | None
    better: int


class Correlation(Record):
    """Spearman's rank correlation of realignment with OOD test gain over all plans of one size.

    Attributes:
        kind: the profile that is realigned.
        value: the rank correlation.
        ci95: over examples, those of the gains and those of the geometry, with the plans as they are.
        plans_ci95: over plans, as if they were drawn from more of their kind, with the examples as they are.
        p: share of relabellings of the layers with a correlation at least as far from 0, the observed one counted
            among them; plans that share layers stay plans that share layers.
    """

    kind: ProfileKind
    value: float
    ci95: Interval
    plans_ci95: Interval
    p: float


class SizeOfSpace(Record):
    """All plans that drop so many layers.

    Attributes:
        drops: how many layers.
        plans: how many there are.
        oracle: the best of them on the search split.
        greedy: the one that dropping one layer after another leads to, on the same split.
        regret_search: what greedy misses there, as a gain of the oracle over greedy's plan; exact, and no result.
        regret: the same on the OOD test split: greedy's plan stands as `full`, the oracle as `planned`. It can be below
            0, since the oracle is chosen elsewhere.
        gain_quantiles: least, lower quartile, median, upper quartile and largest OOD test gain of all plans.
        improving: share of all plans with an OOD test gain above 0.
        correlations: empty without reference data, or where all plans gain the same.
    """

    drops: int
    plans: int
    oracle: RankedPlan
    greedy: RankedPlan
    regret_search: float
    regret: Gain
    gain_quantiles: tuple[float, float, float, float, float]
    improving: float
    correlations: tuple[Correlation, ...]


class EnumerateResult(RunHeader):
    """All plans of a model: what `tapioca enumerate` returns and `enumerate.json` holds."""

    metric: Metric
    n_layers: int = Field(description="Layers of the model.")
    checks: dict[Domain, Preflight]
    sample: int = Field(
        description="OOD and ID examples whose geometry was measured, of each; 0 without reference data."
    )
    sizes: tuple[SizeOfSpace, ...]
    plans: tuple[PlanInSpace, ...] = Field(description="All of them, the full model left out.")
