"""A model, a plan, and what there is to see of ID and OOD examples under both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from transformers import PreTrainedModel

from tapioca.flows.geometry import deviations_of, profile_of
from tapioca.flows.space import droppable
from tapioca.flows.watcher import Watcher
from tapioca.geometry.alignment import realignment
from tapioca.geometry.measures import spread
from tapioca.geometry.nulls import Profiles, deviating, permutation, realigning
from tapioca.geometry.profiles import KINDS, Shape, shape
from tapioca.observe import attribution, states, updates
from tapioca.records import Attribution, Example, Plan, ProfileConfig, Realigned, Tested, Updates, View
from tapioca.records.results import Data

SETS: tuple[Data, ...] = ("id", "ood")


@dataclass(frozen=True, eq=False)
class Seen:
    """The states of the three sets of examples under one plan, (kept layer, example, width)."""

    reference: np.ndarray
    id: np.ndarray
    ood: np.ndarray

    def of(self, data: Data) -> np.ndarray:
        """The states of one data set."""
        return self.ood if data == "ood" else self.id

    def after(self, layers: Sequence[int]) -> Seen:
        """The states after some of the layers only."""
        at = list(layers)
        return Seen(self.reference[at], self.id[at], self.ood[at])


class Scene:
    """A model, a plan and the examples they are observed on; states are observed once, when it is made."""

    def __init__(
        self,
        model: PreTrainedModel,
        full: Plan,
        plan: Plan | None,
        reference: tuple[Example, ...],
        samples: dict[Data, tuple[Example, ...]],
        config: ProfileConfig,
        watcher: Watcher,
    ):
        self.model, self.full, self.plan, self.config, self.watcher = model, full, plan, config, watcher
        self.reference, self.samples, self.n = reference, samples, len(reference)
        watcher.stage("hidden states", 6 if plan else 3)
        self.before = self._see(full)
        self.planned = self._see(plan) if plan else None
        self.pool = shape(np.concatenate([self.before.reference, self.before.id], axis=1))
        self.pairs = {data: self._pair(self.before.of(data), self.before.reference) for data in SETS}

    def views(self) -> tuple[View, ...]:
        """Everything observed of ID and OOD data, under the full model and under the plan."""
        seen = [(self.full, self.before)] + ([(self.plan, self.planned)] if self.plan and self.planned else [])
        self.watcher.stage("updates of the residual stream", len(seen) * len(SETS))
        return tuple(self._view(plan, states, data) for plan, states in seen for data in SETS)

    def attributions(self) -> tuple[Attribution, ...]:
        """Each layer's own share of the OOD deviation under the full model."""
        layers = droppable(self.model)
        self.watcher.stage("attribution: each layer dropped alone", len(layers))
        return attribution(
            self.model,
            self.samples["ood"],
            self.reference,
            layers,
            self.config.batch_size,
            self.config.seed,
            on_layer=lambda: self.watcher.advance(1),
        )

    def deviations(self) -> tuple[Tested, ...]:
        """From the reference under the full model, over all layers."""
        self.watcher.stage("permutation tests", 0)
        return tuple(self._tested(self.pairs, self.pool, self.full.kept, planned=False))

    def kept(self) -> tuple[Tested, ...]:
        """The same over the layers the plan keeps, under the full model and under the plan."""
        if self.plan is None or self.planned is None:
            return ()
        reference, layers = self.before.after(self.plan.kept).reference, self.plan.kept
        pool = self.pool.take(layers=layers)
        before = {data: pair.take(layers=layers) for data, pair in self.pairs.items()}
        after = {data: self._pair(self.planned.of(data), reference) for data in SETS}
        return (*self._tested(before, pool, layers, planned=False), *self._tested(after, pool, layers, planned=True))

    def realigned(self) -> tuple[Realigned, ...]:
        """What the plan takes off the deviation of OOD data, and of ID data."""
        if self.plan is None or self.planned is None:
            return ()
        first, seed = range(self.n), self.config.seed
        reference = self.pool.take(self.plan.kept, first)
        before = {data: pair.take(layers=self.plan.kept) for data, pair in self.pairs.items()}
        after = {data: self._pair(self.planned.of(data), self.planned.reference) for data in SETS}
        found = {
            data: realignment(before[data].take(examples=first), after[data].take(examples=first), reference, seed)
            for data in SETS
        }
        both = zip(_profiles(before["ood"]), _profiles(after["ood"]), strict=True)
        tests = [permutation(realigning(*pair), self.n, self.n, seed) for pair in both]
        return tuple(
            Realigned(kind=kind, ood=found["ood"][at], id=found["id"][at], permuted=tests[at])
            for at, kind in enumerate(KINDS)
        )

    def _see(self, plan: Plan) -> Seen:
        found = []
        for examples in (self.reference, self.samples["id"], self.samples["ood"]):
            found.append(states(self.model, plan, examples, self.config.batch_size))
            self.watcher.advance(1)
        return Seen(*found)

    def _pair(self, seen: np.ndarray, reference: np.ndarray) -> Shape:
        return shape(np.concatenate([seen, reference], axis=1))

    def _view(self, plan: Plan, seen: Seen, data: Data) -> View:
        full = self.before.after(plan.kept)
        same = None if plan.is_full else full.of(data)
        found = View(
            profile=profile_of(shape(seen.of(data)), data, plan, self.config.seed),
            spread=spread(plan, seen.of(data), same, full.reference),
            layers=self._updates(plan, data, "layer"),
            branches=self._updates(plan, data, "branch") if self.config.branches else None,
        )
        self.watcher.advance(1)
        return found

    def _updates(self, plan: Plan, data: Data, grain: Literal["layer", "branch"]) -> Updates:
        return updates(self.model, plan, self.samples[data], grain, self.config.batch_size, self.config.seed)

    def _tested(self, pairs: dict[Data, Shape], pool: Shape, layers: Sequence[int], planned: bool) -> list[Tested]:
        """Every data set against the reference, the second half of its pair and the first of the pool."""
        n, seed, found = self.n, self.config.seed, []
        for data, pair in pairs.items():
            own, reference = pair.take(examples=range(n)), pool.take(examples=range(n))
            deviations = deviations_of(own, reference, pool, data, planned, tuple(layers), seed)
            tests = [permutation(deviating(profiles), n, n, seed) for profiles in _profiles(pair)]
            found += [Tested(deviation=d, permuted=p) for d, p in zip(deviations, tests, strict=True)]
        return found


def _profiles(shape: Shape) -> tuple[Profiles, Profiles]:
    """In the order of `KINDS`."""
    return shape.norm_profile, shape.distance_profile
