"""Reading what others wrote: whatever is wrong with a file is one line that names it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tapioca.errors import TapiocaError

MOST_NODES = 100_000
"""Values of a YAML file whose names for earlier values (*name) are written out; files of a few lines can hold billions."""


@contextmanager
def explain_damage(path: Path | str, kind: Callable[[str], TapiocaError], advice: str = "") -> Iterator[None]:
    """Turn whatever a body that only reads a file raises into one line.

    Args:
        path: of the file; a message of the body's own about what the file says is put behind it.
        kind: the error to raise.
        advice: what to do.
    """
    try:
        yield
    except TapiocaError as error:
        if str(path) in str(error):
            raise
        raise kind(f"{path}: {error}") from error
    except Exception as error:  # parsers raise anything: RecursionError, KeyError, OverflowError, MemoryError, ...
        raise kind(f"cannot read {path}: {describe_damage(error)}{advice and f'; {advice}'}") from error


def describe_damage(error: BaseException) -> str:
    """What is wrong with a file, from what its reader raised, in one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, EOFError):
        return "it breaks off in the middle; copy or download it again"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start})"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))))
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    is_of_another_form = isinstance(error, TypeError | AttributeError | IndexError)
    return f"it is not of the form expected ({text:.300})" if is_of_another_form else f"{text:.300}"


def refuse_no_file(path: Path) -> None:
    """Refuse, with an OSError, what is there and is no file, since who reads from a named pipe waits for ever."""
    if path.exists() and not path.is_file() and not str(path).startswith("/dev/"):
        raise OSError("it is no file")


def read_text(path: Path) -> str:
    """The text of a file, without the mark that some programs put in front; raises anything."""
    refuse_no_file(path)
    return path.read_text(encoding="utf-8").removeprefix("\ufeff")


def read_json(path: Path, kind: Callable[[str], TapiocaError], advice: str = "") -> Any:
    """What a JSON file holds."""
    with explain_damage(path, kind, advice):
        return json.loads(read_text(path))


def read_object(path: Path, kind: Callable[[str], TapiocaError], advice: str = "") -> dict[str, Any]:
    """What a JSON file holds that is an object."""
    content = read_json(path, kind, advice)
    if not isinstance(content, dict):
        raise kind(f"cannot read {path}: it holds no JSON object{advice and f'; {advice}'}")
    return content


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; raises anything."""
    loader = yaml.SafeLoader(read_text(path))
    root = loader.get_single_node()
    if root is None:
        return None
    if _count_nodes(root, {}) > MOST_NODES:
        raise ValueError("its names for earlier values (*name) make it too large")
    return loader.construct_document(root)


def _count_nodes(node: yaml.Node, counts: dict[int, int]) -> int:
    """The nodes below and with this one if all names were written out."""
    if id(node) not in counts:
        counts[id(node)] = MOST_NODES + 1  # of a node that holds itself
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        counts[id(node)] = 1 + sum(_count_nodes(child, counts) for child in flat)
    return counts[id(node)]
