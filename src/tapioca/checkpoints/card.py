"""The model card that goes with an exported checkpoint."""

from __future__ import annotations

from pathlib import Path

from tapioca.records import Plan, RunInfo, ranges


def model_card(info: RunInfo, plan: Plan) -> str:
    """Base model, plan, held-out scores with intervals, verdict and command, as Markdown."""
    rows = [
        f"| {j.data.upper()} | {j.result.n} | {info.metric.format(j.result.full)} | {info.metric.format(j.result.planned)} "
        f"| {j.result} |"
        for j in info.judgements
        if j.plan == plan
    ]
    lines = [
        "---",
        f"base_model: {info.model}",
        "tags: [layer-pruning]",
        "---",
        f"# {Path(info.model).name} without layers {ranges(plan.drops)}",
        "",
        f"{len(plan.drops)} of {plan.n_layers} layers were removed (numbered from 0: {ranges(plan.drops)}).",
        "All other weights are unchanged.",
        f"The layers were chosen for {Path(info.task).name} by a greedy search; the scores below are on held-out data.",
        "",
        f"| data | examples | {info.metric.name}, full model | this model | difference, 95 % interval |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Verdict: **{info.verdict.action}** - {info.verdict.reason}.",
        "",
        f"Made with `{info.command}`.",
        "",
    ]
    return "\n".join(lines)
