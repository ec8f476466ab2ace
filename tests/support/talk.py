"""A job that a test has done by workers, which must be able to import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tapioca.errors import DataError


@dataclass(frozen=True)
class Talk:
    """A job that prints, and then does what it is told."""

    then: str = "end"

    def __call__(self) -> Iterator[str]:
        print("a line of a worker", flush=True)
        yield "said"
        if self.then == "refuse":
            raise DataError("rows.jsonl:3: no answer")
        if self.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        yield "done"
