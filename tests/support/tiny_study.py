"""What small studies of the tests have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CLAIMS = Path(__file__).parents[2] / "studies" / "claims.yaml"

STUDY: dict[str, Any] = {
    "seed": 1,
    "margins": {"error": 0.02, "deviation": 0.01},
    "ceiling": 0.99,
    "search": 16,
    "test": 16,
    "n_resamples": 100,
    "scales": [0, 0.5, 1],
    "random_sets": 1,
    "tuning": {"steps": 2, "warmup": 1},
    "claims": str(CLAIMS),
}
"""Sizes and rules of a study, without its title, models and shifts."""
