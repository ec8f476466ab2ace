"""What a user asks of `tapioca prune`."""

from typing import Any, Literal

from pydantic import Field

from tapioca.plan import Compensation
from tapioca.records.config import ChoosingConfig

TALE_EPSILON = 0.08
"""How far below the full model TALE's code lets its search go (github.com/omyokun/tale)."""


class PruneConfig(ChoosingConfig):
    """The request behind `tapioca prune`."""

    verb = "prune"

    criterion: str = Field(
        default="tale",
        min_length=1,
        description="How plans are chosen: tale stops by itself; any other of `compare` (sleb, shortgpt, mlp, ...) picks one for each number of drops, and their search scores decide; geometry, agreement, margin and their like read no OOD answer and stop where answers to ID data change; repeat drops nothing and runs a block of layers twice.",
    )
    epsilon: float | None = Field(
        default=None,
        ge=0,
        description="How far below the full model the search may go: 0.01 by default, relative for errors (TALE's code, --compat tale: 0.08).",
    )
    max_drops: int | None = Field(
        default=None,
        ge=1,
        description="Drop at most so many layers (or branches), or repeat at most so many; those that do not stop by themselves stop at half the number of layers if not told.",
    )
    ties: Literal["index", "likelihood"] = Field(
        default="index", description="Among equal scores take the lowest layer, or the likeliest answers."
    )
    race: bool = Field(
        default=False,
        description="Stop plans that are unlikely to win a round; the best one is stopped with a probability of at most 5 % a round. Where scores have no bounds, that holds for means of differences cut at a bound, which the run says.",
    )
    shortlist: int | None = Field(
        default=None,
        ge=1,
        description="Score only so many drops a round: those that gradients rank first, then those that the round before ranks first. Cheaper, and a round may miss its best drop.",
    )
    compensate: Compensation | None = Field(
        default=None,
        description="Make up for the layers that the chosen plan drops, before it is judged: by a factor of the stream behind each gap (scale), or a linear map of what the MLP in front of it adds (linear). Fitted on search inputs, ID where there are any, without answers; the plan without stands beside.",
    )
    target_params: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Take the best plan that leaves at most this share of the parameters, for instance 0.8; the search goes on below its floor until one does.",
    )
    max_harm: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Take the best plan that surely (95 %) costs no more than this on ID search data: 0.01 is a point of accuracy, or a hundredth more error.",
    )
    dry_run: bool = Field(
        default=False, description="Stop before the search: show the data, one prompt, and what the search would cost."
    )

    def __init__(self, **fields: Any):
        if fields.get("compat") == "tale" and fields.get("epsilon") is None:
            fields["epsilon"] = TALE_EPSILON
        super().__init__(**fields)

    @property
    def order_seed(self) -> int | None:
        """A race needs examples in a random order."""
        return self.seed if self.race else None
