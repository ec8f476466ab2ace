"""The model card that goes with an exported checkpoint, and other tools' words for the same plan."""

from __future__ import annotations

from pathlib import Path

import yaml

from tapioca.records import Plan, RunInfo, ranges


def model_card(model: str, plan: Plan, info: RunInfo | None = None) -> str:
    """Base model, what was dropped, and the plan for other tools; with a run also its scores, verdict and command."""
    lines = [
        "---",
        f"base_model: {model}",
        "tags: [layer-pruning]",
        "---",
        f"# {Path(model).name} without layers {ranges(plan.drops)}",
        "",
        f"{len(plan.drops)} of {plan.n_layers} layers were removed (numbered from 0: {ranges(plan.drops)}).",
        "All other weights are unchanged.",
        *(_found(info, plan) if info else []),
        "",
        "## The same plan elsewhere",
        "",
        "mergekit:",
        "",
        "```yaml",
        mergekit(model, plan).rstrip(),
        "```",
        "",
        "llama.cpp, on a GGUF file of the base model:",
        "",
        "```",
        f"llama-quantize --prune-layers {','.join(map(str, plan.drops))} base.gguf pruned.gguf COPY",
        "```",
        "",
    ]
    return "\n".join(lines)


def mergekit(model: str, plan: Plan) -> str:
    """A passthrough configuration for mergekit that keeps the layers the plan keeps; ranges end before their last number."""
    starts = [layer for layer in plan.kept if layer - 1 not in plan.kept]
    ends = [layer + 1 for layer in plan.kept if layer + 1 not in plan.kept]
    pairs = zip(starts, ends, strict=True)
    slices = [{"sources": [{"model": model, "layer_range": [start, end]}]} for start, end in pairs]
    return yaml.safe_dump({"merge_method": "passthrough", "slices": slices}, sort_keys=False, default_flow_style=None)


def _found(info: RunInfo, plan: Plan) -> list[str]:
    """What a run found about the plan."""
    rows = [
        f"| {j.data.upper()} | {j.result.n} | {info.metric.format(j.result.full)} | {info.metric.format(j.result.planned)} | {j.result} |"
        for j in info.judgements
        if j.plan == plan
    ]
    return [
        f"The layers were chosen for {Path(info.task).name} by a greedy search; the scores below are on held-out data.",
        "",
        f"| data | examples | {info.metric.name}, full model | this model | difference, 95 % interval |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Verdict: **{info.verdict.action}** - {info.verdict.reason}.",
        "",
        f"Made with `{info.command}`.",
    ]
