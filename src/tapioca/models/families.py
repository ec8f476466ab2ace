"""What differs between model families, as data: one row per `config.model_type`.

Families not listed are served by the structural search in `find.py`; their branches are not guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from transformers import PretrainedConfig, PreTrainedModel

FieldCondition = bool | Mapping[str, bool]
"""Whether something holds: always, never, or where any of these fields of the config has this value."""


@dataclass(frozen=True)
class Branch:
    """One half of a layer: what computes its update of the residual stream, and what writes it.

    Attributes:
        modules: paths inside the layer, and how many values each module returns; a layer has at least one.
        writers: patterns (as `fnmatch` reads them) for the last weights of the branch as a checkpoint names
            them inside the layer; scaling them scales the update.
        end: path of the module that gives the update, where it is another one (a norm after the branch).
        normed: the writer is a norm, behind which nothing but scales can be written.
        plus_one: it multiplies by 1 + its weight.
        transposed: two-dimensional writers are (input, output), as in the `Conv1D` of transformers.
        feeds: what else other layers take from it, so that it is computed even where its update is dropped.
    """

    modules: Mapping[str, int]
    writers: tuple[str, ...]
    end: str = ""
    normed: bool = False
    plus_one: bool = False
    transposed: bool = False
    feeds: str = ""


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        layers: path of the layer list inside the base model (`model.base_model_prefix`); None leaves it to the
            structural search.
        attention: the attention branch, or the token mixer in its place; None where it is not known.
        mlp: the MLP branch, mixtures of experts included.
        parallel: attention and MLP both read the layer's input, so that scaling both scales the layer.
        post_norm: the layer normalises after the update was added, so that no branch can be scaled on its own.
        raw_input: branches read the stream itself, with no norm in front, so that its size changes what they do.
        no_drops: why no layer can be dropped.
        first_stays: why layer 0 cannot be dropped.
    """

    layers: str | None = None
    attention: Branch | None = None
    mlp: Branch | None = None
    parallel: FieldCondition = False
    post_norm: FieldCondition = False
    raw_input: bool = False
    no_drops: str = ""
    first_stays: str = ""


def _branch(path: str, writer: str, returns: int = 1) -> Branch:
    """A branch of one module, whose update its weights `writer` write."""
    return Branch({path: returns}, (f"{path}.{writer}.*",))


def _normed(branch: Branch, norm: str) -> Branch:
    """A branch whose update goes through a norm."""
    return replace(branch, writers=(f"{norm}.*",), end=norm, normed=True)


_SELF_ATTENTION = _branch("self_attn", "o_proj", 2)
_MLP = _branch("mlp", "down_proj")
_EXPERTS = Branch({"mlp": 1}, ("mlp.*down_proj*",))
_DENSE = _branch("mlp", "dense_4h_to_h")
_FEED_FORWARD = Branch({"feed_forward": 1}, ("feed_forward.*down_proj*",))
_NORMED_ATTENTION = _normed(_SELF_ATTENTION, "post_attention_layernorm")
_NORMED_MLP = _normed(_MLP, "post_feedforward_layernorm")
_OLD_ATTENTION = _branch("self_attention", "dense", 2)
_MAMBA_AND_ATTENTION = Branch({"mamba": 1, "self_attn": 2}, ("mamba.out_proj.*", "self_attn.o_proj.*"))

_LLAMA = Family(layers="layers", attention=_SELF_ATTENTION, mlp=_MLP)
_MOE = replace(_LLAMA, mlp=_EXPERTS)
_OLMO = replace(_LLAMA, attention=_NORMED_ATTENTION, mlp=_NORMED_MLP, raw_input=True)
_GEMMA = replace(_LLAMA, attention=replace(_NORMED_ATTENTION, plus_one=True), mlp=replace(_NORMED_MLP, plus_one=True))

_MAMBA = Family(attention=_branch("mixer", "out_proj"), parallel=True)
_HYBRID = replace(
    _MOE, attention=Branch({"linear_attn": 1, "self_attn": 2}, ("linear_attn.out_proj.*", "self_attn.o_proj.*"))
)
_PER_LAYER_INPUTS = "each layer has its own columns of the embedding, and later layers reuse the keys of named ones"

