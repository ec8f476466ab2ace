"""What a study could see: how often its intervals would exclude 0, were an effect as large as its file assumes."""

import numpy as np

from tapioca.stats import percentile_interval
from tapioca.studies.analyse.bootstrap import resample_table
from tapioca.studies.measures import measure_spec
from tapioca.studies.parts import Power
from tapioca.studies.spec import Assumption, Setting, StudyFile

STUDIES = 300
"""Studies that are simulated for one number."""
RESAMPLES = 300
"""Resamples of each of them."""


def estimate_power(study: StudyFile) -> tuple[Power, ...]:
    """The power of every measure that the study has assumptions for, in every setting with models enough to decide."""
    return tuple(
        simulate_measure(study, setting, name, assumption)
        for setting in study.settings
        if len(setting.models) >= study.min_models
        for name, assumption in study.power.items()
        if setting.tuned or not measure_spec(name).tuned
    )


def simulate_measure(study: StudyFile, setting: Setting, name: str, assumption: Assumption) -> Power:
    """The power of one measure: of simulated tables of models and kinds of shift, the share whose interval, made as that of a
    claim is, lies on the side of the effect.

    Prompts are not simulated: they are in the spread between models already, which was measured on prompts.
    """
    spec = measure_spec(name)
    kinds = setting.tuned if spec.tuned else setting.pooled
    shape = (len(setting.models), len(kinds))
    rng = np.random.default_rng(study.seed)
    bounds = []
    for seed in range(STUDIES):
        by_kind = rng.normal(assumption.effect, assumption.between_kinds, shape[1])
        table = by_kind + rng.normal(0, assumption.between_models, shape)
        resampled = resample_table(table[:, :, None], None, RESAMPLES, seed)
        assert resampled is not None  # no entry of the table is missing
        bounds.append(percentile_interval(resampled.widen(resampled.mean())))
    low, high = np.array(bounds).T
    is_seen = low > 0 if assumption.effect > 0 else high < 0
    return Power(
        setting=setting.name,
        measure=spec.label,
        effect=assumption.effect,
        models=shape[0],
        kinds=shape[1],
        power=float(is_seen.mean()),
    )
