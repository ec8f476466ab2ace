"""Many plans write together: what is shared, what near ties do, what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import tapioca.engine.generate as module
from tapioca.engine.decode import TIE_MARGIN, PromptBatch, can_resolve_ties, decode, find_near_ties, is_plain_greedy
from tapioca.engine.generate import generate_texts
from tapioca.engine.speculative import DraftStore, WrittenText, accept_draft, choose_nearest_texts, read_drafts
from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import DEFAULT_SCHEDULE, Schedule
from tapioca.errors import NonFiniteError
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost

BUDGET = 12
PROMPTS = [tuple(torch.randint(3, 120, (n,), generator=torch.Generator().manual_seed(n)).tolist()) for n in (9, 4, 14)]
DROPS = [Plan.drop(4, [layer]) for layer in range(4)]


def never(ids: Sequence[int]) -> bool:
    return False


def written(model: PreTrainedModel, plans: list[Plan], drafts: DraftStore | None = None, **given: Any) -> dict:
    schedule = given.pop("schedule", DEFAULT_SCHEDULE)
    batch = PromptBatch(**{"prompts": PROMPTS, "max_new_tokens": BUDGET, "is_finished": never, **given})
    found = generate_texts(model, plans, batch, schedule, drafts or DraftStore(1), ComputeCost())
    return {plan: [ids.tolist() for ids in texts] for plan, texts in found.items()}


def alone(
    model: PreTrainedModel, plan: Plan, prompts: Sequence[tuple[int, ...]] = PROMPTS, budget: int = BUDGET
) -> list:
    """Each text by itself, without a cache."""
    texts = []
    for prompt in prompts:
        with torch.inference_mode(), apply(model, plan):
            whole = model.generate(  # type: ignore[operator]
                torch.tensor([prompt]), max_new_tokens=budget, do_sample=False, pad_token_id=0, use_cache=False
            )
        ids = whole[0, len(prompt) :].tolist()
        texts.append(ids[: ids.index(2)] if 2 in ids else ids)
    return texts


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of `decode` goes on with."""
    seen: list[int] = []

    def counted(model: Any, batch: Any, *rest: Any) -> Any:
        seen.append(len(batch.prompts))
        return decode(model, batch, *rest)

    monkeypatch.setattr(module, "decode", counted)
    return seen


def idle(layer: int) -> PreTrainedModel:
    """A Llama one of whose layers adds nothing."""
    model = tiny("llama", seed=1)
    block = find_layers(model).blocks[layer]
    with torch.no_grad():
        block.self_attn.o_proj.weight.zero_()
        block.mlp.down_proj.weight.zero_()
    return model


def with_twins(gap: float) -> PreTrainedModel:
    """A Llama whose outputs come in pairs that differ by about `gap`, so that every token is a near tie."""
    model = tiny("llama")
    weight = model.lm_head.weight
    with torch.no_grad():
        weight[64:] = weight[:64] + gap * torch.randn(weight[64:].shape, generator=torch.Generator().manual_seed(0))
    return model


def test_an_agreeing_plan_reads_the_draft_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen, drafts = idle(2), calls(monkeypatch), DraftStore(1)
    full, same = Plan.full(4), Plan.drop(4, [2])
    batch, cost = PromptBatch(PROMPTS, BUDGET, never), ComputeCost()
    found = generate_texts(model, [full, same], batch, DEFAULT_SCHEDULE, drafts, cost)
    assert [ids.tolist() for ids in found[same]] == [ids.tolist() for ids in found[full]] == alone(model, full)
    assert seen == [3]  # the full model's three texts
    assert drafts.accepted_share[same] > 0.9
    steps = max(len(ids) for ids in found[full]) + any(len(ids) < BUDGET for ids in found[full])
    read = [len(prompt) + len(ids[: BUDGET - 1]) for prompt, ids in zip(PROMPTS, found[full], strict=True)]
    padded = 2 * max(read[:2]) + read[2]  # two texts are tried first
    assert cost.tokens == pytest.approx(4 * 3 * (14 + min(steps, BUDGET) - 1) + 3 * padded)


def test_what_is_left_of_all_plans_is_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny("llama"), calls(monkeypatch)
    found = written(model, [Plan.full(4), *DROPS])
    assert len(seen) == 2
    assert seen[0] == 3
    assert 6 <= seen[1] <= 12
    assert found == {plan: alone(model, plan) for plan in found}
    monkeypatch.setattr(module, "MAX_ROWS", 4)
    assert written(model, [Plan.full(4), *DROPS]) == found
    assert max(seen[2:]) == 4


def test_drafts_that_memory_does_not_hold_are_not_read() -> None:
    model = tiny("llama")
    expected = written(model, [Plan.full(4), *DROPS])
    assert written(model, [Plan.full(4), *DROPS], schedule=Schedule(max_bytes=1)) == expected


def test_drafts_that_are_turned_down_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, drafts, read = tiny("llama"), DraftStore(1), list[int]()
    sweep = module.sweep
    monkeypatch.setattr(module, "sweep", lambda model, plans, *rest, **more: read.append(len(plans)) or sweep(model, plans, *rest, **more))  # fmt: skip
    first = written(model, [Plan.full(4), *DROPS], drafts, name="a")
    kept, before = sum(drafts.accepted_share[plan] >= module.MIN_ACCEPTED_SHARE for plan in DROPS), list(read)
    second = written(model, DROPS, drafts, name="a")
    again = read[len(before) :]
    assert before[0] == 4  # a few texts under all plans, then the others under those that agree
    assert again == [kept] * bool(kept)
    assert second == {plan: first[plan] for plan in DROPS}


