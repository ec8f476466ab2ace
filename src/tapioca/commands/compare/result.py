"""A comparison of criteria: what a user asks for, and what was found, which goes to JSON and back."""

from pydantic import Field

from tapioca.plan import OutputSum, Plan
from tapioca.records.examples import Metric
from tapioca.records.results import Domain, Gain, Preflight, Record, RunHeader
from tapioca.records.rounds import CriterionCost
from tapioca.search.criteria import OOD_LABELS

EXACT = "tale"
"""The criterion whose search scores others are held against."""


class Pick(Record):
    """The plan one or more criteria chose for one number of drops, judged on held-out data.

    Attributes:
        drops: layers, or branches, that it drops.
        plan: the plan chosen.
        criteria: who chose it, in the order of the request.
        flops: share of the full model's floating-point operations left.
        ood, id: against the full model on the test splits; `id` is None without reference data.
        p_ood, p_id: p-value of a paired t-test over groups, corrected by Holm's method for all plans judged on these data.
        rival: on the OOD test split against the plan of the first criterion; None for that plan itself.
        gain_beside: its gain on the OOD test examples of the random plans; None where those are all.
        beaten: how many of the random plans of its size it beats there.
        front: whether no other plan judged has a better OOD score for as few operations, the full model included.
    """

    drops: int
    plan: Plan
    criteria: tuple[str, ...]
    flops: float
    ood: Gain
    p_ood: float
    id: Gain | None
    p_id: float | None
    rival: Gain | None
    gain_beside: float | None = None
    beaten: int
    front: bool


class ArmResult(Record):
    """What stands beside a plan of drops as another way to change the model or its outputs, judged on held-out data.

    Attributes:
        drops: layers, or branches, that the plan drops.
        name, about: of the arm.
        reads: what of the search data it was chosen or fitted by.
        scored: a plan, or a sum of the outputs under plans.
        flops: share of the full model's floating-point operations; of a sum those of all its plans.
        ood, id: against the full model on the test splits; `id` is None without reference data.
        p_ood, p_id: p-value of a paired t-test over groups, corrected by Holm's method for all arms.
        against, p_against: the same on the OOD test split against the plan of drops; None for that plan itself.
        gain_beside: its gain on the OOD test examples of the random plans.
        beaten: how many of the random plans of that size it beats there.
    """

    drops: int
    name: str
    about: str
    reads: tuple[str, ...]
    scored: Plan | OutputSum
    flops: float
    ood: Gain
    p_ood: float
    id: Gain | None
    p_id: float | None
    against: Gain | None
    p_against: float | None
    gain_beside: float
    beaten: int

    @property
    def reads_labels(self) -> bool:
        """Whether it was chosen or fitted by answers."""
        return OOD_LABELS in self.reads


class CompareResult(RunHeader):
    """One finished comparison: what `tapioca compare` returns and `compare.json` holds."""

    metric: Metric
    n_layers: int = Field(description="Layers of the model.")
    checks: dict[Domain, Preflight]
    searched: tuple[CriterionCost, ...]
    picks: tuple[Pick, ...]
    random: dict[int, tuple[float, ...]] = Field(description="OOD gains of the random plans by number of drops.")
    random_n: int | None = Field(
        default=None, description="OOD test examples that the random plans were scored on; None means all."
    )
    arms: tuple[ArmResult, ...] = Field(
        default=(), description="What stands beside the plans of the first criterion, where that was asked for."
    )

    @property
    def full_on_front(self) -> bool:
        """Whether no plan judged has an OOD score at least as good as the full model's."""
        return all(pick.ood.planned < pick.ood.full for pick in self.picks)

    @property
    def first(self) -> str:
        """The criterion the others are compared with."""
        return self.searched[0].name

    def find_pick(self, criterion: str, drops: int) -> Pick | None:
        """The plan of a criterion for a number of drops; None where it has none."""
        return next((pick for pick in self.picks if pick.drops == drops and criterion in pick.criteria), None)

    def list_sizes(self) -> tuple[int, ...]:
        """The numbers of drops compared, ascending."""
        return tuple(dict.fromkeys(pick.drops for pick in self.picks))
