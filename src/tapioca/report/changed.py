"""The held-out examples that changed most, as tables of a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tapioca.records import ExampleResult, Metric, RunInfo
from tapioca.report.words import shorten

LONG = 300
"""Characters of a prompt or an answer that are shown."""

TEXTS = ("id", "prompt", "right", "answer")
"""Columns whose cells are texts of any length."""


class Table(NamedTuple):
    """A table: what its rows are, the heads of its columns, and the text of its cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def changed_tables(info: RunInfo) -> list[Table]:
    """The examples that became better, the most changed first, and those that became worse; columns in which nothing
    stands are left out."""
    better = [result for result in info.changed if result.change > (0.0, 0.0)]
    worse = [result for result in reversed(info.changed) if result.change < (0.0, 0.0)]
    return [_table(title, results, info.metric) for title, results in (("Better", better), ("Worse", worse)) if results]


def _table(title: str, results: list[ExampleResult], metric: Metric) -> Table:
    """One direction of change; the full model stands before the arrow, the plan behind it."""
    cells: dict[str, Callable[[ExampleResult], str]] = {
        "data": lambda result: result.data.upper(),
        "id": lambda result: shorten(result.id, LONG // 4),
        "prompt": lambda result: shorten(result.text or "", LONG),
        "right": lambda result: shorten(" or ".join(filter(None, (result.gold, *result.also))), LONG // 2),
        "answer": lambda result: _arrow(result.full.answer, result.plan.answer),
        metric.name: lambda result: _arrow(metric.format(result.full.score), metric.format(result.plan.score)),
        "log-likelihood of the right answer": lambda result: _arrow(
            *(
                None if value is None else f"{value:.3f}".replace("-", "−")
                for value in (result.full.log_likelihood, result.plan.log_likelihood)
            )
        ),
    }
    columns = {name: tuple(map(cell, results)) for name, cell in cells.items()}
    shown = {name: column for name, column in columns.items() if any(column)}
    return Table(title, tuple(shown), tuple(zip(*shown.values(), strict=True)))


def _arrow(full: str | None, plan: str | None) -> str:
    """Before → after; empty where neither is known."""
    if full is None and plan is None:
        return ""
    return " → ".join("–" if text is None else shorten(text, LONG // 2) for text in (full, plan))