@pytest.mark.parametrize("gap", [1e-7, 1e-6])
def test_near_ties_are_decided_as_by_plain_greedy_decoding(gap: float) -> None:
    model = with_twins(gap)
    plans = [Plan.full(4), *DROPS]
    expected = {plan: alone(model, plan) for plan in plans}
    assert written(model, plans) == expected
    with apply(model, DROPS[1]):
        assert [ids.tolist() for ids in decode(model, PromptBatch(PROMPTS, BUDGET, never))] == expected[DROPS[1]]


def test_near_ties_that_nobody_settles_are_decided_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plans = with_twins(1e-7), [Plan.full(4), *DROPS]
    expected = {plan: alone(model, plan) for plan in plans}
    monkeypatch.setattr(module, "can_resolve_ties", lambda model: False)
    monkeypatch.setattr("tapioca.engine.decode.can_resolve_ties", lambda model: False)
    assert written(model, plans, schedule=Schedule(way="stacked")) != expected


def test_where_two_logits_nearly_tie() -> None:
    logits = torch.tensor(
        [[0.0, 1.0, 1.0 + 0.9 * TIE_MARGIN], [0.0, 1.0, 1.0 + 1.1 * TIE_MARGIN], [torch.nan, 0.0, 9.0]]
    )
    assert find_near_ties(logits).tolist() == [True, False, True]


def test_half_precision_and_penalties_are_left_to_generate(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny("llama"), calls(monkeypatch)
    assert can_resolve_ties(model)
    half = tiny("llama").bfloat16()
    assert (can_resolve_ties(half), is_plain_greedy(half)) == (False, True)
    found = written(half, DROPS)
    assert seen == [3] * 4
    with apply(half, DROPS[0]):
        assert [ids.tolist() for ids in decode(half, PromptBatch(PROMPTS, BUDGET, never))] == found[DROPS[0]]
    model.generation_config.repetition_penalty = 1.3
    assert not is_plain_greedy(model)
    assert written(model, DROPS, schedule=Schedule(way="stacked")) == {plan: alone(model, plan) for plan in DROPS}
    assert seen == [3] * 8


def test_nan_along_a_draft_stops() -> None:
    model, drafts = tiny("llama"), DraftStore(1)
    written(model, [DROPS[2]], drafts, name="a")
    find_layers(model).blocks[2].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="the outputs became NaN while the model wrote"):
        written(model, [Plan.full(4)], drafts, name="a")
    with pytest.raises(NonFiniteError, match="the outputs became NaN while the model wrote"):
        written(model, [Plan.full(4), DROPS[1]])
    assert written(model, [DROPS[2]], drafts, name="a")


@pytest.mark.parametrize(
    ("draft", "tokens", "ids", "done"),
    [
        ([5, 6, 7], [5, 6, 7], [5, 6, 7], True),  # the whole budget
        ([5, 6, 7], [5, 9, 7], [5, 9], False),
        ([5, 6, 7], [5, 2, 7], [5], True),  # EOS
        ([5, 6, 7], [5, 4, 7], [5, 4], True),  # a stop string
        ([5], [5, 2], [5], True),
        ([5], [5, 6], [5, 6], False),
        ([4], [4, 6], [4], True),  # ended by a stop string
        ([], [2], [], True),
        ([], [7], [7], False),
        ([5, 6], [5, 6, 7], [5, 6, 7], True),
    ],
)
def test_a_draft_is_judged_token_by_token(draft: list, tokens: list, ids: list, done: bool) -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([[9, *tokens]]), 10).float()
    [reading] = read_drafts(logits, [len(tokens) - 1])
    batch = PromptBatch(PROMPTS, 3, lambda ids: ids[-1] == 4)
    accept_draft(text := WrittenText(DROPS[0], 0), draft, reading, batch, {2}, None)
    assert (text.ids, text.is_finished) == (ids, done)


def test_the_nearest_plan_gives_the_draft() -> None:
    known = {plan: [np.array([at])] for at, plan in enumerate([Plan.full(4), *DROPS])}
    assert choose_nearest_texts(known, [Plan.drop(4, [1, layer]) for layer in (0, 2, 3)]) == known[DROPS[1]]
    assert choose_nearest_texts(known, DROPS) == known[Plan.full(4)]


def test_texts_are_kept_for_as_many_batches_as_there_are() -> None:
    drafts = StateCache(0, 2).drafts
    for name in "abca":
        drafts.store_texts(name, {DROPS[0]: []})
    assert [bool(drafts.texts_of(name)) for name in "abc"] == [True, False, True]


def test_stories_under_every_single_drop(shared: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(shared / "models/stories260K").eval()
    prompts = [(1, *torch.arange(300, 300 + 3 * n, 3).tolist()) for n in (3, 8, 5, 6)]
    plans = [Plan.full(5), *(Plan.drop(5, [layer]) for layer in range(5))]
    found = written(model, plans, prompts=prompts, max_new_tokens=24)
    assert found == {plan: alone(model, plan, prompts, 24) for plan in plans}
