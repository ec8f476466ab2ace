"""Load a model and its tokenizer the careful way: its own dtype, safetensors only, no foreign code."""

from __future__ import annotations

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
from tapioca.hub import explain, without_bars
from tapioca.models import learner  # noqa: F401  (makes its model type known)
from tapioca.models.adapters import check_adapter, merge_adapter, refuse_adapter, without_adapter
from tapioca.models.device import choose_device
from tapioca.models.families import LAYER
from tapioca.models.files import weight_files
from tapioca.models.identity import brings_code
from tapioca.models.prediction import is_prediction, prediction_counts

PACKAGED = {"learner": Path(__file__).parents[1] / "data" / "learner"}
"""Models that ship with this package, by the name a user types."""

AUTO_CLASSES = (
    "AutoModelForCausalLM",
    "AutoModelForSequenceClassification",
    "AutoModelForMaskedLM",
    "AutoModel",
)
"""What code that comes with a model may replace; the first is taken where it does not say which of them was saved."""

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


HEADS = ("cls", "lm_head", "classifier", "score", "generator_lm_head", "generator_predictions", "predictions", "pooler")
"""What the weights of heads are called."""


class Loaded(NamedTuple):
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
) -> Loaded:
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
    source = local_name(name)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype '{dtype}'; use {', '.join(DTYPES)}")
    target = choose_device(device)
    if adapter:
        check_adapter(Path(adapter))
    else:
        refuse_adapter(source, revision)
    config = _config(source, revision, trust_remote_code)
    kind = (trust_remote_code and foreign_class(config)) or _class_of(config)
    try:
        with without_bars(), without_adapter(source) as base:
            model, report = kind.from_pretrained(
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
    except Exception as error:  # transformers and safetensors raise anything over a broken folder
        raise ModelError(_reason(error, f"the weights of '{source}'", source, revision)) from error
    _refuse_partial(source, report, config)
    model.name_or_path = model.config._name_or_path = source
    tokenizer = _tokenizer(source, revision, trust_remote_code)
    if adapter:
        model = merge_adapter(model, Path(adapter))
        tokenizer = _tokenizer(str(adapter), None, trust_remote_code) or tokenizer
    return Loaded(model.eval(), tokenizer)


def skeleton(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> PreTrainedModel:
    """A model as its configuration describes it, on the meta device: no weight is read or made.

    Raises:
        ModelError: there is no such model.
    """
    source = local_name(name)
    config = _config(source, revision, trust_remote_code, weights=False)
    kind: Any = (trust_remote_code and foreign_class(config)) or _class_of(config)
    with torch.device("meta"):
        if hasattr(kind, "from_config"):
            return kind.from_config(config, trust_remote_code=trust_remote_code)
        return kind._from_config(config)


def local_name(name: str | Path) -> str:
    """A model's name as transformers understands it: the folder of a packaged model, anything else as it is."""
    packaged = PACKAGED.get(str(name))
    return str(packaged) if packaged and not Path(name).exists() else str(name)


def load_tokenizer(
    name: str | Path, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase | None:
    """A model's tokenizer alone, or None where the model has none.

    Raises:
        ModelError: it cannot be loaded.
    """
    return _tokenizer(local_name(name), revision, trust_remote_code)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any(folder.glob("tokenizer*")) or any(folder.glob("vocab*")) or any(folder.glob("*.tiktoken"))


def reload_class(model: PreTrainedModel) -> str:
    """Name of the class of transformers that loads such a model: its own, or the automatic one that finds its code."""
    return type(model).__name__ if not brings_code(model) else foreign_class(model.config).__name__


def _config(source: str, revision: str | None, trust_remote_code: bool, weights: bool = True) -> PretrainedConfig:
    """The model's configuration, with a clear word about what is missing."""
    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        refuse_adapter(source)
        raise ModelError(f"{source} is a folder without config.json; expected a Hugging Face model folder")
    try:
        with without_bars():
            config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # a configuration with wrong values can raise anything
        what = str(folder / "config.json") if folder.is_dir() else f"'{source}'"
        raise ModelError(_reason(error, what, source, revision)) from error
    if weights and folder.is_dir():
        weight_files(folder, vars(config))
    return config


def foreign_class(config: PretrainedConfig) -> Any:
    """The automatic class for a model that brings its own code; None where it brings none."""
    brought = {name: str(place) for name, place in (getattr(config, "auto_map", None) or {}).items()}
    saved = (config.architectures or [""])[0]
    named = [name for name, place in brought.items() if name in AUTO_CLASSES and place.rpartition(".")[2] == saved]
    return next((getattr(transformers, name) for name in (*named, *AUTO_CLASSES) if name in brought), None)


def _class_of(config: PretrainedConfig) -> Any:
    """The class the checkpoint was saved from; a bare decoder is loaded with its language-model head.

    Raises:
        ModelError: it is a whole encoder-decoder.
    """
    saved = getattr(transformers, (config.architectures or [""])[0], None)
    causal = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    bare = saved is MODEL_MAPPING.get(type(config), None) and "For" not in (config.architectures or [""])[0]
    if causal and (saved is None or bare):
        return AutoModelForCausalLM
    if config.is_encoder_decoder and "Encoder" not in (config.architectures or [""])[0]:
        raise ModelError(
            f"this checkpoint is an encoder-decoder ({config.model_type}); use a decoder or an encoder alone"
        )
    return saved or AutoModel


def _tokenizer(source: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase | None:
    """The tokenizer, or None where the model has none."""
    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        return None
    try:
        with without_bars():
            return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # so can a broken tokenizer file, or code that comes with it
        raise ModelError(_reason(error, f"the tokenizer of '{source}'", source, revision)) from error


def _refuse_partial(source: str, report: dict[str, object], config: PretrainedConfig) -> None:
    """transformers fills missing weights with random numbers and goes on; here that is an error."""
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in report.get(what) or ())  # type: ignore[attr-defined]
        if names:
            raise ModelError(
                f"{source}: {len(names)} weights do not match the architecture ({what.replace('_', ' ')}: {names[0]}, ...); "
                f"they would be random numbers{_headless(names)}"
            )
    extra = sorted(str(name) for name in report.get("unexpected_keys") or () if LAYER.match(str(name)))  # type: ignore[attr-defined]
    text = config.get_text_config(decoder=True)
    behind = max(prediction_counts(vars(text)).values(), default=0)
    extra = [name for name in extra if not is_prediction(name, text.num_hidden_layers, behind)]
    if extra:
        raise ModelError(
            f"{source}: the files hold layers the configuration does not count ({extra[0]}, ...); set num_hidden_layers to what they hold"
        )


def _headless(names: list[str]) -> str:
    """What to do where all that is missing is a head."""
    alone = all(name.split(".")[0] in HEADS for name in names)
    return (
        "; the checkpoint holds no head: tune it with one first (an encoder with a classification head), and prune that"
        if alone
        else ""
    )


def _reason(error: Exception, what: str, source: str, revision: str | None) -> str:
    """Why something of a model could not be loaded: code nobody allowed, what the hub says, or the error's first line."""
    if "trust_remote_code" in str(error):
        return f"'{source}' needs code that comes with it; read the code, then add --trust-remote-code"
    said = None if Path(source).is_dir() else explain(error, "model", source, revision)
    return said or f"cannot load {what}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
