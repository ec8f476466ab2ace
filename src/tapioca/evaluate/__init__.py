"""Model + plans + task -> one score per plan and example."""

from tapioca.evaluate.compatibility import check_task
from tapioca.evaluate.evaluate import ResultCache, StoppingRule, evaluate
from tapioca.evaluate.scorer import Scorer

__all__ = ["ResultCache", "Scorer", "StoppingRule", "check_task", "evaluate"]