FAMILIES: dict[str, Family] = {
    "bert": Family(post_norm=True),
    "bloom": Family(attention=_OLD_ATTENTION, mlp=_DENSE, post_norm={"apply_residual_connection_post_layernorm": True}),
    "cohere": replace(_LLAMA, parallel=True),
    "cohere2": replace(_LLAMA, parallel=True),
    "deepseek_v3": _MOE,
    "distilbert": Family(post_norm=True),
    "exaone4": _OLMO,
    "falcon": Family(
        attention=_OLD_ATTENTION, mlp=_DENSE, parallel={"parallel_attn": True, "new_decoder_architecture": True}
    ),
    "falcon_h1": Family(attention=_MAMBA_AND_ATTENTION, mlp=_FEED_FORWARD),
    "gemma": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gemma3n_text": Family(no_drops=_PER_LAYER_INPUTS),
    "gemma4_text": Family(no_drops=_PER_LAYER_INPUTS),
    "glm4": replace(
        _LLAMA,
        attention=_normed(_SELF_ATTENTION, "post_self_attn_layernorm"),
        mlp=_normed(_MLP, "post_mlp_layernorm"),
    ),
    "glm4_moe": _MOE,
    "gpt2": Family(
        layers="h",
        attention=replace(_branch("attn", "c_proj", 2), transposed=True),
        mlp=replace(_branch("mlp", "c_proj"), transposed=True),
    ),
    "gpt_neox": Family(
        layers="layers",
        attention=_branch("attention", "dense", 2),
        mlp=_DENSE,
        parallel={"use_parallel_residual": True},
    ),
    "gpt_oss": replace(_LLAMA, mlp=replace(_EXPERTS, modules={"mlp": 2})),
    "gptj": Family(layers="h", attention=_branch("attn", "out_proj", 2), mlp=_branch("mlp", "fc_out"), parallel=True),
    "granite": _LLAMA,
    "jamba": Family(
        attention=_MAMBA_AND_ATTENTION,
        mlp=_FEED_FORWARD,
        no_drops="which layers are attention and which are Mamba follows from their position by a fixed period",
    ),
    "lfm2": Family(
        attention=Branch({"conv": 1, "self_attn": 2}, ("conv.out_proj.*", "self_attn.out_proj.*")),
        mlp=_branch("feed_forward", "w2"),
    ),
    "llama": _LLAMA,
    "llama4_text": replace(
        _LLAMA, mlp=Branch({"feed_forward": 1}, ("feed_forward.*down_proj*",), feeds="router scores, in some layers")
    ),
    "mamba": _MAMBA,
    "mamba2": _MAMBA,
    "minimax": Family(first_stays="the running length of the cache is kept by it"),
    "mistral": _LLAMA,
    "mixtral": replace(_LLAMA, mlp=Branch({"mlp": 1}, ("block_sparse_moe.experts.*.w2.*", "mlp.experts.down_proj*"))),
    "modernbert": Family(layers="layers", attention=_branch("attn", "Wo", 2), mlp=_branch("mlp", "Wo")),
    "olmo2": _OLMO,
    "olmo3": _OLMO,
    "opt": Family(
        attention=_branch("self_attn", "out_proj", 2),
        mlp=Branch({"fc1": 1}, ("fc2.*",), end="fc2"),
        post_norm={"do_layer_norm_before": False},
    ),
    "phi": replace(_LLAMA, attention=_branch("self_attn", "dense", 2), mlp=_branch("mlp", "fc2"), parallel=True),
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen2_moe": _MOE,
    "qwen3": _LLAMA,
    "qwen3_5_text": _HYBRID,
    "qwen3_moe": _MOE,
    "qwen3_next": _HYBRID,
    "recurrent_gemma": Family(no_drops="which layers are recurrent follows from their position by a fixed period"),
    "roberta": Family(post_norm=True),
    "rwkv": Family(no_drops="weights are rescaled by the layer's number while the model runs"),
    "smollm3": _LLAMA,
    "stablelm": replace(_LLAMA, parallel={"use_parallel_residual": True}),
    "starcoder2": replace(_LLAMA, mlp=_branch("mlp", "c_proj")),
    "t5": Family(
        attention=Branch(
            {"layer.0.SelfAttention": 3}, ("layer.0.SelfAttention.o.*",), feeds="the position bias of all layers"
        ),
        mlp=_branch("layer.1.DenseReluDense", "wo"),
        first_stays="the relative position bias of all layers lives in the first one",
    ),
    "tapioca_learner": _LLAMA,
    "vit": Family(attention=_branch("attention", "output.dense", 2), mlp=Branch({"mlp": 1}, ("output.dense.*",))),
    "zamba": Family(no_drops="its shared attention layers are tied by their absolute numbers"),
    "zamba2": Family(no_drops="its shared attention layers are tied by their absolute numbers"),
}


def find_family(model: PreTrainedModel) -> Family:
    """The row of a model's type (or of its text part's), or one that says nothing."""
    types = (model.config.model_type, model.config.get_text_config(decoder=True).model_type)
    return next((FAMILIES[name] for name in types if name in FAMILIES), Family())


def is_condition_met(when: FieldCondition, config: PretrainedConfig) -> bool:
    """Whether a condition on the configuration holds."""
    if isinstance(when, bool):
        return when
    return any(getattr(config, name, None) == expected for name, expected in when.items())


INDEX_LISTS = frozenset({"mlp_only_layers", "moe_layers", "attn_layer_indices", "full_attn_idxs", "local_layer_ids"})
"""Lists in a config that name layers by number: cut and renumbered."""

LEADING_COUNTS = frozenset({"first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"})
"""Numbers in a config that count how many of the first layers are of a kind: less the ones dropped."""

LAYER_NAME = re.compile(r"^(?P<before>(?:\w+\.)*?(?:layers|h|blocks|block|layer)\.)(?P<layer>\d+)(?P<after>\..+)$")
"""The name of a layer's tensor in a checkpoint; anchored at the first numbered list, since experts follow inside it."""

NOT_PER_LAYER = frozenset({"architectures", "eos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens"})
"""Lists in a config that have nothing to do with layers, even where their length happens to agree."""
