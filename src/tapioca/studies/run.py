"""A study: everything its file asks for, measured in several processes, judged by the rules in it."""

from __future__ import annotations

import os
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Manager, get_context
from pathlib import Path
from queue import Empty, Queue
from threading import Event

import torch

from tapioca.diagnosis.fit import fit
from tapioca.disk import make_folder, write_text
from tapioca.errors import DataError, StoreError
from tapioca.flows.watcher import Silent, Watcher
from tapioca.studies.analyse.questions import shift_cases
from tapioca.studies.analyse.setting import SettingAnalysis, join_settings
from tapioca.studies.cell import Cell, Dose, Saved
from tapioca.studies.measure.work import Part
from tapioca.studies.page.page import write_study_page
from tapioca.studies.read import read_study
from tapioca.studies.results import SettingFound, StudyInfo
from tapioca.studies.spec import StudyConfig, StudyFile

LEAST_KINDS = 3
"""Kinds of shift a judge is judged on; with fewer, leaving one out leaves one or none."""


def study(config: StudyConfig, watcher: Watcher | None = None) -> StudyInfo:
    """Measure what a study asks for and judge its claims.

    Called again with the same file it goes on where it was. Models whose folder or data are not there are left out, and
    said to be.

    Args:
        config: the request.
        watcher: told about progress.

    Raises:
        TapiocaError: one line about what is wrong with the file, a model or the data.
    """
    watcher = watcher or Silent()
    asked = read_study(config.file)
    out = config.out or Path("runs") / f"study-{config.file.stem}"
    parts = _parts(asked, config.file.parent, out, watcher)
    _measure(parts, config.workers or os.cpu_count() or 1, watcher)
    watcher.stage("judging the claims", 0)
    found = [form.load(path) for part in parts for path, form in part.files.items()]
    return conclude(asked, found, out, config.command())


def conclude(asked: StudyFile, found: list[Saved], out: Path, command: str) -> StudyInfo:
    """Judge what was measured, and write study.json, report.html, and for each setting that can have one its judge."""
    cells = [one for one in found if isinstance(one, Cell)]
    doses = [one for one in found if isinstance(one, Dose)]
    analyses = [SettingAnalysis(asked, setting, cells, doses) for setting in asked.settings]
    settings = tuple(_with_judge(analysis, asked.seed, out) for analysis in analyses)
    seconds = sum(one.where.seconds for one in found)
    info = join_settings(asked, settings).model_copy(update={"command": command, "seconds": seconds, "folder": out})
    write_text(out / "study.json", info.model_dump_json(indent=1) + "\n")
    write_study_page(info)
    return info


def _with_judge(analysis: SettingAnalysis, seed: int, out: Path) -> SettingFound:
    """A setting with how well a judge that needs no labels does in it; the judge goes into a file of its own.

    Nothing is judged where the setting has too few models, or too few kinds of shift to leave one out.
    """
    info = analysis.found()
    path = out / f"judge-{info.name}.json"
    path.unlink(missing_ok=True)
    cases = [] if info.unjudged else shift_cases(analysis.statistics)
    if len({case.kind for case in cases}) < LEAST_KINDS:
        return info
    try:
        judge = fit(cases, seed)
    except DataError:  # no cell is distorted or misaligned
        return info
    write_text(path, judge.model_dump_json(indent=1) + "\n")
    return info.model_copy(update={"judged": judge.judged})


def _parts(asked: StudyFile, base: Path, out: Path, watcher: Watcher) -> list[Part]:
    """Every model there is to measure."""
    make_folder(out)
    parts = [
        Part(asked, setting, place, base, out) for setting in asked.settings for place in range(len(setting.models))
    ]
    for part in parts:
        if part.missing:
            watcher.say(f"{part.setting.name}: {part.model.name} is left out, there is no {part.missing}")
    return [part for part in parts if not part.missing]


def _measure(parts: list[Part], workers: int, watcher: Watcher) -> None:
    """Measure all models, several at once, each in a process with its share of the threads."""
    watcher.stage("measuring", sum(len(part.files) for part in parts))
    if not parts:
        return
    workers = min(workers, len(parts))
    threads = max(1, (os.cpu_count() or 1) // workers)
    with (
        Manager() as manager,
        ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool,
    ):
        done, stop = manager.Queue(), manager.Event()
        running = [pool.submit(_measure_part, part, done, stop) for part in parts]
        try:
            _watch(running, done, watcher)
        except BrokenProcessPool as error:
            raise StoreError(
                "a process that measured was killed (out of memory?); call again with fewer --workers"
            ) from error
        finally:  # after an error or Ctrl-C the others stop at their next file
            stop.set()


def _measure_part(part: Part, done: Queue[str], stop: Event) -> None:
    """In a process of its own: measure one model, file by file."""
    if stop.is_set():
        return
    for path in part.measure():
        done.put(f"{part.setting.name} {part.model.name} {path.stem}")
        if stop.is_set():
            return


def _watch(running: list[Future[None]], done: Queue[str], watcher: Watcher) -> None:
    """Pass on what is finished; raise what went wrong."""
    while True:
        over = all(future.done() for future in running)
        try:
            while True:
                watcher.best(done.get(timeout=0.0 if over else 0.5))
                watcher.advance(1)
        except Empty:
            pass
        for future in running:
            if future.done():
                future.result()
        if over:
            return
