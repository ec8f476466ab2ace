"""Ways in which prompts drift from what the learner was trained on, each with a strength dial.

Strength 0 leaves the prompts as they are. Two families: *answer-preserving* shifts leave the
distribution of the answers alone and change what surrounds them; *answer-moving* shifts change the
answers themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tapioca.errors import UsageError, did_you_mean
from tapioca.lab.functions import Prompts

Change = Callable[[Prompts, float, np.random.Generator], Prompts]


def target_offset(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Every y is moved up by `strength`."""
    return replace(prompts, seen=prompts.seen + strength, targets=prompts.targets + strength)


def coefficient_scale(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Every coefficient, hence every y, is multiplied by 1 + `strength`."""
    factor = 1.0 + strength
    return replace(prompts, seen=prompts.seen * factor, targets=prompts.targets * factor)


def context_noise(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The y the learner reads carry normal noise of standard deviation `strength`; the answers stay clean."""
    return replace(prompts, seen=prompts.seen + strength * rng.standard_normal(prompts.seen.shape))


def input_translation(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Inputs and function move right together by `strength`: other x, the same y."""
    return replace(prompts, x=prompts.x + strength)


def input_scale(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Inputs and function are stretched together by 1 + `strength`: other x, the same y."""
    return replace(prompts, x=prompts.x * (1.0 + strength))


@dataclass(frozen=True)
class Kind:
    """One kind of shift: what it does, and whether the distribution of the answers stays the same."""

    change: Change
    preserves_answers: bool


KINDS: dict[str, Kind] = {
    "target_offset": Kind(target_offset, preserves_answers=False),
    "coefficient_scale": Kind(coefficient_scale, preserves_answers=False),
    "context_noise": Kind(context_noise, preserves_answers=True),
    "input_translation": Kind(input_translation, preserves_answers=True),
    "input_scale": Kind(input_scale, preserves_answers=True),
}


def shift(prompts: Prompts, kind: str, strength: float, rng: np.random.Generator) -> Prompts:
    """Apply one kind of shift at one strength.

    Raises:
        UsageError: the kind is not in `KINDS`, or the strength is not a finite number >= 0.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown shift '{kind}'; {did_you_mean(kind, KINDS)}")
    if not (np.isfinite(strength) and strength >= 0):
        raise UsageError(f"shift strength must be a finite number >= 0, got {strength}")
    return KINDS[kind].change(prompts, strength, rng)
