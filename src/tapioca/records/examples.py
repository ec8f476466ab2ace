"""What a model is asked: examples, the sequences it reads for them, and how the answers are measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel

from tapioca.records.numbers import format_number, with_interval

Inputs = tuple[int, ...] | np.ndarray
"""What a model reads: token ids (of two texts as a `TextPair`), or float32 of shape (token, channel) for models that read numbers."""


class TextPair(tuple[int, ...]):
    """Token ids of two texts in one sequence, for models that are told which token is of which text.

    Attributes:
        segments: 0 for tokens of the first text, 1 for those of the second (`token_type_ids`); as many as ids.
    """

    segments: tuple[int, ...]

    def __new__(cls, ids: Iterable[int], segments: Iterable[int]) -> Self:
        pair = super().__new__(cls, ids)
        pair.segments = tuple(segments)
        return pair

    def __getnewargs__(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(self), self.segments


@dataclass(frozen=True, eq=False)
class Request:
    """One sequence the model reads, and what is read off its end.

    Attributes:
        inputs: token ids or numbers.
        targets: what the task compares the last outputs with: the continuation's token ids, the ids of
            the labels, or the numbers to predict.
        normalizer: what a log-likelihood is divided by (1, or a number of tokens, characters or bytes).
    """

    inputs: Inputs
    targets: tuple[float, ...]
    normalizer: float = 1.0

    @classmethod
    def continuation(cls, before: list[int], after: list[int], normalizer: float = 1.0) -> Self:
        """What is read to score the tokens `after` behind the tokens `before`."""
        return cls(inputs=tuple((before + after)[:-1]), targets=tuple(after), normalizer=normalizer)


@dataclass(frozen=True, eq=False)
class Example:
    """One question.

    Attributes:
        id: unique within its data set.
        group: examples of one group are never split between search and test.
        rows: the sequences to read, for instance one per choice.
        prompt: what comes before any answer; hidden states are taken at its last token.
        gold: index of the right row or label, the first where several are right; None where there are none.
        also: indices of the other right ones.
        answer: the right answer as a person reads it, where the model writes it or has an output for it.
        also_answers: other texts that are right where the model writes the answer.
        label: what splits are stratified by; empty for none.
        weight: share in averages (tokens of a window of text); 1 for questions.
        chance: probability of being right by guessing; None where that means nothing.
        content: digest of what the model reads and of what is right, without the row's id, to find duplicates and leaks.
        source: digest of the source row without its id, the same whatever model is asked and however; empty where none is known.
        text: the prompt as a person reads it.
        choices: what there is to choose from, as a person reads it; where it is one text alone, that is right.
    """

    id: str
    group: str
    rows: tuple[Request, ...]
    prompt: Inputs
    gold: int | None = None
    answer: str = ""
    label: str = ""
    weight: float = 1.0
    chance: float | None = None
    content: str = ""
    text: str = ""
    also: tuple[int, ...] = ()
    also_answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    source: str = ""

    @property
    def row_digest(self) -> str:
        """Names the row among those of other models and other runs."""
        return self.source or self.content

    @property
    def gold_texts(self) -> tuple[str, ...]:
        """All right answers as a person reads them; empty where there are none."""
        if self.choices and self.golds:
            return tuple(self.choices[gold] for gold in self.golds)
        return (self.answer,) if self.answer else self.choices

    @property
    def golds(self) -> tuple[int, ...]:
        """Indices of all right rows or labels."""
        return () if self.gold is None else (self.gold, *self.also)

    @property
    def length(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.inputs) for row in self.rows)


NO_CHOICE = -1
"""Stands for the index of a choice where none was taken: free text, running text, numbers."""


class ExampleScore(NamedTuple):
    """How one example went. All of it are numbers, so that a store can keep it as one row of float64.

    Attributes:
        score: higher is better.
        log_likelihood: log-likelihood of the gold answer, as the task divides it.
        truncated: whether the text the model wrote broke off at its token budget.
        tied: whether the two likeliest choices were equally likely, so that rounding decided.
        predicted: index of the choice or label the model took, also where its likelihood is the score; `NO_CHOICE`
            where there is none to take.
        unparsed: whether a written text holds no answer, right or wrong.
        length: tokens the model wrote, without EOS; 0 where it writes nothing.
    """

    score: float
    log_likelihood: float
    truncated: bool = False
    tied: bool = False
    predicted: int = NO_CHOICE
    unparsed: bool = False
    length: int = 0


@dataclass
class ComputeCost:
    """What answers cost; all that compute for them add to one.

    Attributes:
        seconds: of wall-clock time.
        layers: layers computed, each counted once for every row; one without a branch counts half.
        tokens: the same counted for every token, padding included.
        difference: the largest between a layer's states for stacked streams and for one of them alone, as a share of the
            largest state; None where none were stacked.
    """

    seconds: float = 0.0
    layers: float = 0.0
    tokens: float = 0.0
    difference: float | None = None

    def add(self, other: ComputeCost) -> None:
        """Count what else was computed."""
        self.seconds += other.seconds
        self.layers += other.layers
        self.tokens += other.tokens
        differences = [cost.difference for cost in (self, other) if cost.difference is not None]
        self.difference = max(differences, default=None)

    def share(self, n_plans: int) -> ComputeCost:
        """What falls to each of so many plans that ran together."""
        return ComputeCost(self.seconds / n_plans, self.layers / n_plans, self.tokens / n_plans, self.difference)


class Metric(BaseModel, frozen=True, extra="forbid"):
    """What a score means. Scores are higher-is-better, so an error is stored negated.

    Attributes:
        name: as printed, for instance "accuracy" or "squared error".
        kind: accuracies are compared by difference, errors by ratio.
    """

    name: str
    kind: Literal["accuracy", "error"]

    @property
    def margin(self) -> float:
        """The change held to be nothing: 1 point of accuracy, 2 % of error."""
        return 0.01 if self.kind == "accuracy" else 0.02

    @property
    def margin_text(self) -> str:
        """The change held to be nothing, as text: '1 point', or '2 %'."""
        return f"{100 * self.margin:g} {'point' if self.kind == 'accuracy' else '%'}"

    def to_display(self, score: float) -> float:
        """The number people read: the accuracy itself, the error without its minus sign."""
        return score if self.kind == "accuracy" else -score

    def effect(self, gain: float) -> float:
        """A gain as it is drawn: itself, or the multiple of the full model's error that it stands for."""
        return gain if self.kind == "accuracy" else 1 - gain

    def format(self, score: float) -> str:
        """The same as text: a percentage, or three significant digits."""
        return f"{100 * score:.1f} %" if self.kind == "accuracy" else format_number(-score, "#.3g")

    @property
    def effect_unit(self) -> str:
        """What effects are counted in, at the head of a column."""
        return "points" if self.kind == "accuracy" else "error ×"

    @property
    def better_effects(self) -> str:
        """Which numbers of such a column are good."""
        return "above 0 is better" if self.kind == "accuracy" else "below 1 is better"

    def format_effect(self, gain: float, ends: Iterable[float] = (), named: bool = False) -> str:
        """A gain as people read it, with its interval if told its ends: '+2.1 [+0.4, +3.8]', or '0.554 [0.523, 0.589]'.

        Args:
            named: with its unit: '+2.1 points [+0.4, +3.8]', 'error × 0.554 [0.523, 0.589]'.
        """
        points = self.kind == "accuracy"
        value, *shown_ends = (100 * part if points else 1 - part for part in (gain, *ends))
        unit = " points" if named and points else ""
        number = with_interval(value, sorted(shown_ends), "+.1f" if points else "#.3g", unit)
        return f"error × {number}" if named and not points else number


