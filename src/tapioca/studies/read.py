"""A study's file, read and checked: whatever is wrong with it is one line that names the file and its line."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tapioca.errors import UsageError
from tapioca.reading import explain_damage, read_text, read_yaml
from tapioca.studies.spec import StudyFile

Location = tuple[int | str, ...]


def read_study(path: Path) -> StudyFile:
    """Read a study's file; in place of its claims may stand the name of a study that has them.

    Raises:
        UsageError: it cannot be read, or asks for what there is not.
    """
    content, claims_path = _read_yaml(path), path
    if isinstance(content.get("claims"), str):
        claims_path = path.parent / content["claims"]
        with explain_damage(path, UsageError):
            content["claims"] = _read_yaml(claims_path).get("claims")
    try:
        return StudyFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = _locate_error(first, content)
        source = claims_path if location[:1] == ("claims",) else path
        raise UsageError(f"{source}, line {find_line(source, location)}: {_describe_error(first, location)}") from error


def find_line(path: Path, location: Location) -> int:
    """The line, from 1, on which an entry of a YAML file stands, or the nearest entry that it would stand in."""
    node = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
    for key in location:
        if isinstance(node, yaml.MappingNode):
            child = next((value_node for key_node, value_node in node.value if key_node.value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            child = node.value[key]
        else:
            child = None
        if child is None:
            break
        node = child
    return int(node.start_mark.line) + 1 if node else 1


def _read_yaml(path: Path) -> dict[str, Any]:
    """What a YAML file holds."""
    with explain_damage(path, UsageError, "expected YAML, such as studies/claims.yaml"):
        content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no study; expected title, settings and claims, as in studies/claims.yaml")
    return content


def _locate_error(error: ErrorDetails, content: Any) -> Location:
    """Where in the file a mistake stands; an unknown key is named by the error of the entry it stands in. A condition that
    stands where a list of them could is counted by pydantic as in a list, and in the file is in none."""
    context = error.get("ctx", {}).get("error")
    key = getattr(context, "key", None)
    location: list[int | str] = []
    for part in (*error["loc"], *(() if key is None else (key,))):
        if isinstance(content, dict) and isinstance(part, int):
            continue
        location.append(part)
        is_there = part in content if isinstance(content, dict) else isinstance(content, list) and isinstance(part, int)
        content = content[part] if is_there else None
    return tuple(location)


def _describe_error(error: ErrorDetails, location: Location) -> str:
    """What is wrong, and where."""
    where = ".".join(map(str, location))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"'{where}' is missing"
    got = "" if error["type"] == "value_error" else f", got {error['input']!r:.60}"
    return f"{where}: {message}{got}" if where else f"{message}{got}"
