"""Free generation: the model writes an answer, which is found in its text and compared with the gold one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from tapioca.errors import RowError
from tapioca.records import Example, ExampleScore, Metric, Request
from tapioca.tasks.base import digest_rows, mean_log_likelihoods, mean_row_log_likelihoods, read_field
from tapioca.tasks.marking import Marking
from tapioca.tasks.prompt import Worked, encode_pairs, with_worked
from tapioca.tasks.rows import Source
from tapioca.tasks.score_function import ScoreFunction
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
        score_function: scores texts instead of comparing them, from the row of each example (`sources`, by id).
    """

    marking: Marking
    score_function: ScoreFunction | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return mean_log_likelihoods(logits, rows)

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        return mean_row_log_likelihoods(logits, examples)

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        likelihood = float(readings[0][0])
        if not self.max_new_tokens:
            return ExampleScore(likelihood, likelihood)
        ids = readings[1].tolist()
        text = self.answer_text(ids)
        answer = None if text is None else self.marking.find_answer(text)
        return ExampleScore(
            score=self._score(text, answer, example),
            log_likelihood=likelihood,
            truncated=1 < len(ids) == self.max_new_tokens
            and not self.is_finished(ids),  # a single token is a label, not a text
            predicted=self.marking.label_index(answer),
            unparsed=not answer,
            length=len(ids),
        )

    def _score(self, text: str | None, answer: str | None, example: Example) -> float:
        """By the user's function where there is one; an unfinished thought is no answer."""
        if self.score_function is None:
            return float(any(self.marking.is_equal(answer, gold) for gold in (example.answer, *example.also_answers)))
        source = self.sources[example.id]
        return 0.0 if text is None else self.score_function.score(text, source.fields, source.where)

    @property
    def max_new_tokens(self) -> int:
        """Most tokens written: none where the likelihood is the score."""
        return 0 if self.metric == ANSWER_LOSS else self.token_limit

    @property
    def companion(self) -> Generate | None:
        """What is marked in the text, where the likelihood is the score."""
        return None if self.max_new_tokens else replace(self, metric=written_metric(self.score_function))

    @property
    def cache_key(self) -> str:
        """How texts end and how they are marked."""
        plain = repr((self.marking, *self.text_rules))
        if self.score_function is None:
            return plain
        rows = {example_id: dict(source.fields) for example_id, source in self.sources.items()}
        sources_digest = hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return f"{plain} {self.score_function.name} {self.score_function.digest} {sources_digest}"


def written_metric(function: ScoreFunction | None) -> Metric:
    """What a score of a written text means."""
    return Metric(name=function.name, kind="accuracy") if function else EXACT_MATCH


def generate_example(row: Source, spec: TaskSpec, encoder: Encoder, worked: Sequence[Worked] = ()) -> Example:
    """An example whose answer the model writes, behind worked examples.

    Raises:
        DataError: a template does not fit the row, no text could give the answer, or a text is too long.
    """
    text = render(spec.template or "", row.fields, row.where)
    answer, *others = gold_texts(row, spec)
    continuation = render(spec.continuation, {**row.fields, "choice": answer}, row.where)
    [(before, after)] = encode_pairs(text, [continuation], spec, encoder, row.where, worked)
    shown = with_worked(text, worked, spec)
    prompt = before if spec.chat else encoder.encode_text(shown) or before
    encoder.check_length(len(prompt) + spec.max_new_tokens, row.where, f" ({spec.max_new_tokens} of them to write)")
    rows = (Request.continuation(before, after),)
    content = f"{digest_rows(rows)}-{'-'.join([answer, *others])}"
    return Example(
        id=read_field(row.fields, "id", content),
        group=read_field(row.fields, "group", content),
        rows=rows,
        prompt=tuple(prompt),
        answer=answer,
        also_answers=tuple(others),
        chance=1 / len(spec.labels) if spec.labels else 0.0,
        content=content,
        text=shown,
        choices=spec.labels,
    )


def gold_texts(row: Source, spec: TaskSpec) -> list[str]:
    """The texts that are right: those of a list, or what the template of the gold answer makes of the row.

    Raises:
        RowError: there are none, the template does not fit the row, or no text could give one of them.
    """
    answers = row.fields.get("answer")
    gold_answers = answers if isinstance(answers, list) and spec.gold == TaskSpec().gold else [answers]
    if not gold_answers:
        raise RowError(f"{row.where}: the list of answers is empty; expected some text", "without a usable answer")
    fields = [{**row.fields, "answer": answer} for answer in gold_answers] if gold_answers is answers else [row.fields]
    texts = [render(spec.gold, row_fields, row.where).strip() for row_fields in fields]
    for text in texts:
        spec.marking.check(text, row.where)
    return list(dict.fromkeys(texts))
