"""Means over models and kinds of shift, with intervals that resample both, crossed, and prompts within.

The bootstrap is the "pigeonhole" one of Owen (2007, Annals of Applied Statistics 1): rows and columns of a table are
drawn with replacement, each on its own, and an entry counts as often as its row times its column was drawn. Noise of
single entries is counted more than once, which is on the safe side. What is not: bootstraps of few things are too
narrow. Resamples are therefore moved away from the value found, for the smaller of the two numbers (`stats.stretch`).
"""

from dataclasses import dataclass

import numpy as np

from tapioca.stats import bootstrap_counts, widen


@dataclass(frozen=True, eq=False)
class ResampledTable:
    """A table of models and kinds and its resamples; at 0 stands the table as it is.

    Attributes:
        pairs: means over strengths, (1 + draw, model, kind), NaN where there is none.
        counts: how often each entry counts, the same shape, 0 where there is none.
        models: places of the models, (model,); those without any entry are left out.
    """

    pairs: np.ndarray
    counts: np.ndarray
    models: np.ndarray

    def widen(self, values: np.ndarray) -> np.ndarray:
        """What was computed from the table and its resamples, these moved away from the former, (1 + draw,)."""
        return widen(values, *self.pairs.shape[1:])

    def mean(self) -> np.ndarray:
        """The mean over models and kinds, (1 + draw,), NaN where a resample has no entry."""
        total = self.counts.sum(axis=(1, 2))
        return _divide((np.nan_to_num(self.pairs) * self.counts).sum(axis=(1, 2)), total)

    def fit_line(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Least-squares line through the entries over a property of their models.

        Args:
            x: of all models, also those without an entry.

        Returns:
            Mean of x, mean of the entries and slope, (1 + draw,) each; the slope is NaN where a resample has one x alone.
        """
        x_by_entry = np.broadcast_to(x[self.models][:, None], self.pairs.shape[1:])
        total = self.counts.sum(axis=(1, 2))
        x_mean, mean = _divide((x_by_entry * self.counts).sum(axis=(1, 2)), total), self.mean()
        x_offset = x_by_entry - x_mean[:, None, None]
        covariance = (self.counts * x_offset * np.nan_to_num(self.pairs)).sum(axis=(1, 2))
        x_variance = (self.counts * x_offset**2).sum(axis=(1, 2))
        return x_mean, mean, _divide(covariance, np.where(x_variance > 1e-9 * total, x_variance, 0))


def resample_table(values: np.ndarray, draws: np.ndarray | None, count: int, seed: int) -> ResampledTable | None:
    """Resample a table: models and kinds with replacement, and within every entry its prompts.

    Args:
        values: (model, kind, strength), NaN where there is none; an entry of the table is the mean of those there.
        draws: (model, kind, strength, resample of prompts), the numbers that resampled prompts give; None where
            prompts are not resampled.
        count: resamples.
        seed: tables of the same models and kinds get the same of these with the same seed.

    Returns:
        None where there is no entry.
    """
    is_present = np.isfinite(values)
    models, kinds = np.flatnonzero(is_present.any(axis=(1, 2))), np.flatnonzero(is_present.any(axis=(0, 2)))
    if not len(models):
        return None
    rng = np.random.default_rng(seed)
    model_counts, kind_counts = (bootstrap_counts(len(indices), count, rng) for indices in (models, kinds))
    selection = np.ix_(models, kinds)
    values, is_present = values[selection], is_present[selection]
    pairs = np.broadcast_to(_mean_over_strengths(values, is_present), (1 + count, *values.shape[:2]))
    if draws is not None:
        draw_indices = rng.integers(draws.shape[-1], size=(count, *values.shape))
        resampled_values = np.take_along_axis(draws[selection], np.moveaxis(draw_indices, 0, -1), axis=-1)
        resampled = _mean_over_strengths(np.moveaxis(resampled_values, -1, 0), is_present)
        pairs = np.concatenate([pairs[:1], resampled])
    counts = model_counts[:, :, None] * kind_counts[:, None, :] * is_present.any(axis=-1)
    return ResampledTable(pairs, counts, models)


def _mean_over_strengths(values: np.ndarray, is_present: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is present; NaN where nothing is."""
    return _divide(np.where(is_present, values, 0.0).sum(axis=-1), is_present.sum(axis=-1))


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """A quotient, NaN where it divides by 0."""
    top, bottom = np.broadcast_arrays(top, bottom)
    quotient: np.ndarray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return quotient
