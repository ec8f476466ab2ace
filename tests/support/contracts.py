"""What the contract tests share: which types cannot do what, and how a small model is run."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from tapioca.models.tiny import RECIPES
from tapioca.plan import Plan

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


def factor_plan(name: str) -> Plan:
    """A plan with factors of the stream, the first of them behind a dropped layer where one can be dropped."""
    return Plan.drop(4, [1] if 1 in droppable(name) else []).compensate({2: 1.3, 3: 0.8})
