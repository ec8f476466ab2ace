"""Small random models built in code, for tests and examples; no download."""

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from tapioca.errors import UsageError, did_you_mean

LAYERS, WIDTH, VOCABULARY = 4, 32, 128
WINDOW = 8


@dataclass(frozen=True)
class Recipe:
    """How to build a small model of one type.

    Attributes:
        model: name of the class in transformers.
        config: name of its configuration class.
        fields: what differs from the common fields; a value of None leaves a common field out.
    """

    model: str
    config: str
    fields: dict[str, Any] = field(default_factory=dict)


COMMON = {
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def _causal_recipe(name: str, **fields: Any) -> Recipe:
    return Recipe(f"{name}ForCausalLM", f"{name}Config", fields)


_GPT2 = {"n_layer": LAYERS, "n_embd": WIDTH, "n_head": 4, "n_positions": 256}
_MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2}
_ENCODER: dict[str, Any] = {"num_key_value_heads": None}

RECIPES: dict[str, Recipe] = {
    "bert": Recipe("BertForMaskedLM", "BertConfig", _ENCODER),
    "bloom": _causal_recipe("Bloom", n_layer=LAYERS, n_head=4, num_hidden_layers=None, num_attention_heads=None),
    "cohere2": _causal_recipe("Cohere2", head_dim=8, sliding_window=WINDOW),
    "deepseek_v3": _causal_recipe(
        "DeepseekV3", **_MOE, num_key_value_heads=4, n_routed_experts=4, n_group=2, topk_group=1, first_k_dense_replace=2,
        kv_lora_rank=16, q_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, n_shared_experts=1,
    ),
    "distilbert": Recipe(
        "DistilBertForMaskedLM", "DistilBertConfig", {"n_layers": LAYERS, "dim": WIDTH, "hidden_dim": 64, "n_heads": 4}
    ),
    "falcon": _causal_recipe("Falcon", new_decoder_architecture=False, multi_query=True, parallel_attn=True, num_key_value_heads=None),
    "falcon_h1": _causal_recipe("FalconH1", mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_n_groups=1, mamba_d_state=8, mamba_chunk_size=8),
    "gemma2": _causal_recipe("Gemma2", head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8),
    "gemma3_text": Recipe("Gemma3ForCausalLM", "Gemma3TextConfig", {"head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    "gpt2": Recipe("GPT2LMHeadModel", "GPT2Config", {**_GPT2, **dict.fromkeys(COMMON), "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}),
    "gpt_neox": _causal_recipe("GPTNeoX", num_key_value_heads=None),
    "gpt_neox (sequential)": _causal_recipe("GPTNeoX", num_key_value_heads=None, use_parallel_residual=False),
    "gpt_oss": _causal_recipe("GptOss", head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=WINDOW),
    "granite": _causal_recipe("Granite", residual_multiplier=0.8, logits_scaling=2.0, embedding_multiplier=3.0),
    "jamba": _causal_recipe("Jamba", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1, num_experts=2, mamba_d_state=4, use_mamba_kernels=False),
    "lfm2": _causal_recipe("Lfm2", layer_types=["conv", "full_attention", "conv", "full_attention"], block_multiple_of=8),
    "llama": _causal_recipe("Llama"),
    "mamba2": _causal_recipe("Mamba2", num_heads=8, head_dim=8, state_size=8, n_groups=1, chunk_size=8, **dict.fromkeys(("intermediate_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings"))),
    "mistral": _causal_recipe("Mistral", sliding_window=WINDOW),
    "mixtral": _causal_recipe("Mixtral", num_local_experts=4, num_experts_per_tok=2),
    "modernbert": Recipe(
        "ModernBertForMaskedLM", "ModernBertConfig",
        {**_ENCODER, "global_attn_every_n_layers": 2, "local_attention": 16, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "olmo2": _causal_recipe("Olmo2"),
    "opt": _causal_recipe("OPT", ffn_dim=64, word_embed_proj_dim=WIDTH),
    "phi3": _causal_recipe("Phi3", sliding_window=WINDOW),
    "qwen2": _causal_recipe("Qwen2", **_SLIDING),
    "qwen3": _causal_recipe("Qwen3", head_dim=8, **_SLIDING),
    "qwen3_moe": _causal_recipe("Qwen3Moe", head_dim=8, num_experts=4, decoder_sparse_step=2, **_MOE),
    "qwen3_next": _causal_recipe(
        "Qwen3Next", head_dim=8, num_experts=4, **_MOE, shared_expert_intermediate_size=32, linear_num_key_heads=2,
        linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8, full_attention_interval=2,
    ),
    "roberta": Recipe("RobertaForMaskedLM", "RobertaConfig", _ENCODER),
    "smollm3": _causal_recipe("SmolLM3"),
    "stablelm": _causal_recipe("StableLm"),
    "t5 (encoder)": Recipe("T5EncoderModel", "T5Config", {"num_layers": LAYERS, "num_decoder_layers": 1, "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_heads": 4, "vocab_size": VOCABULARY, **dict.fromkeys(set(COMMON) - {"vocab_size"})}),
    "vit": Recipe("ViTForImageClassification", "ViTConfig", {"image_size": 16, "patch_size": 4, "num_labels": 5, **dict.fromkeys(("vocab_size", "max_position_embeddings", "num_key_value_heads"))}),
    "cohere": _causal_recipe("Cohere"),
    "exaone4": _causal_recipe("Exaone4", head_dim=8, sliding_window=WINDOW, sliding_window_pattern=2),
    "gemma": _causal_recipe("Gemma", head_dim=8),
    "gemma3": Recipe("Gemma3ForConditionalGeneration", "Gemma3Config", {**dict.fromkeys(COMMON), "text_config": {**COMMON, "head_dim": 8, "sliding_window": WINDOW}, "vision_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}, "mm_tokens_per_image": 4, "image_token_index": 127, "boi_token_index": 125, "eoi_token_index": 126}),
    "gemma3n_text": Recipe("Gemma3nForCausalLM", "Gemma3nTextConfig", {"head_dim": 8, "sliding_window": WINDOW, "intermediate_size": [64] * LAYERS, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 1, "activation_sparsity_pattern": [0.0] * LAYERS, "laurel_rank": 4, "altup_num_inputs": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    "gemma4_text": Recipe("Gemma4ForCausalLM", "Gemma4TextConfig", {"head_dim": 8, "global_head_dim": 8, "sliding_window": WINDOW, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    "glm4": _causal_recipe("Glm4", head_dim=8),
    "glm4_moe": _causal_recipe("Glm4Moe", head_dim=8, **_MOE, n_routed_experts=4, n_group=2, topk_group=1, first_k_dense_replace=2, n_shared_experts=1),
    "gptj": Recipe("GPTJForCausalLM", "GPTJConfig", {**_GPT2, "rotary_dim": 4, **dict.fromkeys(COMMON), "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}),
    "llama4_text": Recipe("Llama4ForCausalLM", "Llama4TextConfig", {"head_dim": 8, "interleave_moe_layer_step": 2, "num_local_experts": 4, "intermediate_size_mlp": 64, "attention_chunk_size": WINDOW}),
    "mamba": _causal_recipe("Mamba", state_size=8, **dict.fromkeys(("intermediate_size", "num_attention_heads", "num_key_value_heads", "max_position_embeddings"))),
    "olmo3": _causal_recipe("Olmo3", sliding_window=WINDOW),
    "phi": _causal_recipe("Phi"),
    "qwen2_moe": _causal_recipe("Qwen2Moe", num_experts=4, shared_expert_intermediate_size=32, **_MOE),
    "qwen3_5_text": Recipe("Qwen3_5ForCausalLM", "Qwen3_5TextConfig", {"head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "full_attention_interval": 2}),
    "recurrent_gemma": _causal_recipe("RecurrentGemma", head_dim=8, lru_width=WIDTH, attention_window_size=WINDOW),
    "rwkv": Recipe("RwkvForCausalLM", "RwkvConfig", {**dict.fromkeys(COMMON), "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "vocab_size": VOCABULARY, "context_length": 256}),
    "starcoder2": _causal_recipe("Starcoder2", sliding_window=WINDOW),
}  # fmt: skip
"""Recipe by model type; a word in brackets tells two of one type apart."""


def tiny(model_type: str, seed: int = 0) -> PreTrainedModel:
    """A model of four layers of width 32 with random weights, in evaluation mode.

    Weights are drawn large enough that every layer changes the outputs by order one.

    Args:
        model_type: a key of `RECIPES`.
        seed: of the weights.

    Raises:
        UsageError: no small model of that type is known.
    """
    if model_type not in RECIPES:
        raise UsageError(f"no small model of type '{model_type}'; {did_you_mean(model_type, RECIPES)}")
    recipe = RECIPES[model_type]
    fields = {name: field_value for name, field_value in {**COMMON, **recipe.fields}.items() if field_value is not None}
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(transformers, recipe.model)(getattr(transformers, recipe.config)(**fields))
    draw_weights(model)
    return model.eval()


def draw_weights(model: PreTrainedModel) -> None:
    """Give a model random weights large enough that every layer changes the outputs by order one."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 1.2 / parameter.shape[-1] ** 0.5)
            else:
                parameter.add_(torch.randn(parameter.shape), alpha=0.1)
