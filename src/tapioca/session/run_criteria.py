"""Let criteria choose plans on the search split, and count what each would cost alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from tapioca.disk import write_json
from tapioca.errors import StoreError
from tapioca.evaluate.scale_effects import measure_drop_effects
from tapioca.observe import measure_similarity
from tapioca.plan import GRAINS
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.profiles.layer_importance import LayerImportance
from tapioca.reading import explain_damage
from tapioca.records import CriterionCost, Example, Request
from tapioca.runs.fingerprint import add_fingerprint
from tapioca.runs.folder import read_json
from tapioca.search.base import Picks, ScoreRequest, Search, SearchSpace
from tapioca.search.criteria import GUIDES, PASSES, UNLABELLED, Criterion, Guide
from tapioca.session.context import AnyRun
from tapioca.session.search_cost import SearchCost
from tapioca.session.unlabelled_data import UnlabelledData
from tapioca.session.unlabelled_judge import UnlabelledJudge
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches
from tapioca.tasks.perplexity import Perplexity

MEASUREMENTS = {"states": "similarity.json", "gradients": "effects.json"}
"""Where a run folder keeps what guides criteria that ask for no score."""

Arrays = dict[str, np.ndarray]


def make_judge(job: AnyRun) -> UnlabelledJudge:
    """What scores plans on the search data of a run without labels; every answer is remembered in its folder."""
    data = UnlabelledData(job.search["ood"], job.search.get("id"), job.config.seed)
    return UnlabelledJudge(job.loaded.model, data, job.config.batch_size, job.evaluate, job.progress)


class CriteriaRunner:
    """Runs criteria on the OOD search split of one job; what one has scored, the others need not score again."""

    def __init__(self, job: AnyRun):
        self.job = job
        task = job.search["ood"]
        self.tasks = dict.fromkeys(GUIDES, task) | {"text": perplexity_task_from_prompts(task) or task}
        self._parts: dict[tuple[Guide, float], Task] = {}
        self._measured: dict[Guide, tuple[Arrays, float]] = {}

    def choose(self, name: str, criterion: Criterion) -> tuple[Picks, CriterionCost]:
        """The plans of one criterion, and what it cost."""
        space, spent = self.job.space, SearchCost(self.job)
        if guide := criterion.measured:
            space, spent.seconds = self.measure_guide(guide)
            rows = [1 if guide == "states" else len(example.rows) for example in self.job.search["ood"].examples]
            spent.layer_forwards = PASSES[guide] * space.n_layers * sum(rows)
        search = Search(criterion.choose, space)
        while question := search.ask():
            score = self._score_without_labels if criterion.guide in UNLABELLED else self._score
            search.tell(score(name, criterion.guide, question, spent))
        return search.picks, CriterionCost(
            name=name,
            about=criterion.about,
            source=criterion.source,
            reads=criterion.reads,
            plans_tried=len(spent.plans),
            layer_forwards=round(spent.layer_forwards),
            seconds=spent.total_seconds,
        )

    def _score(self, name: str, guide: Guide, question: ScoreRequest, spent: SearchCost) -> list[float]:
        """One score for each plan that is asked about, by answers."""
        task = self._sample_of_task(guide, question.share)
        scores = self.job.evaluate(task, list(question.plans), f"{name}: {_describe_question(question)}")
        spent.add_answers(task, question.plans)
        table = scores.log_likelihoods if guide == "likelihood" else scores.values
        averages: list[float] = np.average(table, axis=1, weights=task.weights).tolist()
        return averages

    def _score_without_labels(self, name: str, guide: Guide, question: ScoreRequest, spent: SearchCost) -> list[float]:
        """The same without reading an answer to OOD data, always on all of them."""
        start = time.perf_counter()
        scores: list[float] = self.judge.score(guide, question.plans).tolist()
        self.job.add_notes(*self.judge.take_notes())
        for task in (tasks := self.judge.list_tasks(guide)):
            spent.add_answers(task, question.plans)
        if not tasks:
            n_layers = count_layers_computed(spent.list_new(question.plans))
            if guide == "linear":  # from one pass of the full model
                n_layers = 0.0 if spent.plans else float(self.job.n_layers)
            spent.add_states(question.plans, n_layers * len(self.judge.ood_sample), time.perf_counter() - start)
        return scores

    @cached_property
    def judge(self) -> UnlabelledJudge:
        """What scores plans without labels."""
        return make_judge(self.job)

    def _sample_of_task(self, guide: Guide, share: float) -> Task:
        """A seeded share of a task, in whole batches, so that their answers serve the whole task too."""
        key = guide, share
        if share == 1.0:
            return self.tasks[guide]
        if key not in self._parts:
            task = self.tasks[guide]
            task_batches = make_batches(task, self.job.config.batch_size)
            order = np.random.default_rng(self.job.config.seed).permutation(len(task_batches))
            chosen_batches = [task_batches[index] for index in order[: max(1, round(share * len(task_batches)))]]
            self._parts[key] = task.select_examples(example for batch in chosen_batches for example in batch.examples)
        return self._parts[key]

    def measure_guide(self, guide: Guide) -> tuple[SearchSpace, float]:
        """The search space with what guides criteria without scores, and the seconds that took, from the run folder where
        it was measured before."""
        if guide not in self._measured:
            self._measured[guide] = self._load_measurement(guide)
        arrays, seconds = self._measured[guide]
        if guide == "states":
            return replace(self.job.space, similarity=LayerImportance(**arrays)), seconds
        return replace(self.job.space, drop_effects={grain: arrays[grain] for grain in GRAINS}), seconds

    def _load_measurement(self, guide: Guide) -> tuple[Arrays, float]:
        folder, data_digest = self.job.store.folder, self.job.search["ood"].digest
        path, remedy = folder / MEASUREMENTS[guide], "delete it, and it is measured anew"
        if not path.exists() or read_json(folder, path.name, remedy).get("data") != data_digest:
            start = time.perf_counter()
            arrays = {name: array.tolist() for name, array in self._measure(guide).items()}
            measured = {"data": data_digest, **arrays, "seconds": time.perf_counter() - start}
            write_json(path, add_fingerprint(measured))
        record = read_json(folder, path.name, remedy)
        names = ("influence", "magnitude", "angles") if guide == "states" else GRAINS
        with explain_damage(path, StoreError, remedy):
            return {name: np.array(record[name], dtype=float) for name in names}, float(record["seconds"])

    def _measure(self, guide: Guide) -> Arrays:
        task, model, progress = self.job.search["ood"], self.job.loaded.model, self.job.progress
        batch_size = self.job.config.batch_size
        progress.stage("similarity of states" if guide == "states" else "gradients by scales", len(task.examples))
        if guide == "states":
            return vars(measure_similarity(model, task.examples, batch_size, progress.advance))
        effects = measure_drop_effects(model, task, batch_size, progress.advance)
        return {str(grain): by_layer for grain, by_layer in effects.items()}


def equivalent_criteria(job: AnyRun, chosen: Mapping[str, Criterion]) -> list[str]:
    """Which criteria fall together on these data, and why."""
    notes = []
    by_text = [name for name, criterion in chosen.items() if criterion.guide == "text"]
    if by_text and perplexity_task_from_prompts(job.search["ood"]) is None:
        reason = f"the model predicts no tokens of a prompt, so {job.metric.name} stands in for their perplexity"
        notes += [f"{name}: {reason}" for name in by_text]
    if "likelihood" in chosen and job.metric.kind == "error":
        notes.append(f"likelihood: {job.metric.name} is itself a graded score, so this is the same as tale")
    return notes


def perplexity_task_from_prompts(task: Task) -> Task | None:
    """A task's prompts as running text; None where they are numbers or single tokens, or a head answers that knows labels."""
    if task.is_sequence_classifier or isinstance(task.examples[0].prompt, np.ndarray):
        return None
    longer = [example for example in task.examples if len(example.prompt) > 1]
    examples = tuple(
        Example(
            id=example.id,
            group=example.group,
            rows=(Request(inputs=example.prompt[:-1], targets=tuple(example.prompt[1:])),),
            prompt=example.prompt,
            weight=len(example.prompt) - 1,
        )
        for example in longer
    )
    return Perplexity(name=f"prompts of {task.name}", examples=examples) if examples else None


def _describe_question(question: ScoreRequest) -> str:
    count = len(question.plans)
    return f"{count} plan{'s' if count != 1 else ''}" + (f" on {question.share:.0%}" if question.share < 1 else "")
