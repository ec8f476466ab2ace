"""The diagnosis end to end on the packaged learner and on text without answers, with a classifier made for the test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.figures import check_figures
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.diagnose.config import DiagnoseConfig
from tapioca.commands.diagnose.page import ADVICE, describe_evidence, explain_diagnosis
from tapioca.commands.diagnose.result import DiagnoseResult
from tapioca.commands.diagnose.run import diagnose
from tapioca.diagnosis import classify as classifiers
from tapioca.diagnosis.fit import fit_classifier
from tapioca.diagnosis.records import Case, Diagnosis
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.models.tiny import tiny
from tapioca.observe import MAX_EXAMPLES, capture_last_and_mean_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.evidence import EVIDENCE, HALVES, NULL_TEST, measure_evidence
from tapioca.progress import SILENT
from tapioca.records import signed
from tapioca.session.context import load_inputs
from tapioca.tasks.split import search_groups, split

TASK, REFERENCE = "lab:target_offset=3,n=120", "lab:id,n=120"


def cases(signal: float = 1.0) -> list[Case]:
    """Cases whose tokens are longer where they are distorted, over wide ranges of all evidence."""
    rng, rows = np.random.default_rng(0), []
    for at, kind in enumerate(("noise", "stretch", "rule", "mirror") * 20):
        distorted = kind in ("noise", "stretch")
        seen = {name: float(rng.uniform(-9, 9)) for name in EVIDENCE}
        seen["mean_norm_input"] = float(signal * (rng.uniform(0.3, 0.8) if distorted else rng.uniform(-0.8, -0.3)))
        halves = tuple(tuple(value + side for value in seen.values()) for side in (-1e-3, 1e-3))
        gain = 0.2 if distorted else 0.0
        truth = "distorted" if distorted else "misaligned"
        fields = {"truth": truth, "gain": gain, "low": gain - 0.1, "excess": dict.fromkeys(NULL_TEST, 1.0)}
        place = {"setting": f"s{at % 5}", "model": f"m{at % 5}", "size": 9, "kind": kind, "strength": at, "n": 512}
        rows.append(Case(**place, evidence=seen, halves=halves, **fields))
    return rows


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.json"
    path.write_text(fit_classifier(cases()).model_dump_json())
    return path


def request(out: Path, judge: Path, **fields: object) -> DiagnoseConfig:
    settings: dict = {"model": "learner", "task": TASK, "reference": REFERENCE, "batch_size": 60}
    return DiagnoseConfig(**{**settings, "out": out, "classifier": judge, **fields})


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory, judge: Path) -> DiagnoseResult:
    return diagnose(request(tmp_path_factory.mktemp("runs") / "run", judge))


def test_the_evidence_is_that_of_the_samples_a_profile_observes(info: DiagnoseResult) -> None:
    tasks = {"ood": load_lab_task(TASK), "id": load_lab_task(REFERENCE)}
    groups = search_groups([task.examples for task in tasks.values()], 0.5, 0)
    reference, other = split(tasks["id"], groups)
    chosen = (split(tasks["ood"], groups)[1], reference, other)
    model = load(PACKAGED["learner"]).model
    ood, first, second = (
        capture_last_and_mean_states(model, Plan.full(8), draw_sample(task.examples, MAX_EXAMPLES, 0), 60)
        for task in chosen
    )
    measured = measure_evidence(ood, first, second, 0)
    assert [one.value for one in info.evidence] == pytest.approx(measured.values.tolist())
    assert [one.error for one in info.evidence] == pytest.approx(measured.halves.std(axis=0, ddof=1).tolist())
    assert info.excess == pytest.approx(measured.excess)
    assert info.n == 60
    assert [(one.data, one.planned, one.layers) for one in info.profiles] == [
        ("id", False, tuple(range(8))),
        ("ood", False, tuple(range(8))),
    ]
    assert info.profiles[1].norm == pytest.approx(np.linalg.norm(ood["last"][1:].astype(float), axis=2).mean(1))
    assert info.n_halves == HALVES
    assert all(one.id_range[0] < one.id_range[1] for one in info.evidence)


def test_distances_are_measured_once(tmp_path: Path, judge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def count(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        sizes.append(len(first))
        return cdist(first, second)

    monkeypatch.setattr("tapioca.profiles.profiles.cdist", count)
    diagnose(request(tmp_path / "run", judge))
    assert sorted(sizes) == [60] * 18 + [120] * 18  # OOD and both ID sets, at last tokens and of means, 9 states each


def test_what_is_said_is_what_the_judge_says(info: DiagnoseResult) -> None:
    assert info.diagnosis.verdict == "distorted"
    pull = sum(one.contribution for one in info.evidence if one.contribution is not None)
    odds = np.exp(pull + info.classifier.weights.intercept)
    assert info.diagnosis.probability == pytest.approx(odds / (1 + odds))
    lines = explain_diagnosis(info)
    assert lines[1] == ADVICE["distorted"]
    assert lines[2].startswith(f"the classifier gives a probability of {info.diagnosis.probability:.2f} [")
    band = info.classifier.bands[-1]
    assert lines[3].startswith(
        f"of {band.cases} shifts of kinds that it was not fitted on and gave a probability of 0.75 to 1, {band.gained} gained "
        "from a searched plan (held-out lower 95 % bound above 0): "
    )
    assert lines[3].endswith("; median error × 0.800")


def test_a_classifier_that_misses_the_bar_says_neither_word_but_what_came_of_such_shifts(
    tmp_path: Path, info: DiagnoseResult
) -> None:
    path = tmp_path / "poor.json"
    path.write_text(fit_classifier([*cases(), *cases(signal=-1.0)]).model_dump_json())
    poor = diagnose(request(tmp_path / "run", path))
    assert not poor.classifier.cross_validation.clears_bar
    assert poor.diagnosis.verdict == "cannot tell without labels"
    assert poor.diagnosis.probability is not None
    page = (tmp_path / "run" / "report.html").read_text()
    assert "missed, so distorted and misaligned are not said" in page
    assert "gained from a searched plan" in page


def test_id_data_are_in_distribution_and_the_rule_is_mentioned(tmp_path: Path, judge: Path) -> None:
    found = diagnose(request(tmp_path / "run", judge, task="lab:id,n=120,seed=5"))
    assert found.diagnosis.verdict == "no shift seen"
    assert all(one.contribution is None for one in found.evidence)
    assert (
        "a changed labelling rule leaves inputs as they are, and no unlabelled input could show it"
        in explain_diagnosis(found)[1]
    )
    assert "no unlabelled input could show it" in (tmp_path / "run" / "report.html").read_text()


def test_the_folder_and_the_page(info: DiagnoseResult) -> None:
    assert {path.name for path in info.folder.iterdir()} == {"manifest.json", "diagnose.json", "report.html"}
    assert DiagnoseResult(**json.loads((info.folder / "diagnose.json").read_text()), folder=info.folder) == info
    page = (info.folder / "report.html").read_text()
    assert page.count("<svg") == 1
    for outside in ("<script", "<link", "@import", "src=", "NaN"):
        assert outside not in page
    for text in ("Distorted", "What to expect of pruning", "made to choose", "error × 0.800"):
        assert text.lower() in page.lower()
    for one in info.evidence:
        assert f"<td>{one.name}</td><td>{signed(one.value, 3)} ± {one.error:.3f}</td>" in page
        assert describe_evidence(one.name) in page


@pytest.mark.parametrize("verdict", list(ADVICE))
def test_every_verdict_has_words(info: DiagnoseResult, verdict: str) -> None:
    said = Diagnosis(verdict=verdict, probability=None, reason="so it is")
    assert explain_diagnosis(info.model_copy(update={"diagnosis": said})) == ["so it is", ADVICE[verdict]]
    if verdict == "no shift seen":
        return
    sure = said.model_copy(update={"probability": 0.9, "probability_ci95": (0.8, 0.95)})
    bare = info.classifier.model_copy(update={"bands": ()})
    assert explain_diagnosis(info.model_copy(update={"diagnosis": sure, "classifier": bare}))[2:] == [
        "the classifier gives a probability of 0.90 [0.80, 0.95] that some plan gains rather than none",
        "it has no case of such a probability, and scored in this way, on which a plan was searched",
    ]


def test_answers_change_nothing_and_need_not_be_there(tmp_path: Path, judge: Path) -> None:
    rows = [{name: row[name] for name in ("id", "group", "context")} for row in choice_rows(160)]
    reference = write_lines(tmp_path / "id.jsonl", [{**row, "answer": "it"} for row in rows[:80]])
    model, found = tiny("llama"), []
    for name in ("id", "right", "wrong", "none"):
        (tmp_path / f"{name}.yaml").write_text("max_new_tokens: 8")
    for name, said in (("right", ["it"]), ("wrong", ["a", "cat"]), ("none", [])):
        asked = [{**row, "context": "big red " + row["context"]} for row in rows[80:]]
        answered = [{**row, "answer": said[at % len(said)]} if said else row for at, row in enumerate(asked)]
        task = write_lines(tmp_path / f"{name}.jsonl", answered)
        fields = {"kind": "generate", "template": "{{ context }}"} | ({} if said else {"field": ('answer={{ "it" }}',)})
        config = request(tmp_path / name, judge, model="tiny", task=str(task), reference=str(reference), **fields)
        found.append(
            diagnose(config, inputs=load_inputs(config, SILENT, LoadedModel(model, word_tokenizer()))).evidence
        )
    assert found[0] == found[1] == found[2]


def test_python_takes_live_things(tmp_path: Path, info: DiagnoseResult, judge: Path) -> None:
    model, task, reference = load(PACKAGED["learner"]).model, load_lab_task(TASK), load_lab_task(REFERENCE)
    live = {"classifier": judge, "out": tmp_path / "a", "batch_size": 60, "progress": False}
    found = tapioca.diagnose(model, task=task, reference=reference, **live)
    assert (found.diagnosis, found.evidence) == (info.diagnosis, info.evidence)


def test_the_screen(info: DiagnoseResult, judge: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    more = ["--batch-size", "60", "--classifier", str(judge), "--out", str(info.folder)]
    assert main(["diagnose", "learner", "--task", TASK, "--reference", REFERENCE, *more]) == 0
    out, _ = capsys.readouterr()
    assert "DISTORTED\n" in out
    assert max(map(len, re.sub(r"· .*|report .*", "", out).splitlines())) <= 80
    for one in info.evidence:
        assert re.search(rf"^{one.name} +{re.escape(signed(one.value, 3))} ± ", out, re.MULTILINE)
    for text in (
        "verdicts on what the classifier was not fitted on",
        "4 kinds of shift, 5 models, 5 settings",
        "cleared",
    ):
        assert text in out
    (info.folder / "report.html").unlink()
    assert main(["report", str(info.folder)]) == 0
    again, _ = capsys.readouterr()
    assert again.strip() == out[out.index("· OOD (out of distribution)") :].strip()
    assert (info.folder / "report.html").is_file()
    assert main(["report", str(info.folder), "--figures", str(tmp_path / "figures")]) == 0
    check_figures(tmp_path / "figures", ("profiles",))


def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], judge: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifiers, "PACKAGED_CLASSIFIER", tmp_path / "none.json")
    Path("odd.json").write_text("{}")
    asked = ["diagnose", "learner", "--task", TASK, "--reference", REFERENCE]
    for more, message in (
        ([], "no classifier ships with this version of tapioca; give a fitted one with --classifier FILE"),
        (["--classifier", "gone.json"], "cannot read gone.json: No such file or directory"),
        (["--classifier", "odd.json"], "cannot read odd.json: weights: Field required; give one that `fit_file`"),
        (["--classifier", str(judge), "--task", REFERENCE], "holds the same rows as"),
    ):
        assert main([*asked, *more]) == 2
        _, err = capsys.readouterr()
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
