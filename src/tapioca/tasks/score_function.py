"""A scoring function of the user's own, for written answers: imported only where its code is trusted."""

import hashlib
import importlib
import importlib.util
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tapioca.errors import DataError, describe_error


@dataclass(frozen=True)
class ScoreFunction:
    """What scores a text by the row it answers.

    Attributes:
        name: module:function.
        digest: of the module's source.
        call: takes a text and a row's fields, gives a truth value or a number from 0 to 1.
    """

    name: str
    digest: str
    call: Callable[[str, dict[str, Any]], Any]

    def score(self, text: str, fields: Mapping[str, Any], where: str) -> float:
        """The score of a text, from 0 to 1.

        Raises:
            DataError: the function fails, or gives something else; names row and function.
        """
        try:
            raw_score = self.call(text, dict(fields))
        except Exception as error:  # the user's own code can raise anything
            raise DataError(f"{where}: {self.name} failed: {describe_error(error)}") from error
        is_number = isinstance(raw_score, numbers.Real | np.bool_)
        number = float(raw_score) if is_number else math.nan
        if not 0 <= number <= 1:
            raise DataError(
                f"{where}: {self.name} gave {raw_score!r:.60}; expected True, False or a number from 0 to 1"
            )
        return number


def load_score_function(name: str, folder: Path, trusted: bool) -> ScoreFunction:
    """Import module:function, from the folder of the task's file first, else from where Python looks.

    Raises:
        DataError: it is not trusted, or there is no such function.
    """
    module_name, _, function = name.partition(":")
    if not (module_name and function.isidentifier()):
        raise DataError(f"score_function {name!r} is not of the form module:function")
    if not trusted:
        raise DataError(f"score_function {name} runs Python code; read it, then say --trust-task-code")
    module = _import(module_name, folder, name)
    call, source = getattr(module, function, None), getattr(module, "__file__", None)
    if not callable(call) or source is None:
        raise DataError(f"score_function {name}: module {module_name} has no function '{function}' written in Python")
    return ScoreFunction(name, hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16], call)


def _import(module_name: str, folder: Path, name: str) -> ModuleType:
    """The module of a file beside the task, else an installed one."""
    path = folder / f"{module_name.replace('.', '/')}.py"
    try:
        if not path.is_file():
            return importlib.import_module(module_name)
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:  # whatever the user's module does when it is imported
        raise DataError(f"score_function {name} cannot be imported: {describe_error(error)}") from error
