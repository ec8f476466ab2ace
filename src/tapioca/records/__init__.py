"""Frozen values that travel between the rooms; they load no torch."""

from tapioca.records.compare import CompareConfig, CompareInfo, CriterionCost, Pick
from tapioca.records.config import BaseConfig, DataConfig, ExportConfig, GenerateConfig, RunConfig
from tapioca.records.diagnosis import (
    Case,
    CrossValidation,
    DiagnoseConfig,
    DiagnoseInfo,
    Diagnosis,
    Evidence,
    ShiftClassifier,
)
from tapioca.records.enumerate import Correlation, EnumerateConfig, EnumerateInfo, PlanInSpace, RankedPlan, SizeOfSpace
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
from tapioca.records.geometry import GeometryConfig, GeometryInfo, Realignment, TestedDeviation, View
from tapioca.records.measures import Attribution, Estimate, PermutationTest, RepresentationMeasures, Update, Updates
from tapioca.records.numbers import signed, signed_interval, with_interval
from tapioca.records.prune import Canary, Cost, Fluency, PruneConfig, RunInfo, Verdict
from tapioca.records.results import (
    Deviation,
    Gain,
    HeldOutResult,
    Preflight,
    Profile,
    ProfileKind,
    Round,
    Scores,
    Trial,
    Work,
    Written,
)
from tapioca.records.scale import Change, Curve, Dose, Outcome, RandomSet, ScaleConfig, ScaleInfo, Trend
from tapioca.records.tasks import TasksConfig
