"""How much of the gains in TALE's published logs does selection explain?

TALE (arXiv 2510.22767) picks the best of many plans and reports its accuracy on the rows that it was picked on. Its public logs
print the accuracy of every plan a search tried, so what picking the largest of noisy numbers adds can be worked out twice:

- *No drop helps*: true accuracies are those logged, but none above the full model's; the search runs again and again on such
  accuracies with errors added, by TALE's own rules. What it then reports is optimism alone.
- *Shrunk*: what the plans of the picked plan's round truly do is estimated from all of them together (their distribution of
  effects of maximum likelihood), and so what the picked one truly does. Where no drop helps at all, this still takes about a fifth
  of the gain for true: it errs on the side of TALE.

All plans answer the same rows, so their errors are correlated, which no log says: plans that agree on most rows differ by less
than their standard errors suggest. So the correlation is assumed, and the answer told for several.

    python studies/tale_logs.py --out studies/results/tale_logs.json

Logs are `../shared/data/tale_traces/traces.csv` unless `--traces` says otherwise.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.stats import norm
from tale_searches import EPSILON, TRACES, Log, read_logs, search_again

from tapioca.disk import write_json
from tapioca.report.tables import TableBlock, print_block

CORRELATIONS = (0.0, 0.5, 0.8)
DRAWS = 1000
EFFECTS = np.linspace(-1.0, 0.4, 561)
"""Where the distribution of true effects may have mass."""
STEPS = 50
"""Of expectation and maximisation; more make the distribution lumpier than some thirty plans warrant, and miss true effects by more."""


@dataclass(frozen=True)
class Answer:
    """What selection explains of one log's gain, where errors of plans have one correlation; gains in shares of the rows.

    Attributes:
        correlation: of the errors of two plans, row by row.
        differing: the share of rows that full model and an equally good plan then answer differently.
        optimism: the mean gain reported where no drop helps.
        optimism_high: the gain that 5 % of such searches exceed.
        p: how many of such searches report the log's gain or more, itself counted.
        shrunk: the expected true gain of BEST, and its 95 % interval.
        share: of the reported gain what is not expected to be true, and its 95 % interval; None where none was reported.
    """

    correlation: float
    differing: float
    optimism: float
    optimism_high: float
    p: float
    shrunk: float
    shrunk_ci95: tuple[float, float]
    share: float | None
    share_ci95: tuple[float, float] | None


def draw_null_gains(log: Log, correlation: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Gains that searches report where no drop's true accuracy is above the full model's, (draw,).

    What a layer does that the log had dropped before is what it did when it was dropped.
    """
    truth = np.minimum(pd.DataFrame(log.accuracies).ffill().to_numpy(), log.baseline)
    gains = []
    for _ in range(draws):
        shared, full = rng.normal(size=2)
        error = _mix(shared, rng.normal(size=truth.shape), correlation)
        measured = _round_to_rows(truth + error * np.sqrt(truth * (1 - truth) / log.rows), log.rows)
        baseline = _round_to_rows(np.array(log.baseline + _mix(shared, full, correlation) * log.error), log.rows)
        gains.append(search_again(measured, float(baseline)))
    return np.array(gains)


def _mix(shared: Any, own: Any, correlation: float) -> Any:
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own


def _round_to_rows(accuracies: np.ndarray, rows: int) -> np.ndarray:
    """To whole right answers, so that plans tie as often as they do in a log."""
    return np.clip(np.round(accuracies * rows) / rows, 0, 1)


def weigh_effects(gains: np.ndarray, error: float) -> np.ndarray:
    """How likely each of `EFFECTS` is for every plan, (plan, effect), their distribution being the likeliest for all plans."""
    likelihood = norm.pdf(gains[:, None], EFFECTS, error) + np.finfo(float).tiny
    weights = np.full(len(EFFECTS), 1 / len(EFFECTS))
    for _ in range(STEPS):
        posterior = likelihood * weights
        posterior /= posterior.sum(axis=1, keepdims=True)
        weights = posterior.mean(axis=0)
    return posterior


