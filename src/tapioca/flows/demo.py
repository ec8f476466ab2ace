"""The demonstration: the effect on a small trained in-context learner that ships with the package."""

from __future__ import annotations

from pathlib import Path

from tapioca.records import PruneConfig


def demo_config(out: Path) -> PruneConfig:
    """What the demo asks: noisy points in the prompt against the clean ones the learner was trained on."""
    return PruneConfig(model="learner", task="lab:context_noise=0.2", reference="lab:id", out=out, batch_size=128)
