"""Two models on the same held-out rows: whose rows they are, how they pair, what is refused, and what comes out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.rows import choice_rows, write_lines
from support.words import WORDS, whole_tokenizer, word_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import tapioca
from tapioca.cli.main import main
from tapioca.commands.prune.result import PruneResult
from tapioca.commands.versus.answers import SideAnswers, compare
from tapioca.commands.versus.result import VersusResult
from tapioca.commands.versus.words import describe_companions, describe_loss
from tapioca.errors import DataError, StoreError, UsageError
from tapioca.evaluate import evaluate
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.models.learner import Learner, learner_config
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import Example, Metric, Request, Scores
from tapioca.runs.rows import read_run_rows, read_seen_rows
from tapioca.session.data import encoder_of
from tapioca.tasks.base import Task
from tapioca.tasks.choice import ACCURACY, Choice
from tapioca.tasks.files import load_task
from tapioca.tasks.regress import SQUARED_ERROR_METRIC, Regression

TASKS = {"task": "lab:context_noise=0.5,n=120", "reference": "lab:id,n=120"}
OPTIONS: dict[str, Any] = {"batch_size": 60, "progress": False}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("versus")


@pytest.fixture(scope="module")
def run(home: Path) -> PruneResult:
    return tapioca.prune("learner", out=home / "run", max_drops=2, random_plans=0, **TASKS, **OPTIONS)


@pytest.fixture(scope="module")
def pruned(home: Path, run: PruneResult) -> Path:
    assert tapioca.export(run, home / "pruned").seen_rows == 120
    card = (home / "pruned" / "README.md").read_text(encoding="utf-8")
    assert "Digests of the 120 rows that it was searched or tuned on are in `seen_rows.json`" in card
    return home / "pruned"


@pytest.fixture(scope="module")
def found(home: Path, run: PruneResult, pruned: Path) -> VersusResult:
    return tapioca.versus("learner", pruned, run=run.folder, out=home / "versus", progress=False)


def test_an_export_does_on_its_runs_test_rows_what_the_plan_did(found: VersusResult, run: PruneResult) -> None:
    for domain in ("ood", "id"):
        judged = run.find_result(domain)
        assert judged
        assert found.comparisons[domain].result == judged.result
    assert found.verdict.action == "take B for OOD traffic only"
    assert (found.run, found.same_tokens) == ("run", True)
    first, second = found.models
    assert (first.n_layers, second.n_layers) == (8, 6)
    assert (first.seen_rows, second.seen_rows) == (None, 120)
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert "learner (A) and pruned (B) on lab:context_noise=0.5,n=120" in page
    assert "A: nothing is known of what it was searched or tuned on." in page
    assert "B: searched or tuned on 120 rows, none of which is judged here." in page
    assert len((found.folder / "examples.jsonl").read_text().splitlines()) == 120


def test_a_run_keeps_its_rows_and_its_export_those_it_searched_on(run: PruneResult, pruned: Path) -> None:
    rows = read_run_rows(run.folder)
    assert rows
    assert {len(part[domain]) for part in (rows.search, rows.test) for domain in ("ood", "id")} == {60}
    assert rows.searched.isdisjoint([*rows.test["ood"], *rows.test["id"]])
    assert read_seen_rows(pruned) == rows.searched


def test_the_same_command_goes_on_and_asks_nothing_again(
    found: VersusResult, run: PruneResult, pruned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Plan] = []
    monkeypatch.setattr(BatchEvaluator, "evaluate_batch", lambda evaluator, plans, batch: asked.extend(plans) or [])
    assert tapioca.versus("learner", pruned, run=run.folder, out=found.folder, progress=False) == found
    assert asked == []


def test_the_held_out_rows_of_a_session_are_those_of_its_runs(run: PruneResult, pruned: Path, home: Path) -> None:
    session = tapioca.Session("learner", **TASKS, **OPTIONS)
    assert session.versus(pruned, out=home / "session").comparisons["ood"].result == run.judgements[0].result
    with pytest.raises(UsageError, match="a session compares on its own held-out rows; leave out run, or call"):
        session.versus(pruned, run=run.folder)


def test_rows_that_a_model_was_searched_on_are_refused(run: PruneResult, pruned: Path, home: Path) -> None:
    expected = (
        r"60 of 120 rows of lab:context_noise=0.5,n=120 \(such as id '\d+'\) stand among those that {}, .*pruned, was searched or "
        "tuned on; remove them, or give --run RUN for the test rows of the run it comes from"
    )
    with pytest.raises(DataError, match=expected.format("B")):
        tapioca.versus("learner", pruned, out=home / "never", **TASKS, **OPTIONS)
    with pytest.raises(DataError, match=expected.format("A")):
        tapioca.versus(pruned, "learner", out=home / "never", **TASKS, **OPTIONS)
    with pytest.raises(DataError, match="60 of 120 rows of lab:id,n=120 "):
        tapioca.versus("learner", pruned, task="lab:id,n=120", out=home / "never", **OPTIONS)
    assert not (home / "never").exists()
    fresh = {name: f"{task},seed=1" for name, task in TASKS.items()}
    assert tapioca.versus("learner", pruned, out=home / "fresh", **fresh, **OPTIONS).comparisons["id"].result.n == 120


def test_what_a_run_settles_is_not_said_again(run: PruneResult, pruned: Path, home: Path) -> None:
    with pytest.raises(UsageError, match="--run asks its rows as they were asked there; leave out --limit, or --run"):
        tapioca.versus("learner", pruned, run=run.folder, limit=20, progress=False)
    with pytest.raises(UsageError, match="nothing to compare the models on; give --task and perhaps --reference, or"):
        tapioca.versus("learner", pruned, progress=False)
    with pytest.raises(DataError, match=r"lab:id,n=80: \d+ of 60 rows of .*run are not among its 80; restore the data"):
        tapioca.versus("learner", pruned, run=run.folder, reference="lab:id,n=80", progress=False)
    old = shutil.copytree(run.folder, home / "old")
    (old / "rows.json").unlink()
    with pytest.raises(
        StoreError, match=r"old has no rows.json, so it is not known which rows it was judged on; run its"
    ):
        tapioca.versus("learner", pruned, run=old, progress=False)


def test_a_dry_run_shows_what_could_be_compared(
    run: PruneResult, pruned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(home)
    before = sorted(home.iterdir())
    assert main(["versus", "learner", "pruned", "--run", "run", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "A         learner: 8 layers, 391 k parameters, float32"
    assert lines[5] == "          B: searched or tuned on 120 rows, none of which is judged here"
    assert "data      OOD: 60 rows, on average 39 and 39 tokens for A and B" in lines
    assert lines[-1] == "nothing of this is kept; without --dry-run the comparison begins"
    assert sorted(home.iterdir()) == before


def split_tokenizer() -> PreTrainedTokenizerFast:
    """Another tokenizer: the same words by other ids, and no BOS."""
    tokenizer = word_tokenizer(bos=False)
    tokenizer.add_tokens(["the cat", "big dog", "red mat"])
    return tokenizer


def renumbered_tokenizer() -> PreTrainedTokenizerFast:
    """The same words by other ids."""
    core = Tokenizer(WordLevel({word: at for at, word in enumerate([*WORDS[:3], *WORDS[:2:-1]])}, unk_token="<unk>"))
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def read(path: Path, model: Any, tokenizer: Any, **options: Any) -> Task:
    return load_task(str(path), encoder_of(LoadedModel(model, tokenizer)), options)


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    """Questions without ids, so that what a row is called depends on its tokens."""
    rows = [{name: row[name] for name in ("context", "choices", "answer")} for row in choice_rows(60)]
    return write_lines(home / "rows.jsonl", rows)


@pytest.mark.parametrize("score", ["accuracy", "likelihood"])
def test_each_model_reads_the_rows_by_its_own_tokenizer(data: Path, home: Path, score: str) -> None:
    models = tiny("llama"), tiny("qwen3")
    tokenizers = whole_tokenizer(), split_tokenizer()
    compared = tapioca.versus(
        models[0],
        models[1],
        task=data,
        tokenizer=tokenizers[0],
        other_tokenizer=tokenizers[1],
        score=score,
        out=home / score,
        **OPTIONS,
    )
    tasks = [read(data, model, tokenizer, score=score) for model, tokenizer in zip(models, tokenizers, strict=True)]
    assert {example.id for example in tasks[0].examples}.isdisjoint(example.id for example in tasks[1].examples)
    scores = [
        evaluate(model, task, [Plan.full(4)], batch_size=60).values[0]
        for model, task in zip(models, tasks, strict=True)
    ]
    result = compared.comparisons["ood"].result
    assert (result.full, result.planned) == pytest.approx([values.mean() for values in scores])
    assert result.ci95 == pytest.approx(tasks[0].pairing(0).compare(*scores).ci95)
    assert not compared.same_tokens
    assert compared.models[0].mean_tokens["ood"] > compared.models[1].mean_tokens["ood"]
    companion = compared.comparisons["ood"].companion
    assert (companion is None) == (score == "accuracy")
    if companion:
        assert any(line.startswith("accuracy on OOD: ") for line in describe_companions(compared))
    rows = (compared.folder / "examples.jsonl").read_text().splitlines()
    assert len(rows) == 60
    assert compared.reference is None
    assert "no ID data: what B changes there is not measured" in compared.notes


def test_scores_per_token_of_other_tokens_are_refused(data: Path, home: Path) -> None:
    rows = [{"context": row["context"], "answer": "the cat sat"} for row in choice_rows(20)]
    write_lines(home / "written.jsonl", rows)
    path = home / "written.yaml"
    path.write_text("data: written.jsonl\nkind: generate\nmax_new_tokens: 3\n")
    given: dict[str, Any] = {"tokenizer": whole_tokenizer(), "other_tokenizer": split_tokenizer(), **OPTIONS}
    with pytest.raises(
        DataError,
        match=r"written.yaml: gold answer's negative log-likelihood per token counts tokens, and A and B cut texts into "
        "different numbers of them, so the two cannot be held against each other; judge by right answers, without score",
    ):
        tapioca.versus(tiny("llama"), tiny("qwen3"), task=path, score="likelihood", **given)
    with pytest.raises(DataError, match="cannot be held against each other; use --normalize characters"):
        tapioca.versus(tiny("llama"), tiny("qwen3"), task=data, normalize="tokens", score="likelihood", **given)
    renumbered = {**given, "other_tokenizer": renumbered_tokenizer(), "out": home / "renumbered"}
    compared = tapioca.versus(tiny("llama"), tiny("qwen3"), task=path, score="likelihood", **renumbered)
    assert not compared.same_tokens
    assert compared.comparisons["ood"].result.n == 20
    tasks = [read(data, tiny("llama"), tokenizer) for tokenizer in (whole_tokenizer(), split_tokenizer())]
    with pytest.raises(
        UsageError, match="is a task object, which holds the tokens of one model; give its rows, or a file"
    ):
        tapioca.versus(tiny("llama"), tiny("qwen3"), task=tasks[0], **given)


def test_rows_that_one_model_cannot_read_are_left_out_of_both(home: Path) -> None:
    rows = [
        {**row, "context": row["context"] + " the" * (40 * (at % 3 == 0))} for at, row in enumerate(choice_rows(60))
    ]
    path = write_lines(home / "long.jsonl", rows)
    short = tiny("llama")
    short.config.max_position_embeddings = 40
    given: dict[str, Any] = {"tokenizer": whole_tokenizer(), "other_tokenizer": whole_tokenizer()}
    compared = tapioca.versus(tiny("llama"), short, task=path, too_long="skip", out=home / "long", **given, **OPTIONS)
    assert compared.comparisons["ood"].left_out == 20
    assert compared.comparisons["ood"].result.n == 40
    assert compared.comparisons["ood"].result.gain == 0
    assert "OOD: 20 rows that one of the models cannot be asked are left out of both" in describe_companions(compared)


def test_worked_examples_differ_where_rows_have_no_ids(data: Path, home: Path) -> None:
    given: dict[str, Any] = {"other_tokenizer": split_tokenizer(), "num_fewshot": 1, **OPTIONS}
    note = "rows have no ids of their own, so A and B are shown different worked examples; give each row an id"
    named = write_lines(home / "named.jsonl", [{**row, "id": f"r{at}"} for at, row in enumerate(choice_rows(60))])
    for path in (data, named):
        models = tiny("llama"), tiny("qwen3")
        compared = tapioca.versus(*models, task=path, tokenizer=whole_tokenizer(), out=home / path.stem, **given)
        assert (note in compared.notes) == (path == data)
        shots = [name for name in compared.notes if "1 shots a prompt, drawn for each row from" in name]
        assert len(shots) == 1


def test_other_weights_in_the_same_place_are_another_comparison(home: Path) -> None:
    import torch

    for seed in (0, 1):
        torch.manual_seed(seed)
        Learner(learner_config(2, 16, 2)).save_pretrained(home / "changing")
        options = {**OPTIONS, "out": home / "changed"}
        if not seed:
            tapioca.versus("learner", home / "changing", task="lab:id,n=16", **options)
            continue
        with pytest.raises(StoreError, match=r"changed belongs to another run \(differs in: other\)"):
            tapioca.versus("learner", home / "changing", task="lab:id,n=16", **options)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.005, 0.005), "ID: A and B are within 1 point of each other"),
        ((-0.005, 0.05), "ID: B loses less than 1 point, if anything"),
        ((0.001, 0.05), "ID: B is better"),
        ((-0.05, -0.001), "ID: B is worse"),
        ((-0.05, 0.05), "ID: 100 rows are too few to tell whether B loses less than 1 point"),
    ],
)
def test_what_an_interval_says_of_a_loss(interval: tuple[float, float], said: str) -> None:
    gain = simulate_accuracies(np.random.default_rng(0), 100).result
    assert describe_loss("id", gain.model_copy(update={"ci95": interval})) == said


def simulate(task_class: Any, metric: Metric, values: np.ndarray, groups: np.ndarray, seed: int) -> Any:
    """The comparison of two models whose scores are these, (model, row)."""
    request = Request(inputs=(1, 2), targets=(1.0,))
    examples = tuple(
        Example(id=str(at), group=str(group), rows=(request,), prompt=(1, 2)) for at, group in enumerate(groups)
    )
    task = task_class(name="rows", examples=examples, metric=metric, shared_prefix_length=0)
    sides = []
    for row in values:
        nothing = {
            name: np.zeros((1, len(row)), int) for name in ("truncated", "tied", "predicted", "unparsed", "lengths")
        }
        ids = tuple(example.id for example in examples)
        scores = Scores(plans=(Plan.full(2),), ids=ids, values=row[None], log_likelihoods=row[None], **nothing)
        sides.append(SideAnswers({"ood": task}, {"ood": scores}, {}, (), seed))
    return compare(*sides, "ood")


def simulate_accuracies(rng: np.random.Generator, n: int, seed: int = 0) -> Any:
    """Rows of one to three to a group that are hard or easy for both models; B is right 4 points more often than A."""
    groups = np.repeat(np.arange(n), rng.integers(1, 4, n))[:n]
    ease = rng.beta(2, 1, n)[groups]
    answers = rng.random((2, n)) < np.stack([0.9 * ease, 0.9 * ease + 0.04])
    return simulate(Choice, ACCURACY, answers.astype(float), groups, seed)


def simulate_errors(rng: np.random.Generator, n: int, seed: int) -> Any:
    """Heavy-tailed errors of both models, which share half of their noise; those of B are 0.8 of A's on average."""
    shared, noise = rng.exponential(1, n), rng.exponential(1, (2, n))
    errors = (shared + noise) * np.array([[1.0], [0.8]])
    return simulate(Regression, SQUARED_ERROR_METRIC, -errors, np.arange(n), seed)


@pytest.mark.slow
@pytest.mark.parametrize(("simulated", "truth"), [(simulate_accuracies, 0.04), (simulate_errors, 0.2)])
def test_intervals_cover_at_their_level(simulated: Any, truth: float) -> None:
    """Two models whose true difference is known, compared 1,000 times: the interval holds it in 95 % of them, up to what
    so many can tell."""
    rng, draws = np.random.default_rng(7), 1_000
    intervals = np.array([simulated(rng, 200, seed).result.ci95 for seed in range(draws)])
    hits = int(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).sum())
    low, high = scipy_stats.binom.interval(0.99, draws, 0.95)
    print(f"{hits} of {draws}, mean width {np.diff(intervals).mean():.3f}")
    assert low <= hits <= high
