"""What selection explains of a log's gain: nearly all where no drop helps, nearly nothing where one helps much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tale_logs import EFFECTS, draw_null_gains, explain_gain, weigh_effects
from tale_searches import Log, read_logs, search_again

ROWS, LAYERS, BASELINE = 400, 24, 0.8


def make_log(true_gains: np.ndarray, seed: int) -> Log:
    """One round of a search whose plans truly gain so much, every accuracy measured on rows of its own."""
    accuracies = np.random.default_rng(seed).binomial(ROWS, BASELINE + true_gains) / ROWS
    return Log("made", ROWS, BASELINE, accuracies[None], finished=False)


def explain_many(true_gains: np.ndarray) -> tuple[float, float, list[float]]:
    """The mean reported and shrunk gains of twelve logs, and their p."""
    logs = [make_log(true_gains, seed) for seed in range(12)]
    answers = [explain_gain(log, 0.0, draws=20) for log in logs]
    reported, shrunk = np.mean([log.gain for log in logs]), np.mean([answer.shrunk for answer in answers])
    return float(reported), float(shrunk), [answer.p for answer in answers]


def test_where_no_drop_helps_selection_explains_nearly_all_of_the_gain() -> None:
    harmless = np.r_[np.zeros(LAYERS - 6), np.linspace(-0.7, -0.1, 6)]
    reported, shrunk, p = explain_many(harmless)
    assert reported > 0.03
    assert abs(shrunk) < 0.3 * reported
    assert min(p) > 0.05


def test_where_one_drop_helps_much_selection_explains_nearly_nothing() -> None:
    helpful = np.r_[0.15, np.zeros(LAYERS - 7), np.linspace(-0.7, -0.1, 6)]
    reported, shrunk, p = explain_many(helpful)
    assert reported == pytest.approx(0.15, abs=0.02)
    assert shrunk == pytest.approx(reported, rel=0.1)
    assert max(p) == pytest.approx(1 / 21)


def test_optimism_is_that_of_the_largest_of_many_errors_and_falls_with_their_correlation() -> None:
    """24 plans as good as the full model: 1.948 errors is the mean of the largest of 24."""
    log = Log("made", 10_000, BASELINE, np.full((1, LAYERS), BASELINE), finished=False)
    alone, together = (draw_null_gains(log, r, 400, np.random.default_rng(0)).mean() for r in (0.0, 0.75))
    assert alone == pytest.approx(1.948 * log.error, rel=0.06)
    assert together == pytest.approx(alone / 2, rel=0.06)


def test_effects_without_errors_are_those_measured() -> None:
    gains = np.array([-0.5, -0.01, 0.05])
    assert weigh_effects(gains, 1e-3) @ EFFECTS == pytest.approx(gains, abs=1e-3)


def test_published_searches_report_what_they_reported(shared: Path) -> None:
    logs = {log.name: log for log in read_logs(shared / "data" / "tale_traces" / "traces.csv")}
    assert len(logs) == 14
    assert not {"arc-challenge/slurm-57350", "arc-easy/slurm-55671", "winogrande/slurm-55724"} & logs.keys()
    assert [name for name, log in logs.items() if log.finished] == [
        "arc-challenge/slurm-57352",
        "arc-challenge/slurm-57353",
    ]
    for log in logs.values():
        assert max(0.0, search_again(log.accuracies, log.baseline)) == pytest.approx(log.gain)
    best = logs["arc-challenge/slurm-57352"]
    assert (best.best, best.gain) == ((7, 26), pytest.approx(0.8621 - 0.8414))
    assert logs["gsm8k/slurm-55389"].gain == 0.0
