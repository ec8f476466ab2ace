"""A finished run with its best plan compensated: the search is remembered, the plan is fitted and judged."""

from tapioca.commands.compensate.config import CompensateConfig
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.prune.run import prune
from tapioca.progress import SILENT, Progress
from tapioca.runs.folder import read_manifest
from tapioca.runs.places import recall_places


def compensate(config: CompensateConfig, progress: Progress = SILENT) -> PruneResult:
    """Make the request of a run again in its folder, with its plan compensated.

    The folder holds every answer of the search, so that only what is new is computed; its record, its page and its
    plan.json become those of the compensated plan, and the plan as it was is judged beside it.

    Raises:
        StoreError: there is no finished run, or model or data are not those it was made with.
    """
    info = read_run(config.run)
    moved = {name: place for name in ("model", "task", "reference") if (place := getattr(config, name))}
    changes = {"out": config.run, "compensate": config.by, "take_over": config.take_over}
    request = PruneConfig.from_command(info.command)
    return prune(request.model_copy(update={**_recall_places(info), **moved, **changes}), progress)


def _recall_places(info: PruneResult) -> dict[str, str]:
    """Where model and data of a run were when it was made; its record has their names alone."""
    digests: dict[str, str] = read_manifest(info.folder).get("data") or {}
    data_places = {
        option: recall_places(digests[role]).get("data", "")
        for option, role in (("task", "ood"), ("reference", "id"))
        if role in digests
    }
    return recall_places(info.model_hash) | {option: place for option, place in data_places.items() if place}
