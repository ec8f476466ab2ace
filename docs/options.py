"""The options of the Python face, made from the request classes, so that editors and type checkers see every one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from tapioca.commands import COMMANDS, load_config_class
from tapioca.records import DataConfig, RunConfig
from tapioca.tasks.spec import TaskSpec

MODULE = '''"""What the functions and methods of `tapioca` take by name: of a session, of each command, and of a task.

Made by `make docs` from the request classes, where every option is explained.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, Required, TypedDict

from pydantic import JsonValue

from tapioca.plan import Plan

{classes}
'''
OF_A_CALL = {"model", "other", "task", "reference"}
OF_THE_SHELL = {"dry_run"}
OF_A_RUN = {"out", "take_over"}
"""What a session leaves to each command, though every command has it."""
WIDER = {"plan": "str | Path | Plan", "scales": "str | Sequence[float]"}
"""Options that take more in Python than a string."""


def build_module() -> str:
    """The module as text."""
    shared = {name for name in DataConfig.model_fields if name not in OF_A_CALL | OF_A_RUN} | {"score"}
    classes = [
        write_class("SessionOptions", RunConfig, shared, "How a model and its data are read and split."),
        write_class("TaskOptions", TaskSpec, TaskSpec.model_fields.keys() - {"data"}, "How rows are asked and marked."),
    ]
    for name, command in COMMANDS.items():
        config, title = load_config_class(command), name.title()
        own = [field for field in config.model_fields if field not in shared | OF_A_CALL | OF_THE_SHELL]
        if "model" in config.model_fields and not issubclass(config, DataConfig) and command.result:
            about = f"Of `tapioca {name}` besides those of a session."
            classes.append(write_class(f"{title}Options", config, own, about))
            loading = config.model_fields.keys() & shared
            classes.append(write_class(f"{title}Call", config, loading, f"All of `tapioca {name}`.", f"{title}Options"))
        if issubclass(config, DataConfig) and command.result:
            classes.append(
                write_class(f"{title}Options", config, own, f"Of `tapioca {name}` besides those of a session.")
            )
            classes.append(
                f'class {title}Call(SessionOptions, {title}Options, total=False):\n    """All of `tapioca {name}`."""'
            )
    code = MODULE.format(classes="\n\n\n".join(classes))
    ruff = [sys.executable, "-m", "ruff", "format", "-q", "--line-length", "120", "-"]
    return subprocess.run(ruff, input=code, capture_output=True, text=True, check=True).stdout


def write_class(
    name: str, record: type[BaseModel], fields: Collection[str], about: str, base: str = "TypedDict"
) -> str:
    """A dictionary type with some fields of a record."""
    lines = [f'class {name}({base}, total=False):\n    """{about}"""\n']
    for field_name, field in record.model_fields.items():
        if field_name in fields:
            lines.append(f"    {field_name}: {write_type(field_name, field.annotation, field.is_required())}")
    return "\n".join(lines)


def write_type(name: str, annotation: Any, required: bool) -> str:
    """The type of an option; a path may be a string, a tuple any sequence."""
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    text = re.sub(r"(?:typing\.)?Optional\[(.*)\]$", r"\1 | None", text)
    text = re.sub(r"(?:typing\.)?Union\[(\w+), (.*)\]$", r"\1 | \2", text)
    text = re.sub(r"\b(?:typing|pathlib|datetime|collections\.abc|pydantic\.types)\.", "", text)
    text = (
        re.sub(r"tuple\[(\w+), \.\.\.\]", r"Sequence[\1]", text)
        .replace("Path", "str | Path")
        .replace("date", "date | str")
    )
    if name in WIDER:
        text = WIDER[name] + (" | None" if "None" in text else "")
    return f"Required[{text}]" if required else text
