"""Texts written together and from drafts are those of plain greedy decoding, for models of every type that write."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from support.contracts import GENERATING, NO_BRANCHES, PADDING_TELLS, branch_plan, droppable, newer_plans
from transformers import PreTrainedModel

from tapioca.engine.decode import PromptBatch, find_stop_ids
from tapioca.engine.generate import generate_texts
from tapioca.engine.speculative import DraftStore
from tapioca.engine.sweep import DEFAULT_SCHEDULE
from tapioca.models.edit import apply
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost

BUDGET = 12
PROMPTS = [tuple(torch.randint(3, 120, (n,), generator=torch.Generator().manual_seed(n)).tolist()) for n in (9, 4, 14)]


def ended(ids: Sequence[int]) -> bool:
    """Some tokens end a text here."""
    return ids[-1] % 16 == 5


def plain(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    """The text alone, by the model's own `generate` without a cache."""
    with torch.inference_mode():
        whole = model.generate(  # type: ignore[operator]
            torch.tensor([prompt]), max_new_tokens=BUDGET, do_sample=False, pad_token_id=0, use_cache=False
        )
    ids, stops = whole[0, len(prompt) :].tolist(), find_stop_ids(model)
    for at, token in enumerate(ids):
        if token in stops:
            return ids[:at]
        if ended(ids[: at + 1]):
            return ids[: at + 1]
    return ids


FAST = {"bloom", "gemma2", "gpt2", "gpt_oss", "llama", "mamba", "mistral", "qwen3_next"}
"""Types in the fast tier: positions by ALiBi, learned and rotary, windows, recurrent states, a mixture of experts."""


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in GENERATING
        if name not in PADDING_TELLS
    ],
)
def test_texts_are_those_of_plain_greedy_decoding(name: str) -> None:
    model = tiny(name)
    plans = [
        Plan.full(4),
        *(Plan.drop(4, [layer]) for layer in droppable(name)),
        Plan.scale(4, {1: 0.5}),
        *newer_plans(name).values(),
    ]
    plans += [] if name in NO_BRANCHES else [branch_plan(name)]
    batch, cost = PromptBatch(PROMPTS, BUDGET, ended), ComputeCost()
    found = generate_texts(model, plans, batch, DEFAULT_SCHEDULE, DraftStore(1), cost)
    assert found.keys() == set(plans)
    for plan in plans:
        with apply(model, plan):
            expected = [plain(model, prompt) for prompt in PROMPTS]
        assert [ids.tolist() for ids in found[plan]] == expected, plan
    assert cost.tokens > cost.layers > 0
    assert len({tuple(ids.tolist()) for texts in found.values() for ids in texts}) > 3
