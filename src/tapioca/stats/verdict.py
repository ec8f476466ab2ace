"""The verdict that held-out intervals allow."""

from __future__ import annotations

from tapioca.records import Gain, Verdict


def decide(ood: Gain | None, reference: Gain | None) -> Verdict:
    """The verdict the held-out intervals allow.

    Args:
        ood: the best plan on the OOD test split; None where the search found no plan.
        reference: the same plan on the ID test split; None where there is no ID data.
    """
    if ood is None:
        return Verdict(
            action="keep the full model", reason="the search found no plan that scores higher than the full model"
        )
    tail = ood.tail_only
    note = " (tail only: the mean improves, most examples do not)" if tail else ""
    if ood.ci95[0] <= 0:
        shown = "makes OOD worse" if ood.ci95[1] < 0 else "shows no OOD gain"
        reason = f"on held-out data the plan {shown}: {ood}"
        return Verdict(action="keep the full model", reason=reason, tail_only=tail)
    gained = f"OOD gains on held-out data, {ood}{note}"
    if reference is None:
        reason = f"{gained}; ID was not measured (no reference data)"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=tail)
    margin = f"{100 * ood.metric.margin:g} {'point' if ood.metric.kind == 'accuracy' else '%'}"
    if reference.ci95[0] < -ood.metric.margin:
        harm = "is harmed" if reference.ci95[1] < 0 else f"may lose more than {margin}"
        reason = f"{gained}, but ID {harm}, {reference}"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=tail)
    reason = f"{gained}, and ID loses less than {margin}, {reference}"
    return Verdict(action="prune", reason=reason, tail_only=tail)
