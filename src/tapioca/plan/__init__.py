"""The plan: how much of each layer's update a model keeps, how plans share their first layers, and sums of what they give."""

from tapioca.plan.output_sum import Answerer, OutputSum
from tapioca.plan.plan import BRANCHES, GRAINS, BranchName, Grain, Plan, format_layers

__all__ = ["BRANCHES", "GRAINS", "Answerer", "BranchName", "Grain", "OutputSum", "Plan", "format_layers"]
