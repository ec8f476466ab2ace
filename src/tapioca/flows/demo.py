"""The demonstration: the effect on a small trained in-context learner that ships with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from tapioca.records import PruneConfig


def learner_folder() -> Path:
    """Where the packaged learner lies; an ordinary model folder."""
    return Path(str(files("tapioca"))) / "data" / "learner"


def demo_config(out: Path) -> PruneConfig:
    """What the demo asks: targets moved up by 2 against the polynomials the learner was trained on."""
    return PruneConfig(
        model=str(learner_folder()), task="lab:target_offset=2", reference="lab:id", out=out, batch_size=128
    )
