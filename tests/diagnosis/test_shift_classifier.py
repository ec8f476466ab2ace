"""A classifier tells planted classes apart on kinds it has not seen, and says so where it cannot."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from tapioca.diagnosis.classify import classify, contributions, likelier_class, read_classifier
from tapioca.diagnosis.fit import NULL_TEST, THRESHOLD, cross_validate, fit_classifier, fit_file, fit_weights
from tapioca.diagnosis.records import Case, Shift, ShiftClassifier
from tapioca.diagnosis.score import measure_accuracy, summarise_gains
from tapioca.errors import DataError
from tapioca.stats import small_sample_factor

DISTORTING, MISALIGNING, NOTHING = ("noise", "stretch", "dropout"), ("rule", "swap", "mirror"), ("none", "rename")


def case(kind: str, model: str, truth: Shift | None, rng: np.random.Generator, signal: float = 2.0) -> Case:
    """Evidence whose slope says which, and a gain where a case is distorted."""
    way = {"distorted": signal, "misaligned": -signal}.get(truth or "", 0.0)
    excess = -0.3 if truth == "in distribution" else 0.5
    evidence = {name: excess + 0.05 * rng.normal() for name in NULL_TEST}
    evidence |= {"norm_slope": way + rng.normal(), "rank_shift": rng.normal(), "dull": 3.0}
    gain = (0.2 if truth == "distorted" else -0.01) + 0.02 * rng.normal()
    return Case(
        model=model,
        size=1000,
        kind=kind,
        strength=1.0,
        evidence=evidence,
        truth=truth,
        gain=gain,
        low=gain - 0.1,
    )


def planted(signal: float = 2.0, models: int = 6, seed: int = 0) -> list[Case]:
    rng = np.random.default_rng(seed)
    kinds: dict[str, Shift] = {
        **dict.fromkeys(DISTORTING, "distorted"),
        **dict.fromkeys(MISALIGNING, "misaligned"),
        **dict.fromkeys(NOTHING, "in distribution"),
    }
    return [case(kind, f"m{at % models}", kinds[kind], rng, signal) for kind in kinds for at in range(12)]


@pytest.fixture(scope="module")
def judge() -> ShiftClassifier:
    return fit_classifier(planted())


def test_planted_classes_are_told_apart_on_kinds_left_out(judge: ShiftClassifier) -> None:
    found = judge.cross_validation
    assert found.forced.cases == {"distorted": 36, "misaligned": 36, "in distribution": 24}
    assert found.forced.balanced is not None
    assert found.forced.balanced > 0.95
    assert found.forced.ci95 is not None
    low, high = found.forced.ci95
    assert 0.9 < low <= found.forced.balanced <= high <= 1
    assert found.forced.chance == pytest.approx(1 / 3)
    assert found.forced.commonest == pytest.approx(36 / 96)
    assert found.beyond.cases == {"distorted": 36, "misaligned": 36}
    assert found.beyond.chance == 0.5
    assert found.coverage is not None
    assert 0.7 < found.coverage < 1
    assert sum(itertools.chain(*(said.values() for said in found.confusion.values()))) == 96
    assert found.confusion["in distribution"] == {"in distribution": 24}
    assert found.notes == ()


def test_where_nothing_is_planted_nothing_is_found() -> None:
    found = cross_validate(planted(signal=0.0), seed=1)[0]
    assert found.beyond.balanced is not None
    assert found.beyond.balanced < 0.65  # of guessing, one half
    assert found.beyond.ci95 is not None
    assert found.beyond.ci95[0] < 0.5
    assert found.confusion["in distribution"] == {"in distribution": 24}  # the gate needs no weights


def test_a_kind_is_judged_without_it() -> None:
    """Evidence by which a kind is known says nothing about others: the same rows left in would be told perfectly."""
    rows = []
    for at, row in enumerate(planted(signal=0.0)):
        known = {f"is_{kind}": float(row.kind == kind) for kind in (*DISTORTING, *MISALIGNING)}
        rows.append(row.model_copy(update={"evidence": {**row.evidence, **known}, "strength": float(at)}))
    inside = fit_weights(rows, tuple(rows[0].evidence))
    beyond = [row for row in rows if row.truth != "in distribution"]
    assert np.mean([likelier_class(inside, row.evidence)[0] == row.truth for row in beyond]) == 1
    found = cross_validate(rows)[0].beyond
    assert found.balanced is not None
    assert found.balanced < 0.65


def test_weights_are_those_of_scikit_learn(judge: ShiftClassifier) -> None:
    rows = [row for row in planted() if row.truth != "in distribution"]
    table = np.array([list(row.evidence.values()) for row in rows])
    table = (table - table.mean(0)) / np.where(table.std(0) > 0, table.std(0), 1)
    truth = np.array([row.truth == "distorted" for row in rows])
    want = LogisticRegression(class_weight="balanced", max_iter=1000).fit(table, truth).predict_proba(table)[:, 1]
    for row, probability in zip(rows, want, strict=True):
        assert likelier_class(judge.weights, row.evidence)[1] == pytest.approx(max(probability, 1 - probability))
    assert contributions(judge.weights, rows[0].evidence)[judge.weights.names.index("dull")] == 0


def test_the_four_verdicts(judge: ShiftClassifier) -> None:
    usual = dict(zip(judge.weights.names, judge.weights.means, strict=True))
    quiet = classify(judge, {**usual, "norm_excess": -0.1, "distance_excess": 0.0, "norm_slope": 99.0})
    assert (quiet.verdict, quiet.probability) == ("in distribution", None)
    assert "no deviation is above its null" in quiet.reason
    one = classify(judge, {**usual, "norm_excess": -0.1, "norm_slope": 1.5})  # one of the two is enough
    assert one.verdict != "in distribution"
    up, down = (classify(judge, {**usual, "norm_slope": slope}) for slope in (2.0, -2.0))
    assert (up.verdict, down.verdict) == ("distorted", "misaligned")
    assert up.probability is not None
    assert up.probability >= THRESHOLD
    torn = classify(judge, usual)
    assert torn.verdict == "cannot tell without labels"
    assert "is below 0.75" in torn.reason
    far = classify(judge, {**usual, "norm_slope": 99.0, "rank_shift": -99.0})
    assert far.verdict == "cannot tell without labels"
    assert set(far.outside) == {"norm_slope", "rank_shift"}
    assert "norm_slope is +99.000, outside the −" in far.reason
    assert far.reason.endswith("the classifier has seen, and 1 more")
    with pytest.raises(DataError, match="asks for the evidence 'rank_shift', which is not measured"):
        classify(judge, {name: value for name, value in usual.items() if name != "rank_shift"})


def test_a_class_that_is_not_there_is_said() -> None:
    rows = [row for row in planted() if row.truth != "misaligned" or row.kind == "rule"]
    found, _ = cross_validate(rows)
    assert found.notes == ("without rule there is no misaligned case to fit",)
    assert found.confusion["misaligned"] == {"cannot tell without labels": 12}
    assert "misaligned" not in found.answered.cases
    alone = fit_classifier([row for row in rows if row.truth != "misaligned"])
    said = classify(alone, rows[0].evidence)
    assert said.verdict == "cannot tell without labels"
    assert said.reason == "the classifier has seen no misaligned case to tell it from"
    with pytest.raises(DataError, match="none of 24 cases above its null is distorted or misaligned"):
        fit_classifier([row for row in rows if row.truth == "in distribution"])


def test_undecided_cases_are_counted_and_change_no_weight(judge: ShiftClassifier) -> None:
    rng = np.random.default_rng(5)
    rows = [*planted(), *(case("noise", "m0", None, rng) for _ in range(7))]
    more = fit_classifier(rows)
    assert (more.cross_validation.undecided, judge.cross_validation.undecided) == (7, 0)
    assert more.weights == judge.weights
    assert more.cross_validation.forced == judge.cross_validation.forced


def test_what_to_expect_is_what_was_found_by_verdict() -> None:
    rng = np.random.default_rng(0)
    rows = [case("noise", "m", None, rng).model_copy(update={"gain": g, "low": g - 0.15}) for g in (0.1, 0.2, 0.4)]
    rows += [rows[0].model_copy(update={"gain": None, "low": None}), rows[0].model_copy(update={"metric": "accuracy"})]
    found = summarise_gains(rows, dict.fromkeys(range(5), "distorted"))
    accuracies, errors = found
    assert (accuracies.metric, accuracies.cases, accuracies.gained) == ("accuracy", 1, 0)
    assert (errors.metric, errors.cases, errors.gained) == ("error", 3, pytest.approx(2 / 3))
    assert errors.quartiles == pytest.approx((0.15, 0.2, 0.3))


def test_the_interval_is_about_kinds_and_models() -> None:
    """Five wrong kinds of ten: resampling cases would be sure of itself, resampling kinds gives a binomial."""
    rng = np.random.default_rng(0)
    rows = [case(kind, f"m{at % 20}", "distorted", rng) for kind in "abcdefghij" for at in range(40)]
    answers: dict[int, Shift] = {
        at: "misaligned" if row.kind in "abcde" else "distorted" for at, row in enumerate(rows)
    }
    found = measure_accuracy(rows, answers, range(400))
    assert found.balanced == found.plain == 0.5
    assert found.commonest == 1
    resampled = binom.ppf([0.025, 0.975], 10, 0.5) / 10
    assert found.ci95 == pytest.approx(tuple(0.5 + (resampled - 0.5) * small_sample_factor(10)))
    assert measure_accuracy(rows, answers, []).balanced is None


def test_files_come_back_and_mistakes_are_one_line(judge: ShiftClassifier, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([row.model_dump() for row in planted()]))
    assert fit_file(rows) == judge
    (tmp_path / "judge.json").write_text(judge.model_dump_json())
    assert read_classifier(tmp_path / "judge.json") == judge
    with pytest.raises(DataError, match=r"cannot read .*none.json: No such file.*--classifier FILE"):
        read_classifier(tmp_path / "none.json")
    rows.write_text('[{"model": "m"}]')
    with pytest.raises(DataError, match=r"rows.json: 0.size: Field required; expected a JSON list of cases"):
        fit_file(rows)
    with pytest.raises(
        DataError, match=r"cannot read .*: Input should be an object; give one that `fit_file` of this version made"
    ):
        read_classifier(rows)
    with pytest.raises(DataError, match="got no cases; expected at least one of each class"):
        fit_classifier([])
    odd = planted()[:2]
    odd[1] = odd[1].model_copy(update={"evidence": {"norm_excess": 1.0}})
    with pytest.raises(DataError, match=r"case 1 \(m1, noise\) has the evidence norm_excess; all need the same"):
        fit_classifier(odd)
