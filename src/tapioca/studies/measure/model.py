"""One model of a study with its data, split once, and all of its plans."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version

import numpy as np
import torch
import transformers

from tapioca.errors import ModelError
from tapioca.evaluate import check_task, evaluate
from tapioca.lab.baselines import measure_baseline_errors
from tapioca.lab.tasks import draw_lab_prompts
from tapioca.models.find import find_layers
from tapioca.models.identity import hash_model
from tapioca.models.load import LoadedModel
from tapioca.observe import GeometrySample, capture_states_of_plans, capture_stream_states
from tapioca.plan import Answerer, Plan
from tapioca.profiles.many_plans import ProfilesByPrefix, profile_prefixes
from tapioca.records import Scores
from tapioca.records.examples import Example
from tapioca.runs.fingerprint import fingerprint
from tapioca.search.base import SearchSpace
from tapioca.search.path import SearchPath
from tapioca.search.population import MAX_LAYERS, list_all_plans
from tapioca.session.data import read_task
from tapioca.session.search_space import find_droppable_layers, find_repeatable_layers
from tapioca.session.without_labels import UnlabelledData, UnlabelledJudge
from tapioca.studies.analyse.log_ratios import PlanSet
from tapioca.studies.spec import StudyFile
from tapioca.tasks.base import Task
from tapioca.tasks.shots import deal_to_splits
from tapioca.tasks.split import limit_task, refuse_leak, refuse_same, search_groups, split

TaskKey = tuple[str, int]
"""A kind of shift, and the number of its strength."""
ID: TaskKey = ("id", 0)
LAB_PREFIX = "lab:"
FIELDS_NOT_MEASURED = {
    "title",
    "settings",
    "claims",
    "margins",
    "min_models",
    "ceiling",
    "n_resamples",
    "amended",
    "power",
}
"""What of a study changes nothing that is measured."""
BASELINES = ("ridge", "nearest neighbour", "constant")


def list_versions() -> list[str]:
    """Of tapioca, torch and transformers, which can change what is measured."""
    return [version("tapioca-prune"), torch.__version__, transformers.__version__]


@dataclass(eq=False)
class StudyModel:
    """A model, its ID data and the ways in which they drift.

    Args:
        names: tasks by kind of shift and strength; `ID` among them.
        place: of the model among those of its setting; every model has prompts of its own.
    """

    study: StudyFile
    name: str
    loaded: LoadedModel
    names: dict[TaskKey, str]
    place: int
    _id_states: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _id_profiles: dict[int, tuple[ProfilesByPrefix, ProfilesByPrefix]] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> dict[TaskKey, tuple[Task, Task]]:
        """Search and test split of every task; what shares a group is on one side in all of them.

        Raises:
            DataError: a task cannot be read, is too small, holds the rows of the ID task, or a test split holds what a
                search has seen.
        """
        size = self.study.search + self.study.test
        seed = self.study.seed
        tasks = {key: limit_task(self._read(name, size), size, seed) for key, name in self.names.items()}
        groups = search_groups([task.examples for task in tasks.values()], self.study.search / size, seed)
        splits = {key: split(task, groups) for key, task in tasks.items()}
        self._refuse_leaks(tasks, splits)
        return deal_to_splits(tasks, splits, {key: (key, key) for key in tasks}, seed)[1]

    @cached_property
    def space(self) -> SearchSpace:
        """What there is to drop.

        Raises:
            ModelError: the model has more layers than all plans can be evaluated for, or none that can be dropped.
        """
        n_layers, droppable_layers = len(find_layers(self.loaded.model)), find_droppable_layers(self.loaded.model)
        if not droppable_layers or n_layers > MAX_LAYERS:
            raise ModelError(
                f"{self.name}: a study evaluates every plan; expected at most {MAX_LAYERS} layers of which some can be "
                f"dropped, got {n_layers} of which {len(droppable_layers)} can"
            )
        sizes = tuple(range(1, min(len(droppable_layers), n_layers - 1) + 1))
        repeatable = find_repeatable_layers(self.loaded.model)
        return SearchSpace(n_layers, sizes, droppable_layers, {}, self.study.seed, repeatable=repeatable)

    @cached_property
    def plans(self) -> list[Plan]:
        """Every plan of drops, the full model first."""
        dropping_plans = [plan for size in self.space.sizes for plan in list_all_plans(self.space, size)]
        return [Plan.full(self.space.n_layers), *dropping_plans]

    @cached_property
    def kept(self) -> np.ndarray:
        """Which layers each plan keeps, (plan, layer)."""
        return np.array([[layer in plan.kept for layer in range(plan.n_layers)] for plan in self.plans])

    @cached_property
    def faithfulness(self) -> np.ndarray:
        """How far each plan answers ID search prompts as the full model does, (plan,); no answer is read."""
        task = self.tasks[ID][0]
        judge = UnlabelledJudge(self.loaded.model, UnlabelledData(task, task, self.study.seed), self.study.batch_size)
        return judge.score("faithful", self.plans)

    def draw_sample(self, ood: Task) -> GeometrySample:
        """The examples whose geometry is measured: ID ones of both splits, and those of a task."""
        return GeometrySample.draw(*self.tasks[ID], ood, self.study.seed, self.study.geometry_size)

    def observe_id(self, sample: GeometrySample) -> tuple[np.ndarray, np.ndarray]:
        """States of the reference and of the other ID examples, as `observe_states`; read once for samples of one size."""
        if sample.size not in self._id_states:
            self._id_states[sample.size] = self.observe_states(sample.reference), self.observe_states(sample.id)
        return self._id_states[sample.size]

    def profile_id_under_plans(self, sample: GeometrySample) -> tuple[ProfilesByPrefix, ProfilesByPrefix]:
        """Profiles of the reference under every plan, as `profile_prefixes`; measured once for samples of one size."""
        if sample.size not in self._id_profiles:
            states = capture_states_of_plans(self.loaded.model, self.plans, sample.reference, self.study.batch_size)
            self._id_profiles[sample.size] = profile_prefixes(states)
        return self._id_profiles[sample.size]

    def run_greedy(self, scores: np.ndarray, task: Task) -> SearchPath:
        """Greedy's search, told the scores of all plans on a task, (plan, example)."""
        return PlanSet(self.kept).run_greedy(np.average(scores, axis=1, weights=task.weights))

    def find_dropping_plan(self, scores: np.ndarray, task: Task) -> Plan:
        """The best plan of greedy's path that drops something, told the same."""
        found = self.run_greedy(scores, task).best_nonempty
        assert found is not None  # there are layers that can be dropped (`space`), so there was a round
        return found.plan

    def observe_states(self, examples: Sequence[Example]) -> np.ndarray:
        """States under the full model, (layer + 1, example, width)."""
        return capture_stream_states(self.loaded.model, self.plans[0], examples, self.study.batch_size)

    def score_plans(self, task: Task, plans: Sequence[Answerer]) -> Scores:
        """Scores of plans, or of sums of outputs under plans, on a task."""
        return evaluate(self.loaded.model, task, plans, batch_size=self.study.batch_size)

    def baseline_errors(self, task_key: TaskKey, test: Task) -> np.ndarray:
        """Errors of what needs no model on test prompts, (baseline, example); outside of the lab there are none."""
        if not self.names[task_key].startswith(LAB_PREFIX):
            return np.empty((len(BASELINES), 0))
        lab_data = draw_lab_prompts(self._full_name(self.names[task_key], self.study.search + self.study.test))
        errors_by_baseline = measure_baseline_errors(lab_data.prompts, lab_data.scored)
        example_indices = [int(example.id) for example in test.examples]
        return np.stack([errors_by_baseline[name][example_indices] for name in BASELINES])

    def cell_fingerprint(self, task_key: TaskKey) -> str:
        """Names everything that can change what is measured there."""
        return fingerprint(
            {
                "model": self.model_hash,
                "data": [self.tasks[key][half].digest for key in (task_key, ID) for half in (0, 1)],
                "study": json.loads(self.study.model_dump_json(exclude=FIELDS_NOT_MEASURED)),
                "versions": list_versions(),
            }
        )

    @cached_property
    def model_hash(self) -> str:
        """Names the model's weights."""
        return hash_model(self.loaded.model)

    def _refuse_leaks(self, tasks: Mapping[TaskKey, Task], splits: Mapping[TaskKey, tuple[Task, Task]]) -> None:
        """Refuse what `tapioca prune` refuses, for every shift beside the ID task."""
        id_search, id_test = splits[ID]
        for place, (search, test) in splits.items():
            if place != ID:
                refuse_same(tasks[place], tasks[ID])
                refuse_leak(search, id_test)
            refuse_leak(search, test)
            refuse_leak(id_search, test)

    def _read(self, name: str, size: int) -> Task:
        is_lab = name.startswith(LAB_PREFIX)
        task = read_task(
            self._full_name(name, size) if is_lab else name, self.loaded, {} if is_lab else {"score": "likelihood"}
        )
        check_task(self.loaded.model, task)
        return task

    def _full_name(self, name: str, size: int) -> str:
        """A data set of the lab with this model's own prompts."""
        return f"{name},n={size},seed={self.study.seed + self.place}"
