"""Hold what pages say was found against the records it was found in.

    python docs/held_numbers.py    # prints every number that no record holds; the exit status is then 1

In the parts of pages that are held, a number with its interval must be one of a record's, both ends with it, as rounded there: as
it is, in per cent, with the sign turned, or as exp(−x), a ratio of errors. A number without an interval must stand in a phrase
that `docs/phrases.py` makes of the records, and any other in one that it lists as no result: of the design, or of no record.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies"
NUMBER = r"[+−]?\d[\d,]*(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER})(?: %| points)? \[({NUMBER})(?: %)?, ({NUMBER})(?: %)?\]")
NO_RESULT = re.compile(r"\b[CQ]\d\b|95 %|`[^`]*`|\]\([^)]*\)|\b(?:above|below|at|to|from|brings|includes) 0(?![\d.]\d)")
"""Names of claims and questions, the level of intervals, code, where links lead, and that something is on one side of 0."""
Estimate = tuple[float, float, float]
TRANSFORMS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.positive,
    lambda values: 100 * values,
    np.negative,
    lambda values: np.exp(-values),
)


@dataclass(frozen=True)
class Part:
    """A part of a page whose numbers are held.

    Attributes:
        page: its path in the repository.
        heading: that the part begins with, and goes on to the next of its level.
        records: JSON files in `studies`.
        phrases: what the page says of numbers without an interval, made of the records, in their order.
        no_results: phrases whose numbers are none of these records'.
        whole: whether all other numbers are held too, or the phrases and intervals alone.
    """

    page: str
    heading: str
    records: tuple[str, ...]
    phrases: Callable[..., Iterator[str]]
    no_results: tuple[str, ...] = ()
    whole: bool = True

    def read(self) -> str:
        """The part as one line, without marks of emphasis."""
        text = (ROOT / self.page).read_text(encoding="utf-8")
        level = self.heading.split(" ")[0]
        begin = text.index(f"{self.heading}\n")
        end = text.find(f"\n{level} ", begin + 1)
        return " ".join(text[begin : end if end > 0 else None].replace("**", "").split())


@cache
def read_record(name: str) -> Any:
    """One record as its JSON has it."""
    return json.loads((STUDIES / name).read_text(encoding="utf-8"))


def list_estimates(content: Any) -> Iterator[Estimate]:
    """Every value with its interval that a record holds."""
    if isinstance(content, dict):
        if isinstance(content.get("value"), float) and "ci95" in content:
            yield (content["value"], *content["ci95"])
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from list_estimates(part)


@cache
def tabulate_estimates(name: str) -> np.ndarray:
    """Every value of a record as pages may print it, with the ends of its interval, (number, value and ends)."""
    estimates = np.array(list(list_estimates(read_record(name)))).reshape(-1, 3)
    return np.concatenate(
        [np.c_[values[:, :1], np.sort(values[:, 1:])] for values in (transform(estimates) for transform in TRANSFORMS)]
    )


def is_held(texts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether a printed value and the ends of its interval are those of one estimate, each rounded as it is printed."""
    printed = np.array([float(text.replace("−", "-").replace(",", "")) for text in texts])
    rounding = np.array([0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9 for text in texts])
    return any((np.abs(tabulate_estimates(name) - printed) <= rounding).all(axis=1).any() for name in names)


def check_part(part: Part, text: str | None = None) -> list[str]:
    """What is wrong with a part, a line each; with another text than the page's where one is given."""
    records = [read_record(name) for name in part.records]
    text = part.read() if text is None else text
    wrong = []
    for phrase in part.no_results:
        text = text.replace(phrase, "…")
    for phrase in part.phrases(*records):
        if phrase not in text:
            wrong.append(f"{part.page}: expected '{phrase}'")
        text = text.replace(phrase, "…", 1)
    for match in INTERVAL.finditer(text):
        if not is_held(match.groups(), part.records):
            wrong.append(f"{part.page}: no record has '{match[0]}'")
    rest = NO_RESULT.sub("", INTERVAL.sub("…", text))
    for match in re.finditer(r"\S*\d\S*", rest if part.whole else ""):
        around = rest[max(0, match.start() - 40) : match.end() + 30]
        wrong.append(f"{part.page}: no phrase holds '{match[0]}' in '{around}'")
    return wrong


def main() -> None:
    """Check all parts."""
    from phrases import PARTS

    wrong = [line for part in PARTS for line in check_part(part)]
    print("\n".join(wrong) or f"every number of {len(PARTS)} parts is held")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
