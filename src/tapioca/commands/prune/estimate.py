"""What a run would cost, from the seconds of one example, and which option would shorten it most."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from tapioca.commands.prune.config import PruneConfig
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.search.base import SearchSpace
from tapioca.search.criteria import Criterion
from tapioca.search.random import draw_matched_random_plans
from tapioca.search.repeats import list_repeats

FEWER_EXAMPLES, FEWER_PLANS = 400, 5
"""What is suggested instead of more examples of a data set, and of more random plans."""


class JudgingPasses(NamedTuple):
    """Passes of the full model for plans that run together on the same examples.

    Attributes:
        chosen: for the full model and the plan chosen, over all test data.
        random: for the random plans beside them, over some OOD test data.
        plans: how many plans are judged, the full model left out.
    """

    chosen: float
    random: float
    plans: int


@dataclass(frozen=True)
class Workload:
    """What a run goes through.

    Attributes:
        rounds: passes of the full model over the search data, round by round.
        judged: the same of the test data, for the plans that are judged at most.
        search, test: examples of the OOD search split, and of all test splits.
        random: OOD test examples on which random plans are judged.
        seconds: of one example under the full model.
    """

    rounds: tuple[float, ...]
    judged: JudgingPasses
    search: int
    test: int
    random: int
    seconds: float

    @property
    def first_round(self) -> float:
        """Seconds of the search's first round."""
        return self.rounds[0] * self.search * self.seconds

    @property
    def all_rounds(self) -> float:
        """Seconds of all rounds the search could make."""
        return sum(self.rounds) * self.search * self.seconds

    @property
    def judging(self) -> float:
        """Seconds of judging plans on held-out data."""
        return (self.judged.chosen * self.test + self.judged.random * self.random) * self.seconds

    @property
    def total(self) -> float:
        """Seconds of search and judgement."""
        return self.all_rounds + self.judging


@dataclass(frozen=True)
class ShorterRun:
    """An option, and the seconds that the run would take with it."""

    option: str
    total: float


def estimate_judging(criterion: Criterion, space: SearchSpace) -> JudgingPasses:
    """The most expensive judgement there can be: a plan and as many random ones of its size as asked for, or as exist."""
    costs = []
    for size in space.sizes:
        plan = _example_plan(criterion, space, size)
        chosen = Plan.full(space.n_layers), plan
        plans = *chosen, *draw_matched_random_plans(space, plan, space.repeats)
        passes = [count_layers_computed(plans_together) / space.n_layers for plans_together in (chosen, plans)]
        costs.append(JudgingPasses(passes[0], passes[1] - passes[0], len(plans) - 1))
    return max(costs, key=lambda cost: cost.chosen + cost.random)


def _example_plan(criterion: Criterion, space: SearchSpace, size: int) -> Plan:
    """A plan of the kind that a criterion picks."""
    if criterion.repeats:
        return list_repeats(space, size)[0]
    if not criterion.branches:
        return Plan.drop(space.n_layers, space.droppable[:size])
    name = criterion.branches[0]
    return Plan.scale(space.n_layers, dict.fromkeys(space.branches[name][:size], 0.0), name)


def suggest_shorter_run(
    config: PruneConfig, work: Workload, criterion: Criterion, space: SearchSpace
) -> ShorterRun | None:
    """The option with which a run would be shortest; None where none of them helps."""
    options = []
    examples = max(work.search, work.test)
    if examples > FEWER_EXAMPLES:
        share = FEWER_EXAMPLES / (config.limit or (work.search + work.test))
        fewer = {name: round(getattr(work, name) * share) for name in ("search", "test", "random")}
        smaller_work = replace(work, **fewer)
        options.append(ShorterRun(f"--limit {FEWER_EXAMPLES}", smaller_work.total))
    if config.random_plans > FEWER_PLANS and work.judged.plans > 1 + FEWER_PLANS:
        judged = estimate_judging(criterion, replace(space, repeats=FEWER_PLANS))
        options.append(ShorterRun(f"--random-plans {FEWER_PLANS}", replace(work, judged=judged).total))
    if len(space.sizes) > 4:
        most = len(space.sizes) // 4
        options.append(ShorterRun(f"--max-drops {most}", replace(work, rounds=work.rounds[:most]).total))
    return min(options, key=lambda option: option.total, default=None)
