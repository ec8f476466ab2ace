"""The figures that a run writes beside its page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def check_figures(folder: Path, charts: Iterable[str]) -> None:
    """See that every chart is there as SVG, PNG and PDF, and nothing else."""
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert {path.name for path in folder.iterdir()} == {f"{chart}.{kind}" for chart in charts for kind in begins}
    for path in folder.iterdir():
        assert path.read_bytes().startswith(begins[path.suffix[1:]])
        assert path.stat().st_size > 1000
