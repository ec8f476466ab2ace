"""A study: everything its file asks for, measured in several processes, judged by the rules in it."""

import os
from pathlib import Path

from tapioca.progress import NullProgress, Progress
from tapioca.runs.lock import FolderLock
from tapioca.runs.records import write_record
from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.setting import SettingAnalysis, join_settings
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.model_numbers import ModelNumbers, join_models
from tapioca.studies.page.page import write_page
from tapioca.studies.ray_workers import measure_parts_on_ray
from tapioca.studies.read import read_study
from tapioca.studies.results import StudyResult
from tapioca.studies.spec import StudyConfig, StudyFile
from tapioca.studies.workers import measure_parts


def run_study(config: StudyConfig, watcher: Progress | None = None) -> StudyResult:
    """Measure what a study asks for and judge its claims.

    Called again with the same file it goes on where it was. Models whose folder or data are not there are left out, and
    said to be.

    Raises:
        TapiocaError: one line about what is wrong with the file, a model or the data.
    """
    watcher = watcher or NullProgress()
    study_file = read_study(config.file)
    out = config.folder
    with FolderLock(out, config.take_over) as lock:
        parts = list_parts(study_file, config.file.parent, out, watcher)
        if config.ray:
            measure_parts_on_ray(parts, config.ray, config.workers, watcher, lock)
        else:
            measure_parts(parts, config.workers or os.cpu_count() or 1, watcher, lock)
        watcher.stage("judging the claims", 0)
        models = [ModelNumbers.load(part.numbers_file) for part in parts]
        return judge_and_write(study_file, models, out, config.command())


def judge_and_write(study_file: StudyFile, models: list[ModelNumbers], out: Path, command: str) -> StudyResult:
    """Judge by the numbers of all models, and write study.json and report.html."""
    joined = (join_models(SettingAxes(study_file, setting), models) for setting in study_file.settings)
    settings = tuple(SettingAnalysis.of_numbers(numbers).to_result() for numbers in joined)
    seconds = sum(model.where.seconds for model in models)
    info = join_settings(study_file, settings).model_copy(
        update={"command": command, "seconds": seconds, "folder": out}
    )
    write_record(info, "study.json")
    write_page(info)
    return info


def list_parts(study_file: StudyFile, base: Path, out: Path, watcher: Progress) -> list[ModelWork]:
    """Every model there is to measure, or whose numbers are there."""
    settings = study_file.settings
    parts = [ModelWork(study_file, asked, index, base, out) for asked in settings for index in range(len(asked.models))]
    kept = []
    for part in parts:
        known = part.missing and part.load_numbers()
        if part.missing:
            other = ", and its numbers are damaged or of another study" if part.numbers_file.exists() else ""
            said = f"is taken from {part.numbers_file}" if known else f"is left out{other}"
            watcher.note(f"{part.setting.name}: {part.model.name} {said}, there is no {part.missing}")
        if known or not part.missing:
            kept.append(part)
    return kept
