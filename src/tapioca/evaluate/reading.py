"""How a model reads the rows of a task: whole, or what they share once and apart.

What all rows of a task begin with is an opening, read once under each plan; what the rows of one example begin with is
a context, read once in each batch. Both are tried on the model before they are used.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from tapioca.engine.context_support import explain_whole_rows
from tapioca.engine.contexts import ContextLayout, Continuations, collate_continuations, lay_out
from tapioca.engine.options import SweepInput
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.sweep import Schedule, sweep
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.plan import Plan
from tapioca.records import Example, Inputs, Request
from tapioca.tasks.base import Task

LARGEST_SHARE = 0.75
"""Largest share of the tokens of whole rows at which contexts are read once: more calls of a layer cost as well."""

_TRIALS: WeakKeyDictionary[PreTrainedModel, dict[int, bool]] = WeakKeyDictionary()
"""Whether contexts could be read once, by model and by the rows this was tried on."""


def compute_gold_log_likelihoods(model: PreTrainedModel, task: Task, examples: Sequence[Example]) -> torch.Tensor:
    """The log-likelihood of each example's right answer, (example,), with gradients; every row is read whole.

    Raises:
        UsageError: none follows from the task's outputs.
    """
    rows = [row for example in examples for row in example.rows]
    batch = collate(model, [row.inputs for row in rows])
    logits = run_forward(model, batch, task.logits_to_keep(rows), with_gradients=True)
    return task.gold_log_likelihoods(logits, examples)


class Reader:
    """A model, left as it was, and the task whose rows it reads."""

    def __init__(self, model: PreTrainedModel, task: Task):
        self.model, self.task = model, task

    def collate(self, examples: Sequence[Example], name: str, *, whole: bool = False) -> SweepInput:
        """The rows of some examples, as they go through the layers; each by itself if they are to be whole."""
        rows = [row for example in examples for row in example.rows]
        if whole:
            return self._collate_whole(rows, name, None)
        if layout := self._lay_out(examples):
            wanted = [self.task.logits_to_keep([row]) for row in rows]
            return collate_contexts(self.model, layout, wanted, name, self.shared_prefix)
        return self._collate_whole(rows, name, self.shared_prefix)

    def count_tokens(self, examples: Sequence[Example]) -> int:
        """Tokens that are read for some examples, padding included, the opening left out."""
        if layout := self._lay_out(examples):
            return layout.n_tokens
        lengths = [len(row.inputs) for example in examples for row in example.rows]
        return len(lengths) * (max(lengths) - self._n_shared)

    @cached_property
    def shared_prefix(self) -> SharedPrefix | None:
        """What all rows of the task begin with, where the model gives the same answers when it is read apart."""
        if not self.task.shared_prefix_length:
            return None
        rows = sorted((row for example in self.task.examples for row in example.rows), key=lambda row: len(row.inputs))
        pair = [rows[-1], rows[0]]  # the most padding that any batch could have
        return find_shared_prefix(
            self.model, [row.inputs for row in pair], self.task.shared_prefix_length, self.task.logits_to_keep(pair)
        )

    @property
    def _n_shared(self) -> int:
        return len(self.shared_prefix.ids) if self.shared_prefix else 0

    @cached_property
    def _reads_contexts(self) -> bool:
        """Whether the model gives the same answers when contexts are read once, as tried on the longest and the shortest
        of the examples that have one."""
        several = sorted((example for example in self.task.examples if len(example.rows) > 1), key=lambda e: e.length)
        if explain_whole_rows(self.model, several[-1].length):
            return False
        questions = tuple(tuple(self._split_opening(example)) for example in (several[-1], several[0]))
        trials = _TRIALS.setdefault(self.model, {})
        if (key := hash((self._n_shared, questions))) not in trials:
            trials[key] = reads_contexts(self.model, questions, self.shared_prefix)
        return trials[key]

    def _lay_out(self, examples: Sequence[Example]) -> ContextLayout | None:
        """The rows of some examples split into contexts and continuations, where that saves enough and the model reads
        them so; rows that are the same are one for every model."""
        if not self.task.has_contexts(examples):
            return None
        questions = [self._split_opening(example) for example in examples]
        layout = lay_out(questions)
        lengths = [len(row) for rows in questions for row in rows]
        if not layout or layout.n_tokens > LARGEST_SHARE * len(lengths) * max(lengths):
            return None
        return layout if not layout.groups or self._reads_contexts else None

    def _split_opening(self, example: Example) -> list[Inputs]:
        """The rows of an example without what all rows of the task begin with."""
        return [row.inputs[self._n_shared :] for row in example.rows]

    def _collate_whole(self, rows: Sequence[Request], name: str, prefix: SharedPrefix | None) -> SweepInput:
        if prefix:
            batch = prefix.collate_rest([row.inputs[len(prefix.ids) :] for row in rows])
        else:
            batch = collate(self.model, [row.inputs for row in rows])
        return SweepInput(batch, self.task.logits_to_keep(rows), name, prefix)


def collate_contexts(
    model: PreTrainedModel, layout: ContextLayout, wanted: Sequence[int], name: str, shared_prefix: SharedPrefix | None
) -> SweepInput:
    """Rows that are split, as they go through the layers; `wanted` of the last outputs of each are asked for."""
    batch = shared_prefix.collate_rest(layout.contexts) if shared_prefix else collate(model, layout.contexts)
    batches, origins = collate_continuations(model.main_input_name, batch, layout.groups)
    continuations = Continuations(batches, origins, layout.find_sources(wanted))
    return SweepInput(batch, layout.count_context_outputs(wanted), name, shared_prefix, continuations=continuations)


def find_shared_prefix(
    model: PreTrainedModel, sequences: Sequence[Inputs], length: int, keep: int
) -> SharedPrefix | None:
    """An opening that can be read apart, as tried on sequences which begin with it; else None.

    It cannot where the model keeps more of the past than keys and values, or counts padded places as distance.

    Args:
        model: left as it was.
        sequences: the longest and the shortest there are.
        length: of the opening, in tokens.
        keep: number of last positions whose outputs are wanted.
    """
    shared_prefix = SharedPrefix(model, sequences[0][:length])

    def read_apart() -> SweepInput:
        rest_batch = shared_prefix.collate_rest([sequence[length:] for sequence in sequences])
        return SweepInput(rest_batch, keep, shared_prefix=shared_prefix)

    whole = SweepInput(collate(model, sequences), keep)
    return shared_prefix if _gives_same_outputs(model, whole, read_apart) else None


def reads_contexts(
    model: PreTrainedModel, questions: Sequence[Sequence[Inputs]], shared_prefix: SharedPrefix | None = None
) -> bool:
    """Whether contexts can be read once, as tried on the rows of some questions, behind an opening where there is one."""
    layout = lay_out(questions)
    if not layout:
        return False
    rows = [row for rows in questions for row in rows]
    wanted = [len(rest) + 1 for _, rest in layout.rows]
    batch = shared_prefix.collate_rest(rows) if shared_prefix else collate(model, rows)
    whole = SweepInput(batch, max(wanted), shared_prefix=shared_prefix)
    return _gives_same_outputs(model, whole, lambda: collate_contexts(model, layout, wanted, "", shared_prefix), wanted)


def _gives_same_outputs(
    model: PreTrainedModel, whole: SweepInput, read_apart: Callable[[], SweepInput], wanted: Sequence[int] | None = None
) -> bool:
    """Whether the full model gives rows the same outputs when they are read apart, but for rounding.

    Args:
        model: left as it was.
        whole: the rows as they are.
        read_apart: makes the same rows' other input.
        wanted: how many last positions of each row have outputs; by default all that are kept.
    """
    full_plan = Plan.full(len(find_layers(model)))

    def read(sweep_input: SweepInput) -> torch.Tensor:
        outputs = dict(sweep(model, [full_plan], sweep_input, Schedule(way="single")))[full_plan]
        kept = wanted or [whole.logits_to_keep] * len(outputs)
        return torch.cat([row[-count:] for row, count in zip(outputs, kept, strict=True)])

    expected_outputs = read(whole)
    if not torch.isfinite(expected_outputs).all():
        return False  # the run will say so, once it reads such rows
    try:
        outputs = read(read_apart())
    except torch.OutOfMemoryError:
        raise
    except Exception:  # models that keep another kind of past fail in ways of their own
        return False
    tolerance = float(expected_outputs.abs().max()) * torch.finfo(model.dtype).eps ** 0.5
    return torch.allclose(outputs, expected_outputs, rtol=0, atol=tolerance)
