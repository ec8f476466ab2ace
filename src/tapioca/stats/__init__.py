"""What a plan changed, with intervals that resample groups; tests, correlations, and the verdict all this allows."""

from tapioca.stats.pairing import Pairing, smallest_detectable_effect
from tapioca.stats.resampling import (
    CONFIDENCE_LEVEL,
    bootstrap_counts,
    bootstrap_p,
    median_interval,
    percentile_interval,
    ratio_interval,
    small_sample_factor,
    subset_interval,
    widen,
)
from tapioca.stats.significance import correct_holm, rank_correlation, share_as_strong
from tapioca.stats.verdict import decide_verdict

__all__ = [
    "CONFIDENCE_LEVEL",
    "Pairing",
    "bootstrap_counts",
    "bootstrap_p",
    "correct_holm",
    "decide_verdict",
    "median_interval",
    "percentile_interval",
    "rank_correlation",
    "ratio_interval",
    "share_as_strong",
    "small_sample_factor",
    "smallest_detectable_effect",
    "subset_interval",
    "widen",
]
