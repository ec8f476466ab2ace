"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from tapioca.observe.capture import (
    capture_last_and_mean_states,
    capture_states,
    capture_states_of_plans,
    capture_stream_states,
)
from tapioca.observe.measure import measure_attribution, measure_similarity, measure_updates
from tapioca.observe.sample import MAX_EXAMPLES, GeometrySample, draw_sample

__all__ = [
    "MAX_EXAMPLES",
    "GeometrySample",
    "capture_last_and_mean_states",
    "capture_states",
    "capture_states_of_plans",
    "capture_stream_states",
    "draw_sample",
    "measure_attribution",
    "measure_similarity",
    "measure_updates",
]
