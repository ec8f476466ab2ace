"""What criteria without labels say of every plan of one model on one task."""

import numpy as np

from tapioca.search.criteria import UNLABELLED
from tapioca.session.without_labels import UnlabelledData, UnlabelledJudge, explain_missing
from tapioca.studies.cell import Cell, CellKey, UnlabelledScores
from tapioca.studies.measure.model import ID, StudyModel

FAITHFUL = "faithful"
"""The criterion that reads ID data alone, so that it is the same for all tasks of a model."""


def measure_unlabelled(bench: StudyModel, where: CellKey, measured: Cell) -> UnlabelledScores:
    """Score all plans by every criterion that can be had, on the search prompts.

    Args:
        measured: the cell of the same task, whose plans these are.
    """
    study = bench.study
    data = UnlabelledData(bench.tasks[where.kind, where.strength][0], bench.tasks[ID][0], study.seed)
    names = [name for name in UNLABELLED if not explain_missing(name, data)]
    judge = UnlabelledJudge(bench.loaded.model, data, study.batch_size)
    scores = judge.score_all([name for name in names if name != FAITHFUL], bench.plans)
    if FAITHFUL in names:
        scores[FAITHFUL] = bench.faithfulness
    assert measured.kept.shape[0] == len(bench.plans)
    return UnlabelledScores(where=where, names=np.array(names), scores=np.stack([scores[name] for name in names]))
