"""What a plan changed, with intervals that resample groups; tests, correlations, and the verdict all this allows."""

from tapioca.stats.paired import compare_paired_scores, measure_effect, resample_effects, smallest_detectable_effect
from tapioca.stats.resampling import (
    CONFIDENCE_LEVEL,
    bootstrap_counts,
    bootstrap_p,
    mean_interval,
    percentile_interval,
    ratio_interval,
    resample_means,
    small_sample_factor,
    widen,
)
from tapioca.stats.significance import correct_holm, paired_p, rank_correlation, share_as_strong
from tapioca.stats.verdict import decide_verdict

__all__ = [
    "CONFIDENCE_LEVEL",
    "bootstrap_counts",
    "bootstrap_p",
    "compare_paired_scores",
    "correct_holm",
    "decide_verdict",
    "mean_interval",
    "measure_effect",
    "paired_p",
    "percentile_interval",
    "rank_correlation",
    "ratio_interval",
    "resample_effects",
    "resample_means",
    "share_as_strong",
    "small_sample_factor",
    "smallest_detectable_effect",
    "widen",
]
