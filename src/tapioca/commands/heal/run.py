"""From a run's plan to a trained checkpoint, and what it is worth on the rows that the run was judged on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapioca.commands import save_result
from tapioca.commands.heal.config import HealConfig
from tapioca.commands.heal.job import HealJob
from tapioca.commands.heal.orders import measure_orders
from tapioca.commands.heal.result import HealResult, Training
from tapioca.commands.heal.rows import HealInputs, load_heal_inputs
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.versus.result import VersusResult
from tapioca.errors import UsageError
from tapioca.healing.train import TrainSettings
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.records.portable import portable_name
from tapioca.runs.folder import claim_folder
from tapioca.runs.lock import FolderLock
from tapioca.session.context import make_header
from tapioca.stats import decide_verdict

PRUNED, HEALED = "pruned", "healed"
"""Folders of the two checkpoints: the plan, and the plan trained."""
LEARNING_RATES = {"adapters": 2e-4, "all": 3e-5}


def heal(config: HealConfig, progress: Progress = SILENT) -> HealResult:
    """Train what the plan of a run leaves, write it as an ordinary checkpoint, and judge it.

    Each of these is kept in the folder, so that the same command goes on where it was: the plan's checkpoint, the training's
    last one, the healed model, and every finished batch of the comparisons.

    Raises:
        StoreError: there is no finished run, or it does not say which rows it had.
        UsageError: the run drops nothing.
        DataError: rows to train on are rows that the run is judged on.
    """
    info = read_run(config.run)
    if config.plan:  # chosen elsewhere, so nothing that the run says of its own plan is about it
        info = info.model_copy(update={"plan": Plan.read(config.plan)})
    if info.plan.is_full:
        raise UsageError(
            f"the plan of {config.run} drops nothing, so there is nothing to heal; give --plan, or a run made with --target-params"
        )
    inputs = load_heal_inputs(config, progress)
    with _open_folder(config, inputs, info) as header:
        job = HealJob(config, inputs, info, choose_settings(config), header["folder"], progress)
        pruned, healed = job.export_plan(info, job.folder / PRUNED, config.plan), job.folder / HEALED
        training = job.train(pruned, info.plan, healed, config.seed)
        pairs: dict[str, tuple[str | Path, Path]] = {
            "over_full": (job.full_model, healed),
            "over_plan": (pruned, healed),
            "plan_over_full": (job.full_model, pruned),
        }
        comparisons = {name: job.compare(*pair, name) for name, pair in pairs.items()}
        orders = measure_orders(job, pruned, healed) if config.orders else ()
        result = _collect({**header, "orders": orders}, info, training, comparisons)
        save_result("heal", result)
    return result


def choose_settings(config: HealConfig) -> TrainSettings:
    """How the student is trained."""
    rate = config.learning_rate or LEARNING_RATES["all" if config.full else "adapters"]
    return TrainSettings(config.steps, config.batch, rate, 0 if config.full else config.rank, config.seed)


@contextmanager
def _open_folder(config: HealConfig, inputs: HealInputs, info: PruneResult) -> Iterator[dict[str, Any]]:
    """Hold the folder; gives the fields of its `RunHeader`."""
    asked = config.model_dump(mode="json", include={"by", "full", "steps", "batch", "learning_rate", "rank", "seed"})
    data = {name: task.digest for name, task in inputs.training.items()}
    manifest = inputs.run_inputs.make_manifest(inputs.config, plan=info.plan.to_json(), heal=asked, trained_on=data)
    with FolderLock(config.folder, config.take_over):
        header = make_header(
            inputs.config, config.folder, claim_folder(config.folder, manifest), inputs.run_inputs.notes
        )
        yield {**header, "command": config.command()}


ACTIONS = {
    "prune": "take the healed model",
    "prune OOD traffic only": "take the healed model for OOD traffic only",
    "keep the full model": "keep the full model",
}
"""What verdicts on plans are called of the healed model."""


def _collect(
    header: dict[str, Any], info: PruneResult, training: Training, found: dict[str, VersusResult]
) -> HealResult:
    over_full, plan_over_full = found["over_full"], found["plan_over_full"]
    ood, reference = over_full.comparisons["ood"], over_full.comparisons.get("id")
    verdict = decide_verdict(ood.result, reference.result if reference else None, "the healed model")
    verdict = verdict.model_copy(update={"action": ACTIONS[verdict.action]})
    return HealResult(
        **header,
        run=portable_name(str(info.folder)),
        plan=info.plan,
        training=training,
        checkpoint=HEALED,
        metric=over_full.metric,
        models=(over_full.models[0], plan_over_full.models[1], over_full.models[1]),
        verdict=verdict,
        **{name: comparison.comparisons for name, comparison in found.items()},
    )
