"""A study with invented numbers, all parts present: what its page is tried on."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random

from tapioca.records import Estimate
from tapioca.studies.measures import Unit
from tapioca.studies.parts import (
    Charts,
    DosePoint,
    HeatTile,
    KindSkill,
    KindSummary,
    LabelledSearch,
    LinePoint,
    PlanPoint,
    Pooled,
    ProfilePoint,
    Scatter,
    SearchCost,
    SizePoint,
    StrengthPoint,
)
from tapioca.studies.read import read_study
from tapioca.studies.results import (
    ClaimResult,
    Finding,
    KindDecision,
    KindEstimate,
    SettingResult,
    SizeEstimate,
    StudiedModel,
    StudyResult,
)
from tapioca.studies.spec import Claim

WHOLE = read_study(Path(__file__).parents[2] / "studies/claims.yaml")
KINDS = ("context_noise", "target_offset", "input_scale")
CONTROL = "rule_negated"
SIZES = (15_000, 60_000)


def around(value: float, width: float = 0.05) -> Estimate:
    return Estimate(value=value, ci95=(value - width, value + width))


def pooled(value: float, width: float = 0.05, kinds: int = 3) -> Pooled:
    return Pooled(
        value=value, ci95=(value - width, value + width), p=0.012, models=6, kinds=kinds, cells=18 * kinds, prompts=4608
    )


def finding(name: str, value: float, unit: Unit, decides: bool = True, kinds: tuple[str, ...] = KINDS) -> Finding:
    """A number with all its parts."""
    sized = [(size, value * (1 if size < 50_000 else -1)) for size in SIZES]
    return Finding(
        name=name,
        unit=unit,
        decides=decides,
        pooled=pooled(value, kinds=len(kinds)),
        kinds=tuple(
            KindEstimate(kind=kind, value=pooled(value + at / 100, kinds=1), p_holm=0.036)
            for at, kind in enumerate(kinds)
        ),
        controls=(KindEstimate(kind=CONTROL, value=pooled(0.001, kinds=1)),),
        sizes=tuple(SizeEstimate(parameters=size, kind=None, value=around(at), models=3) for size, at in sized),
        kind_sizes=tuple(
            SizeEstimate(parameters=size, kind=kind, value=around(at), models=3)
            for kind in (*kinds, CONTROL)
            for size, at in sized
        ),
        left_out=2,
    )


def claims(kinds: tuple[str, ...]) -> tuple[ClaimResult, ...]:
    """C1 to C9, decided in all three ways."""
    gain: Unit = "log ratio of errors"
    found: dict[Claim, tuple[Finding, ...]] = {
        "C1": (
            finding("gain in distribution", -0.1, gain, kinds=()).model_copy(update={"controls": (), "kind_sizes": ()}),
        ),
        "C2": (
            finding("gain of greedy's plan", 0.25, gain, kinds=kinds),
            finding("its rank among plans", 0.031, "share", decides=False, kinds=kinds),
        ),
        "C3": (finding("norm deviation over its null", 0.153, "mean |log ratio|", kinds=kinds),),
        "C4": (finding("distance deviation over its null", 0.2, "mean |log ratio|", kinds=kinds),),
        "C5": (
            finding("norm realignment", 0.11, "mean |log ratio|", kinds=kinds),
            finding("distance realignment", -0.12, "mean |log ratio|", kinds=kinds),
        ),
        "C6": (finding("norm share against gain", 0.02, "rank correlation", kinds=kinds),),
        "C7": (finding("gain with strength", 0.41, "rank correlation", kinds=kinds),),
        "C8": (finding("error with norm deviation", 0.6, "rank correlation", kinds=kinds),),
        "C9": (finding("slope of the gain", 0.09, "log ratio per e-fold of size", kinds=kinds),),
    }
    decisions = {"C5": "not supported", "C6": "inconclusive"}
    told_by = {"C5": ("distance realignment",)}
    return tuple(
        ClaimResult(
            claim=claim,
            decision=decisions.get(claim, "supported"),
            reason=f"the reason for {claim}",
            told_by=told_by.get(claim, ()),
            findings=findings,
            kinds=tuple(
                KindDecision(
                    kind=kind, decision="supported" if at else "inconclusive", reason=f"{claim} in {kind}", p_holm=0.04
                )
                for at, kind in enumerate(kinds)
                if findings[0].kinds
            ),
        )
        for claim, findings in found.items()
    )


def charts(kinds: tuple[str, ...], layers: int, strengths: int) -> Charts:
    """Something to draw in every chart."""
    dice = Random(0)
    every = (*kinds, CONTROL)
    plans = [drops for size in range(1, layers) for drops in combinations(range(layers), size)]
    alphas = (0.0, 0.5, 1.0, 1.5, 2.0)
    weight = {"chosen": 0.3, "random": -0.5, "all": -4.0}
    return Charts(
        heat=tuple(
            HeatTile(
                kind=kind,
                layer=layer,
                norm=dice.gauss(0.05, 0.1),
                distance=dice.gauss(0.05, 0.1),
                log_ratio=dice.gauss(-0.1, 0.2) - 3 * (layer == 0),
            )
            for kind in every
            for layer in range(layers)
        ),
        doses=tuple(
            DosePoint(
                layers=which,
                alpha=alpha,
                log_ratio=around(size * (1 - alpha) ** 2),
                norm=None if which == "all" and not alpha else around(0.3 + 0.2 * size * (1 - alpha)),
                distance=None if which == "all" and not alpha else around(0.4 - 0.1 * size * (1 - alpha)),
            )
            for which, size in weight.items()
            for alpha in alphas
        ),
        strengths=tuple(
            StrengthPoint(
                kind=kind,
                control=kind == CONTROL,
                strength=strength,
                task=f"lab:{kind}={strength}",
                anew=around(0.03 * (1 + at) * strength**1.5),
                fixed=around(0.05 * (1 + at) * strength - 0.1),
                norm=around(0.02 + 0.1 * strength * (1 + at), 0.02),
                distance=around(0.02 + 0.15 * strength, 0.02),
            )
            for at, kind in enumerate(every)
            for strength in range(strengths + 1)
        ),
        profiles=tuple(
            ProfilePoint(
                kind=kind,
                layer=layer,
                norm=0.1 * at + 0.02 * layer,
                distance=-0.05 * layer,
                norm_ci95=(0.1 * at + 0.02 * layer - 0.04, 0.1 * at + 0.02 * layer + 0.04),
                distance_ci95=(-0.05 * layer - 0.03, -0.05 * layer + 0.03),
            )
            for at, kind in enumerate(every)
            for layer in range(layers)
        ),
        scatter=Scatter(
            model="learner_24_0",
            kind=kinds[0],
            task="lab:context_noise=0.2",
            plans=tuple(
                PlanPoint(
                    drops=drops,
                    norm=dice.gauss(-0.1 * len(drops), 0.1),
                    distance=dice.gauss(-0.2 * len(drops), 0.2),
                    log_ratio=dice.gauss(0.1 - 0.4 * len(drops), 0.3),
                    greedy=drops == (1, 2),
                )
                for drops in plans
            ),
            norm=tuple(max(-1, min(1, dice.gauss(0.3, 0.3))) for _ in range(40)),
            distance=(*(max(-1, min(1, dice.gauss(0, 0.3))) for _ in range(40)), -1.0, 1.0),
        ),
        sizes=tuple(
            SizePoint(model=f"m{size}_{at}", parameters=size, log_ratio=0.1 * at + size / 1e6)
            for size in SIZES
            for at in range(3)
        ),
        line=tuple(LinePoint(parameters=size, log_ratio=around(0.1 + size / 1e6)) for size in SIZES),
    )


def setting(kinds: tuple[str, ...] = KINDS, layers: int = 3, strengths: int = 2) -> SettingResult:
    """A setting of which everything was measured."""
    truths = {"in distribution": 2, "distorted": 3, "misaligned": 1, "undecided": 4}
    return SettingResult(
        name="polynomials",
        title="in-context learners of cubic polynomials",
        models=tuple(
            StudiedModel(name=f"learner_{size}_{seed}", parameters=size, complete=4)
            for size in SIZES
            for seed in range(3)
        ),
        id_task="lab:id",
        kinds={kind: tuple(f"lab:{kind}={at}" for at in range(strengths)) for kind in (*kinds, CONTROL)},
        controls=(CONTROL,),
        search=128,
        test=96,
        measured=300,
        missing=12,
        tuned_measured=18,
        doses_measured=60,
        doses_missing=6,
        claims=claims(kinds),
        summaries=tuple(
            KindSummary(
                kind=kind,
                control=kind == CONTROL,
                log_ratio=None if kind == CONTROL else pooled(0.1 * at - 0.1, 0.03),
                norm=pooled(0.2, 0.1),
                distance=pooled(0.03, 0.05),
                truths=truths,
            )
            for at, kind in enumerate((*kinds, CONTROL))
        ),
        computed=(
            SearchCost(search="greedy", plans=15, tree=60, scratch=90),
            SearchCost(search="all plans", plans=255, tree=502, scratch=1024),
        ),
        labels=(
            LabelledSearch(prompts=8, log_ratio=around(0.01), share=None),
            LabelledSearch(prompts=32, log_ratio=around(0.16), share=around(0.64, 0.1)),
            LabelledSearch(prompts=128, log_ratio=around(0.25), share=around(1.0, 0.0)),
        ),
        skills=tuple(
            KindSkill(
                kind=kind,
                control=kind == CONTROL,
                cells=30,
                full=0.5,
                pruned=0.62,
                ridge=0.97,
                gap_closed=0.255,
                gaps=28,
                tail_only=0.1,
            )
            for kind in (*kinds, CONTROL)
        ),
        charts=charts(kinds, layers, strengths),
    )


def bare() -> SettingResult:
    """A setting of which nothing was measured."""
    return SettingResult(
        name="cloze",
        title="a published Llama of five layers",
        models=(StudiedModel(name="stories260K", parameters=None, complete=0),),
        id_task="tinystories.jsonl",
        kinds={"typos": ("typos.jsonl",)},
        controls=(),
        search=128,
        test=128,
        measured=0,
        missing=2,
        unjudged="fewer than three models",
        claims=tuple(
            ClaimResult(claim=claim, decision="inconclusive", reason="nothing was measured")
            for claim in WHOLE.claims
            if claim != "C9"
        ),
    )


def study(*settings: SettingResult) -> StudyResult:
    """A study of these settings; of a whole and a bare one without any."""
    return StudyResult(
        title="When dropping layers helps",
        command="tapioca study studies/claims.yaml",
        seed=1,
        n_resamples=2000,
        margins=WHOLE.margins,
        min_models=WHOLE.min_models,
        ceiling=WHOLE.ceiling,
        rules=WHOLE.claims,
        settings=settings or (setting(), bare()),
        answers={claim: f"In plain words, {claim}." for claim in WHOLE.claims},
        seconds=12_600,
    )