class PlanAnswer(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How one held-out example went under one plan.

    Attributes:
        score: higher is better; errors are negative.
        answer: what was chosen, by its text or label; None where nothing is chosen.
        log_likelihood: of the gold answer, as the task divides it; None where answers are numbers.
        unparsed, truncated: whether the text that was written holds no answer, or broke off; None where none was written.
        length: tokens of that text.
    """

    score: float
    answer: str | None
    log_likelihood: float | None
    unparsed: bool | None = None
    truncated: bool | None = None
    length: int | None = None


class ExampleResult(BaseModel, frozen=True, extra="forbid"):
    """One held-out example under the full model and under the plan shown.

    Attributes:
        id, group: of the example; examples of one group are never split between search and test.
        data: which data set it is from.
        text: the prompt as a person reads it; None where the model reads numbers.
        gold: the right answer by its text or label; None where there is none, or it is a list of numbers.
        also: the other right ones, where several are.
        full, plan: how it went under each.
    """

    id: str
    data: Literal["ood", "id"]
    group: str
    text: str | None
    gold: str | None
    also: tuple[str, ...] = ()
    full: PlanAnswer
    plan: PlanAnswer

    @property
    def change(self) -> tuple[float, float]:
        """What the plan adds to the score, and to the log-likelihood of the gold answer; above 0 is better."""
        full, plan = self.full, self.plan
        return plan.score - full.score, (plan.log_likelihood or 0.0) - (full.log_likelihood or 0.0)
