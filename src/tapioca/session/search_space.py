"""What there is to drop in a model, and which criteria can choose from it."""

from collections.abc import Mapping

from torch import nn
from transformers import PreTrainedModel

from tapioca.errors import ModelError, UsageError
from tapioca.models.branches import find_branch
from tapioca.models.edit import check_fits
from tapioca.models.find import find_layers
from tapioca.plan import BRANCHES, BranchName, Plan
from tapioca.records import RunConfig
from tapioca.records.results import Domain
from tapioca.search.base import SearchSpace
from tapioca.search.criteria import CRITERIA, UNLABELLED, Criterion, shorten_rounds
from tapioca.session.unlabelled_data import UnlabelledData, explain_missing
from tapioca.tasks.base import Task


def criteria_by_name(criteria: str, shortlist: int | None = None) -> dict[str, Criterion]:
    """The criteria a user names, in that order; with a shortlist, TALE of so many drops a round behind TALE.

    Raises:
        UsageError: a name is unknown, or there is no TALE for the shortlist to stand beside.
    """
    names = list_all_drops() if criteria == "all" else [name.strip() for name in criteria.split(",")]
    chosen = {name: CRITERIA[name] for name in names}
    if not shortlist:
        return chosen
    if "tale" not in chosen:
        raise UsageError(f"--shortlist stands beside tale, which is not among --criteria {criteria}; add it")
    behind = names.index("tale") + 1
    arm = {f"tale ({shortlist} listed)": shorten_rounds(chosen["tale"], shortlist)}
    return dict([*list(chosen.items())[:behind], *arm.items(), *list(chosen.items())[behind:]])


def list_all_drops() -> list[str]:
    """The names of all criteria that choose what to drop, but for those without labels, which are asked for by name."""
    return [name for name in CRITERIA if not CRITERIA[name].repeats and CRITERIA[name].reads_labels]


def space_from_model(model: PreTrainedModel, config: RunConfig) -> SearchSpace:
    """What there is to drop in a model; how many drops to choose plans for is not said yet."""
    blocks = find_layers(model).blocks
    count = len(blocks)
    branches = {
        name: tuple(layer for layer in range(count) if _has_branch(model, blocks[layer], name)) for name in BRANCHES
    }
    droppable, repeatable = find_droppable_layers(model), find_repeatable_layers(model)
    return SearchSpace(count, (), droppable, branches, config.seed, config.n_random_plans, repeatable=repeatable)


def find_droppable_layers(model: PreTrainedModel) -> tuple[int, ...]:
    """The layers a model can do without, each alone."""
    count = len(find_layers(model))
    return tuple(layer for layer in range(count) if _plan_fits(model, Plan.drop(count, [layer])))


def find_repeatable_layers(model: PreTrainedModel) -> tuple[int, ...]:
    """The layers that can run twice, each alone."""
    count = len(find_layers(model))
    return tuple(layer for layer in range(count) if _plan_fits(model, Plan(n_layers=count, repeats=((layer, layer),))))


def compatible_criteria(
    chosen: dict[str, Criterion], space: SearchSpace, search: Mapping[Domain, Task], ask_all: bool
) -> tuple[dict[str, Criterion], list[str]]:
    """The criteria that fit the model and the data, and why others do not.

    Args:
        chosen: by name.
        space: what there is to choose from.
        search: the data that guide them.
        ask_all: whether the user asked for all there are, so that some may be left out.

    Raises:
        UsageError: a criterion asked for by name does not fit, or none does.
    """
    reasons = {
        name: reason for name, criterion in chosen.items() if (reason := incompatibility(criterion, space, search))
    }
    fitting = {name: criterion for name, criterion in chosen.items() if name not in reasons}
    if (reasons and not ask_all) or not fitting:
        name, reason = next(iter(reasons.items()))
        raise UsageError(f"--criteria: {name} cannot be used: {reason}; leave it out")
    return fitting, [f"{name} is left out: {reason}" for name, reason in reasons.items()]


def incompatibility(criterion: Criterion, space: SearchSpace, search: Mapping[Domain, Task]) -> str:
    """Why a criterion cannot be used on a model and search data; empty if it can."""
    task = search["ood"]
    if criterion.guide in UNLABELLED and (
        reason := explain_missing(criterion.guide, UnlabelledData(task, search.get("id")))
    ):
        return reason
    if criterion.measured == "gradients" and not task.has_gradients:
        return f"no log-likelihood with gradients follows from the answers to {task.name}"
    if criterion.most_layers and space.n_layers > criterion.most_layers:
        return f"it is for at most {criterion.most_layers} layers, this model has {space.n_layers}"
    missing = [name for name in criterion.branches if not space.branches[name]]
    if missing:
        return f"no {missing[0]} branch of this model can be dropped alone"
    if criterion.repeats:
        return "" if space.repeatable else "no layer of this model can run twice"
    if not criterion.branches and not space.droppable:
        return "no whole layer of this model can be dropped"
    return ""


def _plan_fits(model: PreTrainedModel, plan: Plan) -> bool:
    try:
        check_fits(model, plan)
    except ModelError:
        return False
    return True


def _has_branch(model: PreTrainedModel, block: nn.Module, name: BranchName) -> bool:
    try:
        find_branch(model, block, name)
    except ModelError:
        return False
    return True
