"""What a round of a search computed."""

from functools import cached_property

import numpy as np

from tapioca.evaluate.reading import Reader
from tapioca.models.cost import count_layer_flops
from tapioca.models.inputs import collate
from tapioca.records import ComputeCost, Scores, Work
from tapioca.session.context import AnyRun
from tapioca.tasks.batches import Batch, make_batches


class WorkMeter:
    """Counts what plans scored together on the OOD search split have cost; what the model writes by its tokens, its head left out."""

    def __init__(self, job: AnyRun):
        self.job = job
        self.task = job.search["ood"]
        self._reader = Reader(job.loaded.model, self.task)
        self.ood_batches = make_batches(self.task, job.config.batch_size, job.config.order_seed)

    def measure_work(self, scores: Scores) -> Work:
        """The work behind some scores, from which plans were still running in each batch."""
        running_by_id = dict(zip(scores.ids, ~np.isnan(scores.values).T, strict=True))
        total, operations = ComputeCost(), 0.0
        for batch in self.ood_batches:
            is_running = running_by_id[batch.examples[0].id]
            running = tuple(plan for plan, is_scored in zip(scores.plans, is_running, strict=True) if is_scored)
            tokens = self._reader.count_tokens(batch.examples)
            for spent in (self.job.store.recall_cost(plan, batch.digest) for plan in running):
                layer, rest = self._flops_per_token
                total.add(spent)
                operations += spent.tokens * layer + rest * tokens
        return Work(
            layer_forwards=round(total.layers),
            layer_tokens=round(total.tokens),
            flops=round(operations),
            seconds=total.seconds,
            difference=total.difference,
        )

    @cached_property
    def _flops_per_token(self) -> tuple[float, float]:
        """Operations of one layer, and of what is no layer, for one token of a batch of middling length."""
        batch = self.ood_batches[len(self.ood_batches) // 2]
        inputs = collate(self.job.loaded.model, [row.inputs for example in batch.examples for row in example.rows])
        rows, longest = _padded_shape(batch)
        layer_flops, rest = count_layer_flops(self.job.loaded.model, inputs)
        return layer_flops / (rows * longest), rest / (rows * longest)


def _padded_shape(batch: Batch) -> tuple[int, int]:
    """Rows and padded tokens of a batch."""
    rows = [row for example in batch.examples for row in example.rows]
    return len(rows), max(len(row.inputs) for row in rows)
