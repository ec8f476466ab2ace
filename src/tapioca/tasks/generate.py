"""Free generation: the model writes an answer, which is found in its text and compared with the gold one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tapioca.records import Answer, Example, Metric, Row
from tapioca.tasks.base import field_or, log_likelihoods, rows_digest
from tapioca.tasks.marking import Marking
from tapioca.tasks.prompt import encode_pairs
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.template import render
from tapioca.tasks.text import Encoder
from tapioca.tasks.writing import Writing

EXACT_MATCH = Metric(name="exact match", kind="accuracy")
ANSWER_LOSS = Metric(name="gold answer's negative log-likelihood per token", kind="error")


@dataclass(frozen=True, eq=False, kw_only=True)
class Generate(Writing):
    """One prompt per example; its row reads the gold answer behind the prompt, for the likelihood per token.

    With `metric` ANSWER_LOSS that likelihood is the score, and nothing is written.

    Attributes:
        marking: how an answer is found and compared.
    """

    marking: Marking

    def keep(self, rows: Sequence[Row]) -> int:
        return max(len(row.targets) for row in rows)

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        return [np.array([float(tokens.cpu().double().mean())]) for tokens in log_likelihoods(logits, rows)]

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        likelihood = float(readings[0][0])
        if not self.budget:
            return Answer(likelihood, likelihood)
        ids = readings[1].tolist()
        text = self.answer_text(ids)
        answer = None if text is None else self.marking.find(text)
        return Answer(
            score=float(self.marking.equal(answer, example.answer)),
            likelihood=likelihood,
            truncated=1 < len(ids) == self.budget and not self.ended(ids),  # a single token is a label, not a text
            predicted=self.marking.label_index(answer),
            unparsed=not answer,
            length=len(ids),
        )

    @property
    def budget(self) -> int:
        """Most tokens written: none where the likelihood is the score."""
        return self.max_new_tokens if self.metric == EXACT_MATCH else 0

    @property
    def beside(self) -> Generate | None:
        """Exact match, where the likelihood is the score."""
        return None if self.budget else replace(self, metric=EXACT_MATCH)

    @property
    def rules(self) -> str:
        """How texts end and how they are marked."""
        return repr((super().rules, self.marking))


def generate_example(row: Source, spec: TaskSpec, encoder: Encoder) -> Example:
    """An example whose answer the model writes.

    Raises:
        DataError: a template does not fit the row, no text could give the answer, or a text is too long.
    """
    text = render(spec.template or "", row.fields, row.where)
    answer = render(spec.gold, row.fields, row.where).strip()
    spec.marking.check(answer, row.where)
    continuation = render(spec.continuation, {**row.fields, "choice": answer}, row.where)
    [(before, after)] = encode_pairs(text, [continuation], spec, encoder, row.where)
    prompt = before if spec.chat else encoder.text(text) or before
    encoder.check_length(len(prompt) + spec.max_new_tokens, row.where, f" ({spec.max_new_tokens} of them to write)")
    rows = (Row(inputs=tuple((before + after)[:-1]), targets=tuple(after)),)
    content = f"{rows_digest(rows)}-{answer}"
    return Example(
        id=field_or(row.fields, "id", content),
        group=field_or(row.fields, "group", content),
        rows=rows,
        prompt=tuple(prompt),
        answer=answer,
        chance=1 / len(spec.labels) if spec.labels else 0.0,
        content=content,
        text=text,
        choices=spec.labels,
    )
