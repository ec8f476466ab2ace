"""Pruning and tuning in every order, with equal steps and several seeds: the table of TALE (arXiv 2510.22767), held out."""

from collections.abc import Iterator
from pathlib import Path

from tapioca.commands.heal.job import HealJob
from tapioca.commands.heal.result import OrderResult, OrderTrial
from tapioca.plan import Plan

PRUNE, TUNE, PRUNE_TUNE, TUNE_PRUNE, PRUNE_TUNE_PRUNE = ORDERS = (
    "prune",
    "tune",
    "prune → tune",
    "tune → prune",
    "prune → tune → prune",
)
"""What is done to the full model, in its order; pruned as the run was, in the table of the paper by TALE."""


def measure_orders(job: HealJob, pruned: Path, healed: Path) -> tuple[OrderResult, ...]:
    """Every order with every seed, each beside the full model on the test rows of the run.

    Args:
        job: with the run whose plan is that of the full model.
        pruned: that plan as a checkpoint.
        healed: the same, trained with the first seed.
    """
    trials = {order: list[OrderTrial]() for order in ORDERS}
    trials[PRUNE].append(_judge(job, pruned, PRUNE, job.config.seed, job.info.plan, job.info.cost.seconds))
    for number in range(job.config.seeds):
        seed = job.config.seed + number
        for order, trial in _try_orders(job, pruned, healed if not number else None, seed):
            trials[order].append(trial)
    return tuple(OrderResult(order=order, trials=tuple(of_order)) for order, of_order in trials.items())


def _try_orders(job: HealJob, pruned: Path, healed: Path | None, seed: int) -> Iterator[tuple[str, OrderTrial]]:
    """The orders that a seed makes a difference to; the model that is pruned, then tuned, may be there."""
    nothing, found, folder = Plan.full(job.info.plan.n_layers), job.info.cost.seconds, _seed_folder(job, seed)
    tuned, student = folder / "tuned", healed or folder / "healed"
    tuning = job.train(job.full_folder, nothing, tuned, seed).seconds
    healing = job.train(pruned, job.info.plan, student, seed).seconds
    yield TUNE, _judge(job, tuned, TUNE, seed, nothing, tuning)
    yield PRUNE_TUNE, _judge(job, student, PRUNE_TUNE, seed, job.info.plan, found + healing)
    yield TUNE_PRUNE, _prune_and_judge(job, tuned, TUNE_PRUNE, seed, tuning)
    yield PRUNE_TUNE_PRUNE, _prune_and_judge(job, student, PRUNE_TUNE_PRUNE, seed, found + healing)


def _seed_folder(job: HealJob, seed: int) -> Path:
    return job.folder / "orders" / f"seed_{seed}"


def _name_folder(order: str) -> str:
    return order.lower().replace(" → ", "_")


def _prune_and_judge(job: HealJob, model: Path, order: str, seed: int, seconds: float) -> OrderTrial:
    """Search anew on a model that was trained; where nothing is to be dropped of it, it is judged as it is."""
    folder = _seed_folder(job, seed) / _name_folder(order)
    info = job.search(model, folder.with_name(f"{folder.name}_run"))
    checkpoint = model if info.plan.is_full else job.export_plan(info, folder.with_name(f"{folder.name}_model"))
    return _judge(job, checkpoint, order, seed, info.plan, seconds + info.cost.seconds)


def _judge(job: HealJob, model: Path, order: str, seed: int, plan: Plan, seconds: float) -> OrderTrial:
    found = job.compare(
        job.full_model, model, str((_seed_folder(job, seed) / _name_folder(order)).relative_to(job.folder))
    )
    return OrderTrial(seed=seed, plan=plan, seconds=seconds, over_full=found.comparisons)
