"""Classification heads: one set of outputs for a whole text, over the head's own labels or for one number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from tapioca.errors import DataError
from tapioca.records import Answer, Example, Row
from tapioca.tasks.base import field_or, rows_digest
from tapioca.tasks.choice import OneOfSeveral, label_answer
from tapioca.tasks.regress import Regression
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.template import render
from tapioca.tasks.text import Encoder


@dataclass(frozen=True, eq=False)
class Classify(OneOfSeveral):
    """One text per example; the answer is the head's likeliest label."""

    classifies: ClassVar[bool] = True

    def keep(self, rows: Sequence[Row]) -> int:
        return 1

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        return list(logits[:, -1].log_softmax(-1).double().cpu().numpy())

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        return label_answer(readings[0], example, self.metric)


@dataclass(frozen=True, eq=False)
class Rate(Regression):
    """One text per example; the head gives a number, and the score is minus its squared error."""

    classifies: ClassVar[bool] = True

    def keep(self, rows: Sequence[Row]) -> int:
        return 1

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        return list(logits[:, -1].double().cpu().numpy())


def classify_example(row: Source, spec: TaskSpec, encoder: Encoder) -> Example:
    """A text and its label, or its number for a head of one output.

    Raises:
        DataError: the model has no classification head, the label is none of its labels, or the text is too long.
    """
    if encoder.labels is None:
        raise DataError(
            f"{row.where}: kind: classify needs a model with a classification head (...ForSequenceClassification); "
            "use kind: label for a language model"
        )
    text = render(spec.template or "", row.fields, row.where)
    ids = encoder.text(text)
    if not ids:
        raise DataError(f"{row.where}: the text is empty; expected some text")
    encoder.check_length(len(ids), row.where)
    rates = len(encoder.labels) == 1
    gold = None if rates else _gold(row, encoder.labels)
    rows = (Row(inputs=tuple(ids), targets=(_number(row),) if rates else ()),)
    content = f"{rows_digest(rows)}-{gold}"
    return Example(
        id=field_or(row.fields, "id", content),
        group=field_or(row.fields, "group", content),
        rows=rows,
        prompt=tuple(ids),
        gold=gold,
        answer=str(_number(row)) if gold is None else encoder.labels[gold],
        label="" if gold is None else str(gold),
        chance=None if rates else 1 / len(encoder.labels),
        content=content,
        text=text,
    )


def _gold(row: Source, names: Sequence[str]) -> int:
    """The index of the right label, from its name or its index from 0."""
    label: Any = row.fields["label"]
    index = int(label) if isinstance(label, int) or (isinstance(label, str) and label.isdecimal()) else -1
    if isinstance(label, int) and str(label) in names and names.index(str(label)) != label:
        raise DataError(f"{row.where}: label {label} may be a name or an index; write it as text to mean the name")
    if isinstance(label, str) and label in names:
        return list(names).index(label)
    if isinstance(label, bool) or not 0 <= index < len(names):
        known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise DataError(
            f"{row.where}: label {label!r:.60} is none of the model's {len(names)} labels ({known}); "
            "expected a name or an index from 0"
        )
    return index


def _number(row: Source) -> float:
    """The label of a regression head."""
    label: Any = row.fields["label"]
    try:
        value = math.nan if isinstance(label, bool) else float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{row.where}: label {label!r:.60} is no number; the model's head gives one number")
    return value
