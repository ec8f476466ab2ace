"""Rows as a person can check them, token by token."""

import numpy as np
from transformers import PreTrainedTokenizerBase

from tapioca.models.inputs import is_sequence_classifier
from tapioca.models.load import LoadedModel
from tapioca.records import Example

VISIBLE_SPACE = "␣"
"""Makes a space visible."""


def split_first_row(loaded: LoadedModel, example: Example) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first row as a person can check it: tokens read first, and tokens or numbers scored."""
    row = example.rows[0]
    if isinstance(row.inputs, np.ndarray) or loaded.tokenizer is None:
        read_numbers = tuple(f"{number:.2f}" for number, _ in np.asarray(row.inputs))
        return read_numbers, tuple(f"{target:.2f}" for target in row.targets)
    n_read = len(row.inputs) - len(row.targets) + 1 if len(row.targets) <= len(row.inputs) else len(row.inputs)
    read = tuple(format_token(loaded.tokenizer, token) for token in row.inputs[:n_read])
    if is_sequence_classifier(loaded.model):
        return read, (example.answer,)
    return read, tuple(format_token(loaded.tokenizer, int(token)) for token in row.targets)


def format_token(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """A token as '272:␣the': its id and the text it adds behind other text, with its spaces and line ends visible.

    It is decoded behind itself, since decoders strip the space that a text begins with.
    """
    alone, twice = str(tokenizer.decode([token])), str(tokenizer.decode([token, token]))
    text = twice[len(alone) :].replace(" ", VISIBLE_SPACE)
    return f"{token}:" + "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
