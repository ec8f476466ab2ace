"""`tapioca prune --criterion`: other criteria choose the plans, and everything behind the search works as with TALE's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.estimate import JudgingPasses, estimate_judging
from tapioca.commands.prune.judge import decide_run_verdict
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.prune.search import estimate_round_costs, restrict_sizes, run_search
from tapioca.commands.prune.words import describe_savings, format_beaten
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.models.load import LoadedModel, load
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.progress import SILENT, NullProgress
from tapioca.records import HeldOutResult
from tapioca.records.results import Domain
from tapioca.search.base import SearchSpace, measure_size
from tapioca.search.criteria import CRITERIA
from tapioca.search.path import SearchPath
from tapioca.search.random import draw_matched_random_plans
from tapioca.session.context import RunContext, load_inputs, open_run

TASK, REFERENCE = "lab:context_noise=0.2,n=40", "lab:id,n=40"
SMALL = ["--batch-size", "20", "--random-plans", "3", "--max-drops", "2"]


def argv(out: Path, criterion: str, *more: str) -> list[str]:
    data = ["--task", TASK, "--reference", REFERENCE]
    return ["prune", "learner", *data, "--out", str(out), *SMALL, "--criterion", criterion, *more]


def search_plans(job: RunContext[PruneConfig]) -> SearchPath:
    """What `tapioca prune` does between its checks and its judgement."""
    job.space = restrict_sizes(job)
    return run_search(job)


@contextmanager
def job_of(out: Path, **fields: object) -> Iterator[RunContext[PruneConfig]]:
    said: dict = {"model": "learner", "task": TASK, "batch_size": 20, "random_plans": 5, "out": out, **fields}
    config = PruneConfig(**said)
    with open_run(config, NullProgress()) as job:
        yield job


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    """A run whose plans drop branches."""
    out = tmp_path_factory.mktemp("runs") / "mixed"
    assert main(argv(out, "mixed")) == 0
    return read_run(out)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "tale" and CRITERIA[name].reads_labels])
def test_a_criterion_makes_a_path_of_picks_with_their_search_scores(name: str, tmp_path: Path) -> None:
    with job_of(tmp_path / "run", criterion=name, max_drops=2) as job:
        search = search_plans(job)
        scores = evaluate(job.loaded.model, job.search["ood"], [t.plan for t in search.path], batch_size=20)
    assert [measure_size(trial.plan) for trial in search.path] == [0, 1, 2]
    assert [trial.score for trial in search.path] == pytest.approx(scores.values.mean(1).tolist())
    assert search.best.score == max(trial.score for trial in search.path)
    assert search.epsilon is None
    assert search.tried >= 3


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    """A run whose plans drop nothing."""
    out = tmp_path_factory.mktemp("runs") / "repeated"
    assert main(argv(out, "repeat")) == 0
    return read_run(out)


def test_a_plan_that_repeats_is_judged_beside_other_blocks_and_never_said_to_prune(repeated: PruneResult) -> None:
    assert [measure_size(one.winner.plan) for one in repeated.rounds] == [1, 2]
    assert repeated.cost.plans_tried == 1 + 8 + 7
    assert repeated.most_dropped.is_full
    assert {entry.role for entry in repeated.judgements} <= {"best", "best non-empty"}
    judged = next(entry for entry in repeated.judgements if entry.plan == repeated.shown and entry.data == "ood")
    assert repeated.shown.repeats
    assert len(judged.random) == 3
    assert format_beaten(judged).endswith(" of 3")
    assert {profile.layers for profile in repeated.profiles} == {tuple(range(8))}
    assert "prune" not in repeated.verdict.action
    assert repeated.cost.parameters_planned == repeated.cost.parameters_full


def test_screen_and_page_of_a_repeat_say_what_it_costs(
    repeated: PruneResult, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = repeated.rounds[1].winner.plan
    more = repeated.cost.model_copy(update={"flops_planned": repeated.cost.flops_full * 5 // 4})
    assert describe_savings(more, plan) == ("costs", "2 of 8 layers run a second time, 25.0% more FLOPs")
    assert main(["report", str(repeated.folder)]) == 0
    out, _ = capsys.readouterr()
    assert "PRUNE" not in out
    assert "most layers dropped" not in out
    page = (repeated.folder / "report.html").read_text()
    assert "layers repeated" in page
    assert "random plans that repeat a block as long, on the OOD" in page
    assert "The block of each length that repeat chose to run twice" in page


@pytest.mark.parametrize(
    ("ood", "reference", "action"),
    [
        (0.1, 0.0, "repeat layers"),
        (0.1, -0.2, "repeat layers for OOD traffic only"),
        (0.1, None, "repeat layers for OOD traffic only"),
        (-0.1, 0.0, "keep the full model"),
    ],
)
def test_verdicts_on_repeats(repeated: PruneResult, ood: float, reference: float | None, action: str) -> None:
    entry, plan = repeated.judgements[0], repeated.rounds[0].winner.plan

    def judge(domain: Domain, gain: float) -> HeldOutResult:
        result = entry.result.model_copy(update={"gain": gain, "ci95": (gain - 0.01, gain + 0.01)})
        return entry.model_copy(update={"data": domain, "role": "best", "plan": plan, "result": result})

    judgements = [judge("ood", ood)] + ([] if reference is None else [judge("id", reference)])
    assert decide_run_verdict(tuple(judgements)).action == action


def test_what_a_search_of_repeats_would_cost() -> None:
    space = SearchSpace(8, (1, 2), tuple(range(8)), {}, repeatable=tuple(range(8)))
    assert estimate_round_costs(CRITERIA["repeat"], space) == [8 * 9 / 8, 7 * 10 / 8]
    judged = estimate_judging(CRITERIA["repeat"], replace(space, repeats=3))
    assert judged == JudgingPasses(1 + 10 / 8, 3 * 10 / 8, 4)


def test_the_picks_are_those_of_compare(mixed: PruneResult, tmp_path: Path) -> None:
    found = tapioca.compare(
        "learner", task=TASK, reference=REFERENCE, criteria="mixed", drops="1:2", batch_size=20, random_plans=3,
        out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert [one.winner.plan for one in mixed.rounds] == [pick.plan for pick in found.picks]
    judged = mixed.find_result("ood")
    assert judged is not None
    assert judged.result in [pick.ood for pick in found.picks]


def test_branch_plans_stand_beside_random_branch_plans_of_the_same_kinds(mixed: PruneResult, tmp_path: Path) -> None:
    judged = mixed.find_result("ood")
    assert judged is not None
    assert len(judged.random) == 3
    assert mixed.plan.size == 2
    with job_of(tmp_path / "run", reference=REFERENCE) as job:
        rivals = draw_matched_random_plans(job.space, mixed.plan, 3)
        test = job.test["ood"]
        full, *scores = evaluate(job.loaded.model, test, [Plan.full(8), *rivals], batch_size=20).values
    assert [plan.sizes for plan in rivals] == [mixed.plan.sizes] * 3
    assert not any(plan.drops for plan in rivals)
    assert judged.random == pytest.approx([test.pairing(0).effect(full, row) for row in scores])
    assert (judged.random_n, judged.gain_beside) == (judged.result.n, judged.result.gain)


def test_the_run_says_what_chose_the_plan(mixed: PruneResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert (mixed.criterion, mixed.chosen_by) == ("mixed", "greedy over both kinds of branches")
    assert mixed.summary()["criterion"] == "mixed"
    assert mixed.epsilon is None
    page = (mixed.folder / "report.html").read_text()
    assert "chosen by mixed, greedy over both kinds of branches" in page
    assert "branches dropped" in page
    assert "floor" not in page
    assert main(["report", str(mixed.folder)]) == 0
    out, _ = capsys.readouterr()
    assert f"search    mixed: {mixed.cost.plans_tried} plans on 20 search examples" in out
    assert "of 8 attention branches" in out
    assert mixed.cost.plans_tried == 1 + 16 + 15


def test_geometry_is_measured_over_all_layers_of_a_branch_plan(mixed: PruneResult) -> None:
    assert {profile.layers for profile in mixed.profiles} == {tuple(range(8))}
    assert {(d.data, d.planned) for d in mixed.deviations} == {(a, b) for a in ("id", "ood") for b in (False, True)}


def test_a_branch_plan_is_exported_with_its_card(mixed: PruneResult, tmp_path: Path) -> None:
    assert tapioca.export(mixed, tmp_path / "out").plan == mixed.plan
    card = (tmp_path / "out" / "README.md").read_text()
    assert "by mixed, greedy over both kinds of branches; the scores" in card


def test_the_same_command_goes_on_after_a_dry_run_and_again_evaluates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv(tmp_path / "run", "shortgpt", "--dry-run")) == 0
    out, _ = capsys.readouterr()
    assert "cost      shortgpt: first round about" in out
    assert main(argv(tmp_path / "run", "shortgpt")) == 0
    first = read_run(tmp_path / "run")
    assert [len(found.winner.plan.drops) for found in first.rounds] == [1, 2]
    assert first.cost.plans_tried == 3
    assert first.chosen_by == "lowest block influence (ShortGPT, arXiv 2403.03853)"

    def refuse(*args: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", refuse)
    monkeypatch.setattr("tapioca.session.run_criteria.measure_similarity", refuse)
    assert main(argv(tmp_path / "run", "shortgpt")) == 0
    assert read_run(tmp_path / "run") == first
    assert main(argv(tmp_path / "run", "angular")) == 2
    assert "differs in: settings" in capsys.readouterr().err


def test_how_many_drops_are_tried(tmp_path: Path) -> None:
    for criterion, given, most in (("last", None, 4), ("last", 6, 6), ("last", 99, 7), ("tale", None, 7)):
        with job_of(tmp_path / f"{criterion}{given}", criterion=criterion, max_drops=given) as job:
            assert restrict_sizes(job).sizes == tuple(range(1, most + 1))


def test_a_search_is_rehearsed_without_a_model() -> None:
    """K single drops that share their beginnings take (K - 1)(K + 2)/2 layers; without a branch, a layer is half one."""
    space = SearchSpace(8, (1, 2), tuple(range(8)), {"attention": (), "mlp": tuple(range(8))})
    assert estimate_round_costs(CRITERIA["tale"], space) == [7 * 10 / 2 / 8, 6 * 9 / 2 / 8]
    assert estimate_round_costs(CRITERIA["mlp"], space) == [(35 + 8 / 2) / 8, (1 / 2 + 27 + 7 / 2) / 8]
    assert estimate_round_costs(CRITERIA["sleb"], space) == [35 / 8, 27 / 8, (7 + 6) / 8]
    assert estimate_round_costs(CRITERIA["shortgpt"], space) == [1, (7 + 6) / 8]
    assert estimate_round_costs(CRITERIA["last"], space) == [(7 + 6) / 8]
    # pairs: layers in front of both drops, between them, and behind both
    assert estimate_round_costs(CRITERIA["exhaustive"], space) == [35 / 8, (6 + 21 + 56) / 8]


def test_where_no_whole_layer_can_go_branches_can(tmp_path: Path) -> None:
    task = write_lines(tmp_path / "ood.jsonl", choice_rows(40))
    said: dict = {"task": task, "score": "likelihood", "random_plans": 1, "max_drops": 1, "progress": False}
    model, tokenizer = tiny("jamba"), word_tokenizer()
    with pytest.raises(UsageError, match="--criterion tale cannot be used: no whole layer of this model can be dropp"):
        tapioca.prune(model, tokenizer, out=tmp_path / "a", **said)
    info = tapioca.prune(model, tokenizer, criterion="attention", out=tmp_path / "b", **said)
    assert info.shown.sizes == {"layers": 0, "attention": 1, "mlp": 0}
    assert info.checks["ood"].reference_drop.size == 1


def test_sleb_says_where_prompts_have_no_tokens(tmp_path: Path) -> None:
    info = tapioca.prune(
        "learner", task=TASK, criterion="sleb", max_drops=1, random_plans=0, batch_size=20, out=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    assert (
        "sleb: the model predicts no tokens of a prompt, so squared error stands in for their perplexity" in info.notes
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--criterion", "shortgp"], "unknown criterion 'shortgp'; did you mean 'shortgpt'?"),
        (["--criterion", "last", "--epsilon", "0.1"], "--epsilon belongs to --criterion tale, got last; leave it out"),
        (["--criterion", "mlp", "--ties", "likelihood"], "--ties belongs to --criterion tale, got mlp; leave it out"),
        (["--criterion", "random", "--random-plans", "0"], "chooses among --random-plans plans, got 0; ask for at le"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ([], ["--dry-run"]):
        assert main(["prune", "learner", "--task", TASK, "--out", str(tmp_path / "run"), *more, *flag]) == 2
        _, err = capsys.readouterr()
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_criterion_for_small_models_is_refused_on_large_ones(tmp_path: Path) -> None:
    loaded: LoadedModel = load("learner")
    config = PruneConfig(model="learner", task=TASK, criterion="exhaustive", out=tmp_path / "run")
    with open_run(config, SILENT, load_inputs(config, SILENT, loaded)) as job:
        job.space = SearchSpace(13, (), tuple(range(13)), {"attention": (), "mlp": ()})
        with pytest.raises(
            UsageError, match=r"exhaustive cannot be used: it is for at most 12 layers, .* has 13; choo"
        ):
            restrict_sizes(job)
