"""A finished run with its best plan compensated: the search is remembered, the plan is fitted and judged."""

from tapioca.commands.compensate.config import CompensateConfig
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.places import recall_run_places
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.prune.run import prune
from tapioca.progress import SILENT, Progress


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
    return prune(request.model_copy(update={**recall_run_places(info), **moved, **changes}), progress)
