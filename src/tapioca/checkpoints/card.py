"""The model card that goes with an exported checkpoint, and other tools' words for the same plan."""

from __future__ import annotations

from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from tapioca.records import Plan, RunInfo, ranges

TEMPLATE = Path(__file__).with_name("card.md.j2")


def model_card(model: str, plan: Plan, info: RunInfo | None = None) -> str:
    """Base model, what was changed, and the plan for other tools; with a run also its scores, verdict and command."""
    only_drops = Plan.drop(plan.n_layers, plan.drops)
    scales = plan.model_copy(update={"layers": tuple(plan.scaled.items())})
    card = ModelCard.from_template(
        ModelCardData(base_model=model, tags=["layer-pruning"]),
        template_path=str(TEMPLATE),
        name=Path(model).name,
        plan=plan,
        dropped=ranges(plan.drops),
        scales="" if plan == only_drops else str(scales),
        info=info,
        task=Path(info.task).name if info else "",
        judgements=[found for found in info.judgements if found.plan == plan] if info else [],
        mergekit=mergekit(model, plan).rstrip(),
    )
    return str(card)


def mergekit(model: str, plan: Plan) -> str:
    """A passthrough configuration for mergekit that keeps the layers the plan keeps; ranges end before their last number."""
    starts = [layer for layer in plan.kept if layer - 1 not in plan.kept]
    ends = [layer + 1 for layer in plan.kept if layer + 1 not in plan.kept]
    pairs = zip(starts, ends, strict=True)
    slices = [{"sources": [{"model": model, "layer_range": [start, end]}]} for start, end in pairs]
    return yaml.safe_dump({"merge_method": "passthrough", "slices": slices}, sort_keys=False, default_flow_style=None)
