"""Worked examples in prompts of lm-eval tasks: lm-eval's own draw, wherever that gives no answer away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import StringIO
from typing import Any

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.base import Shots, Task
from tapioca.tasks.lm_eval.errors import CostlyDocument, find_document
from tapioca.tasks.lm_eval.task import LmEvalTask

FEWSHOT_SEED = 1234
"""The seed lm-eval draws few-shot examples with."""


@dataclass
class Sampler:
    """Draws rows to show as lm-eval's sampler does; where that shows the row that is asked, one that says the same, or one
    that is held out, it draws again from the others, and leaves lm-eval's draws for later prompts as they were.

    Attributes:
        task: the lm-eval task.
        lm_eval_sampler: its sampler.
        splits: data splits to draw from, the first that has enough rows.
        name: of the task, for messages.
        secrets: questions that are held out.
        taken: prompts shown rows of each split.
        redrawn: prompts for which lm-eval's draw was not kept.
    """

    task: Any
    lm_eval_sampler: Any
    splits: tuple[str, ...]
    name: str
    secrets: frozenset[str] = frozenset()
    taken: Counter[str] = field(default_factory=Counter)
    redrawn: int = 0

    def sample(self, n: int, eval_doc: dict[str, Any], **_: Any) -> Sequence[dict[str, Any]]:
        """Rows to show before a document."""
        question = question_from_doc(self.task, eval_doc)
        first_pool = self.pools[self.splits[0]]
        if n <= len(first_pool):
            shot_docs = self.lm_eval_sampler.replace_df(first_pool).sample(n)
            shown = [question_from_doc(self.task, doc) for doc in shot_docs]
            if question not in shown and self.secrets.isdisjoint(shown):
                self.taken[self.splits[0]] += 1
                return list(shot_docs)
        state = self.lm_eval_sampler.rnd.getstate()
        self.redrawn += 1
        try:
            return self._redraw(n, question)
        finally:
            self.lm_eval_sampler.rnd.setstate(state)

    def set_rnd(self, rnd: int | None) -> Sampler:
        """As lm-eval's own: begin again with a seed."""
        self.lm_eval_sampler.set_rnd(rnd)
        self.taken.clear()
        self.redrawn = 0
        return self

    @cached_property
    def pools(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each split, as lm-eval shows them."""
        process = self.task.fewshot_cfg.process_docs or list
        return {split: list(process(self.task.dataset[split])) for split in self.splits}

    def _redraw(self, n: int, question: str) -> Sequence[dict[str, Any]]:
        """Rows from the first split that has enough of those that may be shown."""
        max_docs = 0
        for split in self.splits:
            docs = [doc for doc, asked in self._allowed[split] if asked != question]
            if n <= len(docs):
                self.taken[split] += 1
                return list(self.lm_eval_sampler.replace_df(docs).sample(n))
            max_docs = max(max_docs, len(self._allowed[split]) - (split == self.task.config.test_split))
        raise DataError(
            f"{self.name}: {n} shots a prompt, but only {max_docs} rows may be shown (never the row itself, nor one that is held out); "
            f"ask for at most {max_docs}, or for none with shots=0"
        )

    @cached_property
    def _allowed(self) -> dict[str, list[tuple[dict[str, Any], str]]]:
        """The rows of each split that are not held out, and their questions; read where lm-eval's draw was not kept."""
        return {
            split: [(doc, asked) for doc in docs if (asked := question_from_doc(self.task, doc)) not in self.secrets]
            for split, docs in self.pools.items()
        }


@dataclass(frozen=True, eq=False)
class HarnessShots(Shots):
    """Worked examples of the lm-eval tasks behind one task.

    Attributes:
        counts: how many each lm-eval task shows in a prompt.
        splits: where each draws them from (`list_shot_splits`); empty where lm-eval itself fixes them.
        lm_eval_samplers: the sampler of each, as lm-eval made it.
        chat: what lm-eval's `build_all_requests` is told about chat.
        example: makes an example of a task, an id and lm-eval's requests.
        notes: of the task without worked examples.
    """

    counts: dict[Any, int]
    splits: dict[Any, tuple[str, ...]]
    lm_eval_samplers: dict[Any, Any]
    chat: dict[str, Any]
    example: Callable[[Any, str, list[Any]], Example]
    notes: tuple[str, ...]

    @property
    def per_prompt(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.counts.values())))

    def deal(self, task: Task, search: Task, held_out: Sequence[Task], seed: int) -> Task:
        """The task with prompts that show nothing of what is held out. lm-eval's seed is its own.

        Raises:
            DataError: too few rows may be shown.
        """
        assert isinstance(task, LmEvalTask)
        secrets = {
            question_from_doc(part.tasks[example.id], part.requests[example.id][0].doc)
            for part in held_out
            if isinstance(part, LmEvalTask)
            for example in part.examples
        }
        return self.show_shots(task, frozenset(secrets))

    def show_shots(self, task: LmEvalTask, secrets: frozenset[str] = frozenset()) -> LmEvalTask:
        """The task with worked examples in its prompts; ids, groups and contents stay those of the questions alone."""
        requests: dict[str, list[Any]] = {}
        samplers: list[Sampler] = []
        for harness_task, count in self.counts.items():
            if count and (splits := self.splits[harness_task]):
                sampler = Sampler(harness_task, self.lm_eval_samplers[harness_task], splits, task.name, secrets)
                harness_task.sampler = sampler
                harness_task.fewshot_cfg.split = (
                    harness_task.config.test_split
                )  # lm-eval then says which document is asked
                samplers.append(sampler)
            for number, doc_requests in build_requests(harness_task, count, self.chat).items():
                requests[make_example_id(harness_task, number)] = doc_requests
        examples = []
        for example in task.examples:
            shot_example = self.example(task.tasks[example.id], example.id, requests[example.id])
            examples.append(replace(shot_example, group=example.group, content=example.content))
        notes = (*self.notes, self._note(task.name, samplers, bool(secrets)))
        return replace(task, examples=tuple(examples), requests=requests, notes=notes, shared_prefix_length=-1)

    def _note(self, name: str, samplers: list[Sampler], divided: bool) -> str:
        """How many worked examples there are, and where they come from."""
        count = " or ".join(map(str, self.per_prompt))
        if not samplers:
            return f"{name}: {count} shots a prompt, the same ones, which the task itself gives"
        prompts: Counter[str] = Counter()
        for sampler in samplers:
            eval_split = sampler.task.config.test_split
            half = "search half of the " if divided else ""
            for split, n_taken in sampler.taken.items():
                prompts[f"{half if split == eval_split else ''}{split} split"] += n_taken
        places = " or ".join(f"the {place}" for place in sorted(prompts))
        redrawn = sum(sampler.redrawn for sampler in samplers)
        redraw_note = f", drawn anew for {redrawn} of {prompts.total()} prompts" if redrawn else ""
        return f"{name}: {count} shots a prompt, from {places}; the row itself and held-out rows are never shown{redraw_note}"


