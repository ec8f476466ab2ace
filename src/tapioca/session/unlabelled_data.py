"""Data without right answers, and which criteria can be had for them."""

from dataclasses import dataclass

from tapioca.errors import UsageError
from tapioca.search.criteria import UNLABELLED
from tapioca.tasks.base import Task
from tapioca.tasks.choice import OneOfSeveral
from tapioca.tasks.generate import Generate
from tapioca.tasks.perplexity import Perplexity
from tapioca.tasks.regress import Regression

CLOSENESS = ("geometry", "geometry-unit", "mahalanobis")
"""What is measured on the states of plans."""

NEED_ID = (*CLOSENESS, "faithful")
"""What is held against the full model on ID data."""


@dataclass(frozen=True, eq=False)
class UnlabelledData:
    """What plans are scored on; no right answer in it is read.

    Attributes:
        ood: OOD search data.
        id: ID search data, where there are any.
        seed: of samples, of changed requests, and of the halves that linear maps are fitted and judged on.
    """

    ood: Task
    id: Task | None = None
    seed: int = 0

    @property
    def by_domain(self) -> dict[str, Task]:
        """The tasks there are."""
        return {"ood": self.ood} | ({"id": self.id} if self.id else {})


def explain_missing(name: str, data: UnlabelledData) -> str:
    """Why a criterion cannot be had for some data; empty where it can.

    Raises:
        UsageError: there is no criterion of this name.
    """
    if name not in UNLABELLED:
        raise UsageError(f"no criterion without labels is called '{name}'; there are {', '.join(UNLABELLED)}")
    task, chooses, predicts = data.ood, isinstance(data.ood, OneOfSeveral), isinstance(data.ood, Regression)
    if name in NEED_ID and data.id is None:
        return "it holds plans against the full model on ID data, and there are none; give --reference"
    if name == "proxy" and predicts:
        return f"{task.name} asks for numbers, and by the full model's own numbers no plan is better than it"
    if name in ("entropy", "margin") and predicts:
        return f"{task.name} asks for numbers, which come without probabilities"
    if name in ("entropy", "margin", "proxy", "agreement") and not (chooses or predicts):
        return f"{task.name} is of no kind whose answers are choices or numbers"
    if name == "faithful" and not isinstance(data.id, (OneOfSeveral, Regression, Generate, Perplexity)):
        assert data.id
        return f"{data.id.name} is marked by another library, which gives no distribution of answers"
    return ""
