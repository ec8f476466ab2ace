"""Claims: each verdict where it was planted, and none where nothing was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from support.simulated_cells import World, analyse, analyse_setting, cells, doses, setting, study, tuned_cells

from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.setting import SettingAnalysis
from tapioca.studies.analyse.statistics import CellStatistic, StatTable
from tapioca.studies.analyse.verdicts import MeasuredCondition, MeasuredRule
from tapioca.studies.cell import Cell, DoseResponse
from tapioca.studies.results import ClaimResult
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim, Setting

SURE = World(gain=0.6, bend=0.2, harm=0.3, noise=0.05, realigned=0.1)
THREE: tuple[Decision, ...] = ("supported", "not supported", "inconclusive")


def bench(found: list[Cell], asked: Setting, of: list[DoseResponse] | None = None, draws: int = 200) -> SettingAnalysis:
    return analyse_setting(study(asked, draws=draws), asked, [*found, *(of or [])])


def decided(claim: Claim, found: list[Cell], asked: Setting, of: list[DoseResponse] | None = None) -> Decision:
    return bench(found, asked, of)._claim(claim).decision


def remade(found: list[Cell], name: str, change: object) -> list[Cell]:
    """Cells with one array changed, those of ID data apart."""
    assert callable(change)
    return [one if one.where.kind == "id" else replace(one, **{name: change(getattr(one, name), one)}) for one in found]


@pytest.mark.parametrize(
    ("gain_on_id", "decision"), [(0.0, "supported"), (0.3, "not supported"), (None, "inconclusive")], ids=THREE
)
def test_c1(gain_on_id: float | None, decision: Decision) -> None:
    asked = setting(models=5, kinds=1, strengths=1)
    world = World(gain=-1, harm=1, noise=0.02) if gain_on_id is not None else World(noise=1)
    found = cells(world, asked)
    if gain_on_id:
        found = [replace(one, test=one.test * np.exp(-gain_on_id * (~one.kept).any(1))[:, None],
                         search=one.search * np.exp(-2 * ~one.kept[:, -1:])) for one in found]  # fmt: skip
    # dropping nothing helps by less than the margin, or dropping the last layer by more than 0, or who knows
    assert decided("C1", found, asked) == decision


@pytest.mark.parametrize(
    ("world", "decision"),
    [
        (World(gain=0.5, harm=0.3, noise=0.1), "supported"),
        (World(gain=-0.5, harm=0.5, noise=0.02), "not supported"),
        (World(noise=1.5), "inconclusive"),
    ],
    ids=THREE,
)
def test_c2(world: World, decision: Decision) -> None:
    asked = setting(strengths=2)
    assert decided("C2", cells(world, asked), asked) == decision


@pytest.mark.parametrize(
    ("bend", "decision"), [(0.1, "supported"), (0.0, "not supported"), (None, "inconclusive")], ids=THREE
)
@pytest.mark.parametrize(("claim", "kind"), [("C3", 0), ("C4", 1)])
def test_c3_and_c4(bend: float | None, decision: Decision, claim: Claim, kind: int) -> None:
    asked = setting()
    found = cells(World(bend=0.1 if bend is None else bend), asked)
    if bend is None:  # models that disagree
        sign = np.array([-1, 1, -1, 1]) * 0.3
        found = remade(found, "deviation", lambda old, one: old + sign[int(one.where.model[1])])
    other = remade(found, "deviation", lambda old, one: old if kind == 0 else old[::-1])
    assert decided(claim, other, asked) == decision


def test_c5() -> None:
    asked = setting()
    found = cells(SURE, asked)
    assert decided("C5", found, asked) == "supported"
    assert decided("C5", remade(found, "realigned", lambda old, _: old * [[1], [-1]]), asked) == "not supported"
    # realigned by the plan, but no more than by others: its ranks among plans say nothing
    flat = remade(
        found, "realigned", lambda old, one: 0.1 + np.random.default_rng(one.where.strength).normal(0, 0.01, old.shape)
    )
    assert decided("C5", flat, asked) == "inconclusive"


def test_c6() -> None:
    asked = setting()
    found = cells(SURE, asked)
    assert decided("C6", found, asked) == "supported"
    assert decided("C6", remade(found, "along", lambda old, _: old * [[1], [-1]]), asked) == "not supported"
    noise = np.random.default_rng(0)
    assert decided("C6", remade(found, "along", lambda old, _: noise.normal(size=old.shape)), asked) == "inconclusive"


def test_c7() -> None:
    asked = setting(tuned={"kind_0": "t0_2", "kind_1": "t1_2"})
    calm = World(gain=0.6, bend=0.2, harm=0.5, noise=0.01)
    cured, shifted = World(gain=-0.5, harm=0.5, noise=0.02), replace(calm, gain=0.6)
    found = cells(calm, asked)
    supported = [*found, *tuned_cells(cured, shifted, asked)]
    assert decided("C7", supported, asked) == "supported"
    assert decided("C7", found, asked) == "inconclusive"  # nothing was tuned
    assert (
        decided("C7", [*found, *tuned_cells(shifted, cured, asked)], asked) == "not supported"
    )  # worse than the control
    falling = remade(found, "deviation", lambda old, _: 0.04 - old)
    assert decided("C7", [*falling, *tuned_cells(cured, shifted, asked)], asked) == "not supported"
    kinds = {row.kind: row for row in bench(supported, asked, draws=1000)._claim("C7").kinds}
    assert kinds["kind_0"].decision == "supported"
    assert kinds["kind_2"].decision == "inconclusive"
    assert "after tuning on them: not measured" in kinds["kind_2"].reason


def test_c7_at_zero_shift_a_deviation_is_that_of_two_id_samples() -> None:
    """Deviations that do not rise with the strength must not seem to, for being above 0."""
    asked = setting(models=6, kinds=6, strengths=5)
    found = bench(cells(World(bend=0.0), asked), asked)._claim("C7").finding("norm deviation with strength").pooled
    assert found is not None
    assert abs(found.value) < 0.2
    assert found.ci95[0] < 0 < found.ci95[1]


def test_two_points_have_no_ranks() -> None:
    asked = setting(strengths=1)
    finding = bench(cells(SURE, asked), asked)._claim("C7").finding("norm deviation with strength")
    assert finding.pooled is None
    assert finding.left_out == 16


@pytest.mark.parametrize(
    ("slope", "moved", "decision"),
    [(0.5, 0.2, "supported"), (0.5, -0.2, "not supported"), (0.0, 0.0, "inconclusive")],
    ids=THREE,
)
def test_c8(slope: float, moved: float, decision: Decision) -> None:
    asked = setting(strengths=1)
    assert decided("C8", cells(SURE, asked), asked, doses(asked, slope, moved)) == decision


def test_c8_leaves_out_empty_plans_and_asks_for_more_than_random_sets_do() -> None:
    asked = setting(strengths=1)
    found, swept = cells(SURE, asked), doses(asked, 0.5, 0.2)
    places = {(one.where.model, one.where.kind) for one in swept[:3]}
    worse = [  # where every plan is worse on the search prompts, greedy's is empty
        replace(one, search=one.search * np.where(one.kept.all(1), 1, 9)[:, None])
        if (one.where.model, one.where.kind) in places
        else one
        for one in found
    ]
    finding = bench(worse, asked, swept)._claim("C8").finding("error with norm deviation over scales")
    assert finding.left_out == 3
    assert finding.pooled is not None
    assert finding.pooled.cells == 13
    alike = [replace(one, test=one.test[[0, 0, 0, 3]], deviation=one.deviation[[0, 0, 0, 3]]) for one in swept]
    assert decided("C8", found, asked, alike) == "inconclusive"


def test_c9() -> None:
    asked = setting(models=6, strengths=1)
    sure = cells(SURE, asked)
    assert decided("C9", sure, asked) == "supported"
    assert decided("C9", cells(SURE, asked, parameters=(100,)), asked) == "inconclusive"
    hurt = [
        replace(
            one, test=one.test * np.exp(np.where((~one.kept).any(1) & (one.where.parameters == 400), 3, 0))[:, None]
        )
        for one in sure
    ]
    assert decided("C9", hurt, asked) == "not supported"
    bad = bench(hurt, asked)._claim("C9")
    assert "largest size" in bad.reason
    assert [row.sign for row in bad.findings[0].sizes] == ["+", "−"]


@pytest.mark.slow
def test_null_studies_support_nothing_more_often_than_they_may() -> None:
    """No plan differs from the full model but by chance and no data deviate: C2 to C6 may be supported in 2.5 % of the
    studies each."""
    asked, studies = setting(models=4, kinds=3, strengths=2), 40
    allowed = stats.binom.ppf(0.9999, studies, 0.025)
    claims: tuple[Claim, ...] = ("C2", "C3", "C4", "C5", "C6")
    found = dict.fromkeys(claims, 0)
    for seed in range(studies):
        made = bench(cells(World(layers=3, prompts=16), asked, seed), asked, draws=100)
        for claim in claims:
            found[claim] += made.claims.measured_rule(made.axes.study.claims[claim]).decide().decision == "supported"
    assert max(found.values()) <= allowed, found


def test_a_planted_gain_is_found_and_lies_in_its_interval() -> None:
    asked = setting(models=6, strengths=1)
    inside = 0
    for seed in range(12):
        found = bench(cells(World(gain=0.3, harm=0.5, noise=0.2), asked, seed), asked)
        pooled = found.claims.measure("log_ratio").pooled()
        assert pooled is not None
        assert pooled.ci95[0] > 0
        inside += pooled.ci95[0] < 0.3 < pooled.ci95[1]
    assert inside >= 10


def simple(values: list[list[float]], asked: Setting, name: str = "gain") -> Measure:
    """A measure of one strength from plain numbers, rows of models."""
    table: StatTable = {(m, k, 0): CellStatistic(v, None, 8) for m, row in enumerate(values) for k, v in enumerate(row)}
    found = bench(cells(World(layers=2, prompts=8), asked), asked).axes
    return Measure(name, "log ratio of errors", found, table)


def above(measure: Measure, bound: float = 0.0) -> MeasuredCondition:
    return MeasuredCondition(measure, "above", bound, min_models=3)


def below(measure: Measure, bound: float = 0.0) -> MeasuredCondition:
    return MeasuredCondition(measure, "below", bound, min_models=3)


def at_every_size(measure: Measure, bound: float = 0.0) -> MeasuredCondition:
    return MeasuredCondition(measure, "above", bound, min_models=3, at="every size")


def test_where_both_sides_of_a_rule_come_true_it_is_inconclusive_and_says_so() -> None:
    gain = simple([[0.01, 0.0101], [0.0102, 0.0101], [0.01, 0.0103]], setting(models=3, kinds=2, strengths=1))
    found = MeasuredRule((above(gain),), ((below(gain, 0.02),),)).decide()
    assert found.decision == "inconclusive"
    assert found.reason.startswith("gain +0.010 [+0.009, +0.011], above 0; gain +0.010")
    assert found.reason.endswith("below 0.02")


def test_of_a_list_of_conditions_all_must_hold() -> None:
    asked = setting(models=3, kinds=2, strengths=1)
    low, high = (simple([[v, v + 0.01], [v, v], [v + 0.01, v]], asked) for v in (-0.5, 0.5))
    one = MeasuredRule((above(low),), ((below(low), below(high)), (below(high),))).decide()
    assert one.decision == "inconclusive"
    both = MeasuredRule((above(low),), ((below(low), below(high, 1.0)), (below(high),))).decide()
    assert both.decision == "not supported"
    assert [result.holds for result in both.results] == [True, True]


def test_kinds_are_corrected_by_holm_and_controls_stand_apart() -> None:
    asked = setting(models=6, kinds=4, strengths=1, controls=("kind_3",))
    rng = np.random.default_rng(0)
    values = np.array([0.5, 0.0, 0.12, 9.0]) + rng.normal(0, 0.1, (6, 4))
    gain = simple(values.tolist(), asked)
    finding = gain.to_finding()
    assert finding.pooled is not None
    assert finding.pooled.value == pytest.approx(values[:, :3].mean())
    assert [row.kind for row in finding.controls] == ["kind_3"]
    assert finding.controls[0].p_holm is None
    p = [row.value.p for row in finding.kinds]
    assert finding.kinds[0].p_holm == pytest.approx(3 * p[0])
    decisions = MeasuredRule((above(gain),), ((below(gain, 0.02),),)).decide_by_kind({"kind_2": "at the floor"})
    assert [row.decision for row in decisions] == ["supported", "inconclusive", "inconclusive"]
    assert decisions[2].reason.startswith("at the floor; gain +0.")
    rows = [row for row in finding.kind_sizes if row.kind == "kind_3"]
    assert [(row.parameters, row.models) for row in rows] == [(100, 3), (400, 3)]


def test_a_number_of_fewer_than_three_models_decides_nothing() -> None:
    asked, nan = setting(models=4, kinds=2, strengths=1), np.nan
    rule = MeasuredRule((above(simple([[0.3, 0.3], [0.31, 0.3], [0.3, nan], [0.3, nan]], asked)),), ())
    assert rule.decide().decision == "supported"
    many, few = rule.decide_by_kind({})
    assert (many.decision, few.decision) == ("supported", "inconclusive")
    assert few.reason == "gain +0.300 [+0.300, +0.300], of too few models (2)"


def test_a_kind_that_only_correction_undoes_says_so() -> None:
    asked = setting(models=6, kinds=8, strengths=1)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (6, 8))
    values = noise - noise.mean(axis=0) + np.array([0.2] + [0.0] * 7)
    decisions = MeasuredRule((above(simple(values.tolist(), asked)),), ()).decide_by_kind({})
    assert decisions[0].decision == "inconclusive"
    assert "after Holm's correction over kinds" in decisions[0].reason


def test_every_size_must_be_measured() -> None:
    asked = setting(models=4, kinds=1, strengths=1)
    assert at_every_size(simple([[1], [1], [1], [1]], asked)).try_on().holds
    assert not at_every_size(simple([[1], [-1], [1], [-1]], asked)).try_on().holds
    assert at_every_size(simple([[1], [np.nan], [1], [np.nan]], asked)).try_on().reason == "gain: 1 model size measured"


def test_few_models_floor_and_ceiling_are_inconclusive_by_rule() -> None:
    def reason(accuracy: float, chance: float, models: int = 4) -> ClaimResult:
        asked = setting(models=models, strengths=1)
        right = np.arange(32) < accuracy * 32
        made = [
            replace(one, companion=np.array([right, right], float), chance=np.array(chance))
            for one in cells(SURE, asked)
        ]
        return analyse(study(asked), made).settings[0].claim("C2")

    assert reason(0.75, 0.5).decision == "supported"
    floor = reason(0.5, 0.5)
    assert floor.decision == "inconclusive"
    assert floor.reason.startswith(
        "the full model is right in 50.0 % [36.1, 64.7], not above chance (50.0 %); OOD log ratio"
    )
    assert {row.decision for row in floor.kinds} == {"inconclusive"}
    assert "right in 0.0 % [0.0, 0.0], not above chance (0.0 %)" in reason(0, np.nan).reason
    assert "at the ceiling" in reason(1, 0.5).reason
    assert reason(0.75, 0.5, models=2).reason.startswith(
        "fewer than three models (2); OOD log ratio of greedy's plan +0."
    )
