"""Requests changed as real ones drift: one function a kind, each with a dial, the intent kept.

What happens to a request follows from the seed, the kind and its id alone, and a stronger drift keeps drawing the same
numbers, so that errors are added to those of a weaker one rather than drawn anew.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from speech import mishear

from tapioca.errors import UsageError, did_you_mean

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
FILLERS = ("um", "uh", "er", "like", "you know", "i mean", "well", "so", "okay", "actually", "basically", "let me see")


@dataclass(frozen=True)
class Kind:
    """One kind of drift.

    Attributes:
        change: from a request, a strength above 0 and a generator to the drifted request.
        summary: what it does at strength s.
        dial: whether the strength is a share from 0 to 1, or a count of places from 0.
    """

    change: Callable[[str, float, np.random.Generator], str]
    summary: str
    dial: Literal["share", "count"] = "share"


@dataclass(frozen=True)
class Drift:
    """A kind of drift and how strong it is."""

    kind: str
    strength: float

    def apply(self, text: str, name: str, seed: int) -> str:
        """Change a request; one that nothing would be left of stays as it is.

        Args:
            text: the request.
            name: its id, from which its random numbers follow.
            seed: of all requests.
        """
        if self.strength == 0:
            return text
        stream = int.from_bytes(hashlib.sha256(f"{self.kind} {name}".encode()).digest()[:8], "big")
        drifted = KINDS[self.kind].change(text, self.strength, np.random.default_rng([seed, stream]))
        return drifted if drifted.strip() else text


def parse_drift(text: str) -> Drift:
    """A drift as it is written on the command line, KIND=STRENGTH.

    Raises:
        UsageError: it is not of that form, there is no such kind, or its dial has no such strength.
    """
    name, equals, strength_text = text.partition("=")
    if name not in KINDS:
        raise UsageError(f"no drift '{name}'; {did_you_mean(name, KINDS)}")
    try:
        strength = float(strength_text)
    except ValueError:
        strength = math.nan
    max_strength = 1.0 if KINDS[name].dial == "share" else math.inf
    if not (equals and math.isfinite(strength) and 0 <= strength <= max_strength):
        expected = "a share from 0 to 1" if max_strength == 1 else "a number of places from 0"
        raise UsageError(f"drift '{text}': expected {name}=STRENGTH with {expected}")
    return Drift(name, strength)


def drift_requests(requests: pd.DataFrame, drifts: Sequence[Drift], seed: int) -> pd.DataFrame:
    """Requests as the rows of a task, drifted in one way after the other.

    Two rows that say the same with one intent would be one question on both sides of a split. So a request is left out that
    says, once drifted, what another one says, drifted or not.

    Args:
        requests: with columns id, text and intent; other columns are kept.
        drifts: may be none.
        seed: of the drifts.

    Returns:
        Rows with id, text, label and group, which is the same for a request and all its drifted versions.
    """
    rows = requests.rename(columns={"intent": "label"})
    original_key = pd.Series(list(zip(rows["text"].map(words_read), rows["label"], strict=True)), index=rows.index)
    rows["group"] = rows.groupby(original_key)["id"].transform("first")
    for drift in drifts:
        rows["text"] = [drift.apply(text, name, seed) for text, name in zip(rows["text"], rows["id"], strict=True)]
    drifted_key = pd.Series(list(zip(rows["text"].map(words_read), rows["label"], strict=True)), index=rows.index)
    group_by_key = dict(zip(original_key, rows["group"], strict=True))
    is_foreign = drifted_key.map(group_by_key).fillna(rows["group"]) != rows["group"]
    return rows[~is_foreign & ~drifted_key.duplicated() & ~original_key.duplicated()]


def words_read(text: str) -> tuple[str, ...]:
    """What a reader without case and spaces takes in: words and marks."""
    return tuple(re.findall(r"\w+|[^\w\s]", text.lower()))


def _neighbours() -> dict[str, str]:
    """The keys that touch each letter's key on a QWERTY keyboard, whose rows are shifted by half a key."""
    places = {letter: (row, column) for row, keys in enumerate(KEYBOARD) for column, letter in enumerate(keys)}
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    letters = {place: letter for letter, place in places.items()}
    return {
        letter: "".join(letters.get((row + down, column + right), "") for down, right in steps)
        for letter, (row, column) in places.items()
    }


