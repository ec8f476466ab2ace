"""Texts that a model writes: where they end, where a thought ends in them, and what is left as the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from tapioca.tasks.base import Task
from tapioca.tasks.spec import THINK_END

PROMPT_END = 32
"""Tokens of a prompt's end that are looked at for an opened thought."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Writing(Task):
    """A task to which the model writes the answer, perhaps after a thought.

    Attributes:
        tokenizer: turns what was written into text.
        stop: strings that end a text; it is cut at the first of them. They do nothing inside a thought.
        token_limit: most tokens of a text, the thought included.
        think_end_token: what ends a thought; None where nothing is taken for a thought.
    """

    tokenizer: PreTrainedTokenizerBase
    stop: tuple[str, ...]
    token_limit: int
    think_end_token: str | None = THINK_END

    @property
    def cache_key(self) -> str:
        """How texts end, and where the answer begins in them."""
        return repr((super().cache_key, *self.text_rules))

    @property
    def text_rules(self) -> tuple[object, ...]:
        """What decides which part of a text is the answer; where no text is written, thoughts change nothing."""
        thought = (self.think_end_token,) if self.max_new_tokens else ()
        return self.stop, self.max_new_tokens, *thought

    def is_finished(self, ids: Sequence[int]) -> bool:
        """Whether a text ends with EOS, or its answer holds a stop string that the last token completed."""
        if ids[-1] == self.tokenizer.eos_token_id:
            return True
        longest = max((len(string.encode()) for string in self.stop), default=0)
        tail = str(self.tokenizer.decode(list(ids[-longest - 1 :]))) if longest else ""  # a token is a byte or more
        if not any(string in tail for string in self.stop):
            return False
        answer = self._behind_thought(str(self.tokenizer.decode(list(ids))))
        return answer is not None and any(string in answer for string in self.stop)

    def answer_text(self, ids: Sequence[int]) -> str | None:
        """What was written behind the thought, without special tokens, up to the first stop string; None where the
        thought is not finished."""
        full_text = str(self.tokenizer.decode(list(ids)))
        text = self._behind_thought(full_text)
        if text is None:
            return None
        if text == full_text:
            text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        else:
            for token in self.tokenizer.added_tokens_decoder.values():
                text = text.replace(token.content, "") if token.special else text
        return text[
            : min((position for string in self.stop if (position := text.find(string)) >= 0), default=len(text))
        ]

    def _behind_thought(self, text: str) -> str | None:
        """What follows the last end of a thought, without space before it as in lm-eval; all of a text without a
        thought; None where one is not finished."""
        if self.think_end_token is None:
            return text
        _, end, answer = text.rpartition(self.think_end_token)
        if self._think_start and self._think_start in answer:
            return None
        if end:
            return answer.lstrip()
        return None if self._begins_in_thought else text

    @property
    def _think_start(self) -> str:
        """What opens a thought: the end marker without its stroke; empty where that is none (`<|channel|>final`)."""
        end = self.think_end_token or ""
        return end.replace("/", "", 1) if "/" in end else ""

    @cached_property
    def _begins_in_thought(self) -> bool:
        """Whether what is written begins inside a thought: the prompt opens it, or nothing is known to open one, so
        that a text is a thought until its end is seen."""
        prompt = str(self.tokenizer.decode(list(self.examples[0].prompt[-PROMPT_END:])))
        return prompt.rstrip().endswith(self._think_start)
