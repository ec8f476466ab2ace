"""What the geometry of hidden states comes to beside profiles and deviations; goes to JSON and back."""

from pydantic import Field

from tapioca.plan import BranchName, Plan
from tapioca.records.results import Interval, ProfileKind, Record


class Estimate(Record):
    """A number with its 95 % interval over examples."""

    value: float = Field(description="The number.")
    ci95: Interval = Field(description="Its interval.")


class PermutationTest(Record):
    """A permutation test between ID and OOD examples.

    Attributes:
        value: the statistic of the examples as they are.
        p: share of the permutations with a statistic at least as large, the observed one counted among them:
            (b + 1) / (m + 1) for b of m random permutations.
        null_mean, null_upper: mean and 95th percentile of the statistic over the permutations.
    """

    value: float
    p: float
    null_mean: float
    null_upper: float


class Attribution(Record):
    """Each layer's own share of the deviation of OOD from ID data, in two ways that differ (docs/geometry.md).

    Attributes:
        kind: the profile that deviates.
        before: the deviation before the first layer.
        along: what the deviation grows by from before a layer to after it, along the unpruned stream; with `before`
            they sum to the deviation after the last layer.
        removal: what the mean deviation over the other layers falls by when the layer is dropped; None where the layer
            cannot be dropped.
    """

    kind: ProfileKind
    before: float
    along: tuple[Estimate, ...]
    removal: tuple[Estimate | None, ...]


class RepresentationMeasures(Record):
    """How the hidden states of a set of examples fill space after each kept layer.

    Attributes:
        plan, n: the plan, and how many examples.
        cosine_spread, effective_rank, intrinsic_dimension: defined in docs/geometry.md, one per kept layer, as those below.
        cka: linear CKA to the full model's states of the same examples; None under the full model.
        alignment: cosine between their covariance and that of the reference examples; None without them.
    """

    plan: Plan
    n: int
    cosine_spread: tuple[float, ...]
    effective_rank: tuple[float, ...]
    intrinsic_dimension: tuple[float, ...]
    cka: tuple[float, ...] | None = None
    alignment: tuple[float, ...] | None = None


class Update(Record):
    """What one layer, or one branch of it, adds to the residual stream at the last prompt token.

    Attributes:
        layer: its number.
        norm: mean Euclidean norm.
        angle: mean angle to the stream it is added to, over pi: 0 along it, 0.5 at a right angle, 1 against it.
        share: mean share of the final state.
    """

    layer: int
    branch: BranchName | None = Field(description="None for the whole layer.")
    norm: Estimate
    angle: Estimate
    share: Estimate


class Updates(Record):
    """All updates of a plan, in the order they are added; the shares and that of the first state sum to 1."""

    plan: Plan = Field(description="The plan.")
    n: int = Field(description="How many examples.")
    first_share: Estimate = Field(description="Share of the state before the first layer.")
    updates: tuple[Update, ...] = Field(description="One by one.")
