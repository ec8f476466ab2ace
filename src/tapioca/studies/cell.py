"""What a study measures: arrays of one model on one task, kept in a file of their own.

Scores are higher-is-better (errors negated). All plans of a model's space stand in one order, the full model first; the
two kinds of profile stand norm first.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from tapioca.disk import replace_atomically
from tapioca.errors import StoreError
from tapioca.reading import explain_damage, refuse_no_file
from tapioca.records import Metric
from tapioca.stats import Pairing

ERROR_METRIC = Metric(name="error", kind="error")


@dataclass(frozen=True)
class CellKey:
    """What was measured.

    Attributes:
        setting, model, parameters, task: names of the setting, the model's folder and the task; the model's size.
        kind: kind of shift, or "id".
        strength: place among the strengths of the kind, from 0.
        tuned: what the model was tuned on before: nothing, the data named by `tuned_on`, ID data as their control. A
            model tuned on shifted data has these as its ID task (kind "id"), and what was ID data is its shift.
        tuned_on: the kind of shift a tuned model was tuned on, or is the control of.
        key: names everything that can change what was measured.
        seconds: of processors that measuring took.
    """

    setting: str
    model: str
    parameters: int
    kind: str
    strength: int
    task: str
    tuned: Literal["", "shift", "id"] = ""
    tuned_on: str = ""
    key: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class SavedArrays:
    """A header and arrays that are one file."""

    form: ClassVar[str]

    where: CellKey

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """
        header = json.dumps({"form": self.form, "where": asdict(self.where)})
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "where"}
        with replace_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, header=np.array(header), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            StoreError: it is broken, or holds something else.
        """
        with explain_damage(path, StoreError, "delete it, and it is measured anew"):
            refuse_no_file(path)
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                header: dict[str, Any] = json.loads(str(archive["header"]))
                if header["form"] != cls.form:
                    raise ValueError(f"it holds a {header['form']}, expected a {cls.form}")
                arrays = {field.name: archive[field.name] for field in fields(cls) if field.name != "where"}
            return cls(where=CellKey(**header["where"]), **arrays)


@dataclass(frozen=True, eq=False)
class Cell(SavedArrays):
    """All plans of one model on one task: what they score, and how they move the geometry.

    Geometry is of the search examples, so that gains are of others; the reference are ID search examples under the full
    model. Without deviation from itself, the cell of the ID task has arrays of zeros there.

    Attributes:
        kept: bool of shape (plan, layer).
        search: (plan, search example).
        search_weights: (search example,).
        test: (plan, test example).
        weights: (test example,).
        groups: int of shape (test example,), what is resampled as one.
        companion: accuracy, 0 or 1, under the full model and under greedy's plan, (2, test example); of shape (2, 0) where
            the score stands in for none.
        chance: of `companion`; NaN where there is none.
        signed: log ratio to the reference under the full model, (kind, layer).
        deviation: its mean absolute value and then resamples of it, (kind, 1 + draw).
        null_mean, null_upper: mean and 95th percentile between two ID samples of the same size, (kind,).
        realigned: deviation removed by each plan over the layers it keeps, (definition, kind, plan), in the order of
            `REALIGNMENT_DEFINITIONS`; 0 for the full model.
        along, removal: each layer's share of the deviation in the two ways of profiles/attribution.py, (kind, layer).
        baselines: errors of ridge, nearest neighbour and constant, (3, test example); (3, 0) outside of the lab.
    """

    form = "cell 3"

    kept: np.ndarray
    search: np.ndarray
    search_weights: np.ndarray
    test: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    companion: np.ndarray
    chance: np.ndarray
    signed: np.ndarray
    deviation: np.ndarray
    null_mean: np.ndarray
    null_upper: np.ndarray
    realigned: np.ndarray
    along: np.ndarray
    removal: np.ndarray
    baselines: np.ndarray

    def pairing(self, seed: int) -> Pairing:
        """How scores of the test examples are compared and resampled."""
        return Pairing(self.weights, self.groups, ERROR_METRIC, seed)


@dataclass(frozen=True, eq=False)
class DoseResponse(SavedArrays):
    """Layers at every scale.

    Sets of layers: those of greedy's plan at this strength (of the best plan that drops something where that is empty), then
    random ones of the same number, all layers last.

    Attributes:
        scales: (scale,), ascending, 1 among them.
        layers: bool of shape (set, layer).
        test: (set, scale, test example); NaN where a scale leaves no layer.
        weights: (test example,).
        deviation: over the layers that a set leaves alone, or over all where it leaves none, (set, scale, kind); NaN as
            above.
    """

    form = "dose"

    scales: np.ndarray
    layers: np.ndarray
    test: np.ndarray
    weights: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True, eq=False)
class RivalScores(SavedArrays):
    """What stands beside greedy's plan, each chosen or fitted on search prompts, and on them against the full model too.

    Attributes:
        names: of the rivals that could be had (`measures.RIVALS`), str of shape (rival,).
        used: whether it did better than the full model on the search prompts, bool of shape (rival,); else the scores are
            those of the full model, as greedy's plan too may be the empty one.
        test: (rival, test example).
    """

    form = "rivals"

    names: np.ndarray
    used: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class UnlabelledScores(SavedArrays):
    """What criteria that read no right answer say of every plan, on search prompts.

    Attributes:
        names: of the criteria that could be had (`session.without_labels`), str of shape (criterion,).
        scores: higher is better, (criterion, plan), plans in the order of a cell.
    """

    form = "unlabelled"

    names: np.ndarray
    scores: np.ndarray
