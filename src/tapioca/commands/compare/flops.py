"""What plans leave of the full model's work."""

from collections.abc import Sequence

from tapioca.models.cost import count_flops
from tapioca.models.inputs import collate
from tapioca.plan import Answerer, Plan
from tapioca.session.context import AnyRun


def measure_relative_flops(job: AnyRun, asked: Sequence[Answerer]) -> dict[Answerer, float]:
    """Share of the full model's floating-point operations, counted on one prompt; of a sum of outputs those of all its plans."""
    model, full = job.loaded.model, Plan.full(job.n_layers)
    batch = collate(model, [job.search["ood"].examples[0].prompt])
    plans_by_answerer = {one: (one,) if isinstance(one, Plan) else one.plans for one in asked}
    plans = dict.fromkeys([full, *(plan for plans in plans_by_answerer.values() for plan in plans)])
    flops = {plan: count_flops(model, plan, batch) for plan in plans}
    return {one: sum(flops[plan] for plan in plans) / flops[full] for one, plans in plans_by_answerer.items()}
