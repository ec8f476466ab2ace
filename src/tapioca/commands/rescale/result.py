"""What setting norms to those of ID inputs changes; it goes to JSON and back."""

from pydantic import Field

from tapioca.plan import Plan, Tokens
from tapioca.records.examples import Metric
from tapioca.records.results import Domain, Gain, Record, RunHeader


class Rescaling(Record):
    """The norm of the stream set at some tokens, judged on held-out data.

    Attributes:
        tokens: at which tokens: each row's last, or all but its first.
        plan: sets the norm in front of every layer to that of ID search inputs.
        ood_norms: what OOD search inputs have there, by layer.
        gains: what it changes on each data set.
    """

    tokens: Tokens
    plan: Plan
    ood_norms: tuple[float, ...]
    gains: dict[Domain, Gain]

    @property
    def plan_file(self) -> str:
        """What the plan is called in the run folder."""
        return f"plan_{self.tokens}.json"


class RescaleResult(RunHeader):
    """One finished rescaling: what `tapioca rescale` returns and `rescale.json` holds."""

    metric: Metric
    examples: dict[Domain, int] = Field(description="Examples of the test splits.")
    inputs: dict[Domain, int] = Field(description="Search inputs whose norms were measured, at most one of a group.")
    rescalings: tuple[Rescaling, ...]
