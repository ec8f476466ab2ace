"""What a small language model is trained on: the questions of a task and their gold answers, as words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from tapioca.errors import DataError
from tapioca.lab.config import TextConfig
from tapioca.lab.words import EOS_ID, SPECIAL, UNK_ID, OpenVocabulary
from tapioca.records import Example
from tapioca.tasks.base import Task
from tapioca.tasks.choice import Choice, Label
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import Generate
from tapioca.tasks.split import search_groups


@dataclass(frozen=True)
class Text:
    """A prompt, its gold answer and EOS as token ids, and the place where the answer begins."""

    ids: tuple[int, ...]
    answer: int


@dataclass(frozen=True)
class Corpus:
    """What a training reads.

    Attributes:
        words: the vocabulary, in the order of its ids behind the special tokens.
        trained, held_out: the texts of each part, in file order.
        digest: names the task they were made from.
    """

    words: tuple[str, ...]
    trained: tuple[Text, ...]
    held_out: tuple[Text, ...]
    digest: str


def read_corpus(config: TextConfig) -> Corpus:
    """The texts of a task, with the ids that its evaluation will use; groups are never split.

    Raises:
        DataError: the task cannot be read, asks nothing that has an answer, has a row longer than the context, or is
            held out as a whole.
    """
    encoder = OpenVocabulary(config.context - 1)  # a place is left for EOS
    task = load_task(config.task, encoder, {})
    if not isinstance(task, (Choice, Label, Generate)):
        raise DataError(f"{config.task} has no answers to learn; expected a task of kind choice, label or generate")
    groups = search_groups([task.examples], config.held_out, config.seed)
    texts = [_text(task, example) for example in task.examples]
    held = [example.group in groups for example in task.examples]
    counts = Counter(token for text, out in zip(texts, held, strict=True) if not out for token in text.ids)
    if not counts:
        raise DataError(f"{config.task}: all {len(texts)} rows are held out; give more rows or a smaller --held-out")
    kept = [token for token, _ in counts.most_common() if token >= len(SPECIAL)][: config.vocabulary]
    known = {token: at for at, token in enumerate([*range(len(SPECIAL)), *kept])}
    closed = [replace(text, ids=tuple(known.get(token, UNK_ID) for token in text.ids)) for text in texts]
    names = list(encoder.ids)
    return Corpus(
        words=tuple(names[token] for token in kept),
        trained=tuple(text for text, out in zip(closed, held, strict=True) if not out),
        held_out=tuple(text for text, out in zip(closed, held, strict=True) if out),
        digest=task.digest,
    )


def _text(task: Task, example: Example) -> Text:
    """What is learnt of an example: its prompt, its gold answer, EOS."""
    gold = example.gold or 0
    row = example.rows[gold if isinstance(task, Choice) else 0]
    targets = [row.targets[gold]] if isinstance(task, Label) else row.targets
    prompt = row.inputs[: len(row.inputs) + 1 - len(targets)]  # the last target is never an input
    return Text((*map(int, prompt), *map(int, targets), EOS_ID), len(prompt))
