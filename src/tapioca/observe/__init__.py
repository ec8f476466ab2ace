"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from tapioca.observe.capture import (
    MAX_EXAMPLES,
    capture_states,
    capture_states_of_plans,
    capture_stream_states,
    draw_sample,
)
from tapioca.observe.measure import measure_attribution, measure_similarity, measure_updates

__all__ = [
    "MAX_EXAMPLES",
    "capture_states",
    "capture_states_of_plans",
    "capture_stream_states",
    "draw_sample",
    "measure_attribution",
    "measure_similarity",
    "measure_updates",
]
