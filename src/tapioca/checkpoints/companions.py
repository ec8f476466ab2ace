"""What stands beside the weights of a checkpoint: tokenizer, generation config, chat template, licence, code."""

import json
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.dynamic_module_utils import get_relative_import_files

from tapioca.checkpoints.older import add_version_4_tokenizer_fields
from tapioca.disk import copy_file, write_text
from tapioca.errors import ExportError

COPIED_PATTERNS = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "LICEN[CS]E*", "NOTICE*", "merges*", "vocab*")
EXCLUDED_PATTERNS = (
    "config.json",
    "*index*.json",  # of weights, in this or another form
    "params.json",  # counts the layers of consolidated weights
    "adapter_*",
    "train*.json",
    "modules.json",  # copied with the folders it names
)
MODULES = "modules.json"
AUTO_MAP = "auto_map"


def copy_files(source: Path, paths: Iterable[Path], target: Path) -> None:
    """Copy files of a model folder to where they stand in the new one."""
    for path in paths:
        copy_file(path, target / path.relative_to(source))


def copy_companions(source: Path, target: Path, code: bool) -> list[str]:
    """Copy what is neither weights nor config.json.

    Args:
        source: a model folder.
        target: the new one; its config.json is there.
        code: whether the model's own code comes along; otherwise nothing may point to it.

    Returns:
        What was left out, one sentence each.

    Raises:
        ExportError: a file of settings is no JSON.
    """
    copy_files(source, companion_files(source), target)
    _edit_settings(target / "tokenizer_config.json", add_version_4_tokenizer_fields)
    _edit_settings(
        target / "generation_config.json", lambda settings: {k: v for k, v in settings.items() if k != "use_mtp"}
    )
    _copy_modules(source, target)
    if code:
        copy_files(source, code_files(source), target)
    gone = [
        path.name
        for path in sorted(target.glob("*config.json"))
        if _edit_settings(path, partial(_drop_missing_code, target, code))
    ]
    return [f"{AUTO_MAP} of {', '.join(gone)}, which names code that is not in the checkpoint"] if gone else []


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write a file of settings; infinity, the limit of some models' time steps, stands in it as transformers reads it."""
    write_text(path, json.dumps(settings, indent=2) + "\n")


def companion_files(folder: Path) -> list[Path]:
    """The files of a model folder that go along as they are."""
    paths = {path for pattern in COPIED_PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in paths if not any(fnmatchcase(path.name, pattern) for pattern in EXCLUDED_PATTERNS))


def vocabulary_files(folder: Path, tokenizer: PreTrainedTokenizerBase | None) -> list[Path]:
    """The files of a model folder that its tokenizer's class reads; one with code of its own names them as it likes."""
    names = tokenizer.vocab_files_names.values() if tokenizer else ()
    return [folder / name for name in names if (folder / name).is_file()]


def code_files(folder: Path) -> list[Path]:
    """The Python files that a model folder's settings name, and those they import from beside them."""
    auto_maps = [_read_settings(path).get(AUTO_MAP) or {} for path in folder.glob("*config.json")]
    entries = [entry for names in auto_maps for entry in (names.values() if isinstance(names, dict) else [names])]
    files = {path for entry in entries for path in _list_code_files(folder, entry) if path.is_file()}
    files |= {Path(imported) for path in files for imported in get_relative_import_files(path)}
    inside = {path for path in files if Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))}
    return sorted(path for path in inside if path.is_file())


def _list_code_files(folder: Path, entry: object) -> list[Path]:
    """Where `file.Class` is, or a slow and a fast tokenizer, of which one may be null; not `repository--file.Class`."""
    places = [str(place) for place in (entry if isinstance(entry, list) else [entry]) if place]
    return [folder / f"{place.partition('.')[0]}.py" for place in places if "--" not in place]


def _drop_missing_code(folder: Path, code: bool, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that name no code which is not there."""

    def is_there(entry: object) -> bool:
        return code and all(file.is_file() for file in _list_code_files(folder, entry))

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
    before = _read_settings(path)
    after = change(before)
    if after != before:
        write_settings(path, after)
    return after != before


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"cannot read {path.name}: {error}") from error
    return settings if isinstance(settings, dict) else {}


def _copy_modules(source: Path, target: Path) -> None:
    """The further parts of a sentence encoder (pooling, ...), which stand in folders of their own."""
    if not (source / MODULES).is_file():
        return
    copy_file(source / MODULES, target / MODULES)
    for part in json.loads((source / MODULES).read_text(encoding="utf-8")):
        place = PurePath(part.get("path") or ".")
        if place != PurePath(".") and ".." not in place.parts:
            copy_files(source, [*(source / place).glob("*.json"), *(source / place).glob("*.safetensors")], target)
