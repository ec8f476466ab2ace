"""The numbers that a study's rules can be about, by the names that its file calls them."""

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from tapioca.errors import UsageError, did_you_mean
from tapioca.records import PROFILE_NAMES

Unit = Literal[
    "log ratio of errors", "mean |log ratio|", "rank correlation", "share", "accuracy", "log ratio per e-fold of size"
]
"""What a number is counted in: what plans bring in the first, deviations and realignments in the second, ranks among
plans in shares."""
LOG_RATIO: Unit = "log ratio of errors"
DEVIATION: Unit = "mean |log ratio|"
RANK_CORRELATION: Unit = "rank correlation"
SLOPE: Unit = "log ratio per e-fold of size"
UNIT_RANGES: dict[Unit, tuple[float, float]] = {
    LOG_RATIO: (-inf, inf),
    DEVIATION: (-inf, inf),
    RANK_CORRELATION: (-1.0, 1.0),
    SLOPE: (-inf, inf),
    "share": (0.0, 1.0),
    "accuracy": (0.0, 1.0),
}
"""What values cannot leave."""


@dataclass(frozen=True)
class MeasureSpec:
    """One number over models, kinds of shift and strengths.

    Attributes:
        label: what it is called in sentences and tables.
        unit: what it is counted in.
        meaning: what the label alone does not say.
        table: where its numbers of cells stand; empty where under its own name.
        shifted: whether it has kinds of shift.
        line: what it is of the regression line of the table on log parameters; empty where it is the table's mean.
        optional: whether it exists only where the score stands in for an accuracy.
        tuned: whether it is of models tuned for C7, and so of the kinds these were tuned on alone.
        limits: what it cannot leave, where that is not said by the unit.
    """

    label: str
    unit: Unit
    meaning: str = ""
    table: str = ""
    shifted: bool = True
    line: Literal["", "smallest", "largest", "slope"] = ""
    optional: bool = False
    tuned: bool = False
    limits: tuple[float, float] | None = None

    @property
    def range(self) -> tuple[float, float]:
        """What its values cannot leave."""
        return self.limits or UNIT_RANGES[self.unit]


_OF_EACH_PROFILE: dict[str, MeasureSpec] = {
    "{}_excess": MeasureSpec(
        "{} deviation less its null",
        DEVIATION,
        "of the OOD {} profile from the ID one, less the mean of its size-matched ID-against-ID null",
    ),
    "{}_realignment": MeasureSpec(
        "{} realignment by greedy's plan",
        DEVIATION,
        "deviation of the {} profile before minus after, over the layers kept, where the plan drops something",
    ),
    "{}_realignment_with_log_ratio": MeasureSpec(
        "{} realignment with log ratio over all plans of its size",
        RANK_CORRELATION,
        "over plans, of what each takes from the deviation of the {} profile with its log ratio",
    ),
    "{}_realignment_to_same_plan": MeasureSpec(
        "{} realignment by greedy's plan, ID states under the same plan",
        DEVIATION,
        "the same, the {} profile after the plan being compared with that of ID states under the same plan",
    ),
    "{}_realignment_to_same_plan_with_log_ratio": MeasureSpec(
        "the same for {} with log ratio over all plans of its size", RANK_CORRELATION, "of the {} profile"
    ),
    "{}_share_along_stream": MeasureSpec(
        "{} share along the stream with log ratio over layers",
        RANK_CORRELATION,
        "over layers, of what the deviation of the {} profile grows by inside each, in the unpruned "
        "stream, with the log ratio of dropping it alone",
    ),
    "{}_share_by_removal": MeasureSpec(
        "{} share by removal with log ratio over layers",
        RANK_CORRELATION,
        "the same, a layer's share being what the deviation of the {} profile loses without it",
    ),
    "{}_deviation_with_strength": MeasureSpec(
        "{} deviation with strength", RANK_CORRELATION, "the same for the {} profile"
    ),
    "former_{}_excess": MeasureSpec(
        "{} deviation of former ID data less its null",
        DEVIATION,
        "in the {} profile of models tuned on shifted data",
        tuned=True,
    ),
    "error_with_{}_over_scales": MeasureSpec(
        "error with {} deviation over scales",
        RANK_CORRELATION,
        "over scales from 0 to 1 of the layers of greedy's plan, of the error with the deviation of the {} profile",
    ),
    "error_with_{}_less_random": MeasureSpec(
        "the same for {} less that of random sets",
        RANK_CORRELATION,
        "sets of as many layers, the {} profile",
        limits=(-2.0, 2.0),
    ),
    "error_with_{}_of_random": MeasureSpec("the same for {} of random sets", RANK_CORRELATION, "the {} profile"),
}
"""Measures that there are of each kind of profile, which stands for {}."""

