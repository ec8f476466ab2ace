"""The field's measures of one set of states, as one record."""

import numpy as np

from tapioca.plan import Plan
from tapioca.profiles.cka import covariance_alignment, linear_cka
from tapioca.profiles.spread import cosine_spread, effective_rank, intrinsic_dimension
from tapioca.records import RepresentationMeasures


def measure_representation(
    plan: Plan, states: np.ndarray, full: np.ndarray | None = None, reference: np.ndarray | None = None
) -> RepresentationMeasures:
    """Cosine spread, effective rank and intrinsic dimension of some states, and how like others they are.

    Args:
        plan: under which they were observed.
        states: (kept layer, example, width).
        full: of the same examples under the full model, after the layers the plan keeps: for CKA.
        reference: of ID examples under the full model, after the layers the plan keeps: for covariances.

    Raises:
        NonFiniteError: a measure is not defined for these states.
        ValueError: the shapes do not fit.
    """
    return RepresentationMeasures(
        plan=plan,
        n=states.shape[1],
        cosine_spread=cosine_spread(states).tolist(),
        effective_rank=effective_rank(states).tolist(),
        intrinsic_dimension=intrinsic_dimension(states).tolist(),
        cka=None if full is None else linear_cka(states, full).tolist(),
        alignment=None if reference is None else covariance_alignment(states, reference).tolist(),
    )
