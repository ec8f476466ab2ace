"""One model of a study with its data, split once, and all of its plans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np
import torch
import transformers

from tapioca.errors import ModelError
from tapioca.evaluate import check_task, evaluate
from tapioca.flows.data import read_task
from tapioca.flows.space import droppable
from tapioca.lab.baselines import errors
from tapioca.lab.tasks import draw_named
from tapioca.models.find import find_layers
from tapioca.models.identity import model_hash
from tapioca.models.load import Loaded
from tapioca.observe import sample, stream_states
from tapioca.records import Plan, Scores
from tapioca.runs.fingerprint import fingerprint
from tapioca.search.base import Space
from tapioca.search.greedy import Greedy
from tapioca.search.population import MOST_LAYERS, every_plan
from tapioca.studies.analyse.log_ratios import Plans
from tapioca.studies.spec import StudyFile
from tapioca.tasks.base import Task
from tapioca.tasks.shots import deal_shots, part_of
from tapioca.tasks.split import limited, refuse_leak, refuse_same, search_groups, split

Place = tuple[str, int]
"""A kind of shift, and the number of its strength."""
ID: Place = ("id", 0)
LAB = "lab:"
JUDGING = {"title", "settings", "claims", "margins", "min_models", "ceiling", "draws", "amended"}
"""What of a study changes nothing that is measured."""
BASELINES = ("ridge", "nearest neighbour", "constant")


@dataclass(eq=False)
class Bench:
    """A model, its ID data and the ways in which they drift.

    Args:
        study: how much is measured.
        name: of the model.
        loaded: the model.
        names: tasks by kind of shift and strength; `ID` among them.
        place: of the model among those of its setting; every model has prompts of its own.
    """

    study: StudyFile
    name: str
    loaded: Loaded
    names: dict[Place, str]
    place: int

    @cached_property
    def tasks(self) -> dict[Place, tuple[Task, Task]]:
        """Search and test split of every task; what shares a group is on one side in all of them.

        Raises:
            DataError: a task cannot be read, is too small, holds the rows of the ID task, or a test split holds what a
                search has seen.
        """
        size = self.study.search + self.study.test
        whole = {at: limited(self._read(name, size), size, self.study.seed) for at, name in self.names.items()}
        share = self.study.search / size
        groups = search_groups([task.examples for task in whole.values()], share, self.study.seed)
        parts = {at: split(task, groups) for at, task in whole.items()}
        self._refuse_leaks(whole, parts)
        searched = {at: search for at, (search, _) in parts.items()}
        dealt = deal_shots(whole, searched, [test for _, test in parts.values()], self.study.seed)
        return {at: (part_of(dealt[at], search), part_of(dealt[at], test)) for at, (search, test) in parts.items()}

    @cached_property
    def space(self) -> Space:
        """What there is to drop.

        Raises:
            ModelError: the model has more layers than all plans can be evaluated for, or none that can be dropped.
        """
        count, some = len(find_layers(self.loaded.model)), droppable(self.loaded.model)
        if not some or count > MOST_LAYERS:
            raise ModelError(
                f"{self.name}: a study evaluates every plan; expected at most {MOST_LAYERS} layers of which some can be "
                f"dropped, got {count} of which {len(some)} can"
            )
        return Space(count, tuple(range(1, min(len(some), count - 1) + 1)), some, {}, self.study.seed)

    @cached_property
    def plans(self) -> list[Plan]:
        """Every plan of drops, the full model first."""
        found = [plan for size in self.space.sizes for plan in every_plan(self.space, size)]
        return [Plan.full(self.space.n_layers), *found]

    @cached_property
    def kept(self) -> np.ndarray:
        """Which layers each plan keeps, (plan, layer)."""
        return np.array([[layer in plan.kept for layer in range(plan.n_layers)] for plan in self.plans])

    @cached_property
    def id_states(self) -> tuple[np.ndarray, np.ndarray]:
        """Of ID search examples, the reference, and of ID test examples: (layer + 1, example, width)."""
        found = [self.observed(half, self.sample(half)) for half in self.tasks[ID]]
        return found[0], found[1]

    def searched(self, scores: np.ndarray, task: Task) -> Greedy:
        """Greedy's search, told the scores of all plans on a task, (plan, example)."""
        return Plans(self.kept).greedy(np.average(scores, axis=1, weights=task.weights))

    def sample(self, task: Task) -> int:
        """How many examples of a task can be observed: one of each group."""
        return min(self.study.search, len(set(task.groups)))

    def observed(self, task: Task, size: int) -> np.ndarray:
        """States of a task's examples under the full model, (layer + 1, example, width)."""
        chosen = sample(task.examples, size, self.study.seed)
        return stream_states(self.loaded.model, self.plans[0], chosen, self.study.batch_size)

    def scores(self, task: Task, plans: list[Plan]) -> Scores:
        """Scores of plans on a task."""
        return evaluate(self.loaded.model, task, plans, batch_size=self.study.batch_size)

    def baselines(self, at: Place, test: Task) -> np.ndarray:
        """Errors of what needs no model on test prompts, (baseline, example); outside of the lab there are none."""
        if not self.names[at].startswith(LAB):
            return np.empty((len(BASELINES), 0))
        named = draw_named(self._full_name(self.names[at], self.study.search + self.study.test))
        found = errors(named.prompts, named.scored)
        rows = [int(example.id) for example in test.examples]
        return np.stack([found[name][rows] for name in BASELINES])

    def key(self, at: Place) -> str:
        """Names everything that can change what is measured there."""
        return fingerprint(
            {
                "model": self.model_hash,
                "data": [self.tasks[place][half].digest for place in (at, ID) for half in (0, 1)],
                "study": json.loads(self.study.model_dump_json(exclude=JUDGING)),
                "versions": [version("tapioca-prune"), torch.__version__, transformers.__version__],
            }
        )

    @cached_property
    def model_hash(self) -> str:
        """Names the model's weights."""
        return model_hash(self.loaded.model)

    def _refuse_leaks(self, tasks: Mapping[Place, Task], splits: Mapping[Place, tuple[Task, Task]]) -> None:
        """Refuse what `tapioca prune` refuses, for every shift beside the ID task."""
        id_search, id_test = splits[ID]
        for place, (search, test) in splits.items():
            if place != ID:
                refuse_same(tasks[place], tasks[ID])
                refuse_leak(search, id_test)
            refuse_leak(search, test)
            refuse_leak(id_search, test)

    def _read(self, name: str, size: int) -> Task:
        lab = name.startswith(LAB)
        task = read_task(
            self._full_name(name, size) if lab else name, self.loaded, {} if lab else {"score": "likelihood"}
        )
        check_task(self.loaded.model, task)
        return task

    def _full_name(self, name: str, size: int) -> str:
        """A data set of the lab with this model's own prompts."""
        return f"{name},n={size},seed={self.study.seed + self.place}"