_UNIT = "of directions, that is of states divided by their length, whose norms are all 1"
RIVALS = {
    "factors": "greedy's plan with a factor behind each gap",
    "maps": "greedy's plan with a linear map in front of each gap",
    "output_scale": "outputs times one number, nothing dropped",
    "mean_of_outputs": "mean of the outputs of the full model and greedy's plan",
    "repeat": "one or two neighbouring layers run twice, nothing dropped",
    "norms_of_last_token": "ID norms at the last token, nothing dropped",
    "norms_of_all_tokens": "ID norms at all tokens, nothing dropped",
    "early_exit": "the last layers dropped",
}
"""What stands beside greedy's plan, found on the same search prompts; like greedy's plan it is left alone where the full model
does better on these."""

MEASURES: dict[str, MeasureSpec] = {
    "id_log_ratio": MeasureSpec("ID log ratio of greedy's plan searched on ID data", LOG_RATIO, shifted=False),
    "id_log_ratio_nonempty": MeasureSpec(
        "ID log ratio of the best plan that drops something", LOG_RATIO, "of greedy's search on ID data", shifted=False
    ),
    "log_ratio": MeasureSpec(
        "OOD log ratio of greedy's plan", LOG_RATIO, "on OOD test prompts, of the plan searched on OOD search prompts"
    ),
    "id_log_ratio_of_ood_plan": MeasureSpec("what that plan does to ID prompts", LOG_RATIO),
    "share_of_better_plans": MeasureSpec("share of plans of its size that gain more", "share"),
    "log_ratio_of_its_size": MeasureSpec("mean log ratio of all plans of its size", LOG_RATIO),
    "log_ratio_of_best_on_search": MeasureSpec(
        "log ratio of the best of all plans on the search prompts", LOG_RATIO, "which greedy may not have tried"
    ),
    "accuracy": MeasureSpec("accuracy of the full model", "accuracy", "on OOD test prompts", optional=True),
    "accuracy_of_plan": MeasureSpec("accuracy under that plan", "accuracy", "on OOD test prompts", optional=True),
    "log_ratio_with_strength": MeasureSpec(
        "log ratio of a plan searched anew with strength",
        RANK_CORRELATION,
        "over strengths, ID data among them as strength 0",
    ),
    "fixed_log_ratio_with_strength": MeasureSpec("log ratio of the fixed plan with strength", RANK_CORRELATION),
    "fixed_log_ratio": MeasureSpec(
        "log ratio of the fixed plan", LOG_RATIO, "that was searched at one strength and is used at all"
    ),
    "tuned_log_ratio": MeasureSpec(
        "log ratio on shifted data after tuning on them", LOG_RATIO, "of a plan searched anew after it", tuned=True
    ),
    "control_log_ratio": MeasureSpec(
        "log ratio on shifted data of models tuned on ID data",
        LOG_RATIO,
        "equally long, the plan searched anew",
        tuned=True,
    ),
    "control_less_tuned_log_ratio": MeasureSpec(
        "log ratio of the control less that after tuning", LOG_RATIO, tuned=True
    ),
    "former_id_log_ratio": MeasureSpec(
        "log ratio on former ID data after tuning on shifted data", LOG_RATIO, tuned=True
    ),
    "line_at_smallest": MeasureSpec(
        "regression line of the log ratio at the smallest size",
        LOG_RATIO,
        "of the OOD log ratio of greedy's plan on the logarithm of the number of parameters",
        table="log_ratio",
        line="smallest",
    ),
    "line_at_largest": MeasureSpec(
        "regression line of the log ratio at the largest size", LOG_RATIO, table="log_ratio", line="largest"
    ),
    "line_slope": MeasureSpec("slope of that line", SLOPE, table="log_ratio", line="slope"),
    "unit_distance_realignment": MeasureSpec(
        "realignment of directions by greedy's plan", DEVIATION, f"of the distance profile {_UNIT}"
    ),
    "unit_distance_realignment_to_same_plan": MeasureSpec(
        "realignment of directions by greedy's plan, ID states under the same plan", DEVIATION
    ),
    "unit_distance_realignment_with_log_ratio": MeasureSpec(
        "realignment of directions with log ratio over all plans of its size", RANK_CORRELATION
    ),
    "unit_distance_realignment_to_same_plan_with_log_ratio": MeasureSpec(
        "realignment of directions, ID states under the same plan, with log ratio over all plans of its size",
        RANK_CORRELATION,
    ),
    **{f"{name}_log_ratio": MeasureSpec(f"OOD log ratio of {about}", LOG_RATIO) for name, about in RIVALS.items()},
    **{
        f"log_ratio_less_{name}": MeasureSpec(f"log ratio of greedy's plan less that of {about}", LOG_RATIO)
        for name, about in RIVALS.items()
    },
    **{
        name.format(kind): replace(spec, label=spec.label.format(kind), meaning=spec.meaning.format(profile))
        for kind, profile in PROFILE_NAMES.items()
        for name, spec in _OF_EACH_PROFILE.items()
    },
}
"""By name; numbers of cells stand in tables of the same names."""


def measure_spec(name: str) -> MeasureSpec:
    """The measure of one name.

    Raises:
        UsageError: there is none; the message names the nearest one.
    """
    if name not in MEASURES:
        raise UsageError(f"unknown measure '{name}'; {did_you_mean(name, MEASURES)}")
    return MEASURES[name]
