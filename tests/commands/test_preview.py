"""The dry run: a sample is read and scored, nothing is left behind, and the estimate counts what exists."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.estimate import JudgingPasses, Workload, estimate_judging, suggest_shorter_run
from tapioca.commands.prune.preview import RUN, preview_run
from tapioca.commands.prune.preview_result import Preview
from tapioca.commands.prune.preview_screen import show as show_preview
from tapioca.commands.prune.search import estimate_round_costs
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.models.tiny import tiny
from tapioca.report.format import join_by_ends
from tapioca.search.base import SearchSpace
from tapioca.search.criteria import CRITERIA
from tapioca.session.tokens import format_token


@pytest.fixture(scope="module", autouse=True)
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of a small model, which requests call "m"."""
    folder = tmp_path_factory.mktemp("model")
    tiny("llama").save_pretrained(folder / "m")
    word_tokenizer().save_pretrained(folder / "m")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield "m"


def alone(count: int) -> list[dict]:
    return [{**row, "group": row["id"]} for row in choice_rows(count)]


def look(rows: list[dict], folder: Path, **options: object) -> Preview:
    task = write_lines(folder / "task.jsonl", rows)
    config = {"model": "m", "task": str(task), "score": "likelihood", "out": folder / "run", **options}
    return preview_run(PruneConfig(**config))


