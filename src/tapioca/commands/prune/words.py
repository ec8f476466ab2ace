"""What a run says beside its numbers, the same on the screen and on the page."""

from math import comb, exp, prod

from tapioca.commands.prune.result import Canary, Cost, PruneResult, TargetedPlan, Targets
from tapioca.plan import Plan
from tapioca.records import HeldOutResult, Metric, Written
from tapioca.records.numbers import format_number
from tapioca.report.format import describe_carriers, format_quantity
from tapioca.search.base import measure_size

ROLE_NOTES = {
    "without compensation": "the best plan as the search found it",
    "most layers dropped": "most layers dropped at or above the full model's search score",
    "best non-empty": "the best plan that changes anything; shown for comparison",
}


def describe_compensation(info: PruneResult) -> str:
    """What compensation changed, and what to do where that is for the worse; empty where there is none."""
    if not info.compensation:
        return ""
    changes = " and ".join(f"{domain.upper()} {gain}" for domain, gain in info.compensation.items())
    is_worse = info.compensation["ood"].ci95[1] < 0
    advice = "; the plain plan is better: make the run again without --compensate" if is_worse else ""
    return f"compensation changed {changes}, against the same drops without it{advice}"


def describe_blind_choice(info: PruneResult) -> str:
    """What a search went by that read no answer to OOD data; empty where answers chose."""
    blind = info.without_labels
    if blind is None:
        return ""
    reads = dict.fromkeys([*blind.reads, "ID inputs"])
    faithful = f"plans had to stay within {blind.margin:g} of the full model's answers on ID data"
    kept = ""
    if info.plan.is_full:
        is_any = any(search_round.accepted for search_round in info.rounds)
        kept = f"; none of those is better than the full model by {blind.guide}" if is_any else "; no drop did"
    return f"chosen without OOD answers, from {' and '.join(reads)} alone: {faithful}{kept}"


def describe_targets(info: PruneResult) -> str:
    """Which targets the plan meets, and by what evidence; where none meets all, what kept the nearest from it. Empty where
    nothing was asked."""
    targets = info.targets
    if targets is None:
        return ""
    asked = " and ".join(filter(None, (_describe_size_target(targets), _describe_harm_target(targets, info.metric))))
    meeting = [row for row in targets.met if row.plan.size]
    if meeting and targets.met[0].plan.size:
        count = len(meeting)
        return f"targets met ({asked}): {_describe_targeted(meeting[0])}; the best of {count} plan{'s' * (count > 1)} of the search that do"
    if meeting:
        return f"targets ({asked}): {len(meeting)} drops of the search meet them, and none of these is better than the full model"
    dropping = [row for row in targets.plans if row.plan.size]
    small, harmless = ([row for row in dropping if meets(row)] for meets in (targets.is_small, targets.is_harmless))
    parts = [f"no drop of the search meets the target{'s' * (' and ' in asked)} ({asked})"]
    if targets.harm is not None and small:
        nearest = max(small, key=lambda row: row.on_id.ci95[0] if row.on_id else 0.0)
        what = "the least harmful of those small enough" if targets.parameters is not None else "the least harmful"
        parts.append(f"{what}: {_describe_targeted(nearest)}")
    elif dropping:
        smallest = min(harmless or dropping, key=lambda row: row.parameters)
        parts.append(
            f"the smallest that {'costs little enough' if targets.harm is not None and harmless else 'was tried'}: {_describe_targeted(smallest)}"
        )
    return "; ".join(parts)


def _describe_size_target(targets: Targets) -> str:
    return f"at most {100 * targets.parameters:g} % of the parameters" if targets.parameters is not None else ""


def _describe_harm_target(targets: Targets, metric: Metric) -> str:
    if targets.harm is None:
        return ""
    loss = f"{100 * targets.harm:g} "
    return (
        f"at most {loss}points lost on ID data"
        if metric.kind == "accuracy"
        else f"at most {loss}% more error on ID data"
    )


def _describe_targeted(row: TargetedPlan) -> str:
    on_id = f", {row.on_id} on ID search data" if row.on_id and not row.plan.is_full else ""
    return f"{row.plan} leaves {100 * row.parameters:.3g} % of the parameters{on_id}"


def format_search_score(info: PruneResult, score: float) -> str:
    """A score on the search split: of the task, or by the criterion itself where no answer was read."""
    return format_number(score + 0.0, ".4g") if info.without_labels else info.metric.format(score)


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


def format_median_example(judgement: HeldOutResult) -> str:
    """What became of the example in the middle, '× 0.65'; nothing for accuracies."""
    gain = judgement.result
    return "" if gain.typical is None else f"× {gain.metric.format_effect(gain.typical)}"


