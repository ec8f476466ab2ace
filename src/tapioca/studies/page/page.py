"""The result of a study on one self-contained page, and in a few lines of a screen."""

from pathlib import Path

from rich.console import Console

from tapioca.disk import write_text
from tapioca.report import format as words
from tapioca.report.tables import print_line
from tapioca.report.template import render_template
from tapioca.studies.measures import measure_spec
from tapioca.studies.page import overview, tables, text
from tapioca.studies.page.charts import CHARTS, FIGURES, draw_charts
from tapioca.studies.page.questions import QUESTIONS
from tapioca.studies.results import StudyResult

__all__ = ["draw_charts", "render_study_page", "show", "write_page"]


def write_page(info: StudyResult) -> Path:
    """Write the page into the study's folder and return its path.

    Raises:
        StoreError: it cannot be written there.
    """
    path = info.folder / "report.html"
    write_text(path, render_study_page(info))
    return path


def render_study_page(info: StudyResult) -> str:
    """The page as text; charts of settings in which nothing can be decided are not drawn."""
    judged_settings = tuple(setting for setting in info.settings if not setting.unjudged)
    return render_template(
        "tapioca.studies.page",
        draw_charts(info.model_copy(update={"settings": judged_settings})),
        info=info,
        main=overview.select_main_setting(info),
        figures=FIGURES,
        drawings=CHARTS,
        questions=QUESTIONS,
        overview=overview,
        say=text,
        tables=tables,
        words=words,
        spec=measure_spec,
    )


def show(info: StudyResult, console: Console) -> None:
    """Print every claim in every setting: one line each, with its verdict and its main number."""
    for line in text.write_study_lines(info):
        print_line(console, line)
