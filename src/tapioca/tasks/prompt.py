"""A question as a model reads it, with what may follow it: as plain text, or in a chat."""

from collections.abc import Sequence

from tapioca.tasks.chat import make_conversation
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.text import Encoder

Pair = tuple[list[int], list[int]]
"""Ids of a context, and of what follows it."""

Worked = tuple[str, str]
"""A worked example: its question, and the answer as it follows."""


def with_worked(text: str, worked: Sequence[Worked], spec: TaskSpec) -> str:
    """A question behind worked examples, as plain text."""
    return "".join(f"{question}{answer}{spec.fewshot_delimiter}" for question, answer in worked) + text


def encode_pairs(
    text: str, answers: Sequence[str], spec: TaskSpec, encoder: Encoder, where: str, worked: Sequence[Worked] = ()
) -> list[Pair]:
    """Ids of a question, behind worked examples, and of each answer to it.

    In a chat the context is what the chat template writes up to where the answer begins, worked examples are turns, and an
    answer is encoded by itself, without space before it.

    Raises:
        DataError: an answer has no tokens, the two are longer than the model can read, or the tokenizer cannot chat.
    """
    if not spec.chat:
        return [encoder.encode_pair(with_worked(text, worked, spec), answer, where) for answer in answers]
    turns = make_conversation(text, spec.system, worked)
    before = encoder.encode_chat(turns, where, spec.chat_template_kwargs, as_text=spec.chat == "text")
    pairs = [(before, encoder.encode_plain(answer.lstrip())) for answer in answers]
    for (_, after), answer in zip(pairs, answers, strict=True):
        encoder.check_answer(after, answer, where)
        encoder.check_length(len(before) + len(after) - 1, where)
    return pairs
