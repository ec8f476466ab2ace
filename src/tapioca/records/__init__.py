"""Frozen values that travel between the rooms; they load no torch."""

from tapioca.records.config import ApplyConfig, ExportConfig, PruneConfig, Request
from tapioca.records.examples import Answer, Example, Inputs, Metric, Row
from tapioca.records.plan import BRANCHES, BranchName, Plan, ranges
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
)

__all__ = [
    "BRANCHES",
    "Answer",
    "ApplyConfig",
    "BranchName",
    "Canary",
    "Check",
    "Cost",
    "Deviation",
    "Example",
    "ExportConfig",
    "Fluency",
    "Gain",
    "Inputs",
    "Judgement",
    "Metric",
    "Plan",
    "Profile",
    "PruneConfig",
    "Request",
    "Round",
    "Row",
    "RunInfo",
    "Scores",
    "Trial",
    "Verdict",
    "ranges",
]
