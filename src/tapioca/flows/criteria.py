"""Let criteria choose plans on the search split, and count what each would cost alone."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tapioca.disk import write_json
from tapioca.flows.prepare import Job
from tapioca.geometry.similarity import Similarity
from tapioca.observe import similarity
from tapioca.records import Example, Plan, Row, Searched
from tapioca.records.tree import layers_computed
from tapioca.runs.folder import read_json
from tapioca.search.base import Picks, Question, Search, Space
from tapioca.search.criteria import Criterion
from tapioca.tasks.base import Task
from tapioca.tasks.batches import batches
from tapioca.tasks.perplexity import Perplexity

SIMILARITY = "similarity.json"


class Chooser:
    """Runs criteria on the OOD search split of one job; what one has scored, the others need not score again."""

    def __init__(self, job: Job, space: Space):
        self.job, self.space = job, space
        task = job.search["ood"]
        self.tasks = {"score": task, "likelihood": task, "text": prompt_tokens(task) or task}
        self._parts: dict[tuple[str, float], Task] = {}
        self._similarity: tuple[Similarity, float] | None = None

    def choose(self, name: str, criterion: Criterion) -> tuple[Picks, Searched]:
        """The plans of one criterion, and what it cost."""
        space, seconds, forwards = self.space, 0.0, 0.0
        if criterion.guide == "states":
            measured, seconds = self._measured()
            space = replace(space, similarity=measured)
            forwards = float(space.n_layers * len(self.job.search["ood"].examples))
        search = Search(criterion.choose(space))
        asked: dict[tuple[Plan, str], None] = {}
        while question := search.ask():
            task = self._part(criterion.guide, question.share)
            scores = self.job.evaluate(task, list(question.plans), f"{name}: {_what(question)}")
            table = scores.likelihoods if criterion.guide == "likelihood" else scores.values
            search.tell(np.average(table, axis=1, weights=task.weights).tolist())
            cut = batches(task, self.job.config.batch_size)
            rows = {batch.digest: sum(len(example.rows) for example in batch.examples) for batch in cut}
            for digest, count in rows.items():
                new = [plan for plan in question.plans if (plan, digest) not in asked]
                forwards += layers_computed(tuple(new)) * count
                asked |= dict.fromkeys((plan, digest) for plan in new)
        seconds += sum(self.job.store.cost(plan, batch).seconds for plan, batch in asked)
        tried = len({plan for plan, _ in asked})
        return search.picks, Searched(
            name=name,
            about=criterion.about,
            source=criterion.source,
            plans_tried=tried,
            layer_forwards=round(forwards),
            seconds=seconds,
        )

    def _part(self, guide: str, share: float) -> Task:
        """A seeded share of a task, in whole batches, so that their answers serve the whole task too."""
        key = guide, share
        if share == 1.0:
            return self.tasks[guide]
        if key not in self._parts:
            task = self.tasks[guide]
            cut = batches(task, self.job.config.batch_size)
            order = np.random.default_rng(self.job.config.seed).permutation(len(cut))
            some = [cut[at] for at in order[: max(1, round(share * len(cut)))]]
            self._parts[key] = task.only(example for batch in some for example in batch.examples)
        return self._parts[key]

    def _measured(self) -> tuple[Similarity, float]:
        """The similarity of states and the seconds it took, from the run folder where it was measured before."""
        if self._similarity is None:
            folder, data = self.job.store.folder, self.job.search["ood"].digest
            if not (folder / SIMILARITY).exists() or read_json(folder, SIMILARITY).get("data") != data:
                write_json(folder / SIMILARITY, {"data": data, **self._measure()})
            found = read_json(folder, SIMILARITY)
            arrays = {name: np.array(found[name]) for name in ("influence", "magnitude", "angles")}
            self._similarity = Similarity(**arrays), float(found["seconds"])
        return self._similarity

    def _measure(self) -> dict[str, object]:
        examples = self.job.search["ood"].examples
        self.job.watcher.stage("similarity of states", len(examples))
        start = time.perf_counter()
        found = similarity(self.job.loaded.model, examples, self.job.config.batch_size, self.job.watcher.advance)
        arrays = {name: value.tolist() for name, value in vars(found).items()}
        return {**arrays, "seconds": time.perf_counter() - start}


def stand_ins(job: Job, chosen: Iterable[str]) -> list[str]:
    """Which criteria fall together on these data, and why."""
    notes = []
    if "sleb" in chosen and prompt_tokens(job.search["ood"]) is None:
        notes.append(
            f"sleb: the model predicts no tokens of a prompt, so {job.metric.name} stands in for their perplexity"
        )
    if "likelihood" in chosen and job.metric.kind == "error":
        notes.append(f"likelihood: {job.metric.name} is itself a graded score, so this is the same as tale")
    return notes


def prompt_tokens(task: Task) -> Task | None:
    """A task's prompts as running text; None where they are numbers or single tokens, or a head answers that knows labels."""
    if task.classifies or isinstance(task.examples[0].prompt, np.ndarray):
        return None
    longer = [example for example in task.examples if len(example.prompt) > 1]
    examples = tuple(
        Example(
            id=example.id,
            group=example.group,
            rows=(Row(inputs=example.prompt[:-1], targets=tuple(example.prompt[1:])),),
            prompt=example.prompt,
            weight=len(example.prompt) - 1,
        )
        for example in longer
    )
    return Perplexity(name=f"prompts of {task.name}", examples=examples) if examples else None


def _what(question: Question) -> str:
    count = len(question.plans)
    return f"{count} plan{'s' if count != 1 else ''}" + (f" on {question.share:.0%}" if question.share < 1 else "")
