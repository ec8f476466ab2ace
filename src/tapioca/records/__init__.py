"""Frozen values that travel between the rooms; they load no torch."""

from tapioca.records.compare import CompareInfo, Pick, Searched
from tapioca.records.config import ApplyConfig, CompareConfig, ExportConfig, PruneConfig, Request, RunConfig
from tapioca.records.examples import Answer, Example, Inputs, Metric, Row
from tapioca.records.plan import BRANCHES, GRAINS, BranchName, Grain, Plan, ranges
from tapioca.records.results import (
    Canary,
    Check,
    Cost,
    Deviation,
    Fluency,
    Gain,
    Judgement,
    Profile,
    Round,
    RunInfo,
    Scores,
    Trial,
    Verdict,
    Work,
)

__all__ = [
    "BRANCHES",
    "GRAINS",
    "Answer",
    "ApplyConfig",
    "BranchName",
    "Canary",
    "Check",
    "CompareConfig",
    "CompareInfo",
    "Cost",
    "Deviation",
    "Example",
    "ExportConfig",
    "Fluency",
    "Gain",
    "Grain",
    "Inputs",
    "Judgement",
    "Metric",
    "Pick",
    "Plan",
    "Profile",
    "PruneConfig",
    "Request",
    "Round",
    "Row",
    "RunConfig",
    "RunInfo",
    "Scores",
    "Searched",
    "Trial",
    "Verdict",
    "Work",
    "ranges",
]
