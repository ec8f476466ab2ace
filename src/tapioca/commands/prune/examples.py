"""What became of every held-out example under the plan shown: `examples.jsonl`, and the ones that changed most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapioca.disk import write_text
from tapioca.records import Example, ExampleResult, PlanAnswer, Scores
from tapioca.records.results import Domain
from tapioca.tasks.base import Task
from tapioca.tasks.regress import Regression

MOST_CHANGED = 10
"""Examples that a page shows of those that became better, and of those that became worse."""


def collect_example_results(task: Task, domain: Domain, scores: Scores, written: Scores | None) -> list[ExampleResult]:
    """The results of all examples of a task, in its order.

    Args:
        task: what was asked.
        domain: what its examples are.
        scores: of the full model and the plan, in this order; more plans may follow.
        written: the same where the model wrote texts; None where it did not.
    """
    numbers = isinstance(task, Regression)
    results = []
    for column, example in enumerate(task.examples):
        full, plan = (_answer_from_scores(example, scores, written, plan, column, numbers) for plan in (0, 1))
        gold, *also = example.gold_texts or (None,)
        fields: dict[str, Any] = {"id": example.id, "data": domain, "group": example.group, "gold": gold}
        fields["text"] = None if isinstance(example.prompt, np.ndarray) else example.text
        results.append(ExampleResult(**fields, full=full, plan=plan, **({"also": tuple(also)} if also else {})))
    return results


def _answer_from_scores(
    example: Example, scores: Scores, written: Scores | None, plan: int, column: int, numbers: bool
) -> PlanAnswer:
    """One example under one plan, by their numbers in the scores."""
    predicted = int((written or scores).predicted[plan, column])
    answer: dict[str, Any] = {
        "score": float(scores.values[plan, column]),
        "answer": example.choices[predicted] if 0 <= predicted < len(example.choices) else None,
        "log_likelihood": None if numbers else float(scores.log_likelihoods[plan, column]),
    }
    if written:
        answer |= {
            "unparsed": bool(written.unparsed[plan, column]),
            "truncated": bool(written.truncated[plan, column]),
            "length": int(written.lengths[plan, column]),
        }
    return PlanAnswer(**answer)


def select_most_changed(results: Sequence[ExampleResult]) -> tuple[ExampleResult, ...]:
    """Those with the largest changes for the better and for the worse, from better to worse."""
    changed = sorted((example for example in results if example.change != (0.0, 0.0)), key=lambda r: r.change)
    better = [example for example in changed if example.change > (0.0, 0.0)][-MOST_CHANGED:]
    worse = [example for example in changed if example.change < (0.0, 0.0)][:MOST_CHANGED]
    return tuple([*worse, *better][::-1])


def write_examples(folder: Path, results: Sequence[ExampleResult]) -> None:
    """Write `examples.jsonl`, one example a line; what does not apply to a task is left out."""
    lines = (f"{example.model_dump_json(exclude_unset=True)}\n" for example in results)
    write_text(folder / "examples.jsonl", "".join(lines))
