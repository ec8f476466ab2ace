"""Load a model and its tokenizer the careful way: its own dtype, safetensors only, no foreign code."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING

from tapioca.errors import ModelError
from tapioca.hub import hide_progress_bars
from tapioca.models import learner  # noqa: F401  (makes its model type known)
from tapioca.models.adapters import check_adapter, hide_adapter, merge_adapter, refuse_adapter
from tapioca.models.device import choose_device
from tapioca.models.failures import explain_failed_load
from tapioca.models.families import LAYER_NAME
from tapioca.models.files import find_weight_files
from tapioca.models.identity import has_own_code
from tapioca.models.prediction import find_prediction_counts, is_prediction_weight

PACKAGED = {"learner": Path(__file__).parents[1] / "data" / "learner"}
"""Models that ship with this package, by the name a user types."""

AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForSequenceClassification", "AutoModelForMaskedLM", "AutoModel")
"""What code that comes with a model may replace; the first is taken where it does not say which of them was saved."""

MOST_LAYERS = 10_000
"""Layers that a configuration may count; a slip of the pen would else build modules for hours."""

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


HEADS = ("cls", "lm_head", "classifier", "score", "generator_lm_head", "generator_predictions", "predictions", "pooler")
"""What the weights of heads are called."""

NO_HEAD = (
    "; the checkpoint holds no head: tune it with one first (an encoder with a classification head), and prune that"
)
"""What to do where a head is all that is missing."""

WRONG_WEIGHTS = "; fetch or save the model again, or mend its config.json"
"""What to do where others are missing, or have other shapes."""


class LoadedModel(NamedTuple):
    """A model ready for use, and its tokenizer (None for models that read numbers)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None


