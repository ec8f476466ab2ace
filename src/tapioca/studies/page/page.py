"""The result of a study on one self-contained page, and in a few lines of a screen."""

from pathlib import Path

import altair as alt
from rich.console import Console

from tapioca.disk import write_text
from tapioca.report import format as words
from tapioca.report.tables import print_line
from tapioca.report.template import render_template
from tapioca.studies.analyse.power import STUDIES
from tapioca.studies.measures import measure_spec
from tapioca.studies.page import overview, tables, text
from tapioca.studies.page.charts import CHARTS, FIGURES, draw_charts
from tapioca.studies.page.questions import QUESTIONS
from tapioca.studies.results import SettingResult, StudyResult

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
    """The page as text."""
    main = overview.select_main_setting(info)
    return render_template(
        "tapioca.studies.page",
        _draw_shown_charts(info, main),
        info=info,
        main=main,
        figures=FIGURES,
        drawings=CHARTS,
        questions=QUESTIONS,
        overview=overview,
        say=text,
        tables=tables,
        words=words,
        spec=measure_spec,
        n_simulated=STUDIES,
    )


def _draw_shown_charts(info: StudyResult, main: SettingResult) -> dict[str, alt.TopLevelMixin]:
    """All charts but those of settings in which nothing can be decided, and those that one setting is enough for."""
    judged = tuple(setting for setting in info.settings if not setting.unjudged)
    charts = draw_charts(info.model_copy(update={"settings": judged}))
    left_out = {f"{one.name}-{spec.name}" for one in judged if one != main for spec in CHARTS if spec.main_only}
    return {name: chart for name, chart in charts.items() if name not in left_out}


def show(info: StudyResult, console: Console) -> None:
    """Print every claim in every setting: one line each, with its verdict and its main number."""
    for line in text.write_study_lines(info):
        print_line(console, line)
