"""What a round of a search computed."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tapioca.flows.prepare import Job
from tapioca.models.cost import layer_flops
from tapioca.models.inputs import collate
from tapioca.records import Scores, Work
from tapioca.tasks.batches import Batch, batches


class Meter:
    """Counts what plans scored together on the OOD search split have cost; what the model writes by its tokens, its head left out."""

    def __init__(self, job: Job):
        self.job = job
        self.task = job.search["ood"]
        self.cut = batches(self.task, job.config.batch_size, job.config.order_seed)

    def read(self, scores: Scores) -> Work:
        """The work behind some scores, from which plans were still running in each batch."""
        asked = dict(zip(scores.ids, ~np.isnan(scores.values).T, strict=True))
        forwards, tokens, operations, seconds, differences = 0.0, 0.0, 0.0, 0.0, []
        for batch in self.cut:
            running = tuple(plan for plan, on in zip(scores.plans, asked[batch.examples[0].id], strict=True) if on)
            rows, longest = _shape(batch)
            for spent in (self.job.store.cost(plan, batch.digest) for plan in running):
                layer, rest = self._per_token
                forwards += spent.layers
                tokens += spent.tokens
                operations += spent.tokens * layer + rest * rows * (longest - self.task.opening)
                seconds += spent.seconds
                differences += [spent.difference] if spent.difference is not None else []
        return Work(
            layer_forwards=round(forwards),
            layer_tokens=round(tokens),
            flops=round(operations),
            seconds=seconds,
            difference=max(differences, default=None),
        )

    @cached_property
    def _per_token(self) -> tuple[float, float]:
        """Operations of one layer, and of what is no layer, for one token of a batch of middling length."""
        batch = self.cut[len(self.cut) // 2]
        inputs = collate(self.job.loaded.model, [row.inputs for example in batch.examples for row in example.rows])
        rows, longest = _shape(batch)
        layer, rest = layer_flops(self.job.loaded.model, inputs)
        return layer / (rows * longest), rest / (rows * longest)


def _shape(batch: Batch) -> tuple[int, int]:
    """Rows and padded tokens of a batch."""
    rows = [row for example in batch.examples for row in example.rows]
    return len(rows), max(len(row.inputs) for row in rows)
