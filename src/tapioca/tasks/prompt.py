"""A question as a model reads it, with what may follow it: as plain text, or in a chat."""

from __future__ import annotations

from collections.abc import Sequence

from tapioca.tasks.chat import conversation
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.text import Encoder

Pair = tuple[list[int], list[int]]
"""Ids of a context, and of what follows it."""


def encode_pairs(text: str, answers: Sequence[str], spec: TaskSpec, encoder: Encoder, where: str) -> list[Pair]:
    """Ids of a question and of each answer to it.

    In a chat the context is what the chat template writes up to where the answer begins, and an answer is encoded
    by itself, without space before it.

    Raises:
        DataError: an answer has no tokens, the two are longer than the model can read, or the tokenizer cannot chat.
    """
    if not spec.chat:
        return [encoder.pair(text, answer, where) for answer in answers]
    turns = conversation(text, spec.system)
    before = encoder.chat(turns, where, spec.chat_template_kwargs, as_text=spec.chat == "text")
    pairs = [(before, encoder.plain(answer.lstrip())) for answer in answers]
    for (_, after), answer in zip(pairs, answers, strict=True):
        encoder.check_answer(after, answer, where)
        encoder.check_length(len(before) + len(after) - 1, where)
    return pairs
