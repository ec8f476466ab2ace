"""The rows of a run, and the same rows as they are asked of other models."""

from collections.abc import Collection
from pathlib import Path

from transformers.utils.hub import cached_file

from tapioca.errors import DataError
from tapioca.hub import hide_progress_bars
from tapioca.models.load import resolve_model_name
from tapioca.records import DataConfig
from tapioca.records.results import Domain
from tapioca.runs.rows import SEEN_ROWS, RunRows, read_seen_rows
from tapioca.session.context import RunInputs
from tapioca.session.data import Divide, Divided
from tapioca.tasks.base import Task
from tapioca.tasks.shots import deal_to_splits, with_own_shots
from tapioca.tasks.split import check_size, refuse_same


def name_rows(inputs: RunInputs) -> RunRows:
    """The rows that a run searches on, and those that it is judged on."""
    return RunRows(search=_digest_rows(inputs.search), test=_digest_rows(inputs.test))


def _digest_rows(tasks: dict[Domain, Task]) -> dict[Domain, tuple[str, ...]]:
    return {domain: tuple(example.row_digest for example in task.examples) for domain, task in tasks.items()}


def take_all(config: DataConfig, tasks_by_role: dict[str, Task]) -> Divided:
    """All rows as test rows, where nothing is chosen and so nothing has to be held back.

    Raises:
        DataError: ID and OOD data are the same, or a data set is too small.
    """
    if "id" in tasks_by_role:
        refuse_same(tasks_by_role["ood"], tasks_by_role["id"])
    for task in tasks_by_role.values():
        check_size(task, "test")
    dealt = {role: with_own_shots(task) for role, task in tasks_by_role.items()}
    test: dict[Domain, Task] = {domain: dealt[domain] for domain in ("ood", "id") if domain in dealt}
    # what a run looks at to arrange its work; nothing is searched
    arranged_by: dict[Domain, Task] = {domain: task.select_examples(task.examples) for domain, task in test.items()}
    return dealt, arranged_by, test


def take_rows(rows: RunRows, where: str) -> Divide:
    """What takes the search and the test rows of a run out of its data, read for whatever model.

    Args:
        rows: of the run.
        where: what the run is called.
    """

    def divide(config: DataConfig, tasks_by_role: dict[str, Task]) -> Divided:
        homes: dict[Domain, tuple[str, str]] = {
            "ood": ("ood", "test" if "test" in tasks_by_role else "ood"),
            "id": ("id", "id"),
        }
        homes = {domain: roles for domain, roles in homes.items() if domain in rows.test}
        splits = {
            domain: (
                _select_rows(tasks_by_role[home], rows.search[domain], where),
                _select_rows(tasks_by_role[test_home], rows.test[domain], where),
            )
            for domain, (home, test_home) in homes.items()
        }
        dealt, splits = deal_to_splits(tasks_by_role, splits, homes, config.seed)
        search, test = ({domain: parts[half] for domain, parts in splits.items()} for half in (0, 1))
        return dealt, search, test

    return divide


def _select_rows(task: Task, digests: Collection[str], where: str) -> Task:
    """The rows of a data set with these digests.

    Raises:
        DataError: some are not there, and the model at hand left none out.
    """
    wanted = set(digests)
    part = task.select_examples(example for example in task.examples if example.row_digest in wanted)
    missing = wanted - {example.row_digest for example in part.examples}
    if missing and (not task.skipped or not part.examples):
        raise DataError(
            f"{task.name}: {len(missing)} of {len(wanted)} rows of {where} are not among its {len(task.examples)}; "
            "restore the data, or say with --task and --reference where they are"
        )
    return part


def read_known_rows(config: DataConfig, is_live: bool) -> frozenset[str] | None:
    """The rows that a model, or the adapter on it, says it was searched or tuned on; None where neither says so.

    Args:
        config: names the model.
        is_live: whether it is in memory, so that its name may lead to nothing.

    Raises:
        StoreError: a file that says so is damaged.
    """
    folder = Path(resolve_model_name(config.model))
    if not (folder.is_dir() or is_live):
        folder = _fetch_seen_rows(config.model, config.revision) or folder
    known = [read_seen_rows(place) for place in (folder, config.adapter) if place]
    parts = [rows for rows in known if rows is not None]
    return frozenset().union(*parts) if parts else None


def _fetch_seen_rows(name: str, revision: str | None) -> Path | None:
    """The folder with this file of a hub model; None where it has none, or it cannot be had."""
    quiet = ("gated_repo", "missing_entries", "connection_errors")
    with hide_progress_bars():
        path = cached_file(
            name, SEEN_ROWS, revision=revision, **{f"_raise_exceptions_for_{reason}": False for reason in quiet}
        )
    return Path(path).parent if path else None
