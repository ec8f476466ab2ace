"""The texts of many plans for one batch: tokens of plain greedy decoding, with what plans agree on computed once.

A finished text of one plan is a draft for all others: one sweep reads it under all of them, and each takes over what
it would have written itself. What is left of all texts is then written together, in batches whose rows are under
plans of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.call import Unfollowed
from tapioca.models.decode import Ended, Tally, decode, plain_token, settles, stop_ids, takes_the_largest
from tapioca.models.drafts import Drafts, Reading, Text, Texts, judge, nearest, read_drafts
from tapioca.models.edit import apply
from tapioca.models.feed import Count
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.rows import rows_under
from tapioca.models.sweep import Schedule, stacks, sweep
from tapioca.records import Inputs, Plan
from tapioca.records.tree import in_order, steps

ROWS = 128
"""Texts written together: enough for matrix products to be efficient, few enough for their caches to be small."""

WORTH = 0.25
"""Share of a draft that must be accepted for the next to be read: reading a token costs about that share of writing it."""

TRIED = 2
"""Texts of a batch whose drafts are read first, where it is not known how much plans agree."""


def write(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    prompts: Sequence[Inputs],
    budget: int,
    ended: Ended,
    schedule: Schedule,
    drafts: Drafts,
    count: Count,
    name: str = "",
) -> dict[Plan, Texts]:
    """Continue the same prompts greedily under many plans.

    In float32 the tokens are those of `decode` under each plan alone, whichever plans run together. In half precision
    they are so up to rounding, which `decode` then does not look through either; that is why plans are written one by
    one there unless `schedule` stacks streams, which lets rounding depend on what runs together anyway.

    Args:
        model: a causal language model.
        plans: for this model.
        prompts, budget, ended: as for `decode`.
        schedule: how plans run together.
        drafts: texts of other plans; told what is written.
        count: told what was computed; a layer counts once for every row it would have read whole.
        name: of the batch, by which drafts are found.

    Returns:
        The texts of every plan.

    Raises:
        NonFiniteError: an output is NaN.
    """
    pen = _Pen(model, prompts, budget, ended)
    texts = {plan: [Text(plan, row) for row in range(len(prompts))] for plan in in_order(plans)}
    if takes_the_largest(model) and (settles(model) or stacks(model, schedule)):
        pen.verify(texts, drafts, name, schedule)
        pen.finish([text for rows in texts.values() for text in rows])
    else:
        for rows in texts.values():
            pen.finish_alone(rows)
    found = {plan: [np.array(text.ids, dtype=np.int64) for text in rows] for plan, rows in texts.items()}
    drafts.keep(name, found)
    count.tokens += pen.layer_tokens
    count.layers += pen.layer_tokens / max(map(len, prompts))
    return found


class _Pen:
    """Writes the texts of one batch, and counts the layers computed for them, times tokens."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Inputs], budget: int, ended: Ended):
        self.model, self.prompts, self.budget, self.ended = model, prompts, budget, ended
        self.layer_tokens = 0.0

    def verify(self, texts: dict[Plan, list[Text]], drafts: Drafts, name: str, schedule: Schedule) -> None:
        """Take over what plans agree on with a text of another; where there is none yet, one plan writes it."""
        known = drafts.of(name)
        plans = [plan for plan in texts if drafts.agreed.get(plan, 1.0) >= WORTH]
        if not known and len(plans) > 1:
            first = min(plans, key=lambda plan: len(plan.drops))
            plans.remove(first)
            self.finish(texts[first])
            known = {first: [np.array(text.ids) for text in texts[first]]}
        if not known or not plans:
            return
        draft, tried = [ids.tolist() for ids in nearest(known, plans)], 0
        if any(plan not in drafts.agreed for plan in plans):
            tried = TRIED
            self._take_over({plan: texts[plan][:tried] for plan in plans}, draft[:tried], schedule, drafts)
            plans = [plan for plan in plans if drafts.agreed.get(plan, 0.0) >= WORTH]
        if plans and len(draft) > tried:
            self._take_over({plan: texts[plan][tried:] for plan in plans}, draft[tried:], schedule, drafts)

    def _take_over(
        self, texts: dict[Plan, list[Text]], draft: list[list[int]], schedule: Schedule, drafts: Drafts
    ) -> None:
        """Fill texts of plans as far as a draft of each can tell."""
        for plan, readings in self._read(texts, draft, schedule).items():
            self._judge(texts[plan], draft, readings)
            drafts.agreed[plan] = sum(len(text.ids) for text in texts[plan]) / sum(len(ids) + 1 for ids in draft)

    def _read(
        self, texts: dict[Plan, list[Text]], draft: list[list[int]], schedule: Schedule
    ) -> dict[Plan, list[Reading]]:
        """What every plan would write along the drafts; nothing where memory does not hold prompts with drafts."""
        plans, read = list(texts), [ids[: self.budget - 1] for ids in draft]
        prompts = [self.prompts[text.row] for text in texts[plans[0]]]
        batch = collate(self.model, [(*prompt, *ids) for prompt, ids in zip(prompts, read, strict=True)])
        lengths, count = [len(ids) for ids in read], Count()
        schedule = replace(schedule, reuse=None)
        try:
            with closing(sweep(self.model, plans, batch, 1 + max(lengths), schedule, count=count)) as swept:
                found = {plan: read_drafts(logits, lengths) for plan, logits in swept}
        except ModelError:
            return {}
        self.layer_tokens += count.tokens
        return found

    def _judge(self, texts: list[Text], draft: list[list[int]], readings: list[Reading]) -> None:
        """Fill one plan's texts as far as the drafts can tell."""
        plan, stops, tally = texts[0].plan, stop_ids(self.model), Tally()

        def settle(prompt: Inputs, ids: list[int]) -> int:
            return plain_token(self.model, [*prompt, *ids], tally)

        with apply(self.model, plan):
            for text, ids, reading in zip(texts, draft, readings, strict=True):
                ask = partial(settle, self.prompts[text.row]) if settles(self.model) else None
                judge(text, ids, reading, self.budget, stops, self.ended, ask)
        self.layer_tokens += tally.tokens * _layers(plan)

    def finish(self, texts: Sequence[Text]) -> None:
        """Write what is left of some texts: together where their plans drop whole layers, those longest begun first."""
        rest = sorted((text for text in texts if not text.done), key=lambda text: -len(text.ids))
        most = max(ROWS, len(self.prompts))
        drops = [text for text in rest if text.plan == Plan.drop(text.plan.n_layers, text.plan.drops)]
        for start in range(0, len(drops), most):
            self._finish_together(drops[start : start + most])
        for plan in dict.fromkeys(text.plan for text in rest if not text.done):
            self.finish_alone([text for text in rest if text.plan == plan])

    def _finish_together(self, texts: Sequence[Text]) -> None:
        """Write the rest of texts of plans that drop whole layers, unless the model does not let itself be followed."""
        try:
            with rows_under(self.model, [text.plan for text in texts]) as rows:
                self._go_on(texts, rows.only, len(find_layers(self.model)))
        except Unfollowed:
            return

    def finish_alone(self, texts: Sequence[Text]) -> None:
        """Write the rest of some texts of one plan."""
        with apply(self.model, texts[0].plan):
            self._go_on(texts, nullcontext, _layers(texts[0].plan))

    def _go_on(self, texts: Sequence[Text], alone: Any, layers: float) -> None:
        """Decode texts to their end, under whatever plans the model is."""
        prompts, tally = [self.prompts[text.row] for text in texts], Tally()
        found = decode(self.model, prompts, self.budget, self.ended, [text.ids for text in texts], alone, tally)
        for text, ids in zip(texts, found, strict=True):
            text.ids, text.done = ids.tolist(), True
        self.layer_tokens += tally.tokens * layers


def _layers(plan: Plan) -> float:
    """Layers a plan computes; one without a branch counts half."""
    return sum(step.work for step in steps(plan))
