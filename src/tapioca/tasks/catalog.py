"""Tasks that are ready by name: descriptions of hub data sets in `ready/`."""

from __future__ import annotations

from pathlib import Path

CATALOG = {path.stem: path for path in sorted(Path(__file__).with_name("ready").glob("*.yaml"))}
"""Description by name."""