def build_requests(task: Any, shots: int, chat: dict[str, Any]) -> dict[int, list[Any]]:
    """lm-eval's own requests by document number, in order."""
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    try:
        with redirect_stderr(StringIO()):  # its own progress bar
            task.build_all_requests(**chat)
    except CostlyDocument as error:
        raise DataError(f"{make_example_id(task, find_document(error))}: {error}") from error
    requests_by_doc: dict[int, list[Any]] = defaultdict(list)
    for request in task.instances:
        requests_by_doc[request.doc_id].append(request)
    return dict(sorted(requests_by_doc.items()))


def make_example_id(task: Any, number: int) -> str:
    """What the example of a document is called."""
    return f"{task.task_name}/{number}"


def question_from_doc(task: Any, doc: dict[str, Any]) -> str:
    """What a document asks, without the answer, by which it is known wherever it stands.

    Raises:
        DataError: the document lacks what the task asks, as rows to show may.
    """
    try:
        return repr((task.doc_to_text(doc), task.doc_to_choice(doc) if task.config.doc_to_choice else None))
    except CostlyDocument:
        raise
    except Exception as error:  # templates and functions of the task, on a row of another form
        raise DataError(
            f"{task.task_name}: its rows to show have another form than those it asks ({error}), so none of them can be kept "
            "out of a prompt; use shots=0"
        ) from error


def list_shot_splits(task: Any, eval_split: str) -> tuple[str, ...]:
    """Where worked examples of an lm-eval task, as it was made, come from, best first: lm-eval's own split where another
    one is asked, another one that is no test split, and the asked split; empty where the task gives them itself."""
    config, fewshot_split = task.config, task.fewshot_cfg.split
    if fewshot_split is None and task.fewshot_cfg.samples is not None:
        return ()
    default_split = fewshot_split or config.training_split or config.validation_split
    named_splits = filter(None, (default_split, config.training_split, config.validation_split))
    splits = [*(split for split in named_splits if split != eval_split), eval_split]
    return tuple(split for split in dict.fromkeys(splits) if split in task.dataset)


def list_fixed_questions(task: Any) -> set[str]:
    """What the worked examples ask that a task gives itself, as far as they have the form of its rows."""
    try:
        return {question_from_doc(task, doc) for doc in task.sampler.fewshot_docs()}
    except DataError:
        return set()
