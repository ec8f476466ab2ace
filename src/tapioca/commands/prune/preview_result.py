"""What a dry run found."""

from dataclasses import dataclass

from tapioca.commands.prune.estimate import ShorterRun, Workload
from tapioca.records import Metric, Preflight
from tapioca.records.results import Domain


@dataclass(frozen=True)
class WrittenAnswer:
    """What the full model writes after a prompt."""

    text: str
    gold: str


@dataclass(frozen=True)
class Preview:
    """What a dry run found.

    Attributes:
        checks: what the data can show, for their full sizes, from a sample.
        prompt: the first example's prompt as text.
        read, scored: the first row, one text per token: what comes first, and what the outputs are compared with.
        head_labels: labels of the model's classification head, 0 where it gives a number; None where it has no head.
        written: what the model writes after the first prompts, where it writes.
        criterion: what would choose the plans.
        shortlist: how many drops a round are scored; None where all are.
        work: what the run would go through, and how long it would take.
        whole_rounds: passes of the full model over the search data, round by round, where all drops were scored.
        shorter: what would shorten it most.
        flops: floating-point operations of all rounds.
        peak_memory: bytes this process (or the GPU) held at most.
    """

    metric: Metric
    checks: dict[Domain, Preflight]
    prompt: str
    n_read: tuple[str, ...]
    scored: tuple[str, ...]
    head_labels: int | None
    written: tuple[WrittenAnswer, ...]
    criterion: str
    shortlist: int | None
    work: Workload
    whole_rounds: tuple[float, ...]
    shorter: ShorterRun | None
    flops: float
    peak_memory: int
