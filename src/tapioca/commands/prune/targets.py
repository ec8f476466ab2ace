"""Targets that the plan of a run is to meet: how many parameters it may leave, and how much it may cost on ID data."""

from collections.abc import Callable

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import TargetedPlan, Targets
from tapioca.errors import UsageError
from tapioca.models.cost import count_parameters
from tapioca.plan import Plan
from tapioca.records import Gain, Metric, Trial
from tapioca.search.base import PlanSearch, SearchSpace
from tapioca.search.criteria import Criterion
from tapioca.search.floor import FlooredSearch
from tapioca.search.path import SearchPath
from tapioca.session.context import RunContext
from tapioca.session.held_out import gain_of


class TargetedSearch(FlooredSearch):
    """A search that goes on below its floor while no plan of its path is small enough.

    Args:
        choose, space, metric: as of `FlooredSearch`, and its other settings in `config`.
        is_small_enough: whether a plan is.
    """

    def __init__(
        self,
        choose: PlanSearch,
        space: SearchSpace,
        metric: Metric,
        config: PruneConfig,
        is_small_enough: Callable[[Plan], bool],
    ):
        super().__init__(choose, space, metric, config.epsilon, config.ties)
        self._is_small_enough = is_small_enough

    def accepts(self, trial: Trial) -> bool:
        return super().accepts(trial) or not self._is_small_enough(self.path[-1].plan)


def check_targets(job: RunContext[PruneConfig], criterion: Criterion) -> None:
    """Refuse targets that nothing could be found out about.

    Raises:
        UsageError: harm is limited without ID data, or size where the criterion drops nothing or has a limit of its own.
    """
    config = job.config
    if config.max_harm is not None and "id" not in job.search:
        raise UsageError("--max-harm is about ID data, got none; give --reference")
    if config.target_params is None:
        return
    reasons = {
        "repeats layers": criterion.repeats,
        "stops where answers to ID data change": not criterion.reads_labels,
        "drops parts of layers, and whole ones are counted": criterion.branches,
    }
    if reason := next((why for why, holds in reasons.items() if holds), ""):
        raise UsageError(
            f"--target-params asks for a smaller model, but --criterion {config.criterion} {reason}; choose another"
        )


def share_of_parameters(job: RunContext[PruneConfig], plan: Plan) -> float:
    """The share of the model's parameters that a plan leaves."""
    model = job.loaded.model
    return count_parameters(model, plan) / count_parameters(model, Plan.full(job.n_layers))


def make_search(job: RunContext[PruneConfig], criterion: Criterion, space: SearchSpace) -> FlooredSearch:
    """The search of a criterion that stops at a floor, which a target of size may have it pass."""
    config, most = job.config, job.config.target_params
    if most is None:
        return FlooredSearch(criterion.choose, space, job.metric, config.epsilon, config.ties)
    return TargetedSearch(
        criterion.choose, space, job.metric, config, lambda plan: share_of_parameters(job, plan) <= most
    )


def try_targets(job: RunContext[PruneConfig], search: SearchPath) -> Targets | None:
    """Every plan of a search's path beside the targets; None where there are none.

    What a plan costs on ID data is measured on the search split, and counts as its 95 % interval surely allows.
    """
    config = job.config
    if config.target_params is None and config.max_harm is None:
        return None
    gains: dict[Plan, Gain] = {}
    if config.max_harm is not None:
        plans, task = [trial.plan for trial in search.path], job.search["id"]
        scores = job.evaluate(task, plans, f"{len(plans)} plans of the search on ID search data")
        gains = {plan: gain_of(task, scores, plans[0], plan, config.seed) for plan in plans[1:]}
        gains[plans[0]] = gain_of(task, scores, plans[0], plans[0], config.seed).of_full_model()
    rows = [
        TargetedPlan(
            plan=trial.plan,
            score=trial.score,
            parameters=share_of_parameters(job, trial.plan),
            on_id=gains.get(trial.plan),
        )
        for trial in search.path
    ]
    return Targets(parameters=config.target_params, harm=config.max_harm, plans=tuple(rows))
