"""Model + plans + task -> one score per plan and example."""

from tapioca.evaluate.ask import Forgetful, Ledger
from tapioca.evaluate.fits import check_task
from tapioca.evaluate.scores import Stopping, evaluate

__all__ = ["Forgetful", "Ledger", "Stopping", "check_task", "evaluate"]
