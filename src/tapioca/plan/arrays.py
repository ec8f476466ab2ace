"""Arrays of a plan: known by what they hold, and kept in a safetensors file beside the plan."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from safetensors.numpy import load_file, save_file

from tapioca.disk import replace_atomically
from tapioca.errors import UsageError
from tapioca.reading import explain_damage, refuse_no_file


@dataclass(frozen=True, order=True)
class HashedArray:
    """An array that is equal to any other of the same content, whether it was read from its file yet or not.

    Attributes:
        digest: SHA-256 of shape and content, 64 hexadecimal digits; in JSON it stands for the array.
    """

    digest: str
    _array: np.ndarray | None = field(default=None, compare=False, repr=False)

    @classmethod
    def hold(cls, array: Any) -> HashedArray:
        """This array, as float32.

        Raises:
            UsageError: a value is NaN or infinite.
        """
        kept_array = np.asarray(array, dtype=np.float32).copy(order="C")
        if not np.isfinite(kept_array).all():
            raise UsageError("an array of a plan holds NaN or infinity; all its values must be finite")
        kept_array.flags.writeable = False
        content = str(kept_array.shape).encode() + kept_array.tobytes()
        return cls(hashlib.sha256(content).hexdigest(), kept_array)

    @classmethod
    def name(cls, array: Any) -> HashedArray:
        """An array that is known by its digest alone; one that is held stays as it is.

        Raises:
            ValueError: this is neither.
        """
        if isinstance(array, cls):
            return array
        if isinstance(array, str) and re.fullmatch("[0-9a-f]{64}", array):
            return cls(array)
        raise ValueError(f"an array is known by the 64 hexadecimal digits of its SHA-256, got {array!r:.70}")

    @property
    def array(self) -> np.ndarray:
        """Its content, float32, read-only.

        Raises:
            UsageError: only its digest was read.
        """
        if self._array is None:
            raise UsageError(
                f"array {self.digest[:12]} of the plan is not here: it lies in the .safetensors file beside the plan's "
                ".json; read the plan from that file, with both in one folder"
            )
        return self._array

    @property
    def is_here(self) -> bool:
        """Whether its content is in memory."""
        return self._array is not None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from the array or its digest."""
        return core_schema.no_info_plain_validator_function(cls.name)


def write_arrays(path: Path, arrays: Iterable[HashedArray]) -> None:
    """Write arrays into one safetensors file, each under its digest, all at once or not at all."""
    with replace_atomically(path) as part:
        save_file({held.digest: held.array for held in arrays}, part)


def read_arrays(path: Path) -> dict[str, HashedArray]:
    """The arrays of a file by their digests.

    Raises:
        UsageError: there is no such file, it is damaged, or an array is not what its name says.
    """
    with explain_damage(path, UsageError, "take it from where it came"):
        if not path.exists():
            raise UsageError(f"{path} is missing, which holds the arrays of the plan beside it; copy both files")
        refuse_no_file(path)
        arrays = {name: HashedArray.hold(array) for name, array in load_file(path).items()}
        if wrong := [name for name, held in arrays.items() if held.digest != name]:
            raise UsageError(f"damaged: it holds something else as {wrong[0]:.12}; take it from where it came")
    return arrays
