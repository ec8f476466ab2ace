"""A text that one plan wrote is a draft for another: what both agree on is read in one pass, not written anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tapioca.errors import NonFiniteError
from tapioca.models.decode import NAN, Ended, near_ties
from tapioca.records import Plan
from tapioca.records.tree import steps

Texts = list[np.ndarray]
"""The ids written after each prompt of a batch, int64, without EOS."""


class Drafts:
    """Texts written for the batches of a task by the plans scored last.

    Args:
        batches: how many batches to remember; the oldest is forgotten first.

    Attributes:
        agreed: of the tokens of the last drafts a plan was given, the share it accepted.
    """

    def __init__(self, batches: int):
        self._batches = batches
        self._texts: dict[str, dict[Plan, Texts]] = {}
        self.agreed: dict[Plan, float] = {}

    def of(self, batch: str) -> dict[Plan, Texts]:
        """What was written for the batch of this digest."""
        return self._texts.get(batch, {})

    def keep(self, batch: str, written: dict[Plan, Texts]) -> None:
        """Remember what was written for a batch, in place of what was before."""
        self._texts.pop(batch, None)
        self._texts[batch] = written
        while len(self._texts) > self._batches:
            del self._texts[next(iter(self._texts))]


def nearest(known: dict[Plan, Texts], plans: Sequence[Plan]) -> Texts:
    """The texts of the plan that differs from these in the fewest layers: a search's are all one step from their parent."""
    wanted = [steps(plan) for plan in plans]

    def distance(plan: Plan) -> int:
        own = steps(plan)
        return sum(left != right for other in wanted for left, right in zip(own, other, strict=True))

    return known[min(known, key=distance)]


@dataclass
class Text:
    """What a plan has written after one prompt, without EOS, and whether it has ended."""

    plan: Plan
    row: int
    ids: list[int] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True)
class Reading:
    """What a plan would write after the prompt and after each token of a draft.

    Attributes:
        tokens: the ids, int64 of shape (1 + tokens read,); -1 where an output is NaN.
        unsure: where the two best nearly tie.
    """

    tokens: np.ndarray
    unsure: np.ndarray


def read_drafts(logits: torch.Tensor, lengths: Sequence[int]) -> list[Reading]:
    """Take from the outputs of prompts with drafts behind them what is needed to judge the drafts.

    Args:
        logits: (row, kept position, output), float32; rows are padded on the left.
        lengths: tokens of each row's draft that were read.
    """
    tokens, unsure = logits.argmax(-1), near_ties(logits)
    tokens[logits.isnan().any(-1)] = -1
    both = zip(tokens.cpu().numpy(), unsure.cpu().numpy(), strict=True)
    return [Reading(row[-1 - read :], ties[-1 - read :]) for (row, ties), read in zip(both, lengths, strict=True)]


def judge(
    text: Text,
    draft: Sequence[int],
    reading: Reading,
    budget: int,
    stops: set[int],
    ended: Ended,
    settle: Callable[[list[int]], int] | None,
) -> None:
    """Write as far as a draft can tell: what the plan agrees on, and its own token where it first does not.

    Args:
        text: still empty; filled.
        draft: a finished text of another plan, without EOS.
        reading: what the plan would write along the draft, the last token of a draft of full length left out.
        budget, ended: as for `decode`.
        stops: the model's own EOS tokens.
        settle: the next token of plain greedy decoding after some of the draft; asked where two nearly tie. None
            lets rounding decide.

    Raises:
        NonFiniteError: an output is NaN before the plan leaves the draft.
    """
    for at, (token, unsure) in enumerate(zip(reading.tokens.tolist(), reading.unsure, strict=True)):
        if 0 < at == len(draft) and ended(draft):
            break
        if token < 0:
            raise NonFiniteError(NAN)
        own = settle(list(draft[:at])) if unsure and settle else token
        if own in stops:
            break
        text.ids.append(own)
        if at == len(draft) or own != draft[at]:
            text.done = len(text.ids) == budget or ended(text.ids)
            return
    text.done = True
