"""Adapters: a folder of low-rank updates is merged into the weights it was trained on, and never mistaken for a model."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from tapioca.disk import explain_failure, scratch_folder
from tapioca.errors import ModelError
from tapioca.reading import explain_damage, read_object

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

NOT_MERGED = {
    "use_dora": "DoRA scales whole columns by norms",
    "alora_invocation_tokens": "an activated LoRA works behind certain tokens only",
    "layer_replication": "it repeats layers of the base model",
    "use_qalora": "QA-LoRA pools its inputs",
    "use_bdlora": "its factors are block-diagonal",
    "arrow_config": "it chooses among several adapters for every token",
    "monteclora_config": "its factors are drawn at random",
    "kasa_config": "it changes the base's weights before it adds to them",
    "velora_config": "it compresses what it computes with",
}
"""Fields of a LoRA's configuration under which it is more than a sum of weights, and why."""


def refuse_adapter(source: str, revision: str | None = None) -> None:
    """Refuse an adapter where a model is expected; transformers merges it or leaves it out, as peft happens to be installed.

    Raises:
        ModelError: the folder or hub repository holds an adapter, with or without base weights beside it.
    """
    try:
        config_path = find_adapter_config_file(source, revision=revision)
    except Exception:  # no such model, or no hub; what reads its configuration says so
        return
    if config_path is None:
        return
    if not Path(source).is_dir():
        raise ModelError(
            f"'{source}' holds an adapter ({CONFIG}); download it to a folder, and give its base ({_read_base_name(Path(config_path))}) with --adapter FOLDER"
        )
    if not (Path(source) / "config.json").is_file():
        raise ModelError(
            f"{source} is an adapter, not a model; give its base ({_read_base_name(Path(config_path))}) with --adapter {source}"
        )
    if not (Path(source) / WEIGHTS).is_file():
        raise ModelError(f"{source} holds {CONFIG} without {WEIGHTS}; remove the file to use the model as it is")
    raise ModelError(
        f"{source} holds an adapter beside its base weights; add --adapter {source} to merge it, "
        f"or move {CONFIG} away to use the base alone"
    )


def _read_base_name(config: Path) -> str:
    """What an adapter says it was trained on."""
    return str(_read_adapter_config(config).get("base_model_name_or_path") or "the model it was trained on")


def _read_adapter_config(config: Path) -> dict[str, Any]:
    return read_object(config, ModelError, "expected an adapter's configuration")


def check_adapter(folder: Path) -> None:
    """Refuse what cannot become part of a model's weights exactly.

    Raises:
        ModelError: there is no adapter, its weights are pickled, or it is no plain LoRA.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(f"no adapter at {folder}: expected a folder with {CONFIG} and {WEIGHTS}")
    settings = _read_adapter_config(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        problem = "only adapter_model.bin, which may run code when read" if pickled else "no weights"
        raise ModelError(f"{folder} has {problem}; save the adapter as {WEIGHTS}")
    kind = str(settings.get("peft_type")).upper()
    advice = "merge it with peft, compare, and give the merged model"
    if kind != "LORA":
        raise ModelError(f"{folder} is an adapter of type {kind}; only plain LoRA is merged exactly; {advice}")
    for field, reason in NOT_MERGED.items():
        if settings.get(field):
            raise ModelError(f"{folder} is no plain LoRA ({field}: {reason}), so it is not merged exactly; {advice}")


@contextmanager
def hide_adapter(source: str) -> Iterator[str]:
    """A model folder as transformers should read it: without the adapter in it, where it holds one."""
    folder = Path(source)
    if not (folder / CONFIG).is_file():
        yield source
        return
    with scratch_folder() as scratch:
        with explain_failure(scratch):
            for path in folder.iterdir():
                if not path.name.startswith("adapter_"):
                    (scratch / path.name).symlink_to(path.resolve())
        yield str(scratch)


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Add an adapter's low-rank updates to the weights of its base model, each sum rounded once to the base's dtype.

    Args:
        model: the base; its weights change.
        folder: with adapter_config.json and adapter_model.safetensors.

    Returns:
        A model of the base's class, whose outputs are those of the base with the adapter up to rounding.

    Raises:
        ModelError: peft is missing, the base is quantised or ties what the adapter changes, or the adapter was
            trained on another model.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it; it warns of kernels nothing here uses
    try:
        from peft import PeftConfig, PeftModel, set_peft_model_state_dict
        from peft.utils import load_peft_weights
    except ImportError as error:
        raise ModelError("--adapter needs peft; pip install 'tapioca-prune[heal]'") from error
    own_class = type(model).__name__
    with explain_damage(folder / CONFIG, ModelError, "expected an adapter's configuration"):
        base_class = (_read_adapter_config(folder / CONFIG).get("auto_mapping") or {}).get(
            "base_model_class", own_class
        )
    if base_class != own_class:
        raise ModelError(f"{folder} was trained on a {base_class}, this model is a {own_class}; give its own base")
    if getattr(model.config, "quantization_config", None):
        raise ModelError(
            f"the base of {folder} is quantised, so the adapter cannot be merged exactly; give the base in its full dtype"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # what they are about is checked below
            wrapped = PeftModel(model, PeftConfig.from_pretrained(str(folder)))
            loaded = set_peft_model_state_dict(wrapped, load_peft_weights(str(folder), device="cpu"))
            _refuse_another_base(folder, loaded)
            _refuse_tied(folder, model, [hasattr(module, "base_layer") for module in _find_embeddings(model)])
            merged: PreTrainedModel = wrapped.merge_and_unload()  # safe_merge rounds the update before it is added
            _refuse_tied(folder, merged, [id(module.weight) for module in _find_embeddings(merged)])
    except ModelError:
        raise
    except Exception as error:  # peft raises anything over an adapter that does not fit
        raise ModelError(f"cannot merge {folder} into {model.name_or_path}: {_first_line(error)}") from error
    broken = next((name for name, weight in merged.named_parameters() if not weight.isfinite().all()), None)
    if broken:
        raise ModelError(f"{folder} merged into {model.name_or_path} makes NaN or infinity of {broken}; train it anew")
    vars(merged).pop("peft_config", None)
    return merged


def _refuse_another_base(folder: Path, loaded: Any) -> None:
    """peft warns about weights that have no place, and leaves those that are missing as they began."""
    missing = sorted(name for name in loaded.missing_keys if ".default" in name)
    for what, names in (("has no place for", sorted(loaded.unexpected_keys)), ("misses", missing)):
        if names:
            raise ModelError(
                f"{folder} was trained on another model: one {what} {len(names)} of its weights ({names[0]}, ...)"
            )


def _refuse_tied(folder: Path, model: PreTrainedModel, ends: list[Any]) -> None:
    """What is said of the two ends must be the same where they are tied: one matrix cannot hold an update of half of it."""
    if model.config.get_text_config().tie_word_embeddings and len(set(ends)) > 1:
        raise ModelError(
            f"{folder} changes one of two tied embeddings, so it cannot be merged exactly; untie them in the base model first"
        )


def _find_embeddings(model: PreTrainedModel) -> list[Any]:
    """A model's input and output embeddings, where it has them."""
    return [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module is not None]


def _first_line(error: Exception) -> str:
    """The first line of an error that says something; torch heads a list of shapes that differ with a line of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), type(error).__name__)
