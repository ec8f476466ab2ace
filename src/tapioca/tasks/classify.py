"""Classification heads: one set of outputs for a whole text, over the head's own labels or for one number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from tapioca.errors import RowError
from tapioca.records import Example, Request
from tapioca.tasks.base import digest_rows, read_field
from tapioca.tasks.choice import OneOfSeveral, take_gold
from tapioca.tasks.gold import Golds
from tapioca.tasks.regress import Regression
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.template import render
from tapioca.tasks.text import Encoder

PAIR = "text_pair"
"""The field of a second text, which a head is to judge together with the first."""


@dataclass(frozen=True, eq=False)
class Classify(OneOfSeveral):
    """One text per example; the answer is the head's likeliest label."""

    is_sequence_classifier: ClassVar[bool] = True

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        return 1

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return list(logits[:, -1].log_softmax(-1).cpu().double().numpy())

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        return take_gold(list(logits[:, -1].log_softmax(-1)), examples)

    def compare(self, example: Example, readings: Sequence[np.ndarray]) -> np.ndarray:
        return readings[0]


@dataclass(frozen=True, eq=False)
class Rate(Regression):
    """One text per example; the head gives a number, and the score is minus its squared error."""

    is_sequence_classifier: ClassVar[bool] = True

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        return 1

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return list(logits[:, -1].cpu().double().numpy())

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        targets = torch.tensor([example.rows[0].targets[0] for example in examples], device=logits.device)
        return -((logits[:, -1, 0] - targets) ** 2)


def classify_example(row: Source, spec: TaskSpec, encoder: Encoder, golds: Golds) -> Example:
    """A text, or two of them, and its label, or its number for a head of one output.

    Raises:
        RowError: the label is no number, or the text is empty or too long.
    """
    names = encoder.labels or ()
    text = render(spec.template or "", row.fields, row.where)
    ids: tuple[int, ...] = tuple(encoder.encode_text(text))
    if not ids:
        raise RowError(f"{row.where}: the text is empty; expected some text", "without text")
    if PAIR in row.fields:
        second = _second(row)
        ids, text = encoder.encode_two_texts(text, second), f"{text}\n{second}"
    encoder.check_length(len(ids), row.where)
    rates = len(names) == 1
    rows = (Request(inputs=ids, targets=(_number(row),) if rates else ()),)
    content = f"{digest_rows(rows)}-{'-'.join(map(str, golds)) or None}"
    return Example(
        id=read_field(row.fields, "id", content),
        group=read_field(row.fields, "group", content),
        rows=rows,
        prompt=ids,
        gold=None if rates else golds[0],
        also=golds[1:],
        answer=str(_number(row)) if rates else names[golds[0]],
        label="" if rates else names[golds[0]],
        chance=None if rates else len(golds) / len(names),
        content=content,
        text=text,
        choices=() if rates else names,
    )


def _second(row: Source) -> str:
    """The second text of a pair."""
    second: Any = row.fields[PAIR]
    if not isinstance(second, str) or not second.strip():
        raise RowError(
            f"{row.where}: field '{PAIR}' must be some text, got {second!r:.60}", f"without text in '{PAIR}'"
        )
    return second


def _number(row: Source) -> float:
    """The label of a regression head."""
    label: Any = row.fields["label"]
    try:
        number = math.nan if isinstance(label, bool) else float(label)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RowError(
            f"{row.where}: label {label!r:.60} is no number; the model's head gives one number", "without a number"
        )
    return number
