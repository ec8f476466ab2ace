"""What a small language model is trained on, the questions of a task and their gold answers, and what it is not."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
from tapioca.lab.config import TextConfig
from tapioca.lab.tokenizer import EOS_ID, SPECIAL, UNK_ID, OpenVocabulary
from tapioca.reading import explain_damage, read_text
from tapioca.records import Example
from tapioca.records.portable import portable_name
from tapioca.runs.places import recall_places
from tapioca.tasks.base import Task
from tapioca.tasks.choice import Choice, Label
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import Generate
from tapioca.tasks.split import search_groups
from tapioca.tasks.text import Encoder

HELD_OUT = "held-out:"
"""How the names of tasks begin that ask what a training left out."""


@dataclass(frozen=True)
class TrainingText:
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
    trained: tuple[TrainingText, ...]
    held_out: tuple[TrainingText, ...]
    digest: str


def read_corpus(config: TextConfig) -> Corpus:
    """The texts of a task, with the ids that its evaluation will use; groups are never split.

    Raises:
        DataError: the task cannot be read, asks nothing that has an answer, has a row longer than the context, or is
            held out as a whole.
    """
    vocabulary = OpenVocabulary(config.context - 1)  # a place is left for EOS
    task, is_held_out = _load_training_task(config, vocabulary)
    is_trained = [not held_out for held_out in is_held_out]
    texts = [_text_from_example(task, example) for example in task.examples]
    counts = Counter(token for text in compress(texts, is_trained) for token in text.ids)
    if not counts:
        raise DataError(f"{config.task}: all {len(texts)} rows are held out; give more rows or a smaller --held-out")
    kept_tokens = [token for token, _ in counts.most_common() if token >= len(SPECIAL)][: config.vocabulary]
    new_ids = {token: new_id for new_id, token in enumerate([*range(len(SPECIAL)), *kept_tokens])}
    closed_texts = [replace(text, ids=tuple(new_ids.get(token, UNK_ID) for token in text.ids)) for text in texts]
    all_words = list(vocabulary.ids)
    return Corpus(
        words=tuple(all_words[token] for token in kept_tokens),
        trained=tuple(compress(closed_texts, is_trained)),
        held_out=tuple(compress(closed_texts, is_held_out)),
        digest=task.digest,
    )


def load_held_out(name: str, encoder: Encoder | None, task_options: dict[str, Any]) -> Task:
    """The rows that the training of a small language model left out, as a task: ID data that the model has never seen.

    Args:
        name: "held-out:FOLDER", the folder of a model of `train_text`. Its record says which task, share and seed; the
            task is looked for where the command runs, and where it was on this machine when the training ran.
        encoder: the text encoder of the model that is asked.
        task_options: what the user says about the task, as for a file.

    Raises:
        DataError: the folder has no record of such a training, or it held no rows out; or the task cannot be read,
            is no longer what was trained on, or is asked otherwise than row by row.
    """
    config, digest = _read_training(name)
    if not Path(config.task).exists():
        config = config.model_copy(update={"task": recall_places(digest).get("task", config.task)})
    try:
        trained_task, is_held_out = _load_training_task(config, OpenVocabulary(config.context - 1))
        task = load_task(config.task, encoder, task_options)
    except DataError as error:
        raise DataError(f"{name}: {error} (read again where its training ran)") from error
    if trained_task.digest != digest:
        raise DataError(f"{name}: {config.task} is no longer what the model was trained on; restore the file")
    if len(task.examples) != len(is_held_out):
        raise DataError(
            f"{name}: {len(task.examples)} examples of {len(is_held_out)} rows; ask one question a row, as trained"
        )
    if not any(is_held_out):
        raise DataError(f"{name}: the training held no rows out; train with --held-out above 0")
    examples = tuple(compress(task.examples, is_held_out))
    note = f"{portable_name(name)}: the {len(examples)} of {len(is_held_out)} rows of {portable_name(config.task)} that this model was not trained on"
    return replace(task, name=name, examples=examples, notes=(*task.notes, note))


def _read_training(name: str) -> tuple[TextConfig, str]:
    """The request of a training, and the digest of what it read."""
    folder = Path(name.removeprefix(HELD_OUT))
    with explain_damage(folder / "training.json", DataError, "expected a model of `tapioca lab train-text`"):
        settings = json.loads(read_text(folder / "training.json"))["config"]
        digest = settings.pop("data")
        return TextConfig(**settings, out=folder), digest


def _load_training_task(config: TextConfig, vocabulary: OpenVocabulary) -> tuple[Task, list[bool]]:
    """The task of a training, and which of its examples are held out; groups are never split.

    Where rows have no group, theirs depends on the ids of their words, so only a new vocabulary finds the same again.
    """
    task = load_task(config.task, vocabulary, {})
    if not isinstance(task, (Choice, Label, Generate)):
        raise DataError(f"{config.task} has no answers to learn; expected a task of kind choice, label or generate")
    if task.shots:
        raise DataError(f"{config.task}: questions are learnt alone, without worked examples; leave out num_fewshot")
    groups = search_groups([task.examples], config.held_out, config.seed)
    return task, [example.group in groups for example in task.examples]


def _text_from_example(task: Task, example: Example) -> TrainingText:
    """What is learnt of an example: its prompt, its gold answer, EOS."""
    gold = example.gold or 0
    row = example.rows[gold if isinstance(task, Choice) else 0]
    targets = [row.targets[gold]] if isinstance(task, Label) else row.targets
    prompt = row.inputs[: len(row.inputs) + 1 - len(targets)]  # the last target is never an input
    return TrainingText((*map(int, prompt), *map(int, targets), EOS_ID), len(prompt))
