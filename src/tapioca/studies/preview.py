"""What a study would measure, what that costs and what it could see: `tapioca study --dry-run`."""

import time
from collections import Counter
from collections.abc import Iterable

from tapioca.disk import scratch_folder
from tapioca.progress import NullProgress, Progress
from tapioca.studies.analyse.power import estimate_power
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.parts import SettingCost, StudyPreview
from tapioca.studies.read import read_study
from tapioca.studies.run import list_parts
from tapioca.studies.spec import Setting, StudyConfig

SAMPLED_PROMPTS = 64
"""Prompts of each split that are timed."""


def preview_study(config: StudyConfig, watcher: Progress | None = None) -> StudyPreview:
    """Count what is to be measured, and measure a little of it: of one model of each size the ID data and one kind of shift at
    one strength. Nothing of that is kept.

    Raises:
        TapiocaError: one line about what is wrong with the file, a model or the data.
    """
    watcher = watcher or NullProgress()
    study_file = read_study(config.file)
    parts = list_parts(study_file, config.file.parent, config.folder, watcher)
    parts = [part for part in parts if not part.load_numbers()]
    sizes = Counter((part.setting.name, part.model_bytes) for part in parts)
    watcher.stage("timing one model of each size", len(sizes))
    seconds_by_size: dict[tuple[str, int], float] = {}
    for part in parts:
        size = part.setting.name, part.model_bytes
        if size not in seconds_by_size:
            seconds_by_size[size] = estimate_seconds(part)
            watcher.advance(1)
    costs = (_sum_costs(setting, parts, seconds_by_size) for setting in study_file.settings)
    return StudyPreview(title=study_file.title, costs=tuple(costs), power=estimate_power(study_file))


def estimate_seconds(part: ModelWork) -> float:
    """Seconds of a processor for one model: what few prompts of its ID data and of one kind of shift at one strength take, for all
    of its prompts and files. Of tuned models cells are counted, their training is not."""
    setting, study = part.setting, part.study
    n_prompts = min(SAMPLED_PROMPTS, study.search, study.test)
    few = study.model_copy(update={"search": n_prompts, "test": n_prompts})
    kind = setting.pooled[0]
    one = setting.model_copy(
        update={
            "models": (setting.models[part.place],),
            "shifts": {kind: setting.shifts[kind][:1]},
            "controls": (),
            "fixed": 0,
            "tuned": {},
        }
    )
    with scratch_folder() as folder:
        start = time.process_time()
        n_measured = sum(1 for _ in ModelWork(few, one, 0, part.base, folder).measure())
        seconds = time.process_time() - start
    return seconds * len(part.files) / n_measured * (study.search + study.test) / (2 * n_prompts)


def _sum_costs(
    setting: Setting, parts: Iterable[ModelWork], seconds_by_size: dict[tuple[str, int], float]
) -> SettingCost:
    of_setting = [part for part in parts if part.setting.name == setting.name]
    return SettingCost(
        setting=setting.name,
        models=len(of_setting),
        left_out=len(setting.models) - len(of_setting),
        files=sum(len(part.files) for part in of_setting),
        seconds=sum(seconds_by_size[setting.name, part.model_bytes] for part in of_setting),
    )
