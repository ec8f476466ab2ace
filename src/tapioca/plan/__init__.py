"""The plan: what a model does with its layers, how plans share their first layers, and sums of what they give."""

from tapioca.plan.arrays import HashedArray
from tapioca.plan.output_sum import Answerer, OutputSum
from tapioca.plan.plan import Plan
from tapioca.plan.tables import BRANCHES, GRAINS, BranchName, Compensation, Grain, Tokens
from tapioca.plan.words import format_layers

__all__ = [
    "BRANCHES",
    "GRAINS",
    "Answerer",
    "BranchName",
    "Compensation",
    "Grain",
    "HashedArray",
    "OutputSum",
    "Plan",
    "Tokens",
    "format_layers",
]
