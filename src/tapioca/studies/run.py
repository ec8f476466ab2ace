"""A study: everything its file asks for, measured in several processes, judged by the rules in it."""

import os
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Manager, get_context, parent_process
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread

import torch

from tapioca.diagnosis.fit import fit_classifier
from tapioca.disk import write_text
from tapioca.errors import DataError, StoreError
from tapioca.progress import NullProgress, Progress
from tapioca.runs.lock import FolderLock
from tapioca.studies.analyse.questions import shift_cases
from tapioca.studies.analyse.setting import SettingAnalysis, join_settings
from tapioca.studies.cell import Cell, DoseResponse, SavedArrays
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.page.page import write_page
from tapioca.studies.read import read_study
from tapioca.studies.results import SettingResult, StudyResult
from tapioca.studies.spec import StudyConfig, StudyFile

MIN_KINDS = 3
"""Kinds of shift a classifier is judged on; with fewer, leaving one out leaves one or none."""


def run_study(config: StudyConfig, watcher: Progress | None = None) -> StudyResult:
    """Measure what a study asks for and judge its claims.

    Called again with the same file it goes on where it was. Models whose folder or data are not there are left out, and
    said to be.

    Raises:
        TapiocaError: one line about what is wrong with the file, a model or the data.
    """
    watcher = watcher or NullProgress()
    study_file = read_study(config.file)
    out = config.out or Path("runs") / f"study-{config.file.stem}"
    with FolderLock(out, config.take_over) as lock:
        parts = _list_parts(study_file, config.file.parent, out, watcher)
        _measure_parts(parts, config.workers or os.cpu_count() or 1, watcher, lock)
        watcher.stage("judging the claims", 0)
        measurements = [file_type.load(path) for part in parts for path, file_type in part.files.items()]
        return analyse_and_write(study_file, measurements, out, config.command())


def analyse_and_write(study_file: StudyFile, measurements: list[SavedArrays], out: Path, command: str) -> StudyResult:
    """Judge what was measured, and write study.json, report.html, and for each setting that can have one its classifier."""
    cells = [measured for measured in measurements if isinstance(measured, Cell)]
    doses = [measured for measured in measurements if isinstance(measured, DoseResponse)]
    analyses = (SettingAnalysis.measure(study_file, setting, cells, doses) for setting in study_file.settings)
    settings = tuple(_add_judge(analysis, study_file.seed, out) for analysis in analyses)
    seconds = sum(measured.where.seconds for measured in measurements)
    info = join_settings(study_file, settings).model_copy(
        update={"command": command, "seconds": seconds, "folder": out}
    )
    write_text(out / "study.json", info.model_dump_json(indent=1) + "\n")
    write_page(info)
    return info


def _add_judge(analysis: SettingAnalysis, seed: int, out: Path) -> SettingResult:
    """A setting with how well a classifier that needs no labels does in it; the classifier goes into a file of its own.

    Nothing is judged where the setting has too few models, or too few kinds of shift to leave one out.
    """
    setting_found = analysis.to_result()
    path = out / f"classifier-{setting_found.name}.json"
    path.unlink(missing_ok=True)
    cases = [] if setting_found.unjudged else shift_cases(analysis.claims.statistics)
    if len({case.kind for case in cases}) < MIN_KINDS:
        return setting_found
    try:
        classifier = fit_classifier(cases, seed)
    except DataError:  # no cell is distorted or misaligned
        return setting_found
    write_text(path, classifier.model_dump_json(indent=1) + "\n")
    return setting_found.model_copy(update={"judged": classifier.cross_validation})


def _list_parts(study_file: StudyFile, base: Path, out: Path, watcher: Progress) -> list[ModelWork]:
    """Every model there is to measure."""
    settings = study_file.settings
    parts = [ModelWork(study_file, asked, index, base, out) for asked in settings for index in range(len(asked.models))]
    for part in parts:
        if part.missing:
            watcher.note(f"{part.setting.name}: {part.model.name} is left out, there is no {part.missing}")
    return [part for part in parts if not part.missing]


def _measure_parts(parts: list[ModelWork], workers: int, watcher: Progress, lock: FolderLock) -> None:
    """Measure all models, several at once, each in a process with its share of the threads."""
    watcher.stage("measuring", sum(len(part.files) for part in parts))
    if not parts:
        return
    workers = min(workers, len(parts))
    threads = max(1, (os.cpu_count() or 1) // workers)
    with (
        Manager() as manager,
        ProcessPoolExecutor(workers, get_context("spawn"), _prepare_worker, (threads,)) as pool,
    ):
        done_queue, stop = manager.Queue(), manager.Event()
        futures = [pool.submit(_measure_part, part, done_queue, stop) for part in parts]
        try:
            _report_progress(futures, done_queue, watcher, lock)
        except BrokenProcessPool as error:
            raise StoreError(
                "a process that measured was killed (out of memory?); call again with fewer --workers"
            ) from error
        finally:  # after an error or Ctrl-C the others stop at their next file
            stop.set()


def _prepare_worker(threads: int) -> None:
    """Give a process its threads, and let it end with the one that began it, which may be killed."""
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _measure_part(part: ModelWork, done_queue: Queue[str], stop: Event) -> None:
    """In a process of its own: measure one model, file by file."""
    if stop.is_set():
        return
    for path in part.measure():
        done_queue.put(f"{part.setting.name} {part.model.name} {path.stem}")
        if stop.is_set():
            return


def _report_progress(futures: list[Future[None]], done_queue: Queue[str], watcher: Progress, lock: FolderLock) -> None:
    """Pass on what is finished; raise what went wrong."""
    while True:
        lock.check()
        is_finished = all(future.done() for future in futures)
        try:
            while True:
                watcher.status(done_queue.get(timeout=0.0 if is_finished else 0.5))
                watcher.advance(1)
        except Empty:
            pass
        for future in futures:
            if future.done():
                future.result()
        if is_finished:
            return