def screen(found: Preview) -> str:
    console = Console(file=io.StringIO(), width=100)
    show_preview(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_large_file_costs_what_a_small_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    readings = BatchEvaluator.read_outputs
    monkeypatch.setattr(
        BatchEvaluator, "read_outputs", lambda self, plans, batch, count: asked.append(len(plans) * len(batch.examples)) or readings(self, plans, batch, count)
    )  # fmt: skip
    found = look(alone(3000), tmp_path)
    check = found.checks["ood"]
    assert check.n_search + check.n_test == 3000
    assert abs(check.n_search - 1500) < 100
    assert found.checks["ood"].n_scored == RUN
    assert sum(asked) == 4 * RUN + 3 * 16  # the full model and three drops, and one batch three times
    assert not (tmp_path / "run").exists()
    assert f"{check.n_search} search + {check.n_test} test examples; on {RUN} of them, full model" in screen(found)


def test_a_limit_is_what_the_run_would_have(tmp_path: Path) -> None:
    check = look(alone(900), tmp_path, limit=700).checks["ood"]
    assert check.n_search + check.n_test == 700


def test_test_data_of_its_own_count_whole(tmp_path: Path) -> None:
    test = write_lines(tmp_path / "test.jsonl", [{**row, "id": f"t{at}", "group": f"t{at}"} for at, row in enumerate(choice_rows(640, 5000))])  # fmt: skip
    check = look(alone(40), tmp_path, test=str(test)).checks["ood"]
    assert (check.n_search, check.n_test) == (40, 640)


def test_data_of_few_large_groups_are_read_whole(tmp_path: Path) -> None:
    rows = [{**row, "group": f"g{at // 100}"} for at, row in enumerate(choice_rows(2000))]
    check = look(rows, tmp_path).checks["ood"]
    assert (check.n_search, check.n_test) == (1000, 1000)


def test_what_a_shortlist_saves_is_said(tmp_path: Path) -> None:
    found = look(alone(40), tmp_path, shortlist=2, max_drops=2, random_plans=0)
    assert found.whole_rounds == (pytest.approx(9 / 4), pytest.approx(5 / 4))
    assert found.work.rounds == (pytest.approx(2 + 6 / 4), pytest.approx(4 / 4))
    assert "shortlist 2 drops a round, ranked by gradients first: all rounds at most " in screen(found)
    assert "shortlist" not in screen(look(alone(40), tmp_path))


@pytest.mark.parametrize("wrong", [{"criterion": "nope"}, {"limit": 9}])
def test_requests_that_cannot_work_are_refused_and_leave_nothing(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown criterion|at least 8 of each"):
        look(alone(40), tmp_path, **wrong)
    assert not (tmp_path / "run").exists()


def space(layers: int, sizes: int, repeats: int = 20) -> SearchSpace:
    return SearchSpace(
        layers, tuple(range(1, sizes + 1)), tuple(range(layers)), {"attention": (), "mlp": ()}, 0, repeats
    )


@pytest.mark.parametrize(
    ("layers", "sizes", "repeats", "plans"), [(5, 1, 20, 5), (5, 4, 20, 10), (2, 1, 20, 2), (32, 3, 20, 21), (8, 7, 0, 1)]
)  # fmt: skip
def test_only_plans_that_exist_are_counted(layers: int, sizes: int, repeats: int, plans: int) -> None:
    judged = estimate_judging(CRITERIA["tale"], space(layers, sizes, repeats))
    assert judged.plans == plans
    assert judged.chosen <= 2
    assert judged.random <= plans - 1


def test_the_option_that_shortens_most_is_named() -> None:
    judged = JudgingPasses(2.0, 18.0, 21)
    many = Workload((1.0,) * 16, judged, search=1000, test=1000, random=250, seconds=1.0)
    config = PruneConfig(model="m", task="t")
    found = suggest_shorter_run(config, many, CRITERIA["tale"], space(32, 16))
    assert found is not None
    assert (found.option, found.total) == ("--limit 400", pytest.approx(0.2 * (16_000 + 2_000 + 4_500)))
    few = Workload((1.0,) * 16, judged, search=100, test=100, random=100, seconds=1.0)
    found = suggest_shorter_run(config, few, CRITERIA["tale"], space(32, 16))
    assert found is not None
    assert found.option == "--random-plans 5"
    found = suggest_shorter_run(config.model_copy(update={"random_plans": 0}), few, CRITERIA["tale"], space(32, 16))
    assert found is not None
    assert (found.option, found.total) == ("--max-drops 4", 100 * (4 + 20))
    assert (
        suggest_shorter_run(config.model_copy(update={"random_plans": 0}), few, CRITERIA["tale"], space(4, 3)) is None
    )


def test_a_hundred_layers_are_rehearsed_in_a_moment() -> None:
    start = time.process_time()
    assert len(estimate_round_costs(CRITERIA["tale"], space(100, 99))) == 99
    assert time.process_time() - start < 8


def test_long_prompts_are_shown_by_their_ends(tmp_path: Path) -> None:
    rows = [{**row, "context": row["context"] + " then" * 40} for row in alone(40)]
    text = screen(look(rows, tmp_path))
    (tokens,) = [line for line in text.splitlines() if line.startswith("tokens")]
    assert " tokens ... " in tokens
    assert len(tokens.split()) < 70
    assert join_by_ends([str(at) for at in range(30)], 3) == "0 1 2 ... 24 tokens ... 27 28 29"
    assert join_by_ends(["a", "b"], 1) == "a b"


def test_what_the_model_writes_is_shown(tmp_path: Path) -> None:
    rows = [{"id": str(at), "question": f"the cat sat on {'then ' * at}", "answer": "mat"} for at in range(32)]
    write_lines(tmp_path / "rows.jsonl", rows)
    lines = ["data: rows.jsonl", "kind: generate", "template: '{{ question }}'", "max_new_tokens: 4"]
    (tmp_path / "task.yaml").write_text("\n".join(lines))
    config = PruneConfig(model="m", task=str(tmp_path / "task.yaml"))
    found = preview_run(config)
    assert [written.gold for written in found.written] == ["mat", "mat"]
    text = screen(found)
    assert text.count("\nwrites    '") == 2
    assert "(right: 'mat')" in text


def test_tokens_are_text_with_visible_spaces(shared: Path) -> None:
    from transformers import GPT2TokenizerFast

    folder = shared / "data" / "gpt2_tokenizer"
    tokenizer = GPT2TokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    ids = tokenizer("Once upon\n a 日").input_ids
    shown = [format_token(tokenizer, token).partition(":")[2] for token in ids]
    assert shown[:4] == ["Once", "␣upon", "\\n", "␣a"]
    assert "Ġ" not in "".join(shown)
    tokenizer = word_tokenizer()
    assert [format_token(tokenizer, 1), format_token(tokenizer, 3)] == ["1:␣<s>", "3:␣the"]


@pytest.mark.parametrize(
    ("labels", "line"), [(3, "; right answer: b, one of the head's 3 labels"), (0, "; right answer: 2.5")]
)
def test_a_classification_head_scores_nothing_behind_the_text(labels: int, line: str, tmp_path: Path) -> None:
    found = look(alone(40), tmp_path, score="likelihood")
    headed = replace(found, head_labels=labels, scored=("b",) if labels else ("2.5",))
    assert line in screen(headed)
    assert "‖" not in screen(headed)
    assert "scored behind ‖" in screen(found)
