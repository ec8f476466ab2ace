"""The process in which charts are drawn: the library that does is native code, and where it gets no memory its process ends."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import vl_convert

from tapioca.child import answer_jobs

SCALE = 3.0
"""Pixels of a PNG for each unit of length of the chart, so that it prints sharp."""


def main() -> None:
    """Answer jobs until there are no more."""
    answer_jobs(_draw)


def _draw(job: bytes) -> bytes:
    """Whether a chart could be drawn, and it as bytes or what was wrong."""
    kind, spec = json.loads(job)
    try:
        return pickle.dumps((True, DRAW[kind](spec)))
    except Exception as error:  # the library tells all faults of a chart apart by text alone
        return pickle.dumps((False, str(error)))


def _draw_svg(spec: Any) -> bytes:
    return vl_convert.vegalite_to_svg(spec).encode()


def _draw_png(spec: Any) -> bytes:
    return vl_convert.vegalite_to_png(spec, scale=SCALE)


DRAW: dict[str, Callable[[Any], bytes]] = {"svg": _draw_svg, "png": _draw_png, "pdf": vl_convert.vegalite_to_pdf}
