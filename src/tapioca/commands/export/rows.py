"""Which rows a checkpoint has seen: those of the run that found its plan, and those that its source had seen before."""

import os
from pathlib import Path

from tapioca.commands.prune.result import PruneResult
from tapioca.plan import Plan
from tapioca.runs.rows import read_run_rows, read_seen_rows


def collect_seen_rows(
    folder: Path, adapter: str | Path | None, info: PruneResult | None, plan: Plan | str | Path | None
) -> frozenset[str] | None:
    """The digests of all rows that are known; None where nothing is.

    Args:
        folder: the model's files.
        adapter: a folder with the adapter that is merged.
        info: the run that is exported.
        plan: what is exported instead of a run's plan; where it is a file in a run folder, the rows of that run count.

    Raises:
        StoreError: a file that says so is damaged.
    """
    known = [read_seen_rows(folder), read_seen_rows(Path(adapter)) if adapter else None]
    for run_folder in (info.folder if info else None, _find_folder(plan)):
        rows = read_run_rows(run_folder) if run_folder else None
        known.append(frozenset(rows.searched) if rows else None)
    parts = [rows for rows in known if rows is not None]
    return frozenset().union(*parts) if parts else None


def _find_folder(plan: Plan | str | Path | None) -> Path | None:
    """Where the file of a plan lies; None where it is none."""
    return Path(plan).parent if isinstance(plan, str | Path) and os.path.isfile(plan) else None
