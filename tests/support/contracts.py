"""What the contract tests share: which types cannot do what, and how a small model is run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from tapioca.models.edit import apply
from tapioca.models.tiny import RECIPES
from tapioca.plan import HashedArray, Plan, Tokens

NO_DROPS = {"gemma3n_text", "gemma4_text", "jamba", "recurrent_gemma", "rwkv"}
FIRST_STAYS = {"t5 (encoder)"}
POST_NORM = {"bert", "distilbert", "roberta"}
NO_BRANCHES = {*POST_NORM, "gemma3n_text", "gemma4_text", "recurrent_gemma", "rwkv"}
NO_MLP = {"mamba", "mamba2"}
NOT_EXPORTED = {("modernbert", 0)}
"""What cannot be done, each refused with a reason."""

RAW_INPUT = {"exaone4", "olmo2", "olmo3"}
"""Types whose branches read the stream without a norm in front, so that no weights carry a factor of it."""

NO_FACTORS = NO_BRANCHES | RAW_INPUT

NO_MAPS = NO_BRANCHES | NO_MLP
"""Types whose MLPs cannot be told apart, or which have none."""

NORMED_MLP = {"exaone4", "gemma2", "gemma3", "gemma3_text", "glm4", "olmo2", "olmo3"}
"""Types in which what an MLP adds goes through a norm first, so that no weights carry a map of it."""

NO_NORMS = {"gemma3n_text"}
"""Types that hand their layers several copies of the residual stream."""

PADDING_TELLS = {"recurrent_gemma", "rwkv"}
"""Types whose outputs change with padding on the left, whatever writes: no batch gives them the texts they have alone."""

WIDTH = 32
"""Width of the residual stream of every small model."""

PARALLEL = {"cohere", "cohere2", "falcon", "gpt_neox", "gptj", "mamba", "mamba2", "phi"}
"""Types whose layer scales go into weights."""

IDS = torch.randint(3, 120, (2, 24), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
GENERATING = sorted(
    name
    for name, recipe in RECIPES.items()
    if any(kind in recipe.model for kind in ("CausalLM", "LMHead", "Generation"))
)


def inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The first arguments a model of this type needs."""
    return {"pixel_values": IMAGES} if model.main_input_name == "pixel_values" else {"input_ids": IDS}


def outputs(model: PreTrainedModel) -> torch.Tensor:
    """Logits, or the last hidden states of a model without a head."""
    with torch.inference_mode():
        found = model(**inputs(model))
    return found["logits"] if "logits" in found else found["last_hidden_state"]


def count_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def droppable(name: str) -> list[int]:
    """The layers of a small model of this type that can be dropped."""
    return [] if name in NO_DROPS else [layer for layer in range(4) if layer or name not in FIRST_STAYS]


def branch_plan(name: str, last: bool = True) -> Plan:
    """A plan that scales and drops branches, and drops the last layer where that is possible."""
    layers = {3: 0.0} if last and droppable(name) else {}
    mlp = {} if name in NO_MLP else {1: 0.7, 2: 0.0}
    return Plan(n_layers=4, layers=layers, attention={0: 0.3, 1: 0.0, 2: 1.5}, mlp=mlp)


def map_plan(name: str) -> Plan:
    """A plan that maps what the MLPs of two layers add, the second of them in front of a dropped layer where one can be."""
    matrices = np.eye(WIDTH) + 0.2 * np.random.default_rng(0).standard_normal((2, WIDTH, WIDTH))
    maps = {layer: HashedArray.hold(matrix) for layer, matrix in enumerate(matrices)}
    return Plan.drop(4, [2] if 2 in droppable(name) else []).replace_tables(maps=maps)


FAST = {"deepseek_v3", "gemma2", "gpt2", "gpt_oss", "llama", "mamba", "mixtral", "opt", "phi", "vit"}
"""Types that carry the newer kinds of plan into checkpoints in the fast tier: norms, experts, other layouts of weights."""


def repeat_plan(name: str) -> Plan:
    """A plan that repeats a block of two layers, and drops the last where one can be dropped."""
    return Plan(n_layers=4, layers={3: 0.0} if 3 in droppable(name) else {}, repeats=[(1, 2)])


def norm_plan(tokens: Tokens = "all") -> Plan:
    """A plan that sets the norm of the stream in front of three layers."""
    return Plan(n_layers=4, norms={0: 2.0, 1: 3.0, 3: 5.0}, norm_tokens=tokens)


def newer_plans(name: str) -> dict[str, Plan]:
    """Plans that do more than drop and scale, by what they do, as far as the type allows them."""
    plans = {"factors": factor_plan(name)}
    if name not in NO_MAPS:
        plans["maps"] = map_plan(name)
    if name not in NO_DROPS:
        plans["repeats"] = repeat_plan(name)
    if name not in NO_NORMS:
        plans["norms"] = norm_plan()
    return plans


def factor_plan(name: str) -> Plan:
    """A plan with factors of the stream, the first of them behind a dropped layer where one can be dropped."""
    return Plan.drop(4, [1] if 1 in droppable(name) else []).compensate({2: 1.3, 3: 0.8})


def check_generation(model: PreTrainedModel, plan: Plan, static: bool) -> None:
    """A model under a plan writes the same with and without a cache and padding, and with a static cache if asked to."""
    both = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.long), IDS[:1, :9]], dim=1), IDS[1:, :12]])
    mask = torch.ones_like(both)
    mask[0, :3] = 0
    settings: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with apply(model, plan):
        cached = model.generate(both, attention_mask=mask, use_cache=True, **settings)
        uncached = model.generate(both, attention_mask=mask, use_cache=False, **settings)
        alone = model.generate(IDS[:1, :9], use_cache=True, **settings)
        whole = model.generate(IDS[:, :12], use_cache=True, **settings)
        if static:
            in_place = model.generate(IDS[:, :12], cache_implementation="static", disable_compile=True, **settings)
            assert torch.equal(whole, in_place)
    assert torch.equal(cached, uncached)
    assert torch.equal(cached[0, 3:], alone[0])
