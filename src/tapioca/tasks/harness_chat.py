"""Chat for tasks of lm-evaluation-harness: its own conversations, written by the tokenizer's template."""

from __future__ import annotations

from functools import partial
from typing import Any

from tapioca.errors import DataError
from tapioca.tasks.text import Encoder

YES = ("1", "true", "yes")

SYSTEM = ",system="
"""What comes before the system prompt in a task's name."""


def chat_options(asked: str, system: str, encoder: Encoder, name: str) -> dict[str, Any]:
    """What lm-eval's `build_all_requests` is told about chat, with its own default of a turn for each few-shot sample.

    Args:
        asked: whether to chat, as the user wrote it.
        system: the system prompt, or nothing.
        encoder: holds the tokenizer.
        name: the task as the user wrote it.

    Raises:
        DataError: a system prompt without a chat.
    """
    if asked not in YES:
        if system:
            raise DataError(f"{name}: a system prompt needs a chat; say chat=true before system=")
        return {}
    return {
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "system_instruction": system or None,
        "chat_template": partial(_template, encoder, name),
    }


def _template(encoder: Encoder, name: str, history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """A conversation as the tokenizer's template writes it."""
    return str(
        encoder.conversation(
            history,
            name,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
    )
