"""Plans scored without any right answer to OOD data, by every criterion there is for that."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedModel

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.session.unlabelled_data import UnlabelledData, explain_missing
from tapioca.session.unlabelled_judge import UnlabelledJudge

__all__ = ["UnlabelledData", "UnlabelledJudge", "explain_missing", "score_without_labels"]


def score_without_labels(
    model: PreTrainedModel, plans: Sequence[Plan], data: UnlabelledData, names: Sequence[str], batch_size: int = 16
) -> dict[str, np.ndarray]:
    """Score plans by criteria that read no right answer to OOD data; higher is better.

    - `geometry`: OOD states at the last prompt token under the plan, ID states there under the full model. By how much the plan
      brings their two profiles (norm, pairwise distance) closer: the mean |log ratio| under the full model less that under
      the plan, over the layers kept; 0 for the full model.
    - `geometry-unit`: the same of states divided by their norm, by the distance profile alone.
    - `mahalanobis`: OOD states after the plan's last layer. Minus their mean Mahalanobis distance from the ID states after
      the full model's last, with a shrunk covariance.
    - `agreement`: answers to OOD requests, and to the same requests changed so that the answer should stay
      (`tasks.without_answers.change_requests`). Choices and labels: Cohen's kappa; numbers: Lin's concordance. 1 where all
      agree, 0 as by chance, so that a model that always says the same gains nothing.
    - `entropy`, `margin`: choices and labels. Minus the mean entropy of the answer to OOD requests in nats; by how much its
      log-probability exceeds the next one's, on average.
    - `faithful`: answers to ID requests under the plan and under the full model. Choices and labels: minus the mean
      Kullback-Leibler divergence from the full model's, in nats. Numbers: minus the mean squared difference over the variance
      of the full model's. Written texts: the mean log-likelihood per token of what the full model writes; running text: its
      own.
    - `proxy`: the full model's answers to the half of the OOD requests where its margin is largest. Their mean
      log-likelihood, as the task divides it.
    - `linear`: OOD states under the full model at some tokens. Minus the sum, over the blocks a plan drops, of what a linear
      map leaves unexplained of the states behind a block from those in front (`profiles.linear_maps`).

    Args:
        model: left as it was.
        plans: drops; `linear` knows whole layers alone.
        data: what they are scored on.
        names: of the criteria.
        batch_size: examples in a batch; part of what is measured.

    Returns:
        By name float64 of shape (plan,).

    Raises:
        UsageError: a criterion cannot be had for the data, and why.
        NonFiniteError: a state or an output is NaN or infinite.
    """
    judge = UnlabelledJudge(model, data, batch_size)
    for name in names:
        if reason := explain_missing(name, data):
            raise UsageError(f"{name} cannot be had: {reason}")
    return judge.score_all(names, plans)
