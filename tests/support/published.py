"""Rows of our own in the schemas of the hub's data sets, with the kinds of rows that the real ones have."""

from __future__ import annotations

from typing import Any

from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as Listed

WORDS = ["the cat", "a big dog", "one red mat", "it", "the rug"]
NUMERALS = ["1", "2", "3", "4"]

# Choices, their labels, the label of the right one, its index; None where the row cannot be used.
ARC: list[tuple[list[str], str, str, int | None]] = [
    (WORDS[:4], "ABCD", "A", 0),
    (WORDS[:4], "ABCD", "D", 3),
    (NUMERALS, "ABCD", "B", 1),
    (["4", "3", "2", "1"], "ABCD", "A", 0),
    (["0", "10", "100", "1000"], "ABCD", "C", 2),
    (WORDS[:4], "1234", "3", 2),
    (["2", "3", "4", "1"], "1234", "1", 0),
    (WORDS[:3], "ABC", "C", 2),
    (WORDS, "ABCDE", "E", 4),
    (["B", "A", "D", "C"], "ABCD", "A", 0),
    (["the cat", "it", "the cat", "a big dog"], "ABCD", "B", None),
    (["the cat", "", "it", "a big dog"], "ABCD", "A", None),
    (WORDS[:4], "ABCD", "", None),
]
MMLU: list[tuple[list[str], int, int | None]] = [
    (WORDS[:4], 0, 0),
    (WORDS[:4], 3, 3),
    (NUMERALS, 0, 0),
    (NUMERALS, 2, 2),
    (["0", "1", "2", "3"], 3, 3),
    (["3", "2", "1", "0"], 1, 1),
    (["D", "C", "B", "A"], 0, 0),
    (["True", "False", "it", "no"], 1, 1),
    (["-1", "0.5", "1", "2"], 2, 2),
    (["it was red", "it was big", "it ran", "it sat"], 2, 2),
    (["it", "a big dog", "it", "the cat"], 1, None),
    (["it", "a big dog", "", "the cat"], 1, None),
]
COMMONSENSE: list[tuple[list[str], str, int | None]] = [
    *[(WORDS, letter, index) for index, letter in enumerate("ABCDE")],
    (["1", "2", "3", "4", "5"], "A", 0),
    (["5", "4", "3", "2", "1"], "B", 1),
    (["one", "two", "three", "yes", "no"], "C", 2),
    (["E", "D", "C", "B", "A"], "A", 0),
    (["10", "20", "30", "40", "50"], "E", 4),
    (["it", "the cat", "it", "the dog", "a mat"], "B", None),
]
WINOGRANDE: list[tuple[str, str, str, int | None]] = [
    ("the cat", "the dog", "1", 0),
    ("the cat", "the dog", "2", 1),
    ("a mat", "the rug", "2", 1),
    ("1", "2", "2", 1),
    ("2", "1", "2", 1),
    ("2", "1", "1", 0),
    ("one", "two", "1", 0),
    ("it", "the red dog", "2", 1),
    ("the big cat", "the red cat", "1", 0),
    ("yes", "no", "2", 1),
    ("the cat", "the cat", "1", None),
    ("the cat", "the dog", "", None),
]
BOOLQ: list[bool | None] = [True, False, False, True, True, False, True, False, True, False, True, None]
BOOLEANS = ["True", "False", "False", "True", "True", "True", "False", "False", "True", "False", "True", ""]
TARGETS: list[tuple[float, str | None]] = [
    (18.0, "18.0"),
    (-9867630.0, "-9867630.0"),
    (12.5, "12.5"),
    (-0.75, "-0.75"),
    (0.0, "0.0"),
    (0.30000000000000004, "0.3"),
    (93237.60000000001, "93237.6"),
    (7054923.333333333, "7054923.333333"),
    (1.5e20, "1.5e+20"),
    (-2.5e17, "-2.5e+17"),
    (4700000000.0, "4700000000.0"),
    (float("nan"), None),
]
GSM8K: list[tuple[str, str | None]] = [
    ("two and two\n#### 4", "4"),
    ("so\n#### 1,234", "1,234"),
    ("less\n#### -5", "-5"),
    ("half\n#### 0.5", "0.5"),
    ("so <<2*9=18>>18\n#### 18", "18"),
    ("much\n#### 70000", "70000"),
    ("\n#### 3", "3"),
    ("one #### two\n#### 12", "12"),
    ("so\n####7", "7"),
    ("so\n####   10", "10"),
    ("so\n#### 0", "0"),
    ("", None),
]
MATHS: list[str] = [
    "\\frac{3}{4}",
    "\\text{Ada}",
    "\\$12,\\!500",
    "-2",
    "\\left( 3, \\frac{\\pi}{2} \\right)",
    "10\\%",
    "251_8",
    "1 \\pm \\sqrt{7}",
    "x \\in [-3,5]",
    "90^\\circ",
    "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    "p - q",
    "",
]


