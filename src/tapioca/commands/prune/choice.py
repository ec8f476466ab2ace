"""What a run chose: the plans of its search, of which the best may be compensated, and which of them are judged."""

from dataclasses import dataclass, replace
from typing import Literal

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import Targets
from tapioca.errors import ModelError, UsageError
from tapioca.observe.compensation import compensate_plan
from tapioca.plan import Plan
from tapioca.search.path import SearchPath
from tapioca.session.context import RunContext
from tapioca.session.fit_inputs import choose_fit_domain, draw_fit_examples

Role = Literal["best", "without compensation", "most layers dropped", "best non-empty"]

KIND_WORDS = {
    "scale": "a factor of the stream behind each gap",
    "linear": "a linear map of the MLP in front of each gap",
}


@dataclass(frozen=True)
class Choice:
    """What a run chose.

    Attributes:
        search: its path.
        targets: what the plan was to meet; None where nothing was asked.
        compensated: the best plan with its gaps compensated; None where it is as the search found it.
    """

    search: SearchPath
    targets: Targets | None = None
    compensated: Plan | None = None

    @property
    def found(self) -> Plan:
        """The best plan of the search, of those that meet the targets; the full model where none does."""
        if self.targets is None:
            return self.search.best.plan
        return self.targets.met[0].plan if self.targets.met else self.search.path[0].plan

    @property
    def best(self) -> Plan:
        """The best plan, even if it is the full model."""
        return self.compensated or self.found

    @property
    def shown(self) -> Plan:
        """The plan whose geometry is measured: the best, or the mildest drop where the best is the full model."""
        return self.search.best_nonempty.plan if self.best.is_full and self.search.best_nonempty else self.best

    def list_judged(self) -> list[tuple[Role, Plan]]:
        """The plans to judge: the best, and the same without compensation; the one with most layers dropped, if any are; and
        where the best is the full model, the mildest drop."""
        found, most = self.found, self.search.most_dropped.plan
        plans: list[tuple[Role, Plan]] = [("best", self.best)]
        if self.compensated:
            plans.append(("without compensation", found))
        if most != found and most.size:
            plans.append(("most layers dropped", most))
        if self.best.is_full and self.search.best_nonempty and self.search.best_nonempty.plan != most:
            plans.append(("best non-empty", self.search.best_nonempty.plan))
        return plans


def compensate_best(job: RunContext[PruneConfig], choice: Choice) -> Choice:
    """Compensate the best plan of a run where that is asked for, on search inputs without their answers: ID inputs, or
    where there are none OOD inputs. Where it cannot be done the plan stays as it is, and a note says why."""
    kind, plan = job.config.compensate, choice.found
    if not kind:
        return choice
    if plan.is_full:
        job.add_notes("not compensated: the best plan is the full model, which drops nothing")
        return choice
    domain, examples = choose_fit_domain(job), draw_fit_examples(job)
    job.progress.stage(f"compensation on {len(examples)} {domain.upper()} search inputs", 0)
    prompts = [example.prompt for example in examples]
    try:
        compensated = compensate_plan(job.loaded.model, plan, prompts, kind, job.config.batch_size)
    except (ModelError, UsageError) as error:
        job.add_notes(f"not compensated: {error}")
        return choice
    if compensated == plan:
        job.add_notes("not compensated: on inputs that took no part in the fit, no linear map is better than none")
        return choice
    job.add_notes(
        f"compensated by {KIND_WORDS[kind]}, fitted on {len(examples)} {domain.upper()} search inputs without their answers"
    )
    return replace(choice, compensated=compensated)
