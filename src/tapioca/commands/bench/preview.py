"""The dry run: everything is run once, to say how long the timing would take; nothing is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tapioca.commands.bench.config import LEAST_ROUNDS, BenchConfig
from tapioca.commands.bench.measure import choose_calls
from tapioca.commands.bench.result import BenchSide, MachineRecord
from tapioca.commands.bench.run import record_machine
from tapioca.commands.bench.sides import Side, open_sides
from tapioca.commands.bench.size import WARM_UPS, Job, list_jobs, prepare_calls, run_side, warm_up
from tapioca.progress import SILENT, Progress
from tapioca.timing import time_call


@dataclass(frozen=True)
class SizeCost:
    """What timing one size would take.

    Attributes:
        name: of the size.
        seconds_before: of what comes before the first round.
        seconds_round: of one round.
    """

    name: str
    seconds_before: float
    seconds_round: float


@dataclass(frozen=True)
class BenchPreview:
    """What a timing would do.

    Attributes:
        machine: what would compute.
        sides: what would be timed in turn.
        costs: by size.
        least_rounds, max_rounds: of every size.
        precision: half-width of intervals at which a size is timed enough.
        notes: what is to be said of the models.
    """

    machine: MachineRecord
    sides: tuple[BenchSide, ...]
    costs: tuple[SizeCost, ...]
    max_rounds: int
    precision: float
    notes: tuple[str, ...]
    least_rounds: int = LEAST_ROUNDS

    def estimate_seconds(self, rounds: int) -> float:
        """Seconds of all sizes with so many rounds each."""
        return sum(cost.seconds_before + rounds * cost.seconds_round for cost in self.costs)


def preview_bench(config: BenchConfig, progress: Progress = SILENT) -> BenchPreview:
    """Tell what would be timed and how long that would take. Nothing is kept, and no folder is made."""
    with open_sides(config, progress) as opened:
        jobs = list_jobs(config, opened.sides)
        progress.stage("running everything once", len(jobs))
        costs: list[SizeCost] = []
        for job in jobs:
            costs.append(_estimate_cost(job, opened.sides))
            progress.advance(1)
        return BenchPreview(
            machine=record_machine(opened.sides[0]),
            sides=tuple(side.about for side in opened.sides),
            costs=tuple(costs),
            max_rounds=config.max_rounds,
            precision=config.precision,
            notes=opened.notes,
        )


def _estimate_cost(job: Job, sides: Sequence[Side]) -> SizeCost:
    """What one size takes, from one round of it."""
    prepared = time_call(partial(prepare_calls, job, sides))
    calls, _ = prepared.result
    n_calls = choose_calls(warm_up(calls, sides))
    seconds = sum(time_call(partial(run_side, side, calls[side.name], n_calls)).seconds for side in sides)
    return SizeCost(str(job), prepared.seconds + WARM_UPS * seconds / n_calls, seconds)
