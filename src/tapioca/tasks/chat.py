"""Chat templates: small programs of the tokenizer's that read options and the clock, so both are fixed for a run."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self, cast

from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from tapioca.errors import DataError

Message = dict[str, str]
"""One turn of a conversation: `role` and `content`."""


@dataclass
class Clock:
    """What a chat template is told when it asks for the time (`strftime_now`): midnight of one day, the same for a
    whole run, so that the same command reads the same ids on another day.

    Attributes:
        day: the day.
        was_read: whether any template has asked.
    """

    day: date
    was_read: bool = False

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While it lasts, transformers' chat templates are told this day."""
        clock, module = self, cast(Any, chat_template_utils)
        real = module.datetime

        class Stopped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Self:
                clock.was_read = True
                return cls(clock.day.year, clock.day.month, clock.day.day, tzinfo=tz)

        module.datetime = Stopped
        try:
            yield
        finally:
            module.datetime = real


def make_conversation(question: str, system: str | None, shots: Sequence[tuple[str, str]] = ()) -> list[Message]:
    """The turns that ask a question: a system prompt where there is one, worked examples as turns, and the question."""
    system_messages = [{"role": "system", "content": system}] if system is not None else []
    shot_messages = [
        {"role": role, "content": content}
        for shot_question, answer in shots
        for role, content in (("user", shot_question), ("assistant", answer.strip()))
    ]
    return [*system_messages, *shot_messages, {"role": "user", "content": question}]


def check_options(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any], where: str) -> None:
    """Refuse with a DataError options that a chat template would pass over: those of transformers, and names it does not hold."""
    taken = inspect.signature(tokenizer.apply_chat_template).parameters
    template = tokenizer.get_chat_template()
    for name in options:
        if name in taken:
            raise DataError(f"{where}: '{name}' is no option of a chat template; this program sets it itself")
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise DataError(
                f"{where}: the chat template reads no option '{name}'; look for its options in the model's card, or leave it out"
            )
