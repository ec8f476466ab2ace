"""The benchmarks run, and what they count does not depend on the machine."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = ("--threads", "1", "--vocabulary", "64")


ROW = r"^ +(\d+) +(\d+) +(\d+) +\d+\.\d+ \[.*\] +([\d,]+)$"


def printed(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *said: str) -> str:
    """What a benchmark prints."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr("sys.argv", [name, *SMALL, *said])
    importlib.import_module(name).main()
    return capsys.readouterr().out


@pytest.mark.parametrize("choices", [0, 3])
def test_the_search_decides_as_the_published_procedure(
    choices: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--layers", "3", "--width", "32", "--examples", "6", "--tokens", "4", "6", "--batch", "3"]
    out = printed(
        "search_vs_naive", monkeypatch, capsys, *sizes, "--repeats", "1", "--rounds", "2", "--choices", str(choices)
    )
    assert re.search(r"^ +3 .* drop \d\S\d +yes$", out, re.MULTILINE)


def test_scaling_counts_layers_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The full model's states are kept for the round, in which dropping layer l computes the layers after it."""
    sizes = ["--layers", "2", "3", "4", "--examples", "2", "4", "8", "--tokens", "4", "5", "6"]
    out = printed("scaling", monkeypatch, capsys, *sizes, "--width", "32", "--repeats", "1")
    rows = [list(map(int, (*row[:3], row[3].replace(",", "")))) for row in re.findall(ROW, out, re.MULTILINE)]
    assert len(rows) == 9
    assert all(tokens == layers * (layers + 1) // 2 * examples * length for layers, examples, length, tokens in rows)
    assert "layer-tokens grow with examples to the power of 1.00 [1.00, 1.00]" in out
    assert len(re.findall(r"^seconds grow with \w+ to the power of -?\d", out, re.MULTILINE)) == 3


def test_too_few_sizes_have_no_exponent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        printed("scaling", monkeypatch, capsys, "--layers", "2", "3")
    assert "--layers needs three sizes or more for an exponent and its interval, got 2" in capsys.readouterr().err


def test_the_roofline_explains_all_of_the_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--layers", "2", "--width", "32", "--batch", "2", "--tokens", "4", "--matrix", "64", "--repeats", "1"]
    out = printed("roofline", monkeypatch, capsys, *sizes, "--profile")
    assert re.search(r"^float32 +[\d.,]+ +[\d.,]+ +\d+% \[\d+%, \d+%\]$", out, re.MULTILINE)
    shares = [float(share) for share in re.findall(r"(-?\d+\.\d)%", out)]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert min(shares[:5]) > 0


def test_an_offloaded_round_reads_less_and_decides_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--layers", "4", "--width", "128", "--examples", "4", "--tokens", "4", "--batch", "2"]
    out = printed("offload", monkeypatch, capsys, *sizes, "--share", "0.3")
    found = re.findall(r"^(\w+) +(\d+) +\d+\.\d\d +[\d.]+ +[\d.]+ +the same +(drop \d)$", out, re.MULTILINE)
    assert [way for way, *_ in found] == ["alone", "single", "stacked"]
    assert len({pick for *_, pick in found}) == 1
    alone, single, stacked = (int(read) for _, read, _ in found)
    assert alone > single > stacked > 0


def test_memory_for_the_whole_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"all weights fit into .* MiB; allow less with --share"):
        printed("offload", monkeypatch, capsys, "--layers", "2", "--width", "32", "--share", "9")


def test_every_section_for_a_gpu_runs_on_tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")
    found = {name: section.run(gpu.SMOKE) for name, section in gpu.SECTIONS.items()}
    assert found["correctness"]["largest difference of single streams"] == 0
    assert found["correctness"]["largest difference of stacked streams"] < 1e-5
    assert found["correctness"]["decisions on the CPU and the device"] == "the same"
    for name in ("exact search, one label token", "exact search, four choices"):
        assert found[name]["decisions"] == "the same"
        assert found[name]["layer-tokens"] > 1
    assert found["out of memory"]["same scores"] == 1
    assert found["export"]["largest difference"] < 1e-5
    assert sum(section.seconds for section in gpu.SECTIONS.values()) < 2 * 60 * gpu.MINUTES


def test_a_section_that_fails_or_hangs_leaves_the_others_and_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")
    assert gpu.run_section("correctness", True, 0.01) == {"failed": "not done in 0 s"}
    monkeypatch.setattr(
        gpu, "run_section", lambda name, smoke, seconds: {"ratio": 61.5} if "four" in name else {"failed": "x"}
    )
    monkeypatch.setattr("sys.argv", ["gpu.py", "--smoke", "--out", str(tmp_path / "gpu.json")])
    gpu.main()
    out = capsys.readouterr().out
    assert re.search(r"^exact search, four choices\n  ratio +61\.5$", out, re.MULTILINE)
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert list(sections) == list(gpu.SECTIONS)
    assert sections["export"] == {"failed": "x"}


def test_what_a_machine_with_a_gpu_is_sent_is_small() -> None:
    """With the few wheels that it lacks, at most 55 MiB of tracked files travel."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    files = [FOLDER.parent / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 52 * 2**20


@pytest.mark.slow
def test_two_ray_workers_give_the_scores_of_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    sizes = ["--layers", "2", "--width", "32", "--examples", "8", "--tokens", "4", "--batch", "2", "--repeats", "1"]
    out = printed("ray_workers", monkeypatch, capsys, *sizes)
    assert re.search(r"^ +4 .* \d+\.\d\d \[.*\] +\d+ +the same$", out, re.MULTILINE)


def test_the_whole_job_searches_as_the_published_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--layers", "3", "--width", "32", "--examples", "40", "--tokens", "4", "6", "--batch", "8"]
    out = printed("whole_job", monkeypatch, capsys, *sizes)
    assert re.search(r"^ +3 .* yes$", out, re.MULTILINE)


@pytest.mark.slow
def test_why_a_section_failed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    failed = importlib.import_module("gpu").run_section("no such section", True, 60)
    assert "invalid choice: 'no such section'" in failed["failed"]


@pytest.mark.slow
def test_every_part_of_an_export_is_measured() -> None:
    command = [sys.executable, str(FOLDER / "export_memory.py"), "--gigabytes", "0.02", "--shards", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+) +\d+ +\d+ +[\d.]+ +[\d.]+$", done.stdout, re.MULTILINE) == [
        "writer",
        "live_side",
        "fresh_side",
    ]
