"""The search of a run that reads no answer to OOD data, not even for the number of drops."""

from tapioca.commands.prune.result import WithoutLabels
from tapioca.records import Trial
from tapioca.search.base import PlanSearch
from tapioca.search.criteria import LOSSES, Criterion, UnlabelledGuide
from tapioca.search.floor import FAITHFUL_MARGIN, FaithfulSearch
from tapioca.search.path import SearchPath
from tapioca.session.context import AnyRun
from tapioca.session.run_criteria import make_judge


def search_without_labels(job: AnyRun, guide: UnlabelledGuide, choose: PlanSearch) -> FaithfulSearch:
    """Search by what can be said of plans without labels, among those that stay faithful to the full model on ID data."""
    search, judge = FaithfulSearch(choose, job.space, guide in LOSSES), make_judge(job)
    while plans := search.ask():
        scores, changes = judge.score(guide, plans).tolist(), judge.measure_changes(plans).tolist()
        search.tell(
            [
                Trial(plan=plan, score=score, change=change)
                for plan, score, change in zip(plans, scores, changes, strict=True)
            ]
        )
        job.progress.status(f"best so far: {search.best.plan}: {guide} {search.best.score:.4g}")
    job.add_notes(*judge.take_notes())
    return search


def describe_blind_search(criterion: Criterion, search: SearchPath) -> WithoutLabels | None:
    """What a search without labels went by; None where answers chose."""
    if criterion.reads_labels:
        return None
    return WithoutLabels(
        guide=criterion.guide, reads=criterion.reads, full=search.path[0].score, margin=FAITHFUL_MARGIN
    )
