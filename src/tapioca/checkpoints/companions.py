"""What stands beside the weights of a checkpoint: tokenizer, generation config, chat template, licence, code."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tapioca.checkpoints.files import (
    AUTO_MAP,
    QUANTISATION_FILES,
    code_files,
    companion_files,
    copy_files,
    list_code_files,
    module_files,
    read_settings,
)
from tapioca.checkpoints.older import add_version_4_tokenizer_fields
from tapioca.checkpoints.renumber import renumber_layers
from tapioca.disk import write_text
from tapioca.plan import Plan

PATH_FIELDS = re.compile(r"_?name_or_path|.*_file")
"""Fields of settings in which transformers notes where a file was found."""

PATH = re.compile(r"~|[A-Za-z]:[/\\]|[/\\]")
"""How a path begins that means something on one machine alone."""

LAYER_FIELDS = ("dola_layers", "assistant_early_exit")
"""Fields of a generation config about layers by their numbers."""


def copy_companions(source: Path, target: Path, plan: Plan, code: bool) -> list[str]:
    """Copy what is neither weights nor config.json.

    Args:
        source: a model folder.
        target: the new one; its config.json is there.
        plan: whose drops give layers new numbers.
        code: whether the model's own code comes along; otherwise nothing may point to it.

    Returns:
        What was left out, one sentence each.

    Raises:
        ExportError: a file of settings is no JSON, or names layers in a form that cannot be renumbered.
        ModelError: a file is a link out of the folder.
    """
    for path in source.glob("*config.json"):
        read_settings(path)  # so that what is wrong with one is said of this folder, not of the new one
    copy_files(source, [*companion_files(source), *module_files(source), *(code_files(source) if code else [])], target)
    _edit_settings(target / "tokenizer_config.json", add_version_4_tokenizer_fields)
    for name in QUANTISATION_FILES:
        _edit_settings(target / name, partial(renumber_layers, plan=plan, where=str(source / name)))
    generation = target / "generation_config.json"
    _edit_settings(generation, lambda settings: {k: v for k, v in settings.items() if k != "use_mtp"})
    left_out = []
    if _edit_settings(generation, _drop_layer_fields):
        left_out.append(f"what {generation.name} says of layers by their numbers ({', '.join(LAYER_FIELDS)})")
    settings_files = sorted(target.glob("*config.json"))
    for path in settings_files:
        _edit_settings(path, drop_paths)
    gone = [path.name for path in settings_files if _edit_settings(path, partial(_drop_missing_code, target, code))]
    if gone:
        left_out.append(f"{AUTO_MAP} of {', '.join(gone)}, which names code that is not in the checkpoint")
    return left_out


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write a file of settings; infinity, the limit of some models' time steps, stands in it as transformers reads it."""
    write_text(path, json.dumps(settings, indent=2) + "\n")


def drop_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the paths of the machine they were written on."""
    return {
        name: drop_paths(setting) if isinstance(setting, dict) else setting
        for name, setting in settings.items()
        if not (isinstance(setting, str) and PATH_FIELDS.fullmatch(name) and PATH.match(setting))
    }


def _drop_layer_fields(settings: dict[str, Any]) -> dict[str, Any]:
    """A generation config without what a shorter model cannot keep; "low" and "high" of DoLa name no layer."""
    return {
        name: setting
        for name, setting in settings.items()
        if name not in LAYER_FIELDS or setting is None or isinstance(setting, str)
    }


def _drop_missing_code(folder: Path, code: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that name no code which is not there."""

    def is_there(entry: object) -> bool:
        return code and all(file.is_file() for file in list_code_files(folder, entry))

    entries = settings.get(AUTO_MAP)
    if isinstance(entries, dict):
        present_entries: Any = {name: entry for name, entry in entries.items() if is_there(entry)}
    else:
        present_entries = entries if is_there(entries) else None
    others = {name: field for name, field in settings.items() if name != AUTO_MAP}
    return {**others, AUTO_MAP: present_entries} if present_entries else others


def _edit_settings(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Change settings in place; says whether anything changed, and leaves every other byte alone."""
    if not path.is_file():
        return False
    before = read_settings(path)
    after = change(before)
    if after != before:
        write_settings(path, after)
    return after != before
