"""Model + plans + task -> one score per plan and example."""

from tapioca.evaluate.compatibility import check_task
from tapioca.evaluate.evaluate import ResultCache, StoppingRule, evaluate

__all__ = ["ResultCache", "StoppingRule", "check_task", "evaluate"]
