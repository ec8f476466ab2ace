"""The geometry of a model on ID and OOD data, before and after a plan: what a user asks for, and what was found."""

from typing import Literal

import numpy as np

from tapioca.plan import Plan
from tapioca.records.measures import Attribution, Estimate, PermutationTest, RepresentationMeasures, Updates
from tapioca.records.results import Deviation, Domain, Profile, ProfileKind, Record, RunHeader


class View(Record):
    """Everything observed of one set of examples under one plan.

    Attributes:
        profile: norm and pairwise distance after each kept layer; says which data, and whether under the plan.
        measures: the field's measures; `alignment` is with the ID reference, `cka` with the same examples under the full
            model.
        layers: what each layer adds to the residual stream.
        branches: what each branch adds; None where it was not asked for.
    """

    profile: Profile
    measures: RepresentationMeasures
    layers: Updates
    branches: Updates | None = None


class TestedDeviation(Record):
    """A deviation from the ID reference, and a permutation test of it.

    Attributes:
        permuted: with examples that change places with those of the reference. Of one data set under the plan it asks
            whether its states are those of the reference under the full model, which a plan that changes anything denies.
    """

    deviation: Deviation
    permuted: PermutationTest

    @property
    def mean_abs_effect(self) -> float:
        """Mean over the layers of |Cohen's d|."""
        return float(np.abs(self.deviation.effect).mean())


class Realignment(Record):
    """The deviation that a plan removes, over the layers it keeps; negative where it adds.

    Attributes:
        kind: the profile that deviates.
        ood: of the OOD examples.
        id: of ID examples other than the reference: what the plan does to data that was not shifted.
        permuted: of `ood`, with OOD and reference examples that change places.
    """

    kind: ProfileKind
    ood: Estimate
    id: Estimate
    permuted: PermutationTest


class OtherRealignment(Record):
    """The realignment by another definition; a claim about it should not hang on one.

    Attributes:
        kind: the profile that deviates.
        reference: what states under the plan are compared with: ID states of the full model, or of the same plan.
        length: whether states are as they are, or scaled to length 1, which leaves their directions.
        ood, id: as in `Realignment`.
    """

    kind: ProfileKind
    reference: Literal["full model", "same plan"]
    length: Literal["raw", "unit"]
    ood: Estimate
    id: Estimate


class GeometryResult(RunHeader):
    """One finished profile: what `tapioca geometry` returns and `geometry.json` holds.

    Attributes:
        plan: the full model where none was given.
        n: examples in each of the three sets: ID reference, ID and OOD.
        views: ID and OOD under the full model, then under the plan.
        deviations: under the full model, over all layers: ID and OOD, norm and distance.
        kept: over the layers the plan keeps, under the full model and under the plan; empty without one.
        realigned: norm and distance; empty without a plan.
        realigned_otherwise: the same by other definitions; norms at unit length are left out, which are all 1.
        attributions: of the OOD deviation under the full model to its layers, norm and distance.
    """

    reference: str
    plan: Plan
    n: int
    views: tuple[View, ...]
    deviations: tuple[TestedDeviation, ...]
    kept: tuple[TestedDeviation, ...]
    realigned: tuple[Realignment, ...]
    attributions: tuple[Attribution, ...]
    realigned_otherwise: tuple[OtherRealignment, ...] = ()

    def find_view(self, domain: Domain, planned: bool = False) -> View:
        """What was observed of one data set.

        Raises:
            KeyError: nothing was observed under a plan.
        """
        matching_views = (view for view in self.views if (view.profile.data, view.profile.planned) == (domain, planned))
        if view := next(matching_views, None):
            return view
        raise KeyError(f"{domain} under {'a plan' if planned else 'the full model'} was not observed")

    def find_deviation(self, kind: ProfileKind, domain: Domain = "ood") -> TestedDeviation:
        """The deviation under the full model, over all layers."""
        return next(test for test in self.deviations if (test.deviation.kind, test.deviation.data) == (kind, domain))

    def find_attribution(self, kind: ProfileKind) -> Attribution:
        """Each layer's share of the OOD deviation under the full model."""
        return next(attribution for attribution in self.attributions if attribution.kind == kind)
