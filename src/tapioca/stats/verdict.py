"""The verdict that held-out intervals allow."""

from tapioca.records import Gain, Verdict


def decide_verdict(ood: Gain | None, reference: Gain | None, subject: str = "the plan") -> Verdict:
    """The verdict the held-out intervals allow.

    Args:
        ood: the best plan on the OOD test split; None where the search found no plan.
        reference: the same plan on the ID test split; None where there is no ID data.
        subject: what is judged, as the reason calls it.
    """
    if ood is None:
        return Verdict(
            action="keep the full model", reason="the search found no plan that scores higher than the full model"
        )
    is_tail_only = ood.tail_only
    note = " (tail only: the mean improves, most examples do not)" if is_tail_only else ""
    if ood.ci95[0] <= 0:
        outcome = "makes OOD worse" if ood.ci95[1] < 0 else "shows no OOD gain"
        reason = f"on held-out data {subject} {outcome}: {ood}"
        return Verdict(action="keep the full model", reason=reason, tail_only=is_tail_only)
    gain_text = f"OOD gains on held-out data, {ood}{note}"
    if reference is None:
        reason = f"{gain_text}; ID was not measured (no reference data)"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=is_tail_only)
    margin = ood.metric.margin_text
    if reference.ci95[0] < -ood.metric.margin:
        harm_text = "is harmed" if reference.ci95[1] < 0 else f"may lose more than {margin}"
        reason = f"{gain_text}, but ID {harm_text}, {reference}"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=is_tail_only)
    reason = f"{gain_text}, and ID loses less than {margin}, {reference}"
    return Verdict(action="prune", reason=reason, tail_only=is_tail_only)
