"""The comparison end to end on the packaged learner and on small language models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import LlamaConfig, LlamaForSequenceClassification

import tapioca
from tapioca.cli.main import main
from tapioca.commands.compare.config import CompareConfig
from tapioca.commands.compare.page import format_regret
from tapioca.commands.compare.result import CompareResult
from tapioca.commands.compare.run import compare
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.models.tiny import draw_weights, tiny
from tapioca.plan import Plan
from tapioca.progress import SILENT
from tapioca.records import Example
from tapioca.session.context import load_inputs
from tapioca.session.run_criteria import perplexity_task_from_prompts
from tapioca.session.search_space import list_all_drops
from tapioca.tasks.base import Task
from tapioca.tasks.choice import ACCURACY, Choice
from tapioca.tasks.split import search_groups, split

TASK, REFERENCE = "lab:context_noise=0.2,n=120", "lab:id,n=120"


def request(out: Path, **fields: object) -> CompareConfig:
    settings: dict = {"model": "learner", "task": TASK, "reference": REFERENCE, "drops": "1:2", "batch_size": 30}
    return CompareConfig(**{**settings, "random_plans": 5, "out": out, **fields})


def split_as_the_comparison_did() -> tuple[Task, Task]:
    task = load_lab_task(TASK)
    return split(task, search_groups([task.examples, load_lab_task(REFERENCE).examples], 0.5, 0))


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    return compare(request(tmp_path_factory.mktemp("runs") / "run"))


def test_every_criterion_has_a_plan_of_every_size(info: CompareResult) -> None:
    assert [one.name for one in info.searched] == list_all_drops()
    assert info.list_sizes() == (1, 2)
    for name in list_all_drops():
        assert all(info.find_pick(name, drops) for drops in (1, 2)), name
    last = info.find_pick("last", 2)
    assert last is not None
    assert last.plan == Plan.drop(8, [6, 7])


def test_results_are_held_out_and_paired(info: CompareResult) -> None:
    pick, rival = info.find_pick("last", 1), info.find_pick("tale", 1)
    assert pick is not None
    assert rival is not None
    assert pick.id is not None
    search, test = split_as_the_comparison_did()
    model = load(PACKAGED["learner"]).model
    full, last, tale = evaluate(model, test, [Plan.full(8), pick.plan, rival.plan], batch_size=30).values
    assert pick.ood.gain == pytest.approx(test.pairing(0).effect(full, last))
    assert pick.rival is not None
    assert pick.rival.gain == pytest.approx(test.pairing(0).effect(tale, last))
    assert rival.rival is None
    chosen = evaluate(model, search, [Plan.drop(8, [layer]) for layer in range(8)], batch_size=30).values.mean(1)
    assert rival.plan == Plan.drop(8, [int(chosen.argmax())])


def test_holm_is_no_smaller_for_more_plans(info: CompareResult, tmp_path: Path) -> None:
    alone = compare(request(tmp_path / "run", criteria="last", drops="1"))
    one, among = alone.find_pick("last", 1), info.find_pick("last", 1)
    assert one is not None
    assert among is not None
    assert one.ood == among.ood
    assert one.p_ood <= among.p_ood


def test_costs_are_those_of_each_criterion_alone(info: CompareResult) -> None:
    cost = {one.name: one for one in info.searched}
    assert cost["tale"].plans_tried == 8 + 7
    assert cost["tale"].layer_forwards == 60 * (35 + 27)  # layers of 8, then of 7 plans, shared ones once
    assert cost["exhaustive"].layer_forwards == 60 * (35 + 83)
    assert cost["shortgpt"].layer_forwards == cost["angular"].layer_forwards == 60 * 8
    assert (cost["last"].plans_tried, cost["last"].layer_forwards, cost["last"].seconds) == (0, 0, 0)
    assert cost["sleb"].seconds == cost["tale"].seconds > 0


def test_regret_is_the_difference_of_search_scores_on_the_same_examples(info: CompareResult) -> None:
    search, _ = split_as_the_comparison_did()
    model, cost = load(PACKAGED["learner"]).model, {one.name: one for one in info.searched}
    assert cost["tale"].search_gains == {1: 0.0, 2: 0.0}
    for name in ("last", "taylor", "exhaustive"):
        for drops in (1, 2):
            plans = [pick.plan for pick in (info.find_pick(each, drops) for each in ("tale", name)) if pick]
            exact, rival = evaluate(model, search, plans, batch_size=30).values
            assert cost[name].search_gains[drops] == pytest.approx(search.pairing(0).effect(exact, rival))
    assert cost["last"].search_gains[2] < 0 <= cost["exhaustive"].search_gains[2]
    assert cost["mixed"].search_gains == {}
    worst = min(cost["last"].search_gains, key=cost["last"].search_gains.__getitem__)
    gain = cost["last"].search_gains[worst]
    assert format_regret(info, cost["last"]) == f"error × {1 - gain:#.3g} ({worst} drop{'s' if worst > 1 else ''})"
    assert (format_regret(info, cost["exhaustive"]), format_regret(info, cost["mixed"])) == ("none", "")


def test_a_shortlist_is_an_arm_beside_tale(tmp_path: Path) -> None:
    found = compare(request(tmp_path / "run", criteria="last,tale", shortlist=2, random_plans=1))
    assert [one.name for one in found.searched] == ["last", "tale", "tale (2 listed)"]
    cost = found.searched[2]
    assert cost.plans_tried == 2 + 2
    assert cost.layer_forwards < found.searched[1].layer_forwards
    assert all(found.find_pick("tale (2 listed)", drops) for drops in (1, 2))
    assert set(cost.search_gains) == {1, 2}
    with pytest.raises(UsageError, match="--shortlist stands beside tale, which is not among --criteria last; add it"):
        compare(request(tmp_path / "other", criteria="last", shortlist=2))


def test_repeats_stand_beside_drops_of_as_many_layers(tmp_path: Path) -> None:
    found = compare(request(tmp_path / "run", criteria="tale,repeat", random_plans=1))
    for length in (1, 2):
        pick = found.find_pick("repeat", length)
        assert pick is not None
        assert (pick.plan.size, len(pick.plan.order), pick.rival is not None) == (0, 8 + length, True)
        assert pick.flops > 1
    cost = {one.name: one for one in found.searched}["repeat"]
    assert (cost.plans_tried, cost.layer_forwards) == (8 + 7, 60 * (8 * 9 + 7 * 10))


def test_the_front_is_not_dominated(info: CompareResult) -> None:
    points = {(pick.flops, pick.ood.planned) for pick in info.picks} | {(1.0, info.picks[0].ood.full)}
    for pick in info.picks:
        flops, score = pick.flops, pick.ood.planned
        beaten = any(f <= flops and s >= score and (f, s) != (flops, score) for f, s in points)
        assert pick.front == (not beaten)
    assert {pick.front for pick in info.picks} == {True, False}


def test_the_folder_and_the_page(info: CompareResult) -> None:
    names = {path.name for path in info.folder.iterdir()} - {"run.sqlite-wal", "run.sqlite-shm"}
    assert names == {"manifest.json", "run.sqlite", "compare.json", "similarity.json", "effects.json", "report.html"}
    assert CompareResult(**json.loads((info.folder / "compare.json").read_text()), folder=info.folder) == info
    page = (info.folder / "report.html").read_text()
    assert "with 95 % intervals (of random subsets of the groups, each on its own)" in page
    assert "Branches, not layers, are what these drop: attention, " in page
    assert page.count("<svg") == 2
    for outside in ("<script", "<link", "@import", "src=", "NaN"):
        assert outside not in page


def test_the_same_call_again_evaluates_nothing(info: CompareResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", refuse)
    monkeypatch.setattr("tapioca.session.run_criteria.measure_similarity", refuse)
    monkeypatch.setattr("tapioca.session.run_criteria.measure_drop_effects", refuse)
    assert compare(request(info.folder)) == info


def test_an_interrupted_comparison_goes_on(
    info: CompareResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle, it ends with the same choices and results; three criteria show it."""
    from tapioca.evaluate import batch as module

    sweep, calls = module.sweep, iter(range(5))

    def stop(*args: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return sweep(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(request(tmp_path / "run", criteria="last,tale,taylor"))
    monkeypatch.setattr("tapioca.evaluate.batch.sweep", sweep)
    again = compare(request(tmp_path / "run", criteria="last,tale,taylor"))
    for name in ("last", "tale", "taylor"):
        for drops in (1, 2):
            found, expected = again.find_pick(name, drops), info.find_pick(name, drops)
            assert found is not None
            assert expected is not None
            assert (found.plan, found.ood, found.id) == (expected.plan, expected.ood, expected.id)


def test_a_live_language_model(tmp_path: Path) -> None:
    """SLEB reads the prompts' tokens, likelihood differs from accuracy, and a sequential model has both branches."""
    task = write_lines(tmp_path / "ood.jsonl", choice_rows(80))
    settings: dict = {"score": "likelihood", "drops": "1", "random_plans": 5, "out": tmp_path / "run"}
    found = tapioca.compare(tiny("llama"), word_tokenizer(), task=task, progress=False, **settings)
    assert not [note for note in found.notes if note.startswith("sleb")]
    assert found.picks[0].id is None
    assert [one.name for one in found.searched] == list_all_drops()


@pytest.mark.parametrize("labels", [2, 6])
def test_a_head_that_predicts_labels_has_no_perplexity_of_prompts(labels: int, tmp_path: Path) -> None:
    fields = {**tiny("llama").config.to_dict(), "id2label": {n: f"label {n}" for n in range(labels)}}
    model = LlamaForSequenceClassification(LlamaConfig.from_dict(fields))
    draw_weights(model)
    rows = [{"text": row["context"], "label": f"label {n % labels}"} for n, row in enumerate(choice_rows(80))]
    task = write_lines(tmp_path / "ood.jsonl", rows)
    config = request(tmp_path / "run", task=str(task), reference=None, score="likelihood", drops="1", random_plans=1)
    found = compare(config, inputs=load_inputs(config, SILENT, LoadedModel(model.eval(), word_tokenizer())))
    assert [note for note in found.notes if note.startswith("sleb")] == [
        "sleb: the model predicts no tokens of a prompt, so gold answer's negative log-likelihood stands in for their perplexity"
    ]
    sleb, tale = found.find_pick("sleb", 1), found.find_pick("tale", 1)
    assert sleb is not None
    assert tale is not None
    assert sleb.plan == tale.plan


def test_criteria_a_model_cannot_have_are_left_out(tmp_path: Path) -> None:
    task = write_lines(tmp_path / "ood.jsonl", choice_rows(80))
    loaded = LoadedModel(tiny("mamba"), word_tokenizer())
    config = request(tmp_path / "run", task=str(task), reference=None, score="likelihood", drops="1")
    found = compare(config, inputs=load_inputs(config, SILENT, loaded))
    assert {one.name for one in found.searched} == set(list_all_drops()) - {"mlp", "mixed", "taylor-mixed"}
    assert any("mlp is left out: no mlp branch of this model can be dropped alone" in n for n in found.notes)
    other = config.model_copy(update={"criteria": "tale,mlp", "out": tmp_path / "b"})
    with pytest.raises(UsageError, match="mlp cannot be used: no mlp branch"):
        compare(other, inputs=load_inputs(other, SILENT, loaded))


def test_the_prompts_of_a_task_as_running_text() -> None:
    example = Example(id="a", group="g", rows=(), prompt=(5, 6, 7))
    found = perplexity_task_from_prompts(
        Choice(name="t", examples=(example, Example(id="b", group="h", rows=(), prompt=(5,))), metric=ACCURACY)
    )
    assert found is not None
    (only,) = found.examples
    assert (only.rows[0].inputs, only.rows[0].targets, only.weight) == ((5, 6), (6, 7), 2)
    assert perplexity_task_from_prompts(load_lab_task("lab:id,n=8")) is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--criteria", "tale,shortgp"], "unknown criterion 'shortgp'; did you mean 'shortgpt'?"),
        (["--drops", "4:2"], "--drops 4:2 is empty; write the smaller number first"),
        (["--drops", "some"], "--drops: String should match pattern"),
        (["--drops", "1:8"], "--drops 1:8: at most 7 of this model's 8 layers can go; use 1:7"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["compare", "learner", "--task", "lab:target_offset=2,n=40", "--out", str(tmp_path / "run"), *more])
    _, err = capsys.readouterr()
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_the_screen(info: CompareResult, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--drops", "1:2", "--batch-size", "30", "--random-plans", "5", "--out", str(info.folder)]
    assert main(["compare", "learner", "--task", TASK, "--reference", REFERENCE, *settings]) == 0
    out, _ = capsys.readouterr()
    assert "vs tale" in out
    assert "drop 6–7" in out
    (info.folder / "report.html").unlink()
    assert main(["report", str(info.folder)]) == 0
    again, _ = capsys.readouterr()
    assert again.strip() == out[out.index("· OOD (out of distribution)") :].strip()
    assert (info.folder / "report.html").is_file()
