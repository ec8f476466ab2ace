"""Flipped bits are noticed, or change nothing; `flips.py` prints the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from reliability.flips import OUTCOMES, count_outcomes, make_cases, make_run


def test_a_flipped_bit_of_a_store_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    counts, faults = count_outcomes(make_cases(tmp_path), flips=20, seed=1)
    assert faults == []
    assert {name for counted in counts.values() for name in counted} <= set(OUTCOMES)
    assert sum(counted.total() for counted in counts.values()) == 20


@pytest.mark.slow
@pytest.mark.parametrize("is_command", [False, True])
def test_many_flipped_bits(is_command: bool, tmp_path: Path) -> None:
    cases = make_run(tmp_path / "run", is_command)
    cases += [] if is_command else make_cases(tmp_path)
    _, faults = count_outcomes(cases, flips=25 if is_command else 1000, seed=2)
    assert faults == []
