"""Text to token ids as lm-evaluation-harness makes them, with one BOS where the tokenizer itself adds one."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from transformers import PreTrainedTokenizerBase

from tapioca.errors import DataError, RowError
from tapioca.records import TextPair
from tapioca.tasks.chat import Clock, Message, check_options
from tapioca.tasks.sandbox import TooCostly
from tapioca.tasks.template import explain_cost

TOO_LONG = "longer than the model can read"


class Encoder:
    """Encodes text as lm-evaluation-harness does for causal models.

    Args:
        tokenizer: the model's own.
        max_length: most tokens the model can read; longer rows are refused, never cut.
        labels: names of the outputs of the model's classification head; None where it has none.
        clock: what chat templates are told of the time; by default today.

    Attributes:
        merged: pairs so far in which a token reaches across the end of the context. As in
            lm-evaluation-harness, scoring then starts after as many tokens as the context alone has.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        labels: tuple[str, ...] | None = None,
        clock: Clock | None = None,
    ):
        self.tokenizer, self.max_length, self.labels = tokenizer, max_length, labels
        self.clock = clock or Clock(date.today())
        self.merged = 0

    @property
    def tokenizer_name(self) -> str:
        """What messages call the tokenizer."""
        return f"the tokenizer of {self.tokenizer.name_or_path}" if self.tokenizer.name_or_path else "the tokenizer"

    @property
    def prefix(self) -> int:
        """What the first token of a text is predicted from: BOS, else EOS; a DataError where the tokenizer has neither."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if isinstance(token, int):
                return token
        raise DataError(
            f"{self.tokenizer_name} has neither BOS nor EOS, so nothing precedes the first token; give every row a prompt"
        )

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text, with the special tokens the tokenizer itself adds, but never a second BOS."""
        bos = self.tokenizer.bos_token
        has_bos = bool(bos) and text.startswith(str(bos))
        ids = self.tokenizer.encode(text, add_special_tokens=not has_bos, verbose=False)
        return [int(token) for token in ids]

    def encode_two_texts(self, first: str, second: str) -> TextPair:
        """Ids of two texts as the tokenizer itself joins them, with the segment it gives each token."""
        encoded = self.tokenizer(first, second, return_token_type_ids=True, verbose=False)
        return TextPair(encoded["input_ids"], encoded["token_type_ids"])

    def encode_plain(self, text: str) -> list[int]:
        """Ids of a text without any special token."""
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False, verbose=False)]

    def encode_pair(self, context: str, continuation: str, where: str) -> tuple[list[int], list[int]]:
        """Ids of a context and of what follows it, from encoding the two as one text.

        Spaces at the end of the context count as the start of the continuation, since tokens carry
        their leading space. An empty context becomes the prefix token.

        Raises:
            DataError: nothing is left to predict, or the pair is longer than the model can read.
        """
        stripped_context = context.rstrip()
        continuation, context = context[len(stripped_context) :] + continuation, stripped_context
        if context:
            context_ids, joint_ids = self.encode_text(context), self.encode_text(context + continuation)
            continuation_ids = joint_ids[len(context_ids) :]
            self.merged += joint_ids[: len(context_ids)] != context_ids
        else:
            context_ids, continuation_ids = [self.prefix], self.encode_plain(continuation)
            if continuation_ids[:1] == context_ids:
                context_ids, continuation_ids = continuation_ids[:1], continuation_ids[1:]
        self.check_answer(continuation_ids, continuation, where)
        self.check_length(len(context_ids) + len(continuation_ids) - 1, where)
        return context_ids, continuation_ids

    def note_unused_template(self, name: str) -> list[str]:
        """What is said where questions are asked as plain text, though the tokenizer has a chat template."""
        if not self.tokenizer.chat_template:
            return []
        return [f"{name}: asked as plain text, though the tokenizer has a chat template; --chat asks by it"]

    def encode_chat(
        self, messages: list[Message], where: str, options: Mapping[str, Any], as_text: bool = False
    ) -> list[int]:
        """Ids of a conversation up to where the answer begins, by the tokenizer's own template.

        The template alone says whether there is a BOS. With `as_text` what it prints is encoded as any text is, so that
        a tokenizer that adds a BOS adds a second one; that is a fault, and here to reproduce it.

        Args:
            messages: the turns, the question last.
            where: what the messages of errors call it.
            options: what the template reads beside the turns (`enable_thinking`, `date_string`).

        Raises:
            DataError: as for `render_chat`.
        """
        flag = "--compat tale, or chat: text" if as_text else "--chat, or chat: true"
        how = {"add_generation_prompt": True, "return_dict": False, "tokenize": not as_text}
        written = self.render_chat(messages, where, options, flag, **how)
        return [int(token) for token in (self.tokenizer.encode(written, verbose=False) if as_text else written)]

    def render_chat(
        self, messages: list[Message], where: str, options: Mapping[str, Any], flag: str = "chat=true", **how: Any
    ) -> Any:
        """A conversation as the tokenizer's own template writes it; `how` is handed to `apply_chat_template`.

        Raises:
            DataError: the tokenizer has no chat template (`flag` asked for it), the template reads no such option, it
                refuses the conversation, or it costs more than a row may.
        """
        if not self.tokenizer.chat_template:
            raise DataError(f"{where}: {self.tokenizer_name} has no chat template; leave out {flag}")
        try:
            check_options(self.tokenizer, options, where)
            with self.clock.stopped():
                return self.tokenizer.apply_chat_template(messages, **options, **how)
        except DataError:
            raise
        except TooCostly as error:
            raise explain_cost("the model's chat template", where, error) from error
        except Exception as error:  # a chat template is a small program of the model's and can raise anything
            raise DataError(
                f"{where}: the chat template of {self.tokenizer_name} does not take this conversation: {' '.join(str(error).split())}"
            ) from error

    def check_answer(self, ids: list[int], text: str, where: str) -> None:
        """Refuse with a RowError an answer without tokens, which leaves nothing to predict."""
        if not ids:
            raise RowError(
                f"{where}: the answer {text!r} has no tokens of its own by {self.tokenizer_name}; expected some text",
                "with an answer without tokens",
            )

    def check_length(self, length: int, where: str, what: str = "") -> None:
        """Refuse with a RowError what is longer than the model can read."""
        if length > self.max_length:
            raise RowError(
                f"{where}: {length} tokens{what}, but the model reads at most {self.max_length}; shorten the prompt or drop the row",
                TOO_LONG,
            )
