"""Small random models built in code, for tests and examples; no download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from tapioca.errors import UsageError, did_you_mean

HEADS = 4


def _rope(kind: Callable[..., PretrainedConfig], **extra: Any) -> Callable[[int, int, int], PretrainedConfig]:
    """A configuration of the Llama kind, by layers, width and vocabulary."""

    def make(layers: int, width: int, vocabulary: int) -> PretrainedConfig:
        return kind(
            num_hidden_layers=layers,
            hidden_size=width,
            intermediate_size=2 * width,
            num_attention_heads=HEADS,
            num_key_value_heads=2,
            vocab_size=vocabulary,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
            **extra,
        )

    return make


CONFIGS: dict[str, Callable[[int, int, int], PretrainedConfig]] = {
    "gpt2": lambda layers, width, vocabulary: GPT2Config(
        n_layer=layers,
        n_embd=width,
        n_head=HEADS,
        vocab_size=vocabulary,
        n_positions=256,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt_neox": lambda layers, width, vocabulary: GPTNeoXConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=HEADS,
        vocab_size=vocabulary,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "llama": _rope(LlamaConfig),
    "mistral": _rope(MistralConfig, sliding_window=8),
    "qwen2": _rope(Qwen2Config, use_sliding_window=True, sliding_window=8, max_window_layers=2),
    "qwen3": _rope(Qwen3Config, head_dim=8),
}
"""Configuration by model type, layers, width and vocabulary."""


def tiny(model_type: str, layers: int = 4, width: int = 32, vocabulary: int = 128, seed: int = 0) -> PreTrainedModel:
    """A small causal language model with random weights, in evaluation mode.

    Weights are drawn large enough that every layer changes the outputs by order one.

    Raises:
        UsageError: no small model of that type is known.
    """
    if model_type not in CONFIGS:
        raise UsageError(f"no small model of type '{model_type}'; {did_you_mean(model_type, CONFIGS)}")
    model: PreTrainedModel = AutoModelForCausalLM.from_config(CONFIGS[model_type](layers, width, vocabulary))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 1.2 / parameter.shape[-1] ** 0.5, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model.eval()
