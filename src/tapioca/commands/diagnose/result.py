"""What `tapioca diagnose` finds, which goes to JSON and back."""

from tapioca.diagnosis.records import Diagnosis, ShiftClassifier
from tapioca.records.results import Interval, Profile, Record, RunHeader


class Evidence(Record):
    """One number of the evidence.

    Attributes:
        name, value: as docs/diagnose.md defines it.
        id_range: lowest and highest of the same number between random halves of the ID samples.
        contribution: what it adds to the log-odds of distorted against misaligned; None where the gate decides.
    """

    name: str
    value: float
    id_range: Interval
    contribution: float | None


class DiagnoseResult(RunHeader):
    """One finished diagnosis: what `tapioca diagnose` returns and `diagnose.json` holds.

    Attributes:
        n: examples in each of the three sets: ID reference, ID and OOD.
        n_halves: how many random halves of the ID samples the evidence stands beside.
        profiles: of ID and OOD data under the full model.
    """

    reference: str
    n: int
    diagnosis: Diagnosis
    evidence: tuple[Evidence, ...]
    n_halves: int
    profiles: tuple[Profile, ...]
    classifier: ShiftClassifier
