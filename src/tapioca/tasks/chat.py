"""Chat templates: small programs of the tokenizer's that read options and the clock, so both are fixed for a run."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from transformers import PreTrainedTokenizerBase, tokenization_utils_base

from tapioca.errors import DataError
from tapioca.tasks import bounded

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
        """While it lasts, transformers' chat templates are told this day, and are rendered within bounds."""
        module = cast(Any, tokenization_utils_base)
        real = module.render_jinja_template

        def render(**arguments: Any) -> Any:
            rendered, asked = bounded.ask("chat", arguments, self.day.isoformat())
            self.was_read = self.was_read or asked
            return rendered

        module.render_jinja_template = render
        try:
            yield
        finally:
            module.render_jinja_template = real


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