def format_shares(judgement: HeldOutResult) -> str:
    """Share of examples with a higher and with a lower score under the plan."""
    if judgement.plan.is_full:
        return "–"
    return f"{100 * judgement.result.improved:.1f} % / {100 * judgement.result.worsened:.1f} %"


def format_beaten(judgement: HeldOutResult) -> str:
    """How many random plans of its size do worse than the plan: '18 of 20', or '3 of all 4' where no others exist."""
    if not judgement.random:
        return "–"
    exist = count_plans_as_large(judgement.plan) - 1
    worse = sum(judgement.gain_on_same > random_gain for random_gain in judgement.random)
    return f"{worse} of {'all ' if len(judgement.random) >= exist else ''}{len(judgement.random)}"


def count_plans_as_large(plan: Plan) -> int:
    """How many plans drop as many layers and branches of any, or repeat a block as long."""
    if plan.repeats:
        return plan.n_layers - measure_size(plan) + 1
    return prod(comb(plan.n_layers, size) for size in plan.sizes.values())


def describe_random(judgement: HeldOutResult) -> str:
    """What random plans of its size gain on OOD data, and the plan on the same examples; empty where there are none."""
    if not judgement.random:
        return ""
    own, best, worst = (
        judgement.result.metric.format_effect(shown, named=True)
        for shown in (judgement.gain_on_same, max(judgement.random), min(judgement.random))
    )
    n, n_plans = judgement.result.n, len(judgement.random)
    where = f"{judgement.random_n} of {n}" if judgement.random_n not in (None, n) else str(n)
    beside = f"of {n_plans} random plans as large the best {best}, the worst {worst}"
    if n_plans == 1:
        beside = f"a random plan as large {best}"
    return f"{judgement.plan} on {where} {judgement.data.upper()} examples: {own}; {beside}"


def describe_savings(cost: Cost, plan: Plan) -> tuple[str, str]:
    """That a plan saves layers or branches, parameters and FLOPs, of which a branch leaves its parameters in the model; or that
    it costs FLOPs."""
    if plan.repeats:
        more = cost.flops_planned / cost.flops_full - 1 if cost.flops_full else 0.0
        return "costs", f"{measure_size(plan)} of {plan.n_layers} layers run a second time, {more:.1%} more FLOPs"
    parameters = 1 - cost.parameters_planned / cost.parameters_full
    flops = 1 - cost.flops_planned / cost.flops_full if cost.flops_full else 0.0
    names = {"layers": "layers", "attention": "attention branches", "mlp": "MLP branches"}
    gone = ", ".join(f"{size} of {plan.n_layers} {names[grain]}" for grain, size in plan.sizes.items() if size)
    return (
        "saves",
        f"{gone}, {parameters:.1%} of {format_quantity(cost.parameters_full)} parameters, {flops:.1%} of FLOPs",
    )


def describe_companions(info: PruneResult) -> list[str]:
    """What stands beside the held-out result, one line each: random plans, exact match or accuracy, a mean that rests on few examples,
    texts that broke off, the canary, and why other plans than the best are judged."""
    lines = list(filter(None, map(describe_random, info.judgements)))
    for judgement in info.judgements:
        where = f"{judgement.plan} on {judgement.data.upper()}"
        if judgement.companion:
            gain, metric = judgement.companion, judgement.companion.metric
            scores = f"{metric.format(gain.full)} → {metric.format(gain.planned)}"
            lines.append(f"{metric.name} of {where}: {scores}, {gain}")
        if judgement.result.rests_on_few and not judgement.plan.is_full:
            lines.append(f"{where}: {describe_carriers(judgement.result)}")
        if judgement.written:
            lines.append(f"written answers of {where}: {_describe_written(judgement, judgement.written)}")
    if info.canary:
        lines.append(describe_fluency(info.canary, info.verdict.action != "keep the full model"))
    lines += filter(None, [describe_compensation(info)])
    others = {entry.role: entry.plan for entry in info.judgements if entry.role != "best"}
    return [*lines, *(f"{plan}: {ROLE_NOTES[role]}" for role, plan in others.items())]


def _describe_written(judgement: HeldOutResult, written: Written) -> str:
    """How texts ended under the full model and under the plan; a plan can win by that alone."""
    parts = []
    for numbers, what in ((written.unparsed, "hold no answer"), (written.truncated, "broke off at the token budget")):
        shares = [f"{count / judgement.result.n:.0%}" for count in numbers]
        parts.append(f"{shares[0] if judgement.plan.is_full else ' → '.join(shares)} {what}")
    means = [f"{length:.3g}" for length in written.mean_length]
    return f"{', '.join(parts)}, mean length {means[0] if judgement.plan.is_full else ' → '.join(means)} tokens"


def describe_race_bound(info: PruneResult) -> str:
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
