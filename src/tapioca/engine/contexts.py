"""What the rows of a question begin with is read once, and what each goes on with attends to its keys and values.

A question's rows (a prompt before each of four choices) become one *context*, their longest common beginning in tokens,
and their *continuations*. Rows that are the same are one. Contexts are a batch like any other; continuations follow in
batches of their own, of as many rows as there are contexts and of similar length. Contexts are padded on the left and
continuations on the right, so that no padding stands between what a row reads, as no sliding window could bear it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tapioca.records import Inputs


@dataclass(frozen=True)
class Continuations:
    """Batches that go on from rows of a batch.

    Attributes:
        batches: from `collate_continuations`.
        origins: for each of them, the row of the first batch that each of its rows goes on from; int64 of shape (row,).
        sources: for each row that was asked for, (row, kept position): where its outputs stand among those of all
            batches, row by row and position by position; 0 for padding.
    """

    batches: tuple[dict[str, torch.Tensor], ...]
    origins: tuple[torch.Tensor, ...]
    sources: torch.Tensor

    def gather(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The outputs of whole rows, (row, kept position, output), from those of all batches."""
        return torch.cat([part.flatten(0, 1) for part in outputs])[self.sources.to(outputs[0].device)]


@dataclass(frozen=True)
class ContextLayout:
    """How rows are split.

    Attributes:
        contexts: one for each question.
        groups: batches of continuations, each by the number of its context and its tokens.
        rows: the number of the context, and the tokens behind it, of every row.
    """

    contexts: tuple[Inputs, ...]
    groups: tuple[tuple[tuple[int, Inputs], ...], ...]
    rows: tuple[tuple[int, Inputs], ...]

    @property
    def n_tokens(self) -> int:
        """Tokens that are read, padding included."""
        groups = [[tokens for _, tokens in group] for group in self.groups]
        return sum(len(group) * max(map(len, group)) for group in (self.contexts, *groups))

    @property
    def n_distinct_tokens(self) -> int:
        """The same without padding."""
        return sum(map(len, self.contexts)) + sum(len(tokens) for group in self.groups for _, tokens in group)

    def count_context_outputs(self, wanted: Sequence[int]) -> int:
        """Of how many last tokens of contexts the outputs are wanted, where rows want those of so many of theirs."""
        return max(1, *(count - len(tokens) for count, (_, tokens) in zip(wanted, self.rows, strict=True)))

    def find_sources(self, wanted: Sequence[int]) -> torch.Tensor:
        """`Continuations.sources`, where rows want the outputs of so many of their last tokens."""
        kept = self.count_context_outputs(wanted)
        starts: dict[tuple[int, Inputs], int] = {}
        end = len(self.contexts) * kept
        for group in self.groups:
            longest = max(len(tokens) for _, tokens in group)
            starts |= {continuation: end + row * longest for row, continuation in enumerate(group)}
            end += len(group) * longest
        sources = np.zeros((len(self.rows), max(wanted)), dtype=np.int64)
        for row, (count, (context, tokens)) in enumerate(zip(wanted, self.rows, strict=True)):
            of_context = range((context + 1) * kept)[len(tokens) - count :] if count > len(tokens) else ()
            start = starts.get((context, tokens), 0)
            of_continuation = range(start, start + len(tokens))
            sources[row, -count:] = [*of_context, *of_continuation][-count:]
        return torch.from_numpy(sources)


def lay_out(questions: Sequence[Sequence[Inputs]]) -> ContextLayout | None:
    """Split the rows of each question, token ids, into what they begin with and what they go on with; None where the rows
    of a question begin with different tokens."""
    contexts = tuple(rows[0][: _count_common(rows)] for rows in questions)
    if not all(len(context) for context in contexts):
        return None
    split_rows = tuple((number, row[len(contexts[number]) :]) for number, rows in enumerate(questions) for row in rows)
    continuations = sorted((row for row in dict.fromkeys(split_rows) if len(row[1])), key=lambda row: -len(row[1]))
    size = len(contexts)
    groups = tuple(tuple(continuations[start : start + size]) for start in range(0, len(continuations), size))
    return ContextLayout(contexts, groups, split_rows)


def _count_common(rows: Sequence[Inputs]) -> int:
    """How many tokens all rows begin with."""
    columns = zip(*rows, strict=False)
    shortest = min(map(len, rows))
    return next((position for position, tokens in enumerate(columns) if len(set(tokens)) > 1), shortest)


def collate_continuations(
    main_input_name: str, contexts: dict[str, torch.Tensor], groups: Sequence[Sequence[tuple[int, Inputs]]]
) -> tuple[tuple[dict[str, torch.Tensor], ...], tuple[torch.Tensor, ...]]:
    """Keyword arguments of the model's forward for each batch of continuations, and the context of each row.

    Args:
        main_input_name: of the model.
        contexts: their batch, whose mask spans all that stands before it too.
        groups: of a `ContextLayout`.
    """
    device, batches, origins = contexts["attention_mask"].device, [], []
    for group in groups:
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for _, row in group], batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for _, row in group], True)
        rows = torch.tensor([context for context, _ in group], device=device)
        mask = torch.cat([contexts["attention_mask"][rows], mask.to(device)], dim=1)
        batch = {main_input_name: tokens.to(device), "attention_mask": mask}
        if "position_ids" in contexts:
            batch["position_ids"] = (mask.cumsum(1) - 1).clip(0)[:, -tokens.shape[1] :]
        batches.append(batch)
        origins.append(rows)
    return tuple(batches), tuple(origins)
