"""Pages say the numbers that records hold, and a number changed by hand is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.slow


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import held_numbers

    return held_numbers


@pytest.fixture
def parts(held: ModuleType) -> tuple[Any, ...]:
    from phrases import PARTS

    return PARTS


def test_every_number_is_held() -> None:
    done = subprocess.run([sys.executable, DOCS / "held_numbers.py"], capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("every number of 5 parts is held\n", "")
    assert done.returncode == 0


def test_any_digit_changed_by_hand_is_found(held: ModuleType, parts: tuple[Any, ...]) -> None:
    """Every seventh of all; but for those of code and names, and of a hundred one that makes another number of the records."""
    for part in (part for part in parts if part.whole):
        text = part.read()
        free = {place for match in held.NO_RESULT.finditer(text) for place in range(*match.span())}
        digits = [digit for digit in re.finditer(r"\d", text) if digit.start() not in free][::7]
        missed = []
        for digit in digits:
            changed = text[: digit.start()] + str((int(digit[0]) + 1) % 10) + text[digit.end() :]
            if not held.check_part(part, changed):
                missed.append(text[max(0, digit.start() - 30) : digit.end() + 10])
        assert len(digits) > 5
        assert len(missed) <= len(digits) / 100, missed


def test_it_says_what_is_not_held(held: ModuleType, parts: tuple[Any, ...]) -> None:
    part = next(part for part in parts if part.page == "README.md")
    text = part.read()
    assert held.check_part(part, text.replace("0.946 [0.898", "0.947 [0.898")) == [
        "README.md: no record has '0.947 [0.898, 0.989]'"
    ]
    wrong = held.check_part(part, text.replace("× 0.83 (a mixture", "× 0.82 (a mixture"))
    assert wrong[0] == "README.md: expected 'from × 0.83 (a mixture of prompts) to nothing'"
    assert wrong[1].startswith("README.md: no phrase holds '0.82' in '")
    assert "no phrase holds '77' in" in held.check_part(part, f"{text} In 77 of them.")[0]


def test_a_value_may_be_printed_as_a_ratio_in_per_cent_or_turned(held: ModuleType) -> None:
    names = ("results/claims/study.json",)
    (value, low, high) = held.tabulate_estimates(names[0])[0]
    for transform in held.TRANSFORMS:
        ends = sorted((transform(low), transform(high)))
        texts = tuple(f"{end:.4f}".replace("-", "−") for end in (transform(value), *ends))
        assert held.is_held(texts, names)
    assert not held.is_held(("17.123", "17.001", "18.022"), names)
