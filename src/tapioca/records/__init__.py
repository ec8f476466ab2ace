"""Frozen values that travel between the rooms; they load no torch."""

from tapioca.records.config import BaseConfig, DataConfig, FolderConfig, RunConfig
from tapioca.records.examples import (
    NO_CHOICE,
    ComputeCost,
    Example,
    ExampleResult,
    ExampleScore,
    Inputs,
    Metric,
    PlanAnswer,
    Request,
    TextPair,
)
from tapioca.records.measures import Attribution, Estimate, PermutationTest, RepresentationMeasures, Update, Updates
from tapioca.records.numbers import format_interval, format_number, signed, with_interval
from tapioca.records.results import (
    PROFILE_NAMES,
    Deviation,
    Gain,
    HeldOutResult,
    Preflight,
    Profile,
    ProfileKind,
    Scores,
    Verdict,
    Written,
)
from tapioca.records.rounds import CriterionCost, Round, Trial, Work
