"""The open questions of a study, below its claims: how each is answered in words, and its tables."""

from collections.abc import Callable
from dataclasses import dataclass

from tapioca.report.tables import TableBlock
from tapioca.search.floor import FAITHFUL_MARGIN
from tapioca.studies.page import tables, text
from tapioca.studies.results import SettingResult


@dataclass(frozen=True)
class Question:
    """What is asked of every setting, beside the claims; a table more is an entry more of `tables`.

    Attributes:
        name: short, what links lead to.
        title: the question.
        answer: a sentence with the numbers.
        tables: one without rows is not shown.
        note: how to read them.
        intro: what holds of all settings.
    """

    name: str
    title: str
    answer: Callable[[SettingResult], str]
    tables: tuple[Callable[[SettingResult], TableBlock], ...]
    note: str = ""
    intro: str = ""


QUESTIONS = (
    Question(
        "Q1",
        "Does it hold for every kind of shift?",
        text.describe_kinds,
        (tables.tabulate_summaries, tables.tabulate_skills),
        note="Gap closed: share of the full model's excess error over ridge regression that greedy's plan removes. Tail only: share of cells in which the mean error and most prompts disagree about the plan. Both in the lab alone.",
    ),
    Question(
        "Q2",
        "What does finding the layers cost?",
        text.describe_search_cost,
        (tables.tabulate_costs, tables.tabulate_label_counts, tables.tabulate_criteria),
        note=f"Criteria without labels were asked at the fixed strength of every kind but controls, of all plans that change answers to ID prompts by no more than {FAITHFUL_MARGIN:g} (nats, or share of the variance). Worth in labels: how many greedy's search needs there for as much.",
    ),
    Question(
        "Q3",
        "Distorted or misaligned?",
        text.describe_truths,
        (tables.tabulate_truths,),
        intro="This is what labels say. How far it can be told without them is measured apart, on more kinds of shift and at several numbers of inputs, and stands on the page of every tapioca diagnose.",
    ),
)
