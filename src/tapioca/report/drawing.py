"""Charts as pictures, without a browser or a network: drawn by a child process, whose end takes nothing along."""

import json
import pickle
from functools import lru_cache
from typing import Any, Literal

from tapioca.child import Child, ChildEnded
from tapioca.errors import TapiocaError
from tapioca.report.figures import apply_common_style

Format = Literal["svg", "png", "pdf"]
CHILD = Child("tapioca.report.draw_worker")


class NotDrawnError(TapiocaError):
    """The process that draws charts ended."""


def draw(chart: Any, kind: Format) -> bytes:
    """An altair chart as a picture.

    Raises:
        NotDrawnError: the process that draws ended, as it does under any limit of address space.
    """
    spec = apply_common_style(chart).to_dict(validate=False)  # whoever draws it sees what is wrong
    try:
        is_drawn, content = _exchange(json.dumps([kind, spec]))
    except ChildEnded as error:
        raise NotDrawnError(
            f"the process that draws charts ended ({error.end}), as it does under `ulimit -v`; "
            "without such a limit `tapioca report RUN` draws them"
        ) from error
    if not is_drawn:
        raise ValueError(f"a chart cannot be drawn: {content}")
    picture: bytes = content
    return picture


@lru_cache(maxsize=32)
def _exchange(job: str) -> tuple[bool, Any]:
    """What the process that draws makes of a job; the charts of a run that is asked for again are at hand."""
    answer: tuple[bool, Any] = pickle.loads(CHILD.exchange(job.encode()))
    return answer