def draw_true_gains(log: Log, correlation: float, draws: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """The expected true gain of BEST over the full model as measured, and draws of it in which the round's other plans are
    drawn anew, (draw,)."""
    round_index, layer = log.best
    gains = log.accuracies[round_index] - log.baseline
    best, others = gains[layer], np.delete(gains, layer)
    others = others[~np.isnan(others)]
    error = log.error * np.sqrt(1 - correlation)
    values = []
    for _ in range(draws):
        again = np.append(rng.choice(others, len(others)), best)
        values.append(rng.choice(EFFECTS, p=weigh_effects(again, error)[-1]))
    return float(weigh_effects(np.append(others, best), error)[-1] @ EFFECTS), np.array(values)


def explain_gain(log: Log, correlation: float, draws: int, seed: int = 0) -> Answer:
    """Both answers for one log and one correlation."""
    rng = np.random.default_rng(seed)
    null_gains = draw_null_gains(log, correlation, draws, rng)
    shrunk, values = draw_true_gains(log, correlation, draws // 5, rng)
    of_baseline = rng.normal(0, log.error * np.sqrt(1 - correlation), len(values))
    low, high = np.quantile(values + of_baseline, (0.025, 0.975))
    share_low, share_high = 1 - np.quantile(values, (0.975, 0.025)) / (log.gain or np.nan)
    return Answer(
        correlation=correlation,
        differing=2 * log.baseline * (1 - log.baseline) * (1 - correlation),
        optimism=float(null_gains.mean()),
        optimism_high=float(np.quantile(null_gains, 0.95)),
        p=float((1 + (null_gains >= log.gain - 1e-9).sum()) / (1 + draws)),
        shrunk=shrunk,
        shrunk_ci95=(float(low), float(high)),
        share=1 - shrunk / log.gain if log.gain else None,
        share_ci95=(float(share_low), float(share_high)) if log.gain else None,
    )


def summarise_answers(logs: list[Log], answers: list[Answer]) -> dict[str, Any]:
    """What selection explains of all reported gains at one correlation; logs that report none are left out."""
    pairs = [(log, answer) for log, answer in zip(logs, answers, strict=True) if answer.share is not None]
    reported = sum(log.gain for log, _ in pairs)
    return {
        "correlation": answers[0].correlation,
        "logs": len(pairs),
        "median_share": median(answer.share for _, answer in pairs if answer.share is not None),
        "share_of_sum": 1 - sum(answer.shrunk for _, answer in pairs) / reported,
        "optimism_of_sum": sum(answer.optimism for _, answer in pairs) / reported,
        "beyond_chance": sum(answer.p <= 0.05 / len(pairs) for _, answer in pairs),
    }


def describe_log(log: Log, answers: list[Answer]) -> dict[str, Any]:
    """A log as it is written."""
    round_index, _ = log.best
    return {
        "log": log.name,
        "rows": log.rows,
        "layers": log.accuracies.shape[1],
        "baseline": log.baseline,
        "rounds": len(log.accuracies),
        "finished": log.finished,
        "best_drops": round_index + 1 if log.gain else 0,
        "gain": log.gain,
        "answers": [asdict(answer) for answer in answers],
    }


def write_percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %".replace("-", "−")


def write_points(gain: float) -> str:
    return f"{100 * gain:+.1f}".replace("-", "−")


def tabulate_written(written: dict[str, Any]) -> TableBlock:
    """A row for every log: what it reports, and for every correlation what of it is optimism and what expected to be true."""
    head = ["log", "rows", "full model", "whole rounds", "reported gain"]
    for correlation in written["correlations"]:
        head += [f"{correlation:g}: where no drop helps, p", f"{correlation:g}: share [95 %]"]
    rows = []
    for log in written["logs"]:
        ended = "" if log["finished"] else ", cut"
        cells = [log["log"], str(log["rows"]), f"{100 * log['baseline']:.1f} %", f"{log['rounds']}{ended}"]
        cells.append(f"{write_points(log['gain'])} ({log['best_drops']})")
        for answer in log["answers"]:
            bounds = answer["share_ci95"]
            interval = f" [{write_percent(bounds[0])}, {write_percent(bounds[1])}]" if bounds else ""
            cells += [
                f"{write_points(answer['optimism'])}, {answer['p']:.3f}",
                write_percent(answer["share"]) + interval,
            ]
        rows.append(tuple(cells))
    return TableBlock("", tuple(head), tuple(rows))


def main() -> None:
    """Explain every log at every correlation, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--traces", type=Path, default=TRACES)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logs = read_logs(arguments.traces)
    answers = [[explain_gain(log, correlation, arguments.draws) for correlation in CORRELATIONS] for log in logs]
    written = {
        "epsilon": EPSILON,
        "draws": arguments.draws,
        "correlations": CORRELATIONS,
        "logs": [describe_log(*pair) for pair in zip(logs, answers, strict=True)],
        "all": [summarise_answers(logs, list(column)) for column in zip(*answers, strict=True)],
    }
    print_block(Console(width=240), tabulate_written(written))
    for row in written["all"]:
        print(", ".join(f"{name} {value:.3g}" for name, value in row.items()))
    write_json(arguments.out, written)


if __name__ == "__main__":
    main()
