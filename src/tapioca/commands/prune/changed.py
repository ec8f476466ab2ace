"""The held-out examples that changed most, as tables of a page."""

from collections.abc import Callable, Sequence

from tapioca.records import ExampleResult, Metric
from tapioca.report.format import shorten_text
from tapioca.report.tables import TableBlock, make_table

MAX_CELL_CHARACTERS = 300
"""Characters of a prompt or an answer that are shown."""

TEXTS = ("id", "prompt", "right", "answer")
"""Columns whose cells are texts of any length."""


def tabulate_changed(changed: Sequence[ExampleResult], metric: Metric) -> list[TableBlock]:
    """The examples that became better, the most changed first, and those that became worse; columns in which nothing
    stands are left out."""
    better = [example for example in changed if example.change > (0.0, 0.0)]
    worse = [example for example in reversed(changed) if example.change < (0.0, 0.0)]
    directions = {"Better": better, "Worse": worse}.items()
    return [_tabulate_examples(title, results, metric) for title, results in directions if results]


def _tabulate_examples(title: str, results: list[ExampleResult], metric: Metric) -> TableBlock:
    """One direction of change; the full model stands before the arrow, the plan behind it."""
    cells: dict[str, Callable[[ExampleResult], str]] = {
        "data": lambda example: example.data.upper(),
        "id": lambda example: shorten_text(example.id, MAX_CELL_CHARACTERS // 4),
        "prompt": lambda example: shorten_text(example.text or "", MAX_CELL_CHARACTERS),
        "right": lambda example: shorten_text(
            " or ".join(filter(None, (example.gold, *example.also))), MAX_CELL_CHARACTERS // 2
        ),
        "answer": lambda example: _format_arrow(example.full.answer, example.plan.answer),
        metric.name: lambda example: _format_arrow(
            metric.format(example.full.score), metric.format(example.plan.score)
        ),
        "log-likelihood of the right answer": lambda example: _format_arrow(
            *(
                None if log_likelihood is None else f"{log_likelihood:.3f}".replace("-", "−")
                for log_likelihood in (example.full.log_likelihood, example.plan.log_likelihood)
            )
        ),
    }
    return make_table(title, results, cells).without_empty()


def _format_arrow(full: str | None, plan: str | None) -> str:
    """Before → after; empty where neither is known."""
    if full is None and plan is None:
        return ""
    return " → ".join("–" if text is None else shorten_text(text, MAX_CELL_CHARACTERS // 2) for text in (full, plan))
