"""Requests drift as their dial says, follow from seed and id, and keep their intent."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from drifts import FILLERS, KINDS, NEIGHBOURS, Drift, drift_requests, parse_drift
from hypothesis import given
from hypothesis import strategies as st
from speech import CONFUSIONS, mishearings, spell_out

from tapioca.errors import UsageError

SENTENCE = "Please move $100 from my checking, to Sam's savings account before 9:00!"
STRONG = {name: 1.0 if kind.dial == "share" else 4.0 for name, kind in KINDS.items()}
texts = st.text(alphabet="abcz AQ'.,!19é\t", max_size=40)


def drift_many(kind: str, strength: float, text: str = SENTENCE, count: int = 300) -> list[str]:
    """One text, drifted as requests of many ids."""
    return [Drift(kind, strength).apply(text, f"id-{number}", 0) for number in range(count)]


@given(texts, st.sampled_from(sorted(KINDS)), st.integers(0, 9))
def test_strength_0_changes_nothing(text: str, kind: str, seed: int) -> None:
    assert Drift(kind, 0.0).apply(text, "id", seed) == text


@given(texts, st.sampled_from(sorted(KINDS)), st.floats(0, 1), st.integers(0, 9))
def test_a_drift_follows_from_seed_and_id_and_leaves_something(
    text: str, kind: str, strength: float, seed: int
) -> None:
    drift = Drift(kind, strength)
    drifted = drift.apply(text, "id", seed)
    assert drift.apply(text, "id", seed) == drifted
    assert bool(drifted.strip()) == bool(text.strip())


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"punctuation", "truncation"}))
def test_other_ids_and_other_seeds_drift_otherwise(kind: str) -> None:
    half = Drift(kind, STRONG[kind] / 2)
    assert len(set(drift_many(kind, STRONG[kind] / 2))) > 5
    assert len({half.apply(SENTENCE, "id", seed) for seed in range(50)}) > 5


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_stronger_drift_changes_more(kind: str) -> None:
    changed = [
        np.mean([text != SENTENCE for text in drift_many(kind, share * STRONG[kind])]) for share in (0, 0.02, 0.1, 1)
    ]
    assert changed[0] == 0
    assert changed == sorted(changed)
    assert changed[-1] > 0.95


def test_letters_are_mistyped_at_the_rate_of_the_dial() -> None:
    letters = "e " * 20_000
    words = Drift("typing", 0.2).apply(letters, "id", 0).split(" ")
    counts = Counter(words)
    assert counts["e"] / 20_000 == pytest.approx(0.8, abs=0.01)
    assert counts["ee"] / 20_000 == pytest.approx(0.05, abs=0.006)
    assert counts[""] / 20_000 == pytest.approx(0.05, abs=0.006)  # left out
    assert set(counts) == {"e", "ee", "", *NEIGHBOURS["e"]}  # alone, a letter has none to be swapped with
    assert {letter: NEIGHBOURS[letter] for letter in "eqgm"} == {"e": "wrsd", "q": "wa", "g": "fhtyvb", "m": "njk"}


def test_letters_are_swapped_and_marks_and_digits_stay() -> None:
    typed = drift_many("typing", 0.05, "ab 12, $%")
    assert "ba 12, $%" in typed
    assert all(text.endswith(" 12, $%") for text in typed)
    assert {"Qb", "Wb", "Sb", "Zb"} < set(drift_many("typing", 0.5, "Ab"))


def test_every_mark_and_capital_goes_at_the_rate_of_the_dial() -> None:
    assert Drift("punctuation", 1.0).apply(SENTENCE, "id", 0) == (
        "please move 100 from my checking to sams savings account before 900"
    )
    left = Drift("punctuation", 0.3).apply("A," * 10_000, "id", 0)
    assert left.count(",") == pytest.approx(7000, abs=150)
    assert left.count("A") == pytest.approx(7000, abs=150)
    assert left.lower().count("a") == 10_000


def test_fillers_stand_before_words_that_all_stay() -> None:
    text = Drift("fillers", 0.25).apply("word " * 4000, "id", 0)
    assert text.split().count("word") == 4000
    spoken = [part.strip() for part in text.split("word") if part.strip()]
    assert set(spoken) == set(FILLERS)
    assert len(spoken) == pytest.approx(1000, abs=90)


@pytest.mark.parametrize(("strength", "left"), [(0.5, {2, 3}), (0.2, {4}), (0.9, {1}), (1.0, {1})])
def test_a_share_of_the_words_is_cut_off_at_the_end(strength: float, left: set[int]) -> None:
    cut = drift_many("truncation", strength, "a b c d e")
    assert {len(text.split()) for text in cut} == left
    assert all("a b c d e".startswith(text) for text in cut)
    if len(left) == 2:
        assert np.mean([len(text.split()) for text in cut]) == pytest.approx(2.5, abs=0.1)


def test_words_are_lost_at_the_rate_of_the_dial_and_one_stays() -> None:
    numbers = [str(number) for number in range(5000)]
    kept = Drift("words", 0.4).apply(" ".join(numbers), "id", 0).split()
    assert len(kept) == pytest.approx(3000, abs=120)
    assert kept == sorted(kept, key=int)
    less = Drift("words", 0.6).apply(" ".join(numbers), "id", 0).split()
    assert set(less) < set(kept)  # a stronger drift adds losses to those of a weaker one
    assert {len(text.split()) for text in drift_many("words", 1.0)} == {1}


@pytest.mark.parametrize("places", [1, 3])
def test_words_change_places_with_near_ones_alone(places: int) -> None:
    before = list(range(3000))
    after = [int(word) for word in Drift("order", places).apply(" ".join(map(str, before)), "id", 0).split()]
    assert sorted(after) == before
    moved = [abs(place - number) for place, number in enumerate(after)]
    assert 0 < max(moved) <= places
    swapped = [(first, second) for first, second in pairwise(after) if first > second]
    assert all(first - second <= places for first, second in swapped)


def test_what_may_be_heard() -> None:
    assert list(mishearings("to", "night")) == ["two", "too", "", "tonight", "do"]
    assert list(mishearings("401k,", "now")) == ["four zero one k,"]
    assert set(CONFUSIONS["today"]) == {"to day"}
    assert "reser vation" in set(mishearings("reservation", ""))
    assert "foto" in set(mishearings("photo", ""))
    assert [spell_out(digits) for digits in ("0", "7", "13", "40", "86", "007", "401")] == [
        "zero",
        "seven",
        "thirteen",
        "forty",
        "eighty six",
        "zero zero seven",
        "four zero one",
    ]


def test_words_are_misheard_at_the_rate_of_the_dial() -> None:
    heard = Drift("speech", 0.3).apply("7 " * 5000, "id", 0).split()
    assert heard.count("seven") == pytest.approx(1500, abs=100)
    assert len(heard) == 5000


def requests(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"id": f"r{number}", "text": text, "intent": intent} for number, (text, intent) in enumerate(rows)]
    )


def test_drifted_requests_keep_id_label_and_group() -> None:
    rows = requests((SENTENCE, "transfer"), ("what's the time", "time"), ("roll a die", "roll_dice"))
    drifted = drift_requests(rows, [Drift("typing", 0.3), Drift("fillers", 0.5)], 1)
    assert drifted["label"].tolist() == ["transfer", "time", "roll_dice"]
    assert drifted["id"].tolist() == drifted["group"].tolist() == ["r0", "r1", "r2"]
    assert (drifted["text"] != rows["text"]).all()
    alone = drift_requests(rows[1:], [Drift("typing", 0.3), Drift("fillers", 0.5)], 1)
    assert alone["text"].tolist() == drifted["text"].tolist()[1:]  # whatever stands beside it
    assert rows.columns.tolist() == ["id", "text", "intent"]


def test_no_two_rows_say_the_same() -> None:
    rows = requests(
        ("set an alarm", "alarm"),
        ("Set an  alarm", "alarm"),  # the same to a reader without case
        ("set an alarm", "reminder"),  # of another intent: another question, in the same group
        ("set an alarm now", "alarm"),
        ("set a timer", "timer"),
    )
    plain = drift_requests(rows, [], 0)
    assert plain["id"].tolist() == ["r0", "r2", "r3", "r4"]
    assert plain["group"].tolist() == ["r0", "r2", "r3", "r4"]
    cut = drift_requests(rows, [Drift("truncation", 0.25)], 0)
    assert "r3" not in cut["id"].tolist()  # now "set an alarm"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typo=0.2", "no drift 'typo'; did you mean 'typing'? known: fillers, order, punctuation, speech, truncation"),
        ("typing", "drift 'typing': expected typing=STRENGTH with a share from 0 to 1"),
        ("typing=1.5", "drift 'typing=1.5': expected typing=STRENGTH with a share from 0 to 1"),
        ("words=-0.1", "drift 'words=-0.1': expected words=STRENGTH with a share"),
        ("order=nan", "drift 'order=nan': expected order=STRENGTH with a number of places from 0"),
        ("speech=", "drift 'speech=': expected speech=STRENGTH with a share"),
    ],
)
def test_a_drift_that_does_not_exist_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_drift(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_drift_as_it_is_written() -> None:
    assert parse_drift("order=3") == Drift("order", 3.0)
    assert parse_drift("typing=.2") == Drift("typing", 0.2)
