"""The commands as a user types them: output, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.figures import check_figures
from support.rows import choice_rows, write_lines

from tapioca.cli.demo import demo_config
from tapioca.cli.main import main
from tapioca.lab.shifts import SHIFTS
from tapioca.models.edit import apply
from tapioca.models.load import load
from tapioca.plan import Plan

LEARNER = "learner"
SMALL = ["--batch-size", "60", "--random-plans", "2", "--max-drops", "1"]


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    code = main(argv)
    out, err = capsys.readouterr()
    return code, out, err


def learner_run(out: Path, *more: str, task: str = "lab:target_offset=2,n=120") -> list[str]:
    return ["prune", LEARNER, "--task", task, "--reference", "lab:id,n=120", "--out", str(out), *SMALL, *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run, and what the command that made it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with redirect_stdout(io.StringIO()) as printed:
        assert main(learner_run(folder)) == 0
    return folder, printed.getvalue()


def test_prune_report_and_export(run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = run
    assert "PRUNE OOD TRAFFIC ONLY" in out
    assert re.search(r"OOD\s+drop 6\s+[\d.]+ → [\d.]+\s+error × 0\.\d+ \[0\.\d+, 0\.\d+\]", out)
    assert "saves     1 of 8 layers, 12.5% of 391 k parameters, 12.5% of FLOPs" in out
    (folder / "report.html").unlink()
    code, again, _ = said(["report", str(folder)], capsys)
    assert code == 0
    assert again.strip() == out[out.index("· OOD (out of distribution)") :].strip()
    assert (folder / "report.html").is_file()
    code, record, _ = said(["report", str(folder), "--json"], capsys)
    assert code == 0
    assert json.loads(record)["judgements"] == json.loads((folder / "run.json").read_text())["judgements"]
    code, out, _ = said(["export", str(folder), "--to", str(tmp_path / "pruned")], capsys)
    assert code == 0
    flat = " ".join(out.split())
    assert "7 of 8 layers (drop 6)" in flat
    assert "in a fresh process: one forward; largest difference 0" in flat
    assert json.loads((tmp_path / "pruned" / "config.json").read_text())["num_hidden_layers"] == 7


def test_a_report_with_figures_needs_no_torch(run: tuple[Path, str], tmp_path: Path) -> None:
    code = "import sys; from tapioca.cli.main import main; assert main(sys.argv[1:]) == 0; assert not {'torch', 'scipy'} & {*sys.modules}"
    argv = ["report", str(run[0]), "--figures", str(tmp_path / "figures")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    charts = ("search", "gains", "profiles", "deviations")
    assert f"figures   {tmp_path / 'figures'}: {', '.join(charts)}, each as svg, png, pdf" in done.stdout
    check_figures(tmp_path / "figures", charts)


def test_a_limit_of_address_space_costs_the_charts_and_nothing_else(run: tuple[Path, str], tmp_path: Path) -> None:
    """The native library that draws aborts its process under any such limit."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))\n"
    code = limited + "import sys; from tapioca.cli.main import main; sys.exit(main(sys.argv[1:]))"
    shutil.copytree(run[0], tmp_path / "run")
    argv = [sys.executable, "-c", code, "report", str(tmp_path / "run")]
    done = subprocess.run(argv, capture_output=True, text=True)
    [reason] = re.findall(r"^· the page has no charts: (.+)\n$", done.stderr)
    assert re.fullmatch(
        r"the process that draws charts ended \(SIG(ABRT|TRAP)\), as it does under `ulimit -v`; "
        "without such a limit `tapioca report RUN` draws them",
        reason,
    )
    assert done.returncode == 0
    assert "geometry" in done.stdout
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<svg" not in page
    assert page.count("Left out: the process that draws charts ended (SIG") == 4
    done = subprocess.run([*argv, "--figures", str(tmp_path / "figures")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the process that draws charts ended (SIG")


def test_figures_of_a_comparison_beside_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", LEARNER, "--task", "lab:target_offset=2,n=40", "--criteria", "last,tale", "--drops", "1"]
    assert said([*argv, "--out", str(tmp_path / "run")], capsys)[0] == 0
    code, out, _ = said(["report", str(tmp_path / "run"), "--json", "--figures", str(tmp_path / "new" / "f")], capsys)
    assert code == 0
    assert json.loads(out)["task"] == "lab:target_offset=2,n=40"
    check_figures(tmp_path / "new" / "f", ("criteria", "front"))
    (tmp_path / "file").write_text("mine")
    code, _, err = said(["report", str(tmp_path / "run"), "--figures", str(tmp_path / "file")], capsys)
    assert (code, err) == (2, f"error: cannot use {tmp_path / 'file'} as a folder: File exists; choose another\n")


def test_dry_run(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_lines(tmp_path / "task.jsonl", choice_rows(60))
    argv = ["prune", str(model_folder), "--task", str(task), "--out", str(tmp_path / "run"), "--dry-run"]
    code, out, _ = said(argv, capsys)
    flat = " ".join(out.split())
    assert code == 0
    assert "OOD: 30 search + 30 test examples" in flat
    assert "chance 25.0 %" in flat
    assert "not above chance: accuracy cannot guide a search; use --score likelihood" in flat
    assert re.search(r"search answers: choice 0 \d+×, choice 1 \d+×, choice 2 \d+×, choice 3 \d+× not above", flat)
    assert sum(map(int, re.findall(r" (\d+)×", flat))) == 30
    assert "1:␣<s> 3:␣the" in flat
    assert "‖" in flat
    assert re.search(r"first round about [\d.]+ (s|min|h)", flat)
    assert "(6 plans beside the full model)" in flat
    assert "nothing of this is kept" in flat
    assert not (tmp_path / "run").exists()
    assert said([*argv, "--random-plans", "3"], capsys)[0] == 0  # nor is the folder claimed by the first one


def test_default_out_names_model_task_and_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["prune", LEARNER, "--task", "lab:target_offset=2,n=40", *SMALL]
    assert said(argv, capsys)[0] == 0
    assert said(argv, capsys)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"learner-lab-target_offset=2,n=40-[0-9a-f]{8}", run.name)


def test_the_demo_asks_for_a_real_shift() -> None:
    config = demo_config(Path("x"))
    assert (config.task, config.reference) == ("lab:context_noise=0.2", "lab:id")


def test_inspect(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(["inspect", str(model_folder)], capsys)
    assert code == 0
    assert "type      llama" in out
    assert "layers    4 at model.layers (LlamaDecoderLayer)" in out
    assert "drop      any of 0–3" in out
    assert "export    checkpoints that drop any of 0–3; " in out


def test_apply_writes_what_the_planned_model_writes(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan.drop(4, [1])
    (tmp_path / "plan.json").write_text(plan.to_json())
    argv = [
        "generate",
        str(model_folder),
        "--plan",
        str(tmp_path / "plan.json"),
        "--prompt",
        "the cat",
        "--tokens",
        "5",
    ]
    code, out, _ = said(argv, capsys)
    assert code == 0
    model, tokenizer = load(model_folder)
    assert tokenizer is not None
    ids = tokenizer("the cat", return_tensors="pt", return_token_type_ids=False)
    with apply(model, plan):
        written = model.generate(**ids, max_new_tokens=5, do_sample=False)[0]
    assert out.split() == tokenizer.decode(written, skip_special_tokens=True).split()
    code, out, err = said(["generate", LEARNER, *argv[2:]], capsys)
    assert (code, out) == (2, "")
    assert "cannot write text" in err
    Plan(n_layers=4, norms={1: 2.0}, norm_tokens="last").write(tmp_path / "plan.json")
    code, out, err = said(argv, capsys)
    assert (code, out) == (2, "")
    assert (
        "plan.json sets norms at the last token alone, and of a text that is written each token is once the last" in err
    )


def test_lab_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--layers", "2", "--width", "16", "--heads", "2", "--points", "8", "--batch", "4"]
    code, out, _ = said(["lab", "train", "--out", str(tmp_path / "l"), "--steps", "3", *small], capsys)
    assert code == 0
    assert "wrote" in out
    assert (tmp_path / "l" / "model.safetensors").is_file()


def test_lab_shifts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(["lab", "shifts"], capsys)
    assert code == 0
    for name, kind in SHIFTS.items():
        strengths = " ".join(f"{at:g}" for at in kind.strengths)
        assert re.search(rf"^{name} .*{kind.scored} +{re.escape(strengths)} *$", out, re.MULTILINE), name
    kept, moved = out.split("answers moved")
    assert "\ncontext_noise" in kept
    assert "\nrule_negated" in moved


def test_lab_train_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = str(write_lines(tmp_path / "rows.jsonl", choice_rows(40)))
    small = ["--layers", "2", "--width", "16", "--heads", "2", "--batch", "4", "--steps", "3"]
    code, out, _ = said(["lab", "train-text", task, "--out", str(tmp_path / "m"), *small], capsys)
    assert code == 0
    assert "wrote" in out
    assert json.loads((tmp_path / "m" / "training.json").read_text())["held_out"]["rows"] == 2  # one group
    code, _, err = said(["lab", "train-text", task, "--out", str(tmp_path / "m"), *small, "--seed", "1"], capsys)
    assert code == 2
    assert "holds a training with other settings; choose another folder" in err


BAD = {
    "no such model": (
        ["prune", "./nope", "--task", "x.jsonl"],
        "no model './nope': neither a folder here nor a hub model",
    ),
    "no task": (["prune", LEARNER], "--task"),
    "no such task": (["prune", LEARNER, "--task", "none.jsonl"], "cannot read none.jsonl: No such file"),
    "empty task name": (["prune", LEARNER, "--task", ""], "--task: String should have at least 1 character"),
    "a folder as task": (["prune", LEARNER, "--task", "."], "'.' is no data file"),
    "unknown shift": (["prune", LEARNER, "--task", "lab:target_ofset=1"], "did you mean 'target_offset'"),
    "negative lab seed": (["prune", LEARNER, "--task", "lab:id,seed=-1"], "seed at least 0"),
    "same data": (["prune", LEARNER, "--task", "lab:id,n=40", "--reference", "lab:id,n=40"], "holds the same rows"),
    "too few": (
        ["prune", LEARNER, "--task", "lab:id,n=10"],
        "10 examples in 10 groups make 5 groups for search and 5 for test",
    ),
    "too long": (
        ["prune", LEARNER, "--task", "lab:id,n=40,points=64,degree=1", "--search-share", "2"],
        "--search-share",
    ),
    "negative epsilon": (
        ["prune", LEARNER, "--task", "lab:id", "--epsilon", "-1"],
        "--epsilon: Input should be greater than or equal to 0, got -1",
    ),
    "infinite epsilon": (
        ["prune", LEARNER, "--task", "lab:id", "--epsilon", "inf"],
        "--epsilon: Input should be a finite number",
    ),
    "a word for a number": (["prune", LEARNER, "--task", "lab:id", "--seed", "one"], "Invalid value for '--seed'"),
    "unknown option": (["prune", LEARNER, "--task", "lab:id", "--colour", "red"], "No such option: --colour"),
    "unknown dtype": (["prune", LEARNER, "--task", "lab:id", "--dtype", "int3"], "unknown dtype 'int3'"),
    "unknown device": (["prune", LEARNER, "--task", "lab:id", "--device", "toaster"], "cannot use device 'toaster'"),
    "meta device": (["prune", LEARNER, "--task", "lab:id", "--device", "meta"], "device 'meta' holds no numbers"),
    "field without column": (
        ["prune", LEARNER, "--task", "lab:id", "--field", "x"],
        "--field x is not of the form name=column",
    ),
    "shots for numbers": (["prune", LEARNER, "--task", "lab:id", "--num-fewshot", "2"], "takes no --num-fewshot"),
    "template for numbers": (["prune", LEARNER, "--task", "lab:id", "--template", "x"], "takes no --template"),
    "report of nothing": (["report", "."], "has no run.json"),
    "export of nothing": (["export", "./nope", "--to", "x"], "is no run folder"),
    "no command": (["prunes"], "No such command 'prunes'"),
    "width and heads": (
        ["lab", "train", "--out", "l", "--heads", "3"],
        "width 64 must be a multiple of twice the 3 heads",
    ),
    "learning rate": (["lab", "train", "--out", "l", "--learning-rate", "inf"], "--learning-rate"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_one_clear_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    argv, message = BAD[name]
    code, _, err = said(argv, capsys)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_places_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    for out, message in (
        ("file", "cannot use"),
        ("file/run", "cannot use"),
        ("full", "holds something else than a run"),
    ):
        code, _, err = said(learner_run(tmp_path / out), capsys)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    for folder in ("full", "file"):
        code, _, err = said(["lab", "train", "--out", str(tmp_path / folder), "--steps", "1"], capsys)
        assert (code, err.count("\n")) == (2, 1)
    assert (tmp_path / "full" / "thesis.tex").read_text() == (tmp_path / "file").read_text() == "mine"


def wait_for_answers(run: Path, count: int) -> int:
    """Wait until a run has stored so many batches; returns how many."""
    for _ in range(1200):
        try:
            with closing(sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True)) as db:
                done = int(db.execute("SELECT count(*) FROM answers").fetchone()[0])
        except sqlite3.Error:
            done = 0
        if done >= count:
            return done
        time.sleep(0.05)
    raise AssertionError("the run stored nothing")


def stored(run: Path) -> dict[tuple[str, str], bytes]:
    """Every finished evaluation of a run."""
    with closing(sqlite3.connect(run / "run.sqlite")) as db:
        return {
            (plan, batch): answers for plan, batch, answers in db.execute("SELECT plan, batch, answers FROM answers")
        }


@pytest.mark.slow  # the kill script does it at many moments
def test_kill_minus_nine_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A killed run goes on with the same command: the same plan, and no finished evaluation is repeated."""
    task = "lab:target_offset=2,n=240"
    assert said(learner_run(tmp_path / "whole", "--batch-size", "8", task=task), capsys)[0] == 0
    for at in (3, 150):
        run = tmp_path / f"killed{at}"
        process = get_context("fork").Process(target=main, args=(learner_run(run, "--batch-size", "8", task=task),))
        process.start()
        wait_for_answers(run, at)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        before = stored(run)
        assert not (run / "result.json").exists()
        assert len(before) < len(stored(tmp_path / "whole"))
        seconds = stored_seconds(run)
        assert said(learner_run(run, "--batch-size", "8", task=task), capsys)[0] == 0
        assert stored(run) == stored(tmp_path / "whole")
        assert stored_seconds(run).items() >= seconds.items()  # not one row was written again
        assert (run / "plan.json").read_text() == (tmp_path / "whole" / "plan.json").read_text()
        results = [json.loads((folder / "result.json").read_text()) for folder in (run, tmp_path / "whole")]
        assert results[0]["ood"] == results[1]["ood"]


def stored_seconds(run: Path) -> dict[tuple[str, str], float]:
    """When each finished evaluation was made, by how long it took."""
    with closing(sqlite3.connect(run / "run.sqlite")) as db:
        return {
            (plan, batch): seconds for plan, batch, seconds in db.execute("SELECT plan, batch, seconds FROM answers")
        }


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    """In a process of its own, which Ctrl-C reaches even where the tests run in the background."""
    argv = learner_run(tmp_path / "run", "--batch-size", "4", task="lab:target_offset=2,n=2000")
    process = subprocess.Popen(
        [sys.executable, "-m", "tapioca", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
    wait_for_answers(tmp_path / "run", 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped; every finished batch is stored, and the same command goes on from there\n"
