"""Everything before the first answer: both models read their rows, and what must not be compared is refused."""

from dataclasses import dataclass

from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.rows import MatchedTasks
from tapioca.commands.versus.sides import PairRequest, Side, SideProgress, note_both
from tapioca.progress import Progress
from tapioca.records.results import Domain
from tapioca.session.context import RunInputs
from tapioca.session.live import GivenData
from tapioca.session.rows import name_rows, take_rows
from tapioca.tasks.split import refuse_seen

Given = tuple[GivenData, GivenData]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Two models ready to be compared; A is in memory, B only where a caller holds it.

    Attributes:
        same_tokens: whether both read the same.
        left_out: rows of each data set that one of them could not be asked.
        notes: what was noticed of the two together.
    """

    first: Side
    second: Side
    same_tokens: bool
    left_out: dict[Domain, int]
    notes: tuple[str, ...]

    @property
    def sides(self) -> tuple[Side, Side]:
        """A and B."""
        return self.first, self.second


def prepare(
    config: VersusConfig, progress: Progress, inputs: RunInputs | None = None, given: Given | None = None
) -> Prepared:
    """Load both models, one after the other, and match their rows.

    Args:
        config: the request.
        progress: told what was noted of both.
        inputs: A and its rows, where they are there already; their test splits are compared then.
        given: what is in memory of A, B and their data.

    Raises:
        DataError: the rows do not match, are counted in tokens of two kinds, or a model was searched or tuned on some.
        ModelError: a model cannot be loaded.
        StoreError, UsageError: as for `PairRequest.from_config`.
    """
    request = PairRequest.from_config(config)
    divide = take_rows(name_rows(inputs), "the session") if inputs else request.divide
    first, second = (
        Side(letter, side_config, given and given[index])
        for index, (letter, side_config) in enumerate(zip("AB", request.sides, strict=True))
    )
    screens = SideProgress(progress, "A"), SideProgress(progress, "B")
    second.load(screens[1], divide)
    _refuse_seen(second)
    second.release()
    first.load(screens[0], divide, inputs)
    _refuse_seen(first)
    rows = MatchedTasks.match(first.test, second.test)
    rows.refuse_token_counts()
    first.keep_rows(rows.first)
    second.keep_rows(rows.second)
    note_both(progress, *screens)
    if note := rows.describe_shots():
        progress.note(note)
    return Prepared(first, second, rows.same_tokens, rows.left_out, (note,) if note else ())


def _refuse_seen(side: Side) -> None:
    for task in side.test.values():
        refuse_seen(task, side.seen or (), f"{side.letter}, {side.config.model},")
