"""Numbers as people read them, the same on the screen and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, exp, prod
from pathlib import Path

from tapioca.plan import Plan
from tapioca.records import Canary, Cost, HeldOutResult, Metric, Preflight, RunInfo, Written


def data_names(task: str, reference: str | None) -> str:
    """Which data are meant by OOD and by ID."""
    ood, reference = Path(task).name, Path(reference).name if reference else "none"
    return f"OOD (out of distribution): {ood}; ID (in distribution): {reference}"


def format_scores(judgement: HeldOutResult) -> str:
    """Before -> after: '41.2 % → 43.0 %'; for the full model its score alone."""
    gain = judgement.result
    full = gain.metric.format(gain.full)
    return full if judgement.plan.is_full else f"{full} → {gain.metric.format(gain.planned)}"


def format_judged_effect(judgement: HeldOutResult) -> str:
    """The change with its interval, and a word where few examples make it."""
    if judgement.plan.is_full:
        return "–"
    return str(judgement.result) + (" (tail only)" if judgement.result.tail_only else "")


def format_beaten(judgement: HeldOutResult) -> str:
    """How many random plans of its size do worse than the plan: '18 of 20', or '3 of all 4' where no others exist."""
    if not judgement.random:
        return "–"
    plan = judgement.plan
    exist = prod(comb(plan.n_layers, size) for size in plan.sizes.values()) - 1
    worse = sum(judgement.result.gain > random_gain for random_gain in judgement.random)
    return f"{worse} of {'all ' if len(judgement.random) >= exist else ''}{len(judgement.random)}"


def describe_savings(cost: Cost, plan: Plan) -> str:
    """Layers or branches, parameters and FLOPs saved; a branch leaves its parameters in the model."""
    parameters = 1 - cost.parameters_planned / cost.parameters_full
    flops = 1 - cost.flops_planned / cost.flops_full if cost.flops_full else 0.0
    names = {"layers": "layers", "attention": "attention branches", "mlp": "MLP branches"}
    gone = ", ".join(f"{size} of {plan.n_layers} {names[grain]}" for grain, size in plan.sizes.items() if size)
    return f"{gone}, {parameters:.1%} of {format_quantity(cost.parameters_full)} parameters, {flops:.1%} of FLOPs"


def describe_companions(info: RunInfo) -> list[str]:
    """What stands beside the held-out result, one line each: exact match or accuracy, texts that broke off, and the canary."""
    lines = []
    for judgement in info.judgements:
        where = f"{judgement.plan} on {judgement.data.upper()}"
        if judgement.companion:
            gain, metric = judgement.companion, judgement.companion.metric
            scores = f"{metric.format(gain.full)} → {metric.format(gain.planned)}"
            lines.append(f"{metric.name} of {where}: {scores}, {gain}")
        if judgement.written:
            lines.append(f"written answers of {where}: {_describe_written(judgement, judgement.written)}")
    proposed = info.verdict.action != "keep the full model"
    return [*lines, describe_fluency(info.canary, proposed)] if info.canary else lines


def _describe_written(judgement: HeldOutResult, written: Written) -> str:
    """How texts ended under the full model and under the plan; a plan can win by that alone."""
    parts = []
    for numbers, what in ((written.unparsed, "hold no answer"), (written.truncated, "broke off at the token budget")):
        shares = [f"{count / judgement.result.n:.0%}" for count in numbers]
        parts.append(f"{shares[0] if judgement.plan.is_full else ' → '.join(shares)} {what}")
    means = [f"{length:.3g}" for length in written.mean_length]
    return f"{', '.join(parts)}, mean length {means[0] if judgement.plan.is_full else ' → '.join(means)} tokens"


def describe_race_bound(info: RunInfo) -> str:
    """What differences were cut to in a race over scores that have no bounds; empty where none were."""
    bound = next((search_round.bound for search_round in info.rounds if search_round.bound), None)
    return (
        f"race: differences in {info.metric.name} beyond {bound:.3g} were cut to {bound:.3g} when plans were stopped; "
        "winners were chosen by whole scores"
        if bound
        else ""
    )


def describe_fluency(fluency_check: Canary, proposed: bool) -> str:
    """How free text fares under a plan: numbers, and for a plan that is proposed a warning where it is much worse."""
    full, planned = fluency_check.full, fluency_check.planned
    perplexity = " → ".join("–" if fluency.loss is None else f"{exp(fluency.loss):.3g}" for fluency in (full, planned))
    line = (
        f"{fluency_check.prompts} free texts of at most {fluency_check.tokens} tokens under {fluency_check.plan}: repeated 4-grams "
        f"{full.repetition:.0%} → {planned.repetition:.0%}, stopped early {full.early} → {planned.early}, "
        f"perplexity under the full model {perplexity}"
    )
    return f"{line}; WARNING: {fluency_check.alarm}" if fluency_check.alarm and proposed else line


def describe_stacking(cost: Cost) -> str:
    """How far stacked streams were from one alone; empty where none were stacked."""
    if cost.difference is None:
        return ""
    return f"plans ran stacked: a layer's states differed from those of a plan alone by at most {cost.difference:.1g} of the largest"


def describe_check(check: Preflight, metric: Metric, name: str, sampled: int | None = None) -> str:
    """What one data set can show: full model, chance, and the gain that could be found; from a sample of it if told."""
    parts = [
        f"{name}: {check.n_search} search + {check.n_test} test examples"
        + (f"; on {sampled} of them" if sampled and sampled < check.n_search else ""),
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
    return ", ".join(parts)


def format_gain_amount(gain: float, metric: Metric) -> str:
    """An amount of gain: '4.9 points' of accuracy, or '3.1 % of error'."""
    return f"{100 * gain:.1f} {'points' if metric.kind == 'accuracy' else '% of error'}"


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
