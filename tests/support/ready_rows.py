"""A row or two of each data set that is ready by name, as the hub has them."""

from __future__ import annotations

from typing import Any

LETTERS = {"text": ["the cat", "a big dog", "it", "one red mat"], "label": ["A", "B", "C", "D"]}
READY_ROWS: dict[str, list[dict[str, Any]]] = {
    "arc_easy": [{"id": "q1", "question": "the cat sat on", "choices": LETTERS, "answerKey": "C"}],
    "arc_challenge": [
        {
            "id": "q1",
            "question": "the cat sat on",
            "choices": {"text": ["it", "red", "big"], "label": ["1", "2", "3"]},
            "answerKey": "3",
        }
    ],
    "boolq": [
        {"question": "was it big", "passage": "the dog was big .", "answer": True},
        {"question": "was it red", "passage": "the dog was big .", "answer": False},
    ],
    "mmlu": [{"question": "the cat sat on", "subject": "college_biology", "choices": LETTERS["text"], "answer": 2}],
    "commonsense_qa": [
        {"id": "q1", "question": "the cat sat on", "question_concept": "cat", "choices": LETTERS, "answerKey": "B"}
    ],
    "winogrande": [
        {
            "sentence": "the cat sat on the dog and _ was big .",
            "option1": "the cat",
            "option2": "the dog",
            "answer": "2",
        }
    ],
    "bbh_boolean_expressions": [{"input": "yes and no", "target": "False"}, {"input": "yes and yes", "target": "True"}],
    "gsm8k_hard": [{"input": "one and two", "code": "x", "target": 12.5}],
    "math500": [
        {
            "problem": "one and two",
            "solution": "so",
            "answer": "\\frac{3}{4}",
            "subject": "Algebra",
            "level": 1,
            "unique_id": "a",
        }
    ],
}
