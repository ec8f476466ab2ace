"""The plan: how much of each layer's update a model keeps, and how plans share their first layers."""

from tapioca.plan.plan import BRANCHES, GRAINS, BranchName, Grain, Plan, format_layers

__all__ = ["BRANCHES", "GRAINS", "BranchName", "Grain", "Plan", "format_layers"]
