"""What two models give on the same held-out rows; it goes to JSON and back."""

from pydantic import Field

from tapioca.records.examples import ExampleResult, Metric
from tapioca.records.results import Domain, Gain, Record, RunHeader, Verdict


class ComparedModel(Record, protected_namespaces=()):
    """One of the two models.

    Attributes:
        name: as it was asked for, by its last part where it is a path out of the working folder.
        model_hash: names it by configuration, weights and dtype.
        n_layers: its layers.
        parameters: its parameters; shared ones count once.
        dtype: Torch dtype of its weights.
        seen_rows: how many rows it is known to be searched or tuned on; None where nothing says so.
        mean_tokens: mean tokens of the longest sequence that it reads for a row, on each data set.
    """

    name: str
    model_hash: str
    n_layers: int
    parameters: int
    dtype: str
    seen_rows: int | None
    mean_tokens: dict[Domain, float]


class Comparison(Record):
    """The two models on one data set: `full` is A, `planned` is B.

    Attributes:
        result: what B changes over A.
        companion: exact match or accuracy, where the gold answer's likelihood decides.
        chance: score of guessing; None where that means nothing.
        baseline_score: score of always answering the mean target; regression only.
        left_out: rows that one of the models could not be asked, and that are left out of both.
    """

    result: Gain
    companion: Gain | None = None
    chance: float | None = None
    baseline_score: float | None = None
    left_out: int = 0


class VersusResult(RunHeader):
    """One finished comparison: what `tapioca versus` returns and `versus.json` holds."""

    models: tuple[ComparedModel, ComparedModel] = Field(description="A and B.")
    run: str | None = Field(description="The run whose test rows they are; None where all rows of the data are judged.")
    metric: Metric
    same_tokens: bool = Field(description="Whether both models read the same tokens or numbers.")
    comparisons: dict[Domain, Comparison]
    verdict: Verdict
    changed: tuple[ExampleResult, ...] = Field(
        default=(),
        description="Held-out examples that changed most from A (`full`) to B (`plan`), from better to worse.",
    )
