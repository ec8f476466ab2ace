"""What lm-eval's own descriptions of tasks say, as tests write them."""

from __future__ import annotations

from typing import Any

CHOOSES: dict[str, Any] = {
    "output_type": "multiple_choice",
    "dataset_path": "json",
    "validation_split": "validation",
    "doc_to_text": "the {{question}} :",
    "doc_to_target": "{{gold}}",
    "doc_to_choice": ["the cat", "a dog"],
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
"""Of a task with two choices; lacks its name and where its rows lie."""
