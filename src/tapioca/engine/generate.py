"""The texts of many plans for one batch: tokens of plain greedy decoding, with what plans agree on computed once.

A finished text of one plan is a draft for all others: one sweep reads it under all of them, and each takes over what
it would have written itself. What is left of all texts is then written together, in batches whose rows are under
plans of their own.
"""

import math
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from tapioca.engine.decode import (
    PromptBatch,
    can_resolve_ties,
    decode,
    decode_token_alone,
    find_stop_ids,
    is_plain_greedy,
)
from tapioca.engine.layer_call import UntraceableModelError
from tapioca.engine.options import SweepInput
from tapioca.engine.per_row import apply_plan_per_row
from tapioca.engine.speculative import (
    DraftReading,
    DraftStore,
    Texts,
    WrittenText,
    accept_draft,
    choose_nearest_texts,
    read_drafts,
)
from tapioca.engine.sweep import Schedule, sweep, uses_stacking
from tapioca.errors import ModelError
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_alone, sort_by_prefix
from tapioca.records import ComputeCost, Inputs

MAX_ROWS = 128
"""Most texts written together: enough for matrix products to be efficient, few enough for their caches to be small."""

MIN_ACCEPTED_SHARE = 0.25
"""Share of a draft that must be accepted for the next to be read: reading a token costs about that share of writing it."""

N_TRIED_DRAFTS = 2
"""Texts of a batch whose drafts are read first, where it is not known how much plans agree."""


def generate_texts(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    batch: PromptBatch,
    schedule: Schedule,
    drafts: DraftStore,
    cost: ComputeCost,
) -> dict[Plan, Texts]:
    """Continue the same prompts greedily under many plans.

    In float32 the tokens are those of `decode` under each plan alone, whichever plans run together. In half precision
    they are so up to rounding, which `decode` then does not look through either; that is why plans are written one by
    one there unless `schedule` stacks streams, which lets rounding depend on what runs together anyway.

    Args:
        model, plans, batch, schedule: as for `decode` and `sweep`.
        drafts: texts of other plans; told what is written.
        cost: told what was computed; a layer counts once for every row it would have read whole.

    Raises:
        NonFiniteError: an output is NaN.
    """
    writer = _BatchWriter(model, batch, schedule, drafts)
    texts = {plan: [WrittenText(plan, row) for row in range(len(batch.prompts))] for plan in sort_by_prefix(plans)}
    if is_plain_greedy(model) and (can_resolve_ties(model) or uses_stacking(model, schedule)):
        writer.accept_drafts(texts)
        writer.write_rest([text for rows in texts.values() for text in rows])
    else:
        for rows in texts.values():
            writer.write_rest_alone(rows)
    ids_by_plan = {plan: [np.array(text.ids, dtype=np.int64) for text in rows] for plan, rows in texts.items()}
    drafts.store_texts(batch.name, ids_by_plan)
    cost.add(ComputeCost(layers=writer.layer_tokens / max(map(len, batch.prompts)), tokens=writer.layer_tokens))
    return ids_by_plan


