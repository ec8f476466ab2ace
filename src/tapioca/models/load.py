"""Load a model and its tokenizer the careful way: its own dtype, safetensors only, no foreign code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING
from transformers.utils import logging

from tapioca.errors import ModelError
from tapioca.hub import explain
from tapioca.models.families import LAYER

PACKAGED = {"learner": Path(__file__).parents[1] / "data" / "learner"}
"""Models that ship with this package, by the name a user types."""

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")


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
) -> Loaded:
    """Load a model and its tokenizer for inference.

    Args:
        name: a local folder, a hub id, or "learner" for the in-context learner that ships with this package.
        device: "cpu", "cuda", "cuda:1", ...; "auto" spreads the model over all GPUs, then memory, then disk; by default
            a GPU where there is one.
        dtype: "auto" keeps the checkpoint's; else a torch dtype name such as "float32".
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that comes with the model. Off unless asked for.

    Raises:
        ModelError: no such model, no safetensors weights, weights that do not match the
            architecture, or an unknown dtype.
    """
    source = local_name(name)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype '{dtype}'; use {', '.join(DTYPES)}")
    if device == "meta":
        raise ModelError("device 'meta' holds no numbers; use cpu, cuda, cuda:N or auto")
    target = _device(device)
    config = _config(source, revision, trust_remote_code)
    kind = _foreign_class(config) if trust_remote_code else _class_of(config)
    try:
        with without_bars():
            model, report = kind.from_pretrained(
                source,
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
    _refuse_partial(source, report)
    tokenizer = _tokenizer(source, revision, trust_remote_code)
    return Loaded(model.eval(), tokenizer)


def skeleton(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> PreTrainedModel:
    """A model as its configuration describes it, on the meta device: no weight is read or made.

    Raises:
        ModelError: there is no such model.
    """
    source = local_name(name)
    config = _config(source, revision, trust_remote_code, weights=False)
    kind: Any = _foreign_class(config) if trust_remote_code else _class_of(config)
    build = kind.from_config if hasattr(kind, "from_config") else kind._from_config
    with torch.device("meta"):
        return build(config)


def local_name(name: str | Path) -> str:
    """A model's name as transformers understands it: the folder of a packaged model, anything else as it is."""
    packaged = PACKAGED.get(str(name))
    return str(packaged) if packaged and not Path(name).exists() else str(name)


def load_tokenizer(name: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase | None:
    """A model's tokenizer alone, or None where the model has none.

    Raises:
        ModelError: it cannot be loaded.
    """
    return _tokenizer(local_name(name), revision, trust_remote_code=False)


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence transformers' own progress bars: the caller shows progress."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _config(source: str, revision: str | None, trust_remote_code: bool, weights: bool = True) -> PretrainedConfig:
    """The model's configuration, with a clear word about what is missing."""
    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"{source} is a folder without config.json; expected a Hugging Face model folder")
    if weights and folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickled = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        found = (
            f"only {pickled}, which may run code when read; convert it"
            if pickled
            else "no weights; save the model there"
        )
        raise ModelError(f"{source} has {found} with save_pretrained (safetensors)")
    try:
        with without_bars():
            return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # a configuration with wrong values can raise anything
        what = str(folder / "config.json") if folder.is_dir() else f"'{source}'"
        raise ModelError(_reason(error, what, source, revision)) from error


def _foreign_class(config: PretrainedConfig) -> Any:
    """The automatic class for a checkpoint that brings its own code."""
    headed = (config.architectures or [""])[0].endswith("ForSequenceClassification")
    return AutoModelForSequenceClassification if headed else AutoModelForCausalLM


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


def _device(device: str | None) -> str:
    """The device asked for, else a GPU where there is one.

    Raises:
        ModelError: there is no such device.
    """
    if device == "auto":
        return device
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"cannot use device '{device}': {_first_line(error)}; use cpu, cuda, cuda:N or auto"
        ) from error
    return target


def _tokenizer(source: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase | None:
    """The tokenizer, or None where the model has none."""
    folder = Path(source)
    if folder.is_dir() and not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")):
        return None
    try:
        with without_bars():
            return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # so can a broken tokenizer file
        raise ModelError(_reason(error, f"the tokenizer of '{source}'", source, revision)) from error


def _refuse_partial(source: str, report: dict[str, object]) -> None:
    """transformers fills missing weights with random numbers and goes on; here that is an error."""
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in report.get(what) or ())  # type: ignore[attr-defined]
        if names:
            raise ModelError(
                f"{source}: {len(names)} weights do not match the architecture ({what.replace('_', ' ')}: {names[0]}, ...); "
                "they would be random numbers"
            )
    extra = sorted(str(name) for name in report.get("unexpected_keys") or () if LAYER.match(str(name)))  # type: ignore[attr-defined]
    if extra:
        raise ModelError(
            f"{source}: the files hold layers the configuration does not count ({extra[0]}, ...); set num_hidden_layers to what they hold"
        )


def _reason(error: Exception, what: str, source: str, revision: str | None) -> str:
    """Why something of a model could not be loaded: what the hub says, else the error's own first line."""
    said = None if Path(source).is_dir() else explain(error, "model", source, revision)
    return said or f"cannot load {what}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
