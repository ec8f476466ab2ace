"""Ways in which prompts drift from what the learner was trained on, each with a strength dial.

Strength 0 leaves the prompts as they are. Two families: *answer-preserving* shifts leave the
distribution of the answers alone and change what surrounds them; *answer-moving* shifts change the
answers themselves.
"""

import numpy as np

from tapioca.errors import TapiocaError, UsageError, describe_error
from tapioca.lab.functions import MAX_POINTS, Prompts
from tapioca.lab.shifts.base import ShiftKind
from tapioca.lab.shifts.moving import MOVING
from tapioca.lab.shifts.preserving import PRESERVING
from tapioca.registry import Registry

SHIFTS = Registry("shift", "tapioca.shifts", ShiftKind, PRESERVING | MOVING, reserved="id")


def register_shift(name: str, kind: ShiftKind) -> None:
    """Let tasks be named after a shift in this process, as lab:NAME=STRENGTH.

    A package names its own by an entry point of the group `tapioca.shifts` instead, for the command line too.

    Raises:
        UsageError: the name is taken or cannot be used, or the other is no `ShiftKind`.
    """
    SHIFTS.register(name, kind)


def shift(prompts: Prompts, name: str, strength: float, rng: np.random.Generator) -> Prompts:
    """Apply one kind of shift at one strength to clean prompts.

    Raises:
        UsageError: there is no shift of that name, the strength is none of its dial, or it fails.
    """
    kind = SHIFTS[name]
    kind.check(name, strength)
    try:
        shifted = kind.change(prompts, strength, rng)
    except TapiocaError:
        raise
    except Exception as error:  # a shift of another package can raise anything
        raise UsageError(f"shift '{name}' failed: {describe_error(error)}") from error
    arrays = (shifted.x, shifted.context_y, shifted.targets) if isinstance(shifted, Prompts) else ()
    shapes = {np.shape(array) for array in arrays}
    if not any(shapes == {(len(prompts), points)} for points in range(2, MAX_POINTS + 1)):
        raise UsageError(f"shift '{name}' gave no prompts; expected Prompts with arrays of shape (n, points)")
    return shifted