class _BatchWriter:
    """Writes the texts of one batch, and counts the layers computed for them, times tokens."""

    def __init__(self, model: PreTrainedModel, batch: PromptBatch, schedule: Schedule, drafts: DraftStore):
        self.model, self.batch, self.schedule, self.drafts = model, batch, schedule, drafts
        self.layer_tokens = 0.0

    def accept_drafts(self, texts: dict[Plan, list[WrittenText]]) -> None:
        """Take over what plans agree on with a text of another; where there is none yet, one plan writes it."""
        known_texts, accepted_share = self.drafts.texts_of(self.batch.name), self.drafts.accepted_share
        plans = [plan for plan in texts if accepted_share.get(plan, 1.0) >= MIN_ACCEPTED_SHARE]
        if not known_texts and len(plans) > 1:
            first_plan = min(plans, key=lambda plan: len(plan.drops))
            plans.remove(first_plan)
            self.write_rest(texts[first_plan])
            known_texts = {first_plan: [np.array(text.ids) for text in texts[first_plan]]}
        if not known_texts or not plans:
            return
        draft, n_tried = [ids.tolist() for ids in choose_nearest_texts(known_texts, plans)], 0
        if any(plan not in accepted_share for plan in plans):
            n_tried = N_TRIED_DRAFTS
            self._accept_from({plan: texts[plan][:n_tried] for plan in plans}, draft[:n_tried])
            plans = [plan for plan in plans if accepted_share.get(plan, 0.0) >= MIN_ACCEPTED_SHARE]
        if plans and len(draft) > n_tried:
            self._accept_from({plan: texts[plan][n_tried:] for plan in plans}, draft[n_tried:])

    def _accept_from(self, texts: dict[Plan, list[WrittenText]], draft: list[list[int]]) -> None:
        """Fill texts of plans as far as a draft of each can tell."""
        n_draft_tokens = sum(len(ids) + 1 for ids in draft)
        for plan, readings in self._read_along_drafts(texts, draft).items():
            self._accept_along_drafts(texts[plan], draft, readings)
            self.drafts.accepted_share[plan] = sum(len(text.ids) for text in texts[plan]) / n_draft_tokens

    def _read_along_drafts(
        self, texts: dict[Plan, list[WrittenText]], draft: list[list[int]]
    ) -> dict[Plan, list[DraftReading]]:
        """What every plan would write along the drafts; nothing where memory does not hold prompts with drafts."""
        plans, draft_ids = list(texts), [ids[: self.batch.max_new_tokens - 1] for ids in draft]
        prompts = self._prompts_of(texts[plans[0]])
        inputs = collate(self.model, [(*prompt, *ids) for prompt, ids in zip(prompts, draft_ids, strict=True)])
        lengths, cost = [len(ids) for ids in draft_ids], ComputeCost()
        sweep_input, schedule = SweepInput(inputs, 1 + max(lengths)), replace(self.schedule, state_cache=None)
        try:
            with closing(sweep(self.model, plans, sweep_input, schedule, cost)) as swept:
                readings_by_plan = {plan: read_drafts(logits, lengths) for plan, logits in swept}
        except ModelError:
            return {}
        self.layer_tokens += cost.tokens
        return readings_by_plan

    def _accept_along_drafts(
        self, texts: list[WrittenText], draft: list[list[int]], readings: list[DraftReading]
    ) -> None:
        """Fill one plan's texts as far as the drafts can tell."""
        plan, stop_tokens = texts[0].plan, find_stop_ids(self.model)

        def resolve_tie(text: WrittenText, ids: list[int]) -> int:
            read = [*self.batch.prompts[text.row], *ids]
            self.layer_tokens += len(read) * count_layers_alone(plan)
            return decode_token_alone(self.model, read)

        with apply(self.model, plan):
            for text, ids, reading in zip(texts, draft, readings, strict=True):
                ask = partial(resolve_tie, text) if can_resolve_ties(self.model) else None
                accept_draft(text, ids, reading, self.batch, stop_tokens, ask)

    def write_rest(self, texts: Sequence[WrittenText]) -> None:
        """Write what is left of some texts: together where their plans drop whole layers, those longest begun first."""
        open_texts = sorted((text for text in texts if not text.is_finished), key=lambda text: -len(text.ids))
        max_rows = max(MAX_ROWS, len(self.batch.prompts))
        layer_drop_texts = [text for text in open_texts if text.plan.only_drops_layers]
        n_groups = math.ceil(len(layer_drop_texts) / max_rows)
        for group in range(n_groups):
            self._write_rest_together(layer_drop_texts[group::n_groups])
        for plan in dict.fromkeys(text.plan for text in open_texts if not text.is_finished):
            self.write_rest_alone([text for text in open_texts if text.plan == plan])

    def _write_rest_together(self, texts: Sequence[WrittenText]) -> None:
        """Write the rest of texts of plans that drop whole layers, unless the model does not let itself be followed."""
        try:
            with apply_plan_per_row(self.model, [text.plan for text in texts]) as rows:
                self._decode_rest(texts, rows.select_row, len(find_layers(self.model)))
        except UntraceableModelError:
            return

    def write_rest_alone(self, texts: Sequence[WrittenText]) -> None:
        """Write the rest of some texts of one plan."""
        with apply(self.model, texts[0].plan):
            self._decode_rest(texts, nullcontext, count_layers_alone(texts[0].plan))

    def _decode_rest(self, texts: Sequence[WrittenText], alone: Any, layers: float) -> None:
        """Decode texts to their end, under whatever plans the model is."""
        batch, cost = replace(self.batch, prompts=self._prompts_of(texts)), ComputeCost()
        written_ids = decode(self.model, batch, [text.ids for text in texts], alone, cost)
        for text, ids in zip(texts, written_ids, strict=True):
            text.ids, text.is_finished = ids.tolist(), True
        self.layer_tokens += cost.tokens * layers

    def _prompts_of(self, texts: Sequence[WrittenText]) -> list[Inputs]:
        return [self.batch.prompts[text.row] for text in texts]
