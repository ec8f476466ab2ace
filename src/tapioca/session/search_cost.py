"""What a criterion's search takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.session.context import AnyRun
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches


@dataclass
class SearchCost:
    """What scoring plans takes for one criterion alone, without the answers it shares with others.

    Attributes:
        plans: those scored.
        batches: of which answers were read, and by which plans.
        seconds: of what was measured on states.
    """

    job: AnyRun
    layer_forwards: float = 0.0
    seconds: float = 0.0
    plans: dict[Plan, None] = field(default_factory=dict)
    batches: dict[tuple[Plan, str], None] = field(default_factory=dict)

    def list_new(self, plans: Sequence[Plan]) -> tuple[Plan, ...]:
        """Those not scored yet."""
        return tuple(plan for plan in dict.fromkeys(plans) if plan not in self.plans)

    def add_answers(self, task: Task, plans: Sequence[Plan]) -> None:
        """Plans have answered a task."""
        cut = make_batches(task, self.job.config.batch_size)
        n_rows_by_digest = {batch.digest: sum(len(example.rows) for example in batch.examples) for batch in cut}
        for digest, count in n_rows_by_digest.items():
            new_plans = [plan for plan in plans if (plan, digest) not in self.batches]
            self.layer_forwards += count_layers_computed(tuple(new_plans)) * count
            self.batches |= dict.fromkeys((plan, digest) for plan in new_plans)
        self.plans |= dict.fromkeys(plans)

    def add_states(self, plans: Sequence[Plan], layer_forwards: float, seconds: float) -> None:
        """States of plans were read."""
        self.layer_forwards += layer_forwards
        self.seconds += seconds
        self.plans |= dict.fromkeys(plans)

    @property
    def total_seconds(self) -> float:
        """With those of the answers, as the store remembers them."""
        return self.seconds + sum(self.job.store.recall_cost(plan, batch).seconds for plan, batch in self.batches)
