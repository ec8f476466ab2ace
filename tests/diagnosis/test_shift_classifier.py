"""A classifier tells planted classes apart on what it was not fitted on, says nothing where it does not do well enough, and
never says one thing of few inputs and its opposite of many."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from tapioca.commands.diagnose.page import tabulate_bands, tabulate_left_out, tabulate_unseen
from tapioca.diagnosis.classify import classify, read_classifier, weigh
from tapioca.diagnosis.fit import (
    THRESHOLD,
    answer_left_out,
    fit_classifier,
    fit_file,
    fit_weights,
    list_fitted_cases,
)
from tapioca.diagnosis.records import Case, CrossValidation, Diagnosis, LeftOutScore, Shift, ShiftClassifier
from tapioca.diagnosis.score import count_opposite, find_band, measure_share, summarise_bands, summarise_unseen
from tapioca.errors import DataError
from tapioca.profiles.evidence import EVIDENCE, NULL_TEST, MeasuredEvidence
from tapioca.stats import small_sample_factor

DISTORTING, MISALIGNING, NOTHING = ("noise", "stretch", "dropout"), ("rule", "swap", "mirror"), ("none", "rename")
SLOPE = EVIDENCE.index("last_norm_slope")


def measured(values: np.ndarray, excess: float = 0.5, scatter: float = 0.1) -> MeasuredEvidence:
    """Evidence with halves that scatter by so much."""
    steps = np.tile(np.array([-1.0, 1.0])[:, None], (10, len(EVIDENCE)))
    halves = values + scatter * steps * np.sqrt(19 / 20)
    return MeasuredEvidence(dict.fromkeys(NULL_TEST, excess), values, halves, halves - values)


def case(
    kind: str, model: str, truth: Shift | None, rng: np.random.Generator, signal: float = 2.0, n: int = 512
) -> Case:
    """Evidence whose slope says which, and a gain where a case is distorted."""
    values = rng.normal(size=len(EVIDENCE))
    values[SLOPE] += {"distorted": signal, "misaligned": -signal}.get(truth or "", 0.0)
    found = measured(values, -0.3 if truth == "in distribution" else 0.5)
    gain = (0.2 if truth == "distorted" else -0.01) + 0.02 * rng.normal()
    return Case(
        setting=f"s{model[1:]}",
        model=model,
        size=1000,
        kind=kind,
        strength=float(rng.uniform()),
        n=n,
        excess=found.excess,
        evidence=dict(zip(EVIDENCE, values.tolist(), strict=True)),
        halves=tuple(map(tuple, found.halves.tolist())),
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


def sized(shift: Case, n: int) -> Case:
    return shift.model_copy(update={"n": n})


@pytest.fixture(scope="module")
def classifier() -> ShiftClassifier:
    return fit_classifier(planted())


def test_planted_classes_are_told_apart_on_what_was_left_out(classifier: ShiftClassifier) -> None:
    found = classifier.cross_validation
    assert [(row.left_out, row.n) for row in found.held] == [("kind", 512), ("model", 512), ("setting", 512)]
    for row in found.held:
        assert row.cells == {"distorted": 36, "misaligned": 36}
        assert row.decided > 0.5
        assert row.right is not None
        assert row.right_ci95 is not None
        assert row.right > 0.95
        assert row.right_ci95[0] <= row.right <= row.right_ci95[1] <= 1
        assert row.balanced is not None
        assert row.balanced > 0.9
    assert found.clears_bar
    assert (found.opposite, found.undecided, found.notes) == (0, 0, ())
    assert classifier.cases == {"distorted": 36, "misaligned": 36}


def test_where_nothing_is_planted_nothing_is_found_and_neither_word_is_said() -> None:
    none = fit_classifier(planted(signal=0.0), seed=1)
    for row in none.cross_validation.held:
        assert row.balanced is not None
        assert row.balanced < 0.65  # of guessing, one half
    assert not none.cross_validation.clears_bar
    extreme = classify(none, measured(np.array(none.weights.highs) * np.sign(none.weights.coefficients)))
    assert extreme.verdict == "cannot tell without labels"
    assert extreme.probability is not None


def test_a_kind_is_answered_without_it() -> None:
    """Evidence by which a kind is known says nothing about others: the same cases left in would be told perfectly."""
    rng, cases = np.random.default_rng(0), []
    signs = dict(zip((*DISTORTING, *MISALIGNING), rng.normal(size=(6, len(EVIDENCE))) * 4, strict=True))
    for one in planted(signal=0.0):
        if one.truth != "in distribution":
            values = measured(signs[one.kind] + 0.1 * rng.normal(size=len(EVIDENCE)))
            evidence = dict(zip(EVIDENCE, values.values.tolist(), strict=True))
            halves = tuple(map(tuple, values.halves.tolist()))
            cases.append(one.model_copy(update={"evidence": evidence, "halves": halves}))
    inside = fit_weights(list_fitted_cases(cases), EVIDENCE)
    log_odds = [inside.intercept + weigh(inside, one.evidence).sum() for one in cases]
    assert all((value > 0) == (one.truth == "distorted") for value, one in zip(log_odds, cases, strict=True))
    answers = answer_left_out(cases, EVIDENCE, "kind")
    rightly = np.mean([(answers[at].probability >= 0.5) == (one.truth == "distorted") for at, one in enumerate(cases)])
    assert rightly < 0.75


def test_weights_are_those_of_scikit_learn(classifier: ShiftClassifier) -> None:
    cases = [one for one in planted() if one.truth != "in distribution"]
    table = np.array([list(one.evidence.values()) for one in cases])
    table = (table - table.mean(0)) / table.std(0)
    truth = np.array([one.truth == "distorted" for one in cases])
    want = LogisticRegression(class_weight="balanced", max_iter=1000).fit(table, truth).decision_function(table)
    weights = classifier.weights
    log_odds = [weights.intercept + weigh(weights, one.evidence).sum() for one in cases]
    assert log_odds == pytest.approx(want.tolist())


def test_the_four_verdicts(classifier: ShiftClassifier) -> None:
    usual = np.array(classifier.weights.means)

    def say(slope: float, excess: float = 0.5, scatter: float = 0.01) -> Diagnosis:
        values = usual.copy()
        values[SLOPE] = slope
        return classify(classifier, measured(values, excess, scatter))

    quiet = say(99.0, excess=0.0)
    assert (quiet.verdict, quiet.probability) == ("no shift seen", None)
    assert "no deviation is above its null" in quiet.reason
    up, down = say(2.0), say(-2.0)
    assert (up.verdict, down.verdict) == ("distorted", "misaligned")
    assert up.probability is not None
    assert up.probability >= THRESHOLD
    assert down.probability is not None
    assert down.probability <= 1 - THRESHOLD
    torn = say(0.1)
    assert torn.verdict == "cannot tell without labels"
    assert "is below 0.75" in torn.reason
    few = say(2.0, scatter=3.0)
    assert few.verdict == "cannot tell without labels"
    assert few.reason.startswith("distorted is likelier, but its probability, 0.9")
    assert few.reason.endswith("is too uncertain with so few examples")
    assert few.probability_ci95 is not None
    assert few.probability_ci95[0] < 0.5 < few.probability_ci95[1]
    far = say(99.0)
    assert far.verdict == "cannot tell without labels"
    assert far.outside == ("last_norm_slope",)
    assert "last_norm_slope is +99.000, outside the −" in far.reason
    unknown = classifier.model_copy(
        update={"weights": classifier.weights.model_copy(update={"names": ("rank_shift",)})}
    )
    with pytest.raises(DataError, match="asks for the evidence 'rank_shift', which is not measured"):
        classify(unknown, measured(usual))


def test_the_interval_of_a_probability_is_that_of_the_log_odds(classifier: ShiftClassifier) -> None:
    weights = classifier.weights
    found = classify(classifier, measured(np.array(weights.means), scatter=0.2))
    assert found.probability_ci95 is not None
    shift = 1.96 * abs(float(np.sum(0.2 / np.array(weights.sds) * np.array(weights.coefficients))))
    low, high = (np.log(end / (1 - end)) for end in found.probability_ci95)
    assert (low, high) == pytest.approx((weights.intercept - shift, weights.intercept + shift), rel=1e-3)


def test_a_class_that_is_not_there_is_said() -> None:
    cases = [one for one in planted() if one.truth != "misaligned" or one.kind == "rule"]
    found = fit_classifier(cases).cross_validation
    assert found.notes == ("without the kind rule there is a class with no case to fit",)
    assert not found.clears_bar
    alone = fit_classifier([one for one in cases if one.truth != "misaligned"])
    said = classify(alone, measured(np.zeros(len(EVIDENCE))))
    assert said.verdict == "cannot tell without labels"
    assert said.reason == "the classifier has seen no misaligned case to tell it from"
    with pytest.raises(DataError, match="none of 24 cases above its null is distorted or misaligned"):
        fit_classifier([one for one in cases if one.truth == "in distribution"])


def test_undecided_shifts_are_counted_and_change_no_weight(classifier: ShiftClassifier) -> None:
    rng = np.random.default_rng(5)
    more = fit_classifier([*planted(), *(case("noise", "m0", None, rng) for _ in range(7))])
    assert (more.cross_validation.undecided, classifier.cross_validation.undecided) == (7, 0)
    assert more.weights == classifier.weights
    assert more.cross_validation.held == classifier.cross_validation.held


def test_the_most_examples_are_fitted_on_and_every_number_is_judged() -> None:
    few = [sized(one, 64).model_copy(update={"evidence": dict.fromkeys(EVIDENCE, 0.0)}) for one in planted()]
    both = fit_classifier([*few, *planted()])
    assert both.weights == fit_classifier(planted()).weights
    rows = {(row.left_out, row.n): row for row in both.cross_validation.held}
    assert rows["kind", 64].decided == 0
    assert rows["kind", 64].right is None
    assert rows["kind", 512].decided > 0.5
    assert both.cross_validation.shifts == 96
    assert both.cross_validation.clears_bar  # at 512


def test_one_shift_that_is_called_both_misses_the_bar(classifier: ShiftClassifier) -> None:
    shift, other = planted()[:2]
    said = {verdict: Diagnosis(verdict=verdict, probability=0.5, reason="") for verdict in ("distorted", "misaligned")}
    cases = [sized(shift, 64), shift, sized(other, 64), other]
    same = dict(enumerate([said["distorted"], said["distorted"], said["misaligned"], said["misaligned"]]))
    assert count_opposite(cases, [same]) == 0
    assert count_opposite(cases, [same, {0: said["distorted"], 1: said["misaligned"]}]) == 1
    assert not classifier.cross_validation.model_copy(update={"opposite": 1}).clears_bar


@pytest.mark.parametrize(
    ("decided", "right", "n", "clears"),
    [
        (0.5, 0.8, 512, True),
        (0.49, 1.0, 512, False),
        (1.0, 0.79, 512, False),
        (0.5, 0.8, 64, False),
        (0.9, None, 512, False),
    ],
)
def test_the_bar(decided: float, right: float | None, n: int, clears: bool) -> None:
    fields = {"cells": {}, "right_ci95": None, "balanced": None, "balanced_ci95": None}
    good = LeftOutScore(left_out="kind", n=512, decided=1.0, right=1.0, **fields)
    row = LeftOutScore(left_out="model", n=n, decided=decided, right=right, **fields)
    held = (good, row) if n == 512 else (row,)
    lists = {"kinds": (), "models": (), "settings": ()}
    found = CrossValidation(**lists, held=held, shifts=1, opposite=0, undecided=0)
    assert found.clears_bar is clears


def test_bands_are_what_searches_came_to_by_probability() -> None:
    rng = np.random.default_rng(0)
    cases = [case("noise", "m", None, rng).model_copy(update={"gain": g, "low": g - 0.15}) for g in (0.1, 0.2, 0.4)]
    cases += [cases[0].model_copy(update={"gain": None, "low": None, "strength": -1.0})]
    cases += [cases[0].model_copy(update={"metric": "accuracy", "strength": -2.0})]
    cases = [*(sized(one, 64) for one in cases), *cases]  # the larger count, once each
    likely = Diagnosis(verdict="distorted", probability=0.9, reason="")
    accuracies, errors = summarise_bands(cases, dict.fromkeys(range(10), likely))
    assert (accuracies.metric, accuracies.cases, accuracies.gained) == ("accuracy", 1, 0)
    assert (errors.metric, errors.low, errors.high, errors.cases, errors.gained) == ("error", 0.75, 1.0, 3, 2)
    assert errors.quartiles == pytest.approx((0.15, 0.2, 0.3))
    assert errors.gained_ci95[0] <= 2 / 3 <= errors.gained_ci95[1]
    assert [find_band(value) for value in (0, 0.2, 0.25, 0.5, 0.75, 1)] == [0, 0, 1, 2, 3, 3]


def test_samples_without_a_deviation_say_what_few_examples_can_miss() -> None:
    rng = np.random.default_rng(0)
    seen = case("noise", "m0", "distorted", rng)
    missed = seen.model_copy(update={"n": 32, "excess": dict.fromkeys(NULL_TEST, -0.1), "low": 0.1, "gain": 0.2})
    nothing = case("none", "m1", "in distribution", rng).model_copy(update={"n": 32, "gain": 0.0, "low": 0.0})
    (found,) = summarise_unseen([seen, missed, nothing])
    assert (found.n, found.cases, found.gained) == (32, 2, 1)
    assert found.quartiles == pytest.approx((0.05, 0.1, 0.15))


def test_the_interval_is_about_kinds_and_models() -> None:
    """Five wrong kinds of ten: resampling cases would be sure of itself, resampling kinds gives a binomial."""
    rng = np.random.default_rng(0)
    cases = [case(kind, f"m{at % 20}", "distorted", rng) for kind in "abcdefghij" for at in range(40)]
    share, interval = measure_share([(one, one.kind in "abcde") for one in cases])
    assert share == 0.5
    resampled = binom.ppf([0.025, 0.975], 10, 0.5) / 10
    assert interval == pytest.approx(tuple(0.5 + (resampled - 0.5) * small_sample_factor(10)))
    assert measure_share([]) == (None, None)
    none = measure_share([(one, False) for one in cases[:20]])
    assert none == (0.0, (0.0, pytest.approx(0.1611, abs=1e-4)))  # Wilson's, of 0 in 20


def test_a_balanced_share_is_the_mean_over_truths() -> None:
    rng = np.random.default_rng(0)
    cases = [case("a", "m0", "distorted", rng) for _ in range(9)] + [case("b", "m1", "misaligned", rng)]
    assert measure_share([(one, one.truth == "distorted") for one in cases], balanced=True)[0] == 0.5
    assert measure_share([(one, one.truth == "distorted") for one in cases])[0] == 0.9


def test_files_come_back_and_mistakes_are_one_line(classifier: ShiftClassifier, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([one.model_dump() for one in planted()]))
    assert fit_file(path) == classifier
    (tmp_path / "classifier.json").write_text(classifier.model_dump_json())
    assert read_classifier(tmp_path / "classifier.json") == classifier
    with pytest.raises(DataError, match=r"cannot read .*none.json: No such file.*--classifier FILE"):
        read_classifier(tmp_path / "none.json")
    path.write_text('[{"setting": "s", "model": "m"}]')
    with pytest.raises(DataError, match=r"cases.json: 0.size: Field required; expected a JSON list of cases"):
        fit_file(path)
    with pytest.raises(
        DataError, match=r"cannot read .*: Input should be an object; give one that `fit_file` of this version made"
    ):
        read_classifier(path)
    with pytest.raises(DataError, match="got no cases; expected at least one of each class"):
        fit_classifier([])
    odd = planted()[:2]
    odd[1] = odd[1].model_copy(update={"evidence": {"norm_shift": 1.0}})
    with pytest.raises(
        DataError, match=r"case 1 \(m1, noise\) has the evidence norm_shift and the excess last_norm_excess, "
    ):
        fit_classifier(odd)
    odd[1] = planted()[1].model_copy(update={"halves": ()})
    with pytest.raises(
        DataError, match=r"case 1 \(m1, noise\) has 0 halves; expected at least two, of 12 numbers each"
    ):
        fit_classifier(odd)


def test_the_packaged_classifier_says_of_itself_what_the_bar_allows() -> None:
    """Whether it says distorted and misaligned follows from its own table, and its numbers are those of this version."""
    packaged = read_classifier()
    assert packaged.weights.names == EVIDENCE
    sizes = {row.n for row in packaged.cross_validation.held}
    assert sizes == {32, 64, 128, 256, 512}
    assert {row.left_out for row in packaged.cross_validation.held} == {"kind", "model", "setting"}


def test_the_docs_hold_the_tables_of_the_packaged_classifier() -> None:
    text = (Path(__file__).parents[2] / "docs" / "diagnose.md").read_text()
    packaged = read_classifier()
    for table in (
        tabulate_left_out(packaged.cross_validation),
        tabulate_bands(packaged.bands),
        tabulate_unseen(packaged.unseen),
    ):
        assert f"| {' | '.join(table.head)} |" in text
        for row in table.rows:
            assert f"| {' | '.join(row)} |" in text