def load(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
) -> LoadedModel:
    """Load a model and its tokenizer for inference.

    Args:
        name: a local folder, a hub id, or "learner" for the in-context learner that ships with this package.
        device: "cpu", "cuda", "cuda:1", "mps", ...; "auto" spreads the model over all GPUs, then memory, then disk; by default
            a GPU where there is one.
        dtype: "auto" keeps the checkpoint's; else a torch dtype name such as "float32".
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that comes with the model. Off unless asked for.
        adapter: a folder with a LoRA adapter (peft) to merge into the weights; a tokenizer beside it replaces the model's.

    Raises:
        ModelError: no such model, no safetensors weights, weights that do not match the architecture, an adapter that
            was not asked for or cannot be merged exactly, or an unknown dtype.
    """
    source = resolve_model_name(name)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype '{dtype}'; use {', '.join(DTYPES)}")
    target = choose_device(device)
    if adapter:
        check_adapter(Path(adapter))
    else:
        refuse_adapter(source, revision)
    config = _load_config(source, revision, trust_remote_code)
    with explain_failed_load(source, revision, f"the weights of '{source}'"):
        model_class = _find_model_class(config, trust_remote_code)
        with hide_progress_bars(), hide_adapter(source) as base:
            model, report = model_class.from_pretrained(
                base,
                config=config,
                dtype=dtype,
                device_map=target,
                revision=revision,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        _refuse_partial(source, report, config)
    model.name_or_path = model.config._name_or_path = source
    tokenizer = load_tokenizer(source, revision, trust_remote_code)
    if adapter:
        model = merge_adapter(model, Path(adapter))
        tokenizer = load_tokenizer(adapter, None, trust_remote_code) or tokenizer
    return LoadedModel(model.eval(), tokenizer)


def load_on_meta(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> PreTrainedModel:
    """A model as its configuration describes it, on the meta device: no weight is read or made. A ModelError where there is
    no such model."""
    source = resolve_model_name(name)
    config = _load_config(source, revision, trust_remote_code, weights=False)
    with explain_failed_load(source, revision, _name_config(source)), torch.device("meta"):
        model_class = _find_model_class(config, trust_remote_code)
        if hasattr(model_class, "from_config"):
            return model_class.from_config(config, trust_remote_code=trust_remote_code)
        return model_class._from_config(config)


def resolve_model_name(name: str | Path) -> str:
    """A model's name as transformers understands it: the folder of a packaged model, anything else as it is."""
    packaged = PACKAGED.get(str(name))
    return str(packaged) if packaged and not Path(name).exists() else str(name)


def load_tokenizer(
    name: str | Path, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase | None:
    """A model's tokenizer alone, or None where the model has none; a ModelError where it cannot be loaded."""
    source = resolve_model_name(name)
    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        return None
    with explain_failed_load(source, revision, f"the tokenizer of '{source}'"), hide_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
        tokenizer("")  # some settings are only looked at here
        return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any(folder.glob("tokenizer*")) or any(folder.glob("vocab*")) or any(folder.glob("*.tiktoken"))


def find_reload_class(model: PreTrainedModel) -> str:
    """Name of the class of transformers that loads such a model: its own, or the automatic one that finds its code."""
    return type(model).__name__ if not has_own_code(model) else find_foreign_class(model.config).__name__


def _load_config(source: str, revision: str | None, trust_remote_code: bool, weights: bool = True) -> PretrainedConfig:
    """The model's configuration, with a clear word about what is missing."""
    folder = Path(source)
    if folder.is_dir() and not os.path.lexists(folder / "config.json"):
        refuse_adapter(source)
        raise ModelError(f"{source} is a folder without config.json; expected a Hugging Face model folder")
    with explain_failed_load(source, revision, _name_config(source)):
        with hide_progress_bars():
            config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
        n_layers = config.get_text_config(decoder=True).num_hidden_layers
        if not 0 < n_layers <= MOST_LAYERS:
            raise ModelError(f"{_name_config(source)} counts {n_layers} layers; expected 1 to {MOST_LAYERS}")
        if not trust_remote_code:
            _refuse_kernels(config, _name_config(source))
        if weights and folder.is_dir():
            find_weight_files(folder, vars(config))
    return config


def _refuse_kernels(config: PretrainedConfig, where: str) -> None:
    """Refuse with a ModelError a configuration that names attention on the hub, which transformers fetches as native code."""
    parts = [config, *(part for part in vars(config).values() if isinstance(part, PretrainedConfig))]
    for name in (str(part._attn_implementation) for part in parts):
        if "/" in name:
            raise ModelError(
                f"{where} asks for the attention of '{name}', which is code; leave attn_implementation out of it, or add --trust-remote-code"
            )


def _name_config(source: str) -> str:
    """What messages call a model's configuration."""
    return str(Path(source) / "config.json") if Path(source).is_dir() else f"'{source}'"


def find_foreign_class(config: PretrainedConfig) -> Any:
    """The automatic class for a model that brings its own code; None where it brings none."""
    code_by_auto_class = {name: str(code_path) for name, code_path in (getattr(config, "auto_map", None) or {}).items()}
    architecture = (config.architectures or [""])[0]
    matching = [
        name
        for name, code_path in code_by_auto_class.items()
        if name in AUTO_CLASSES and code_path.rpartition(".")[2] == architecture
    ]
    return next(
        (getattr(transformers, name) for name in (*matching, *AUTO_CLASSES) if name in code_by_auto_class), None
    )


def _find_model_class(config: PretrainedConfig, trust_remote_code: bool) -> Any:
    """The class the checkpoint was saved from, that of its own code where that may run; a bare decoder is loaded with its
    language-model head, a whole encoder-decoder refused."""
    if trust_remote_code and (foreign_class := find_foreign_class(config)):
        return foreign_class
    architecture = (config.architectures or [""])[0]
    saved_class = getattr(transformers, architecture, None)
    is_bare_decoder = saved_class is MODEL_MAPPING.get(type(config), None) and "For" not in architecture
    if MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None) and (saved_class is None or is_bare_decoder):
        return AutoModelForCausalLM
    if config.is_encoder_decoder and "Encoder" not in architecture:
        raise ModelError(
            f"this checkpoint is an encoder-decoder ({config.model_type}); use a decoder or an encoder alone"
        )
    return saved_class or AutoModel


def _refuse_partial(source: str, report: dict[str, Any], config: PretrainedConfig) -> None:
    """transformers fills missing weights with random numbers and goes on; here that is an error."""
    for what in ("missing_keys", "mismatched_keys"):
        if names := sorted(str(name) for name in report.get(what) or ()):
            is_headless = all(name.split(".")[0] in HEADS for name in names)
            raise ModelError(
                f"{source}: {len(names)} weights do not match the architecture ({what.replace('_', ' ')}: {names[0]}, ...); "
                f"they would be random numbers{NO_HEAD if is_headless else WRONG_WEIGHTS}"
            )
    text_config = config.get_text_config(decoder=True)
    n_layers, n_prediction = text_config.num_hidden_layers, find_prediction_counts(vars(text_config)).values()
    extra_names = [
        name
        for name in sorted(map(str, report.get("unexpected_keys") or ()))
        if LAYER_NAME.match(name) and not is_prediction_weight(name, n_layers, max(n_prediction, default=0))
    ]
    if extra_names:
        raise ModelError(
            f"{source}: the files hold layers the configuration does not count ({extra_names[0]}, ...); set num_hidden_layers to what they hold"
        )
