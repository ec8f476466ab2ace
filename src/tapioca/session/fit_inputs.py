"""The search inputs that what makes up for drops is fitted on: read without their answers, the same for every command."""

from tapioca.observe.sample import MAX_EXAMPLES, draw_sample
from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun


def choose_fit_domain(job: AnyRun) -> Domain:
    """Which data: ID data, or where there are none OOD data."""
    return "id" if "id" in job.search else "ood"


def draw_fit_examples(job: AnyRun) -> tuple[Example, ...]:
    """A sample of their search split, at most one example of a group."""
    return draw_sample(job.search[choose_fit_domain(job)].examples, MAX_EXAMPLES, job.config.seed)
