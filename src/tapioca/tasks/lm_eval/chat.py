"""Chat for tasks of lm-evaluation-harness: its own conversations, written by the tokenizer's template."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tapioca.errors import DataError
from tapioca.tasks.chat import Message
from tapioca.tasks.text import Encoder

YES = ("1", "true", "yes")

SYSTEM = ",system="
"""What comes before the system prompt in a task's name."""


def chat_arguments(
    chat: str, system: str | None, options: Mapping[str, Any], encoder: Encoder, name: str
) -> dict[str, Any]:
    """What lm-eval's `build_all_requests` is told about chat, with its own default of a turn for each few-shot sample;
    `options` are what the chat template reads beside the turns.

    Raises:
        DataError: a system prompt or options without a chat.
    """
    if chat not in YES:
        if system:
            raise DataError(f"{name}: a system prompt needs a chat; say --chat, or chat=true before system=")
        if options:
            raise DataError(f"{name}: options of the chat template need a chat; say --chat, or chat=true")
        return {}
    return {
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "system_instruction": system or None,
        "chat_template": partial(_render, encoder, name, options),
    }


def _render(
    encoder: Encoder, name: str, options: Mapping[str, Any], history: list[Message], add_generation_prompt: bool = True
) -> str:
    """A conversation as the tokenizer's template writes it."""
    how = {"add_generation_prompt": add_generation_prompt, "continue_final_message": not add_generation_prompt}
    return str(encoder.render_chat(history, name, options, "--chat, or chat=true", tokenize=False, **how))
