"""What a plan changed, with intervals that resample groups; tests, correlations, and the verdict all this allows."""

from tapioca.stats.paired import compare, detectable, effect, effects
from tapioca.stats.resampling import (
    LEVEL,
    mean_interval,
    ratio_interval,
    redraws,
    resampled_interval,
    resampled_means,
    resampled_p,
    stretch,
    widened,
)
from tapioca.stats.significance import as_strong, holm, paired_p, rank_correlation
from tapioca.stats.verdict import decide

__all__ = [
    "LEVEL",
    "as_strong",
    "compare",
    "decide",
    "detectable",
    "effect",
    "effects",
    "holm",
    "mean_interval",
    "paired_p",
    "rank_correlation",
    "ratio_interval",
    "redraws",
    "resampled_interval",
    "resampled_means",
    "resampled_p",
    "stretch",
    "widened",
]
