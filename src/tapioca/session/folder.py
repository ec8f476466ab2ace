"""Which folder a run has, what says whose it is, and what an earlier call of the same command left there to go on with."""

from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from tapioca.errors import StoreError
from tapioca.models.inputs import find_input_device
from tapioca.models.load import LoadedModel
from tapioca.records import DataConfig
from tapioca.records.portable import portable_name
from tapioca.runs.fingerprint import fingerprint
from tapioca.runs.folder import read_manifest, without_amounts

CHAT_DATE_KEY = "chat_date"
"""Under which a manifest keeps the day that chat templates print; only where one does."""

RUNS_FOLDER = Path("runs")
"""Where run folders are made that nobody named."""


NOT_IN_MANIFEST = {
    "model",
    "task",
    "reference",
    "test",
    "compat",
    "out",
    "plan",
    "dry_run",
    "compensate",
    "random_examples",
    "classifier",
    "answers",
    "skip_bad_rows",
    "shuffle_choices",
    "too_long",
    "num_fewshot",
    "device",
    "state_memory",
    "no_shared_context",
    "trust_remote_code",
    "trust_task_code",
    "adapter",
    "chat",
    "system",
    "chat_option",
    "chat_date",
    "other",
    "other_revision",
    "other_adapter",
    "run",
}
"""Settings that change no answer, or that the manifest names by what they lead to."""


def choose_run_folder(config: DataConfig, manifest: dict[str, Any]) -> Path:
    """The run folder asked for, else one named after model, task and manifest."""
    return config.out or RUNS_FOLDER / f"{_run_stem(config)}-{fingerprint(manifest)[:8]}"


def choose_chat_date(config: DataConfig, manifest: dict[str, Any]) -> date:
    """The day that chat templates print in a run: the one asked for, else the one that this run began with, else today.

    Args:
        config: the request.
        manifest: of the run, without its data, which may depend on the day.
    """
    if config.chat_date:
        return config.chat_date
    manifests = _iterate_earlier_manifests(config, manifest)
    recorded_days = [earlier[CHAT_DATE_KEY] for earlier in manifests if CHAT_DATE_KEY in earlier]
    return date.fromisoformat(max(recorded_days)) if recorded_days else date.today()


def describe_setup(config: DataConfig, loaded: LoadedModel, model_hash: str) -> dict[str, Any]:
    """Everything but the data that could change an answer or a choice."""
    model, settings = loaded.model, config.model_dump(mode="json", exclude=NOT_IN_MANIFEST)
    settings["include_path"] = settings["include_path"] and portable_name(settings["include_path"])
    return {
        "model_type": model.config.model_type,
        "model": model_hash,
        "dtype": str(model.dtype),
        "device": find_input_device(model).type,
        "attention": model.config._attn_implementation,
        "settings": settings,
        "versions": {
            "tapioca": version("tapioca-prune"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _iterate_earlier_manifests(config: DataConfig, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The manifests of runs that may be this one, begun before."""
    if config.out:
        folders = [config.out]
    else:
        folders = [path for path in RUNS_FOLDER.glob("*") if path.name.rpartition("-")[0] == _run_stem(config)]
    for folder in folders:
        try:
            earlier_manifest = read_manifest(folder)
        except StoreError:  # nothing there yet, or something else: said when the folder is opened
            continue
        same = without_amounts({name: earlier_manifest.get(name) for name in manifest}) == without_amounts(manifest)
        if config.out or same:
            yield earlier_manifest


def _run_stem(config: DataConfig) -> str:
    """Model and task as they stand in the names of run folders."""
    return f"{Path(config.model).name}-{Path(config.task).stem.replace(':', '-')[:80]}"
