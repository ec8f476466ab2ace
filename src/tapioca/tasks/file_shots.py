"""Worked examples in the prompts of tasks from files: drawn for each row, from rows that give nothing away."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.base import Shots, Task
from tapioca.tasks.builders import Builder
from tapioca.tasks.prompt import Worked
from tapioca.tasks.sieve import Sieve


@dataclass
class Pool:
    """Rows that may be shown, by their place.

    Attributes:
        worked: question and answer of each.
        groups, questions: the places of each group, and of each question.
    """

    worked: list[Worked] = field(default_factory=list)
    groups: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    questions: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, worked: Worked, group: str) -> None:
        """Let a row be shown."""
        place = len(self.worked)
        self.worked.append(worked)
        self.groups[group].add(place)
        self.questions[plain(worked[0])].add(place)

    def telling(self, question: str, group: str) -> set[int]:
        """Places that must not be shown before a question of a group."""
        return self.groups.get(group, set()) | self.questions.get(question, set())

    def draw(self, count: int, telling: set[int], random: Random) -> list[Worked]:
        """So many rows in an order drawn at random, none of them telling."""
        places = random.sample(range(len(self.worked)), count)
        if telling & set(places):
            places = random.sample(sorted(set(range(len(self.worked))) - telling), count)
        return [self.worked[place] for place in places]


@dataclass(frozen=True, eq=False)
class FileShots(Shots):
    """Worked examples for the rows of a file; as in lm-eval every row has a draw of its own, so that no result hangs on
    one choice of worked examples.

    Attributes:
        count: how many a prompt shows.
        builder: makes the examples of the file.
        numbers: the row of each example, by its id.
    """

    count: int
    builder: Builder
    numbers: Mapping[str, int]

    @property
    def per_prompt(self) -> tuple[int, ...]:
        return (self.count,)

    @cached_property
    def questions(self) -> dict[str, str]:
        """What each example asks, without worked examples."""
        return {id: plain(self.builder.worked(number)[0]) for id, number in self.numbers.items()}

    def deal(self, task: Task, search: Task, held_out: Sequence[Task], seed: int) -> Task:
        """The task with worked examples from the search half; never the row itself, nor one of its group or its text.

        Raises:
            DataError: too few rows may be shown, or a prompt is longer than the model can read.
        """
        pool = self._pool(search, held_out)
        self._check(task, pool)
        table = self.builder.table
        sieve = Sieve(str(table.path), table.sieve.skip, table.sieve.skip_long)
        examples = list(sieve.make_each(lambda example: self._shown(example, pool, seed), task.examples))
        sieve.check(len(task.examples))
        head = f"{table.path.name}: {self.count} shots a prompt"
        notes = [note for note in task.notes if not note.startswith(head)]
        half, hidden = (" of the search half", ", and held-out rows") if held_out else ("", "")
        notes.append(
            f"{head}, drawn for each row from {len(pool.worked)} rows{half}; the row itself, rows of its group or its text"
            f"{hidden} are never shown"
        )
        if sieve.skipped:
            notes.append(f"{head}: {sum(sieve.skipped.values())} rows skipped, too long with them")
        skipped = Counter(task.skipped) + Counter(sieve.skipped)
        return replace(task, examples=tuple(examples), notes=tuple(notes), skipped=skipped, shared_prefix_length=-1)

    def _pool(self, search: Task, held_out: Sequence[Task]) -> Pool:
        """The rows of the search half, without those that stand in a held-out half as well."""
        held_out_questions = {question_of(part, example) for part in held_out for example in part.examples}
        groups = {group for part in held_out for group in part.groups}
        shots, pool = search.shots, Pool()
        if not isinstance(shots, FileShots):
            raise DataError(
                f"worked examples come from {search.name}, which has none of its own; say --num-fewshot for all data sets"
            )
        for example in search.examples:
            if example.group not in groups and shots.questions[example.id] not in held_out_questions:
                pool.add(shots.builder.worked(shots.numbers[example.id]), example.group)
        return pool

    def _check(self, task: Task, pool: Pool) -> None:
        """Refuse more worked examples than some row can be shown."""
        telling = max(len(pool.telling(self.questions[example.id], example.group)) for example in task.examples)
        most = len(pool.worked) - telling
        if self.count > most:
            raise DataError(
                f"{task.name}: {self.count} shots a prompt, but only {most} rows may be shown (never the row itself, one of its "
                f"group or its text, nor one that is held out); ask for at most {most}, or for none with --num-fewshot 0"
            )

    def _shown(self, example: Example, pool: Pool, seed: int) -> Example:
        """An example behind worked ones; id, group and content stay those of the question alone."""
        telling = pool.telling(self.questions[example.id], example.group)
        worked = pool.draw(self.count, telling, Random(f"{seed} {example.id}"))
        [shown] = self.builder.build(self.numbers[example.id], worked)
        return replace(shown, id=example.id, group=example.group, content=example.content)


def question_of(task: Task, example: Example) -> str:
    """What an example of any task asks."""
    return task.shots.questions[example.id] if isinstance(task.shots, FileShots) else plain(example.text)


def plain(question: str) -> str:
    """A question by which it is known wherever it stands; how its words are spaced makes no difference."""
    return " ".join(question.split())
