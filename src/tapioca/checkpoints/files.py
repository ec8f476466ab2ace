"""Which files of a model folder go along into a checkpoint: those known by name, and none from outside the folder."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.dynamic_module_utils import get_relative_import_files

from tapioca.disk import copy_file
from tapioca.errors import ExportError
from tapioca.models.files import check_inside
from tapioca.reading import read_json

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tokenizer.model", "tokenizer.model.v*", "tiktoken.model", "*.tiktoken", "tekken.json", "spiece.model",
    "sentencepiece.bpe.model", "spm.model", "chat_template.json", "chat_template*.jinja", "additional_chat_templates/*.jinja",
)  # fmt: skip
"""Patterns of files of tokenizers, beside those that a tokenizer's class names."""

SETTINGS_FILES = (
    "generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "audio_tokenizer_config.json", "config_sentence_transformers.json", "sentence_*_config.json",
)  # fmt: skip

QUANTISATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Files in which tools that quantise say what they did; they may name layers."""

LEGAL_FILES = ("LICEN[CS]E*", "NOTICE*", "COPYING*", "USE_POLICY*")
KNOWN_FILES = (*TOKENIZER_FILES, *SETTINGS_FILES, *QUANTISATION_FILES, *LEGAL_FILES)

MODULES = "modules.json"
"""The file that lists the parts of a sentence encoder, each in a folder of its own."""

MODULE_FILES = ("*config.json", "tokenizer.json", "model.safetensors")
"""Files of such a part."""

N_NAMED = 10
"""How many files that stay behind are named."""

AUTO_MAP = "auto_map"


def copy_files(source: Path, paths: Iterable[Path], target: Path) -> None:
    """Copy files of a model folder to where they stand in the new one; a ModelError where one is a link out of it."""
    for path in paths:
        check_inside(path, source)
        copy_file(path, target / path.relative_to(source))


def companion_files(folder: Path) -> list[Path]:
    """The files of a model folder that go along as they are."""
    return sorted({path for pattern in KNOWN_FILES for path in folder.glob(pattern) if path.is_file()})


def vocabulary_files(folder: Path, tokenizer: PreTrainedTokenizerBase | None) -> list[Path]:
    """The files of a model folder that its tokenizer's class reads; one with code of its own names them as it likes."""
    names = tokenizer.vocab_files_names.values() if tokenizer else ()
    return [folder / name for name in names if (folder / name).is_file()]


def module_files(folder: Path) -> list[Path]:
    """The further parts of a sentence encoder (pooling, ...), and the file that lists them; nothing where there are none.

    Raises:
        ExportError: the list is none, or a part counts layers.
    """
    if not (folder / MODULES).is_file():
        return []
    parts = read_settings(folder / MODULES, list)
    places = {str(part.get("path") or ".") for part in parts if isinstance(part, dict)}
    folders = [folder / place for place in sorted(places) if place != "." and _is_inside(place)]
    paths = sorted({path for part in folders for pattern in MODULE_FILES for path in part.glob(pattern)})
    for path in paths:
        if path.suffix == ".json" and "num_hidden_layers" in read_settings(path):
            raise ExportError(
                f"{path} counts the layers of the model, so its part would no longer fit; it cannot be exported"
            )
    return [folder / MODULES, *paths]


def code_files(folder: Path) -> list[Path]:
    """The Python files that a model folder's settings name, and those they import from beside them."""
    auto_maps = [read_settings(path).get(AUTO_MAP) or {} for path in folder.glob("*config.json")]
    entries = [entry for names in auto_maps for entry in (names.values() if isinstance(names, dict) else [names])]
    files = {path for entry in entries for path in list_code_files(folder, entry) if path.is_file()}
    files |= {Path(imported) for path in files for imported in get_relative_import_files(path)}
    inside = {path for path in files if Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))}
    return sorted(path for path in inside if path.is_file())


def list_code_files(folder: Path, entry: object) -> list[Path]:
    """Where `file.Class` is, or a slow and a fast tokenizer, of which one may be null; not `repository--file.Class`."""
    places = [str(place) for place in (entry if isinstance(entry, list) else [entry]) if place]
    return [folder / f"{place.partition('.')[0]}.py" for place in places if "--" not in place]


def describe_left_behind(source: Path, target: Path, weights: Iterable[Path]) -> list[str]:
    """What to say of files and folders of a model folder of which the new one has none of the same name."""
    read = {path.name for path in weights}
    names = sorted(
        path.name
        for path in source.iterdir()
        if not (path.name.startswith(".") or path.name in read or (target / path.name).exists())
    )
    more = f", ... ({len(names)} in all)" if len(names) > N_NAMED else ""
    return [f"what is not known to belong to a model: {', '.join(names[:N_NAMED])}{more}"] if names else []


def read_settings(path: Path, kind: type = dict) -> Any:
    """A file of settings; empty where it holds something else than such a kind.

    Raises:
        ExportError: it cannot be read, or is no JSON.
    """
    settings = read_json(path, ExportError)
    return settings if isinstance(settings, kind) else kind()


def _is_inside(place: str) -> bool:
    """Whether a place is told by going down alone."""
    path = PurePosixPath(place.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts
