"""Numbers as people read them, the same on the screen and on the page."""

from collections.abc import Sequence
from pathlib import Path

from tapioca.records import Gain, Metric, Preflight


def data_names(task: str, reference: str | None) -> str:
    """Which data are meant by OOD and by ID."""
    ood, reference = Path(task).name, Path(reference).name if reference else "none"
    return f"OOD (out of distribution): {ood}; ID (in distribution): {reference}"


def describe_check(check: Preflight, metric: Metric, name: str) -> str:
    """What one data set can show: full model, chance, and the gain that could be found."""
    parts = [
        f"{name}: {check.n_search} search + {check.n_test} test examples"
        + (f"; on {check.n_scored} of them" if check.n_scored else ""),
        f"full model {metric.format(check.full)}",
    ]
    if check.chance is not None and metric.kind == "accuracy":
        parts.append(f"chance {metric.format(check.chance)}")
    if check.tied:
        parts.append(f"{check.tied} answers tied (two choices equally likely; rounding decides)")
    if check.baseline_score is not None:
        parts.append(f"always the mean {metric.format(check.baseline_score)}")
    if name == "OOD":
        parts.append(
            f"a gain of {format_gain_amount(check.detectable, metric)} can be detected if a plan changes the answers as much as '{check.reference_drop}'"
        )
    if shortage := describe_shortage(check, metric):
        parts.append(shortage)
    return ", ".join(parts)


def describe_shortage(check: Preflight, metric: Metric) -> str:
    """That too few examples are held out to show that nothing is lost; nothing where they are enough."""
    if not check.is_too_few_for(metric):
        return ""
    assert check.unchanged
    interval = metric.format_effect(0.0, check.unchanged, named=True)
    return (
        f"too few to show a loss below {format_gain_amount(metric.margin, metric)}, as the verdict 'prune' asks: a plan that "
        f"changes no answer would have {interval}; about {check.count_needed(metric)} test examples are needed"
    )


def format_gain_amount(gain: float, metric: Metric) -> str:
    """An amount of gain: '4.9 points' of accuracy, or '3.1 % of error'."""
    return f"{100 * gain:.1f} {'points' if metric.kind == 'accuracy' else '% of error'}"


def format_effect(gain: Gain | None) -> str:
    """A change with its interval in the cell of a table; a dash where nothing is known."""
    return "–" if gain is None else gain.metric.format_effect(gain.gain, gain.ci95)


def describe_carriers(gain: Gain) -> str:
    """How few examples make a change, and what became of the example in the middle."""
    typical = format_typical(gain)
    return f"{gain.carriers} of {gain.n} examples make half of the change, so that its interval may be too narrow" + (
        f"; the median example's {typical}" if typical else ""
    )


def format_typical(gain: Gain) -> str:
    """What became of the example in the middle: 'error × 0.93'; nothing where that means nothing."""
    return "" if gain.typical is None else gain.metric.format_effect(gain.typical, named=True)


def explain_effects(metric: Metric, ood: Gain, id_data: Gain | None, which: str) -> str:
    """What was measured on which examples, and which numbers are good."""
    counts = f"{ood.n} OOD" + (f" and {id_data.n} ID" if id_data else "")
    return f"{metric.name} on {counts} examples {which}, against the full model; {metric.better_effects}."


MAX_END_WORDS = 12
"""Words shown of each end of a long list."""


def join_by_ends(words: Sequence[str], ends: int = MAX_END_WORDS, unit: str = "tokens") -> str:
    """Words in a line; of many, the first and the last ones, and how many are between."""
    if len(words) <= 2 * ends + 1:
        return " ".join(words)
    return " ".join([*words[:ends], f"... {len(words) - 2 * ends} {unit} ...", *words[-ends:]])


def shorten_text(text: str, most: int) -> str:
    """A text of at most so many characters beside the count of those left out of its middle."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {len(text) - most} characters ... {text[-most // 2 :]}"


MOST_ANSWERS = 20
"""Answers that are shown by name."""


def format_label_counts(labels: dict[str, int]) -> str:
    """How often each right answer stands in the data: 'answers: no 12×, yes 13×'; of many, the commonest."""
    if len(labels) < 2:
        return ""
    shown = labels
    if len(labels) > MOST_ANSWERS:
        shown = dict(sorted(labels.items(), key=lambda label_and_count: -label_and_count[1])[:MOST_ANSWERS])
    counts = ", ".join(f"{label} {times}×" for label, times in shown.items())
    more = len(labels) - len(shown)
    return f"answers: {counts}" + (f", and {more} more" if more else "")


def p_value(p: float | None) -> str:
    """A p-value with two digits, or how small it is; a dash where nothing was tested."""
    if p is None:
        return "–"
    return "<0.0001" if p < 1e-4 else f"{p:#.2g}"


def format_quantity(number: float) -> str:
    """A count with a unit letter: 260 k, 1.2 M, 7.2 B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def format_flops(number: float) -> str:
    """Floating-point operations: '99.9 GFLOP'."""
    return f"{format_quantity(number).replace('B', 'G')}FLOP"


def format_duration(seconds: float) -> str:
    """Seconds as people say them: '8 s', '3 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
