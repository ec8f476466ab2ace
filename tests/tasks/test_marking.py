"""Which texts give an answer: tables of what must be equal, and of what must not."""

from __future__ import annotations

import re
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapioca.errors import DataError
from tapioca.tasks.marking import Marking, parse_number

NUMBERS = [
    ("18", "She makes $18 every day."),
    ("18", "9*2=18"),
    ("18", "so x = 18.00"),
    ("18", "**18**"),
    ("18", r"\boxed{18}"),
    ("18", r"The answer is $\boxed{18}$."),
    ("18", r"it costs \$18!"),
    ("1234.5", "about 1,234.50 euros"),
    ("$1,200", "1200"),
    ("-5", "it is -5 degrees"),
    ("-5", "a loss of -$5"),
    (".5", "0.5"),
    ("50%", "50 %"),
    ("7", "1, 2, 3 and then 7"),
    ("0", "-0"),
    ("1.5e+20", "150,000,000,000,000,000,000"),
    ("-2.5e17", "-2.5E+17."),
    ("0.3", "3e-1"),
]
NOT_NUMBERS = [
    ("4", r"\frac{3}{4}"),
    ("4", r"I had 4, so \frac{3}{4}"),
    ("4", r"\frac {3} {4}"),
    ("4", r"\frac 3 4"),
    ("4", "3/4"),
    ("4", "3 / 4"),
    ("2", r"\boxed{\frac{1}{2}}"),
    ("5", r"2\sqrt{5}"),
    ("5", "5x"),
    ("18", "x<=18"),
    ("18", "17"),
    ("18", "118"),
    ("18", "1.18"),
    ("18", ""),
    ("18", "eighteen"),
    ("123", "1.2.3"),
    ("3", "12,3"),
    ("5", "e5"),
    ("2", "2e"),
]


@pytest.mark.parametrize(("gold", "text"), NUMBERS)
def test_numbers(gold: str, text: str) -> None:
    assert Marking("number").is_right(text, gold)


@pytest.mark.parametrize(("gold", "text"), NOT_NUMBERS)
def test_what_is_not_that_number(gold: str, text: str) -> None:
    assert not Marking("number").is_right(text, gold)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_a_number_is_itself_however_it_is_written(value: Decimal) -> None:
    for written in (f"{value:f}", f"{value:,f}", f"so it is ${value:,f}.", f"x={value:f}"):
        assert Marking("number").is_right(written, str(value))
        assert not Marking("number").is_right(written, str(value + 1))


@given(st.text(max_size=30))
def test_any_text_can_be_marked(text: str) -> None:
    assert Marking().is_right(text, "18") is (text.strip() == "18")
    letters = [letter for letter in text if letter in "ABCD"]
    assert Marking(extract="[A-D]", take="first").is_right(text, "B") is (letters[:1] == ["B"])
    assert Marking(extract="[A-D]").is_right(text, "B") is (letters[-1:] == ["B"])
    assert not Marking("number").is_right(text + " 3/4", "18")
    assert Marking("number").is_right("18 " + re.sub(r"\d", "", text), "18")
    number = parse_number(text)
    assert number is None or number.is_finite()


@pytest.mark.parametrize(
    ("marking", "gold", "text", "right"),
    [
        (Marking(), "B", " B\n", True),
        (Marking(), "B", "Because", False),
        (Marking(), "B", "b", False),
        (Marking(ignore_case=True), "B", "b", True),
        (Marking(), "the cat", "the cat sat", False),
        (Marking(extract=r"\b[A-D]\b"), "B", "Because", False),
        (Marking(extract=r"\b[A-D]\b"), "B", "Answer: B", True),
        (Marking(extract=r"\b[A-D]\b"), "A", "Answer: B", False),
        (Marking(extract=r"\b[A-D]\b"), "B", "I think A is wrong, B", True),
        (Marking(extract=r"\b[A-D]\b", take="first"), "B", "I think A is wrong, B", False),
        (Marking(extract=r"\b[A-D]\b"), "D", "Do", False),
        (Marking(extract=r"#### (.*)"), "18", "9 * 2\n#### 18", True),
        (Marking(extract=r"#### (.*)"), "18", "18", False),
        (Marking(extract=r"(x)?y"), "x", "y", False),
        (Marking("number", extract=r"#### (.*)"), "1200", "so 5\n#### $1,200.00\n6", True),
        (Marking("number", take="first"), "5", "5 and 6", True),
        (Marking("number"), "5", "5 and 6", False),
    ],
)
def test_texts(marking: Marking, gold: str, text: str, right: bool) -> None:
    assert marking.is_right(text, gold) is right


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        (r"\frac{3}{4}", "The answer is $4$", False),
        ("4", r"$\frac{3}{4}$", False),
        (r"\frac{1}{2}", r"\boxed{2}", False),
        ("2", r"\boxed{\frac{1}{2}}", False),
        (r"2\sqrt{5}", "5", False),
        ("5", r"$2\sqrt{5}$", False),
        ("3", "banana", False),
        ("2", "", False),
        (r"\frac{3}{4}", r"so $\frac{6}{8}$.", True),
        (r"\frac{1}{2}", r"\boxed{0.5}", True),
        (r"2\sqrt{5}", r"$\sqrt{20}$", True),
        ("x^2+1", "$1+x^2$", True),
        ("1,234", "1234", True),
        (r"\$12,\!500", r"\boxed{12500}", True),
        (r"\$18.90", r"it costs $18.9$", True),
        (r"\$36", r"\boxed{35}", False),
        (r"$\frac{1}{2}$", r"\boxed{0.5}", True),
        (r"\boxed{7}", "$7$", True),
    ],
)
def test_mathematics(gold: str, text: str, right: bool) -> None:
    pytest.importorskip("math_verify")
    marking = Marking("math")
    marking.check(gold, "f:1")
    assert marking.is_right(text, gold) is right


def test_without_math_verify_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(DataError, match=r"match: math needs math-verify; install it with: pip install"):
        Marking("math").check("2", "f:1")


@pytest.mark.parametrize(
    ("match", "gold", "message"),
    [
        ("text", "  ", "f:1: the answer is empty"),
        ("number", r"\frac{3}{4}", r"is no number; use match: text or match: math"),
        ("number", "18 apples", "is no number"),
    ],
)
def test_golds_that_no_text_could_give(match: str, gold: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Marking(match).check(gold, "f:1")  # type: ignore[arg-type]
