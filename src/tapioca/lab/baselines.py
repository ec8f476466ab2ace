"""What can be known of the answers without a trained model, from the same context.

Every baseline answers each of the last `scored` points of a prompt from the points before it, and its error is the mean
squared error over them: what the task measures of a model. The measures below put a model's error beside theirs.
"""

from collections.abc import Callable

import numpy as np

from tapioca.lab.functions import COEFFICIENT_VARIANCE, Polynomials, Prompts

Predictor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Context x and y of shape (prompt, context point) and one more x of shape (prompt,), to the y there."""


def measure_baseline_errors(prompts: Prompts, scored: int) -> dict[str, np.ndarray]:
    """The error of every baseline on every prompt.

    - `ridge`: see `predict_ridge`, with the degree of the prompts' law and the noise that `estimate_residual_noise` finds;
    - `nearest neighbour`: the y read at the context point whose x is nearest;
    - `constant`: 0, the mean of the training law. It is not the mean of the answers at hand, as `Regression.constant` is:
      a shift that moves them makes it worse.

    Args:
        prompts: the prompts; to functions of another class ridge fits the polynomials they stand in for.
        scored: how many of the last points are scored.

    Returns:
        Mean squared errors of shape (prompt,), by baseline.
    """
    law, noise = prompts.law, estimate_residual_noise(prompts)
    predictors: dict[str, Predictor] = {
        "ridge": lambda x, y, query_x: predict_ridge(x, y, query_x, law, noise),
        "nearest neighbour": predict_nearest,
        "constant": lambda x, y, query_x: np.zeros(len(query_x)),
    }
    return {name: _measure_errors(prompts, scored, predictor) for name, predictor in predictors.items()}


def estimate_residual_noise(prompts: Prompts) -> float:
    """Standard deviation of what no polynomial of the law's degree can follow in the contexts.

    Taken from the residuals of a least-squares fit to each context, pooled over the prompts, so corrupted contexts and
    functions of another class count as noisy; at least the noise of the law, which is all where no context is longer
    than it has coefficients.
    """
    x, y = prompts.x[:, :-1], prompts.context_y[:, :-1]
    left_vectors, _, _, is_nonzero = _decompose_powers(x, prompts.law.degree)
    fitted = np.einsum("npk,nk,nqk,nq->np", left_vectors, is_nonzero, left_vectors, y, optimize=True)
    degrees_of_freedom = x.size - int(is_nonzero.sum())
    mean_square = np.sum((y - fitted) ** 2) / degrees_of_freedom if degrees_of_freedom else 0.0
    return max(prompts.law.noise, float(np.sqrt(mean_square)))


def _decompose_powers(x: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition of the powers of x, and which of the singular values are not 0 but for rounding."""
    design = x[:, :, None] ** np.arange(degree + 1)
    left_vectors, singular_values, right_vectors = np.linalg.svd(design, full_matrices=False)
    tolerance = singular_values[:, :1] * max(design.shape[1:]) * np.finfo(np.float64).eps
    return left_vectors, singular_values, right_vectors, singular_values > tolerance


def _measure_errors(prompts: Prompts, scored: int, predict: Predictor) -> np.ndarray:
    """Mean squared error of a predictor over the last points of each prompt."""
    n_points = prompts.x.shape[1]
    errors = [
        predict(prompts.x[:, :point], prompts.context_y[:, :point], prompts.x[:, point]) - prompts.targets[:, point]
        for point in range(n_points - scored, n_points)
    ]
    return np.asarray(np.mean(np.square(errors), axis=0))


def predict_ridge(x: np.ndarray, y: np.ndarray, query_x: np.ndarray, law: Polynomials, noise: float) -> np.ndarray:
    """Ridge regression on the powers of x, with the penalty that the law of the coefficients implies.

    For coefficients of variance v = 1/3 and noise of variance σ², it shrinks towards 0 with λ = σ²/v. That is the posterior
    mean for normal coefficients and noise, and for any others of these variances the best prediction that is linear in y;
    with uniform ones a predictor that is not linear can be a little better. Without noise it interpolates, and of several
    polynomials that do takes the one with the smallest coefficients.

    Args:
        x, y: the context, of shape (prompt, context point).
        query_x: where to predict, of shape (prompt,).
        law: the polynomials; of several degrees the highest is fitted.
        noise: σ, the standard deviation of the noise on y.

    Returns:
        Predictions of shape (prompt,).
    """
    left_vectors, singular_values, right_vectors, is_nonzero = _decompose_powers(x, law.degree)
    penalised = np.where(is_nonzero, singular_values**2 * COEFFICIENT_VARIANCE + noise**2, np.inf)
    projected = singular_values * COEFFICIENT_VARIANCE / penalised * np.einsum("npk,np->nk", left_vectors, y)
    coefficients = np.einsum("nkj,nk->nj", right_vectors, projected)
    return np.asarray(np.einsum("nk,nk->n", query_x[:, None] ** np.arange(law.degree + 1), coefficients))


def predict_nearest(x: np.ndarray, y: np.ndarray, query_x: np.ndarray) -> np.ndarray:
    """The y of the context point nearest in x; of several the first. Shapes as in `predict_ridge`."""
    nearest_index = np.abs(x - query_x[:, None]).argmin(axis=1)
    return np.asarray(np.take_along_axis(y, nearest_index[:, None], axis=1)[:, 0])


def compute_skill(error: np.ndarray, constant: np.ndarray) -> float:
    """1 − error / error of the constant, from means over prompts: 1 is perfect, 0 no better than the constant."""
    return 1.0 - float(np.mean(error) / np.mean(constant))


def compute_gap_closed(full: np.ndarray, pruned: np.ndarray, ridge: np.ndarray) -> float | None:
    """Share of the full model's excess error over ridge that pruning removes, from errors per prompt.

    1 where the pruned model is as good as ridge, below 0 where it is worse than the full one; None where the full model is
    no worse than ridge, so that there is no gap.
    """
    gap = float(np.mean(full) - np.mean(ridge))
    return float(np.mean(full) - np.mean(pruned)) / gap if gap > 0 else None
