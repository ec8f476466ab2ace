"""A text that one plan wrote is a draft for another: what both agree on is read in one pass, not written anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tapioca.engine.decode import NAN_MESSAGE, PromptBatch, find_near_ties
from tapioca.errors import NonFiniteError
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import list_steps

Texts = list[np.ndarray]
"""The ids written after each prompt of a batch, int64, without EOS."""


class DraftStore:
    """Texts written for the batches of a task by the plans scored last.

    Args:
        batches: how many batches to remember; the oldest is forgotten first.

    Attributes:
        accepted_share: of the tokens of the last drafts a plan was given, the share it accepted.
    """

    def __init__(self, batches: int):
        self._batches = batches
        self._texts: dict[str, dict[Plan, Texts]] = {}
        self.accepted_share: dict[Plan, float] = {}

    def texts_of(self, batch: str) -> dict[Plan, Texts]:
        """What was written for the batch of this digest."""
        return self._texts.get(batch, {})

    def store_texts(self, batch: str, written: dict[Plan, Texts]) -> None:
        """Remember what was written for a batch, in place of what was before."""
        self._texts.pop(batch, None)
        self._texts[batch] = written
        while len(self._texts) > self._batches:
            del self._texts[next(iter(self._texts))]


def choose_nearest_texts(texts_by_plan: dict[Plan, Texts], plans: Sequence[Plan]) -> Texts:
    """The texts of the plan that differs from these in the fewest layers: a search's are all one step from their parent."""
    steps_by_plan = [list_steps(plan) for plan in plans]

    def distance(plan: Plan) -> int:
        candidate_steps = list_steps(plan)
        return sum(
            candidate_step != plan_step
            for plan_steps in steps_by_plan
            for candidate_step, plan_step in zip(candidate_steps, plan_steps, strict=True)
        )

    return texts_by_plan[min(texts_by_plan, key=distance)]


@dataclass
class WrittenText:
    """What a plan has written after one prompt, without EOS, and whether it has ended."""

    plan: Plan
    row: int
    ids: list[int] = field(default_factory=list)
    is_finished: bool = False


@dataclass(frozen=True)
class DraftReading:
    """What a plan would write after the prompt and after each token of a draft.

    Attributes:
        tokens: the ids, int64 of shape (1 + tokens read,); -1 where an output is NaN.
        unsure: where the two best nearly tie.
    """

    tokens: np.ndarray
    unsure: np.ndarray


def read_drafts(logits: torch.Tensor, lengths: Sequence[int]) -> list[DraftReading]:
    """Take from the outputs of prompts with drafts behind them what is needed to judge the drafts.

    Args:
        logits: (row, kept position, output), float32; rows are padded on the left.
        lengths: tokens of each row's draft that were read.
    """
    tokens, unsure = logits.argmax(-1), find_near_ties(logits)
    tokens[logits.isnan().any(-1)] = -1
    both = zip(tokens.cpu().numpy(), unsure.cpu().numpy(), strict=True)
    return [DraftReading(row[-1 - read :], ties[-1 - read :]) for (row, ties), read in zip(both, lengths, strict=True)]


def accept_draft(
    text: WrittenText,
    draft: Sequence[int],
    reading: DraftReading,
    batch: PromptBatch,
    stop_tokens: set[int],
    resolve_tie: Callable[[list[int]], int] | None,
) -> None:
    """Write as far as a draft can tell: what the plan agrees on, and its own token where it first does not.

    Args:
        text: still empty; filled.
        draft: a finished text of another plan, without EOS.
        reading: what the plan would write along the draft, the last token of a draft of full length left out.
        batch: says when a text has ended.
        stop_tokens: the model's own EOS tokens.
        resolve_tie: the next token of plain greedy decoding after some of the draft; asked where two nearly tie. None
            lets rounding decide.

    Raises:
        NonFiniteError: an output is NaN before the plan leaves the draft.
    """
    for position, (token, unsure) in enumerate(zip(reading.tokens.tolist(), reading.unsure, strict=True)):
        if 0 < position == len(draft) and batch.is_finished(draft):
            break
        if token < 0:
            raise NonFiniteError(NAN_MESSAGE)
        plan_token = resolve_tie(list(draft[:position])) if unsure and resolve_tie else token
        if plan_token in stop_tokens:
            break
        text.ids.append(plan_token)
        if position == len(draft) or plan_token != draft[position]:
            text.is_finished = len(text.ids) == batch.max_new_tokens or batch.is_finished(text.ids)
            return
    text.is_finished = True