def ask(number: int) -> str:
    """A question, another one for each number."""
    return "which of them was it" + " , then" * (number % 7) + " and it" * (number // 7)


def arc_rows(copies: int = 1) -> list[dict[str, Any]]:
    """allenai/ai2_arc."""
    return [
        {"id": f"q{number}", "question": ask(number), "choices": {"text": texts, "label": list(labels)}, "answerKey": key}
        for number, (texts, labels, key, _) in enumerate(ARC * copies)
    ]  # fmt: skip


def commonsense_rows(answered: bool = True) -> list[dict[str, Any]]:
    """tau/commonsense_qa; the answers of its test split are not public."""
    return [
        {"id": f"q{number}", "question": ask(number), "question_concept": "cat",
         "choices": {"label": list("ABCDE"), "text": texts}, "answerKey": key if answered else ""}
        for number, (texts, key, _) in enumerate(COMMONSENSE)
    ]  # fmt: skip


def mmlu_rows() -> Dataset:
    """cais/mmlu, whose answers are classes named A to D."""
    classes = ClassLabel(names=list("ABCD"))
    return Dataset.from_list(
        [{"question": ask(number), "subject": ("college_biology", "high_school_physics")[number % 2], "choices": texts, "answer": answer}
         for number, (texts, answer, _) in enumerate(MMLU)],
        features=Features(question=Value("string"), subject=Value("string"), choices=Listed(Value("string")), answer=classes),
    )  # fmt: skip


def winogrande_rows(answered: bool = True) -> list[dict[str, Any]]:
    """allenai/winogrande; the answers of its test split are not public."""
    return [
        {"sentence": f"{ask(number)} . the cat ran on the dog and _ was big .", "option1": first, "option2": second,
         "answer": answer if answered else ""}
        for number, (first, second, answer, _) in enumerate(WINOGRANDE)
    ]  # fmt: skip


DATA: dict[str, dict[str, dict[str, Any]]] = {
    "allenai/ai2_arc": {
        name: {split: arc_rows(4) for split in ("train", "validation", "test")} for name in ("ARC-Easy", "ARC-Challenge")
    },
    "tau/commonsense_qa": {
        "default": {"train": commonsense_rows(), "validation": commonsense_rows(), "test": commonsense_rows(False)}
    },
    "cais/mmlu": {"all": {"test": mmlu_rows(), "validation": mmlu_rows(), "dev": mmlu_rows()}},
    "allenai/winogrande": {
        name: {"train": winogrande_rows(), "validation": winogrande_rows(), "test": winogrande_rows(False)}
        for name in ("winogrande_xl", "winogrande_debiased")
    },
    "google/boolq": {
        "default": {
            split: [{"question": ask(number), "answer": answer, "passage": "the dog was big ."} for number, answer in enumerate(BOOLQ)]
            for split in ("train", "validation")
        }
    },
    "lukaemon/bbh": {
        "boolean_expressions": {
            "test": [{"input": ask(number), "target": target} for number, target in enumerate(BOOLEANS)]
        }
    },
    "reasoning-machines/gsm-hard": {
        "default": {
            "train": [{"input": ask(number), "code": "x", "target": target} for number, (target, _) in enumerate(TARGETS)]
        }
    },
    "openai/gsm8k": {
        "main": {
            split: [{"question": ask(number), "answer": answer} for number, (answer, _) in enumerate(GSM8K)]
            for split in ("train", "test")
        }
    },
    "HuggingFaceH4/MATH-500": {
        "default": {
            "test": [
                {"problem": ask(number), "solution": "so", "answer": answer, "subject": "Algebra", "level": 1 + number % 5,
                 "unique_id": f"test/{number}"}
                for number, answer in enumerate(MATHS)
            ]
        }
    },
}  # fmt: skip
"""Rows by data set, configuration and split."""