NEIGHBOURS = _neighbours()


def mistype(text: str, strength: float, rng: np.random.Generator) -> str:
    """Every letter is mistyped with a probability: a neighbouring key, left out, doubled, or swapped with the next letter."""
    draws, ways, keys = rng.random((3, len(text)))
    typed, index = "", 0
    while index < len(text):
        letter, following = text[index], text[index + 1 : index + 2]
        index += 1
        if letter.lower() not in NEIGHBOURS or draws[index - 1] >= strength:
            typed += letter
            continue
        way = int(4 * ways[index - 1])
        if way == 3 and following.lower() in NEIGHBOURS and following != letter:
            typed += following + letter
            index += 1
        elif way == 2:
            typed += letter + letter
        elif way != 1:
            neighbouring_keys = NEIGHBOURS[letter.lower()]
            key = neighbouring_keys[int(len(neighbouring_keys) * keys[index - 1])]
            typed += key.upper() if letter.isupper() else key
    return typed


def lose_marks(text: str, strength: float, rng: np.random.Generator) -> str:
    """Every punctuation mark is left out, and every capital written small, with a probability."""
    is_lost = rng.random(len(text)) < strength
    letters = (letter.lower() if gone else letter for letter, gone in zip(text, is_lost, strict=True))
    return "".join(
        letter
        for letter, gone in zip(letters, is_lost, strict=True)
        if not gone or letter.isalnum() or letter.isspace()
    )


def add_fillers(text: str, strength: float, rng: np.random.Generator) -> str:
    """A filler stands in front of every word with a probability."""
    words = text.split()
    draws, fillers = rng.random((2, len(words)))
    spoken = [
        f"{FILLERS[int(len(FILLERS) * filler)]} {word}" if draw < strength else word
        for word, draw, filler in zip(words, draws, fillers, strict=True)
    ]
    return " ".join(spoken)


def cut_off(text: str, strength: float, rng: np.random.Generator) -> str:
    """A share of the words is missing at the end; the first is always there."""
    words = text.split()
    missing = math.floor(strength * len(words) + rng.random())
    return " ".join(words[: max(1, len(words) - missing)])


def lose_words(text: str, strength: float, rng: np.random.Generator) -> str:
    """Every word is left out with a probability; the last to go stays."""
    words = text.split()
    draws = rng.random(len(words))
    return " ".join(word for word, draw in zip(words, draws, strict=True) if draw >= min(strength, draws.max()))


def reorder(text: str, strength: float, rng: np.random.Generator) -> str:
    """Words up to so many places apart may change places."""
    words = text.split()
    places = np.arange(len(words)) + (1 + strength) * rng.random(len(words))
    return " ".join(words[index] for index in np.argsort(places, kind="stable"))


KINDS: dict[str, Kind] = {
    "typing": Kind(mistype, "every letter is mistyped with probability s: a near key, left out, doubled, swapped"),
    "speech": Kind(
        mishear, "every word is misheard with probability s: homophones, words merged, split or lost, numerals"
    ),
    "punctuation": Kind(lose_marks, "every mark is lost, every capital small, with probability s"),
    "fillers": Kind(add_fillers, "a filler word before every word with probability s"),
    "truncation": Kind(cut_off, "the last share s of the words is missing"),
    "words": Kind(lose_words, "every word is lost with probability s"),
    "order": Kind(reorder, "words up to s places apart may change places", dial="count"),
}
"""The kinds of drift, by the names that a command line uses."""
