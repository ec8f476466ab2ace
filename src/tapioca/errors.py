"""Everything this package raises on purpose.

    TapiocaError              what `except` should name
    ├── UsageError            the request is wrong: an option, a name, a value
    │   ├── ModelError        a model cannot be loaded, found its way in, or edited
    │   ├── DataError         a file or a task cannot be read or used
    │   │   └── RowError      one row of a file cannot be used
    │   └── StoreError        a run folder cannot be read, written or continued
    ├── NonFiniteError        NaN or infinity where a number must be; names the layer
    └── ExportError           a checkpoint was refused or does not equal the live plan

Every message is one line: what was got, what was expected, what to do next. A command prints it and
ends with exit code 2.
"""

import difflib
from collections.abc import Iterable


class TapiocaError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(TapiocaError, ValueError):
    """The request is wrong."""


class ModelError(UsageError):
    """A model cannot be loaded, its layers cannot be found, or a plan does not fit it."""


class DataError(UsageError):
    """A data file or task cannot be read or used."""


class RowError(DataError):
    """One row of a file cannot be used; the others may.

    Attributes:
        reason: what is wrong with it in words that fit other rows too, by which such rows are counted.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class StoreError(UsageError):
    """A run folder cannot be read, written or continued."""


class NonFiniteError(TapiocaError, ArithmeticError):
    """A NaN or an infinity appeared where a finite number is needed."""


class ExportError(TapiocaError):
    """An export was refused, or what was written does not equal the live plan."""


def describe_error(error: BaseException) -> str:
    """An error of code that is not the package's own, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def first_line(error: BaseException) -> str:
    """The first line of another library's message that says something; the error's kind where none does."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is what an error is about; torch has a class of its own for GPUs, and none for the CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


MANY_NAMES = 40


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known name, and all of them, or some where they are many."""
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    many = f", ... ({len(names)} in all)" if len(names) > MANY_NAMES else ""
    return f"{hint}known: {', '.join(names[:MANY_NAMES])}{many}"
