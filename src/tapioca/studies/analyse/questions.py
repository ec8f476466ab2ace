"""The open questions Q1 to Q3 in one setting, and in the lab how models stand to predictors that were never trained."""

from collections import Counter
from typing import get_args

import numpy as np
import pandas as pd

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Estimate
from tapioca.stats import percentile_interval
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS
from tapioca.studies.analyse.numbers import SKILLS, SearchName, SettingNumbers, log_ratio_table_name, skill_table_name
from tapioca.studies.measures import LOG_RATIO
from tapioca.studies.parts import TRUTHS, KindSkill, KindSummary, LabelledSearch, SearchCost


def summarise_kinds(claims: Claims) -> tuple[KindSummary, ...]:
    """Q1 and the counts of Q3, kind by kind."""
    axes, truth_table = claims.axes, claims.numbers.tables["truth"]
    truths = Counter((axes.kinds[kind], TRUTHS[int(number.value)]) for (_, kind, _), number in truth_table.items())
    measures = {"log_ratio": claims.measure("log_ratio")}
    measures |= {kind: claims.measure(f"{kind}_excess") for kind in PROFILE_KINDS}
    return tuple(
        KindSummary(
            kind=kind,
            control=kind in axes.setting.controls,
            truths={truth: truths[kind, truth] for truth in TRUTHS},
            **{name: measure.of_kinds(kind).pooled() for name, measure in measures.items()},
        )
        for kind in axes.kinds
    )


def measure_search_costs(numbers: SettingNumbers) -> tuple[SearchCost, ...]:
    """Q2: layers computed for one prompt by greedy and for the whole space, means over all searches and models."""
    if not numbers.searches:
        return ()
    means = pd.DataFrame(numbers.searches).groupby("search").mean()
    return tuple(SearchCost(search=search, **means.loc[search].to_dict()) for search in get_args(SearchName))


def measure_label_counts(claims: Claims) -> tuple[LabelledSearch, ...]:
    """Q2: what searches with few labelled prompts bring, beside the search with all."""
    labelled, measure_of_all = [], claims.measure("log_ratio").without_controls
    for count in PROMPT_COUNTS:
        measure_of_few = claims.measure_of_table(log_ratio_table_name(count), LOG_RATIO).without_controls
        if log_ratio := measure_of_few.estimate():
            labelled.append(
                LabelledSearch(
                    prompts=count, log_ratio=log_ratio, share=_share_of_full_search(measure_of_few, measure_of_all)
                )
            )
    return tuple(labelled)


def _share_of_full_search(measure_of_few: Measure, measure_of_all: Measure) -> Estimate | None:
    """One log ratio as a share of another that lies above 0, of the same resamples of models and kinds."""
    few_values, all_values = measure_of_few.resample(), measure_of_all.resample()
    if few_values is None or all_values is None or percentile_interval(all_values[np.isfinite(all_values)])[0] <= 0:
        return None
    shares = (few_values / np.where(all_values > 0, all_values, np.nan))[np.isfinite(few_values) & (all_values > 0)]
    return Estimate(value=float(shares[0]), ci95=percentile_interval(shares))


def summarise_skills(numbers: SettingNumbers) -> tuple[KindSkill, ...]:
    """Skill, the gap to ridge and what is tail only, kind by kind; empty outside of the lab."""
    tables = {name: numbers.tables.get(skill_table_name(name), {}) for name in SKILLS}
    skills = pd.DataFrame(
        {name: {place: one.value for place, one in of_name.items()} for name, of_name in tables.items()}
    )
    if skills.empty:
        return ()
    axes, kind_indices = numbers.axes, skills.index.get_level_values(1)
    return tuple(
        _summarise_skill(kind, kind in axes.setting.controls, skills[kind_indices == index])
        for index, kind in enumerate(axes.kinds)
        if index in kind_indices
    )


def _summarise_skill(kind: str, control: bool, table: pd.DataFrame) -> KindSkill:
    gaps, tails = table["gap"].dropna(), table["tail"].dropna()
    return KindSkill(
        kind=kind,
        control=control,
        cells=len(table),
        **table[["full", "pruned", "ridge"]].median().to_dict(),
        gap_closed=gaps.median() if len(gaps) else None,
        gaps=len(gaps),
        tail_only=tails.mean() if len(tails) else None,
    )
