"""A checkpoint that was written and checked."""

from dataclasses import dataclass
from pathlib import Path

from tapioca.plan import Plan


@dataclass(frozen=True)
class Exported:
    """A checkpoint that was written and checked.

    Attributes:
        folder: where it is.
        plan: what was dropped and scaled.
        difference: largest absolute difference of an output from the live model under the plan.
        steps: how many tokens generated with a KV cache were compared beside one forward.
        left_out: what of the source's files the checkpoint does not hold beside the layers, one sentence each.
        needs: what loading it takes beside plain transformers, in Python: an import, or an argument.
        seen_rows: how many rows it is known to be searched or tuned on, whose digests lie beside it; None where nothing is known.
    """

    folder: Path
    plan: Plan
    difference: float
    steps: int
    left_out: tuple[str, ...]
    needs: str = ""
    seen_rows: int | None = None
