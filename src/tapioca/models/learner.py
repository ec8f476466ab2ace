"""The in-context learner: an ordinary Llama body that reads numbers instead of words.

Its layers are transformers' own, so every tool of this project works on it as on a language model.
Importing this module makes it known to `AutoConfig` and `AutoModel`; `models.load` does.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, LlamaConfig, LlamaModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class LearnerConfig(LlamaConfig):
    """A LlamaConfig under its own model type; `vocab_size` is 1 because no token is ever looked up."""

    model_type = "tapioca_learner"


def llama_fields(layers: int, width: int, heads: int, max_tokens: int) -> dict[str, Any]:
    """What LlamaConfig is told of the layers of a small model for up to `max_tokens` tokens."""
    return {
        "hidden_size": width,
        "intermediate_size": 8 * width // 3 // 4 * 4,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": max_tokens,
        "initializer_range": 0.05,
    }


def learner_config(layers: int = 8, width: int = 64, heads: int = 4, max_tokens: int = 128) -> LearnerConfig:
    """The configuration of a learner with `layers` layers of `width` units, for prompts up to `max_tokens` tokens."""
    shape = llama_fields(layers, width, heads, max_tokens)
    return LearnerConfig(vocab_size=1, bos_token_id=None, eos_token_id=None, use_cache=False, **shape)


class Learner(PreTrainedModel):
    """Reads x1 y1 x2 y2 ... xn and predicts y at every x.

    Each token is a pair (value, is_y). It enters the Llama body by one linear map of
    (value * is_x, is_x, value * is_y, is_y), so x and y are told apart whatever their position.
    """

    config_class = LearnerConfig
    config: LearnerConfig
    base_model_prefix = "body"
    main_input_name = "values"
    _no_split_modules = ["LlamaDecoderLayer"]  # noqa: RUF012  (as transformers declares it)
    _supports_sdpa = True

    def __init__(self, config: LearnerConfig):
        super().__init__(config)
        self.read_in = nn.Linear(4, config.hidden_size, bias=False)
        self.body = LlamaModel(config)
        self.read_out = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self,
        values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        logits_to_keep: int = 0,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """Predict y from every token.

        Args:
            values: (batch, token, 2) float; channel 0 the number, channel 1 is 1 for a y and 0 for an x.
            attention_mask: (batch, token), 0 where padded.
            position_ids: (batch, token) int.
            logits_to_keep: predict only from the last so many tokens; 0 means from all.

        Returns:
            `logits` of shape (batch, kept token, 1): the predicted y that follows the token. Only
            those at x tokens mean anything.
        """
        number, y_indicator = values[..., :1], values[..., 1:]
        x_indicator = 1 - y_indicator
        features = torch.cat([number * x_indicator, x_indicator, number * y_indicator, y_indicator], dim=-1)
        embeddings = self.read_in(features.to(self.read_in.weight.dtype))
        body_inputs = {"inputs_embeds": embeddings, "attention_mask": attention_mask, "position_ids": position_ids}
        states = self.body(**body_inputs, use_cache=False).last_hidden_state
        return CausalLMOutputWithPast(logits=self.read_out(states[:, -logits_to_keep:]))


AutoConfig.register(LearnerConfig.model_type, LearnerConfig, exist_ok=True)
AutoModel.register(LearnerConfig, Learner, exist_ok=True)
