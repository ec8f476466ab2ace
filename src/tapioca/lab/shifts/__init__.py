"""Ways in which prompts drift from what the learner was trained on, each with a strength dial.

Strength 0 leaves the prompts as they are. Two families: *answer-preserving* shifts leave the
distribution of the answers alone and change what surrounds them; *answer-moving* shifts change the
answers themselves.
"""

from __future__ import annotations

import numpy as np

from tapioca.errors import UsageError, did_you_mean
from tapioca.lab.functions import Prompts
from tapioca.lab.shifts.base import ShiftKind
from tapioca.lab.shifts.moving import MOVING
from tapioca.lab.shifts.preserving import PRESERVING

KINDS: dict[str, ShiftKind] = PRESERVING | MOVING


def shift(prompts: Prompts, kind: str, strength: float, rng: np.random.Generator) -> Prompts:
    """Apply one kind of shift at one strength to clean prompts.

    Raises:
        UsageError: the kind is not in `PROFILE_KINDS`, or the strength is none of its dial.
    """
    return find(kind, strength).change(prompts, strength, rng)


def find(kind: str, strength: float) -> ShiftKind:
    """The kind of a name, at a strength it has.

    Raises:
        UsageError: as `shift`.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown shift '{kind}'; {did_you_mean(kind, KINDS)}")
    KINDS[kind].check(kind, strength)
    return KINDS[kind]
