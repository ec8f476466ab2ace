"""What `tapioca diagnose` finds, which goes to JSON and back."""

from tapioca.diagnosis.records import Diagnosis, ShiftClassifier
from tapioca.records.examples import Metric
from tapioca.records.results import Interval, Profile, Record, RunHeader


class Evidence(Record):
    """One number of the evidence.

    Attributes:
        name, value: as docs/diagnose.md defines it.
        error: its standard error, from the scatter of random halves of the examples.
        id_range: lowest and highest of the same number between random halves of the ID samples.
        contribution: what it adds to the log-odds of distorted against misaligned; None where nothing is weighed.
    """

    name: str
    value: float
    error: float
    id_range: Interval
    contribution: float | None


class DiagnoseResult(RunHeader):
    """One finished diagnosis: what `tapioca diagnose` returns and `diagnose.json` holds.

    Attributes:
        metric: what a score of the inputs would be; nothing is scored, but gains elsewhere are told in such units.
        n: examples in each of the three sets: ID reference, ID and OOD.
        excess: by what is read and kind of profile, log10 of the deviation over its null; above 0 it is above.
        n_halves: how many random halves give the errors of the evidence, and the ID range it stands beside.
        profiles: of ID and OOD data under the full model.
    """

    reference: str
    metric: Metric
    n: int
    diagnosis: Diagnosis
    excess: dict[str, float]
    evidence: tuple[Evidence, ...]
    n_halves: int
    profiles: tuple[Profile, ...]
    classifier: ShiftClassifier
