"""Rows of a file become examples: templates rendered, text tokenised, the right answer found."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tapioca.errors import DataError, RowError
from tapioca.records import Example, Request
from tapioca.tasks.base import Task, digest_rows, read_field
from tapioca.tasks.choice import ACCURACY, GOLD_LOSS, Choice, Label
from tapioca.tasks.classify import Classify, Rate, classify_example
from tapioca.tasks.generate import ANSWER_LOSS, Generate, generate_example, gold_texts, written_metric
from tapioca.tasks.gold import Golds
from tapioca.tasks.perplexity import Perplexity, cut_windows
from tapioca.tasks.prompt import Worked, encode_pairs, with_worked
from tapioca.tasks.regress import Regression
from tapioca.tasks.rows import Source
from tapioca.tasks.score_function import ScoreFunction
from tapioca.tasks.sieve import BLANK
from tapioca.tasks.spec import Kind, TaskSpec
from tapioca.tasks.template import render
from tapioca.tasks.text import Encoder


def find_task_class(spec: TaskSpec, encoder: Encoder | None, score_function: ScoreFunction | None = None) -> Any:
    """The constructor of a kind of task, with the metric and the rules the user chose."""
    likely = spec.score == "likelihood"
    if spec.kind == "generate" and encoder:
        return partial(
            Generate,
            metric=ANSWER_LOSS if likely else written_metric(score_function),
            tokenizer=encoder.tokenizer,
            marking=spec.marking,
            score_function=score_function,
            stop=spec.stop,
            token_limit=spec.max_new_tokens,
            think_end_token=spec.think_end_token,
        )
    if spec.kind == "classify" and encoder and len(encoder.labels or ()) == 1:
        return Rate
    classes: dict[Kind | None, type[Task]] = {"choice": Choice, "label": Label, "classify": Classify}
    if spec.kind in classes:
        return partial(classes[spec.kind], metric=GOLD_LOSS if likely else ACCURACY)
    return Regression if spec.kind == "regression" else Perplexity


def build_example(
    row: Source,
    spec: TaskSpec,
    encoder: Encoder,
    choices: Sequence[str] = (),
    golds: Golds = (),
    worked: Sequence[Worked] = (),
) -> Example:
    """An example of any kind that asks one question a row.

    Args:
        choices: what there is to choose from; nothing where the model writes or gives a number.
        golds: indices of the right ones.
        worked: examples before the question, for kinds that can have some.

    Raises:
        RowError: the template does not fit the row, or a text is too long.
        DataError: the labels of a task are not one token each, or the model has no classification head.
    """
    if spec.kind == "generate":
        return generate_example(row, spec, encoder, worked)
    if spec.kind == "classify":
        return classify_example(row, spec, encoder, golds)
    if len(golds) == len(choices):
        raise RowError(f"{row.where}: all {len(choices)} choices are right; one must be wrong", "with no wrong choice")
    text = render(spec.template or "", row.fields, row.where)
    answers = [render(spec.continuation, {**row.fields, "choice": choice}, row.where) for choice in choices]
    if len(set(answers)) < len(answers):
        raise DataError(
            f"{row.where}: continuation {spec.continuation!r} makes the same answer of two choices; it must print {{{{ choice }}}}"
        )
    pairs = encode_pairs(text, answers, spec, encoder, row.where, worked)
    if spec.kind == "choice":
        rows = tuple(
            Request.continuation(before, after, _length(spec.normalize, answer.strip(), after))
            for (before, after), answer in zip(pairs, answers, strict=True)
        )
    else:
        rows = (
            Request(inputs=tuple(pairs[0][0]), targets=_label_ids(pairs, answers, row.where, encoder.tokenizer_name)),
        )
    content = f"{digest_rows(rows)}-{'-'.join(map(str, golds))}"
    return Example(
        id=read_field(row.fields, "id", content),
        group=read_field(row.fields, "group", content),
        rows=rows,
        prompt=tuple(pairs[0][0]),
        gold=golds[0],
        also=golds[1:],
        label=choices[golds[0]].strip() if tuple(choices) == spec.labels else f"choice {golds[0]}",
        chance=len(golds) / len(choices),
        content=content,
        text=with_worked(text, worked, spec),
        choices=tuple(choices),
    )


def worked_example(row: Source, spec: TaskSpec, choices: Sequence[str], golds: Golds) -> Worked:
    """A row as a worked example: what it asks, and its first right answer."""
    answer = choices[golds[0]] if choices else gold_texts(row, spec)[0]
    question = render(spec.template or "", row.fields, row.where)
    return question, render(spec.continuation, {**row.fields, "choice": answer}, row.where)


def build_windows(row: Source, size: int, encoder: Encoder) -> list[Example]:
    """The windows of one document, as examples of one group weighted by their tokens."""
    text = row.fields["text"]
    if not isinstance(text, str) or not text.strip():
        blank = text is None or isinstance(text, str)
        raise RowError(
            f"{row.where}: field 'text' must be some text, got {text!r:.60}", BLANK if blank else "without text"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(
            f"{row.where}: field 'text' holds half a character ({error.reason}); save it as UTF-8",
            "with half a character",
        ) from error
    ids, prefix_token = encoder.encode_plain(text), encoder.prefix
    window_rows = cut_windows(ids, prefix_token, min(size, encoder.max_length))
    content = digest_rows(window_rows)
    name, group = (read_field(row.fields, field, content) for field in ("id", "group"))
    return [
        Example(
            id=f"{name}#{index}" if len(window_rows) > 1 else name,
            group=group,
            rows=(window,),
            prompt=window.inputs,
            weight=len(window.targets),
            content=digest_rows([window]),
            text=text if len(window_rows) == 1 else str(encoder.tokenizer.decode(list(map(int, window.targets)))),
        )
        for index, window in enumerate(window_rows)
    ]


def _length(normalize: str, answer: str, tokens: list[int]) -> float:
    """What a choice's log-likelihood is divided by; characters and bytes without surrounding space."""
    return {"none": 1, "tokens": len(tokens), "characters": len(answer), "bytes": len(answer.encode())}[normalize]


def _label_ids(
    pairs: list[tuple[list[int], list[int]]], answers: list[str], where: str, tokenizer: str
) -> tuple[int, ...]:
    """The one token of each label; a DataError where one has more, two share theirs, or there are fewer than two."""
    counts = [(answer, len(after)) for (_, after), answer in zip(pairs, answers, strict=True)]
    if long := ", ".join(f"{answer!r} is {count} tokens" for answer, count in counts if count != 1):
        raise DataError(
            f"{where}: label {long} by {tokenizer}; a label task needs labels of one token each, use kind: choice"
        )
    ids = tuple(after[0] for _, after in pairs)
    if len(set(ids)) < max(2, len(ids)):
        raise DataError(f"{where}: labels must be at least two different tokens of {tokenizer}, got {answers}")
    return ids
