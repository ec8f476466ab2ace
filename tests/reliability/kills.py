"""Kill commands at random moments, run each again, and compare what it leaves with that of an undisturbed run.

    cd tests; python -m reliability.kills [COMMAND ...] [--kills 100] [--seed 0] [--signal KILL]

Of `ray driver` and `ray worker` the command itself is killed, or one of its workers on a cluster that outlives it.

Every process is a fork of this one, which has imported what commands import: nearly all moments lie in their work. What
differs after a kill is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from support.ray_cluster import RayCluster

from reliability.comparable import describe_folder, list_differences
from reliability.life import begin_life
from tapioca.commands import COMMANDS

PROMPTS = ["--task", "lab:target_offset=2,n=24", "--reference", "lab:id,n=24", "--batch-size", "8"]
QUICK = ["--grid", "1,2x4", "--new-tokens", "2", "--max-rounds", "10"]
SHAPE = ["--layers", "2", "--width", "16", "--heads", "2", "--points", "8", "--batch", "8"]
LINES = {
    "prune": ["prune", "learner", *PROMPTS, "--out", "out"],
    "prune --compensate": ["prune", "learner", *PROMPTS, "--compensate", "linear", "--out", "out"],
    "compensate": ["compensate", "out", "--by", "scale"],
    "heal": ["heal", "finished", "--steps", "12", "--batch", "4", "--out", "out"],
    "rescale": ["rescale", "learner", *PROMPTS, "--out", "out"],
    "compare": ["compare", "learner", *PROMPTS, "--criteria", "greedy", "--criteria", "shortgpt", "--out", "out"],
    "versus": ["versus", "learner", "learners/a", *PROMPTS, "--out", "out"],
    "bench": ["bench", "model", "--plan", "plan.json", *QUICK, "--out", "out"],
    "export": ["export", "model", "--plan", "plan.json", "--to", "out"],
    "lab train": ["lab", "train", *SHAPE, "--steps", "600", "--out", "out"],
    "study": ["study", "study.yaml", "--out", "out", "--workers", "2"],
    "ray driver": ["prune", "learner", *PROMPTS, "--out", "out", "--ray", "CLUSTER", "--workers", "2"],
    "ray worker": ["prune", "learner", *PROMPTS, "--out", "out", "--ray", "CLUSTER", "--workers", "2"],
}
"""The commands that are killed. A new one is a line here: it reads what `make_inputs` makes, and writes to `out`."""

STUDY = """
title: two models
seed: 1
search: 8
test: 8
margins: { error: 0.02, deviation: 0.01 }
min_models: 3
ceiling: 0.99
n_resamples: 100
scales: [0, 1]
random_sets: 1
settings:
  - name: polynomials
    title: the smallest
    models: [learners/a, learners/b]
    id: lab:id
    fixed: 0
    shifts: { context_noise: [lab:context_noise=0.5] }
    controls: []
claims: CLAIMS
"""
CLAIMS = Path(__file__).resolve().parents[2] / "studies" / "claims.yaml"


INPUTS = ("model", "plan.json", "learners", "study.yaml", "finished")


def make_inputs(folder: Path) -> None:
    """Make what the lines name: a model, a plan that drops a layer of it, a study of two learners, and a finished run."""
    import torch
    from support.words import word_tokenizer

    from tapioca.commands.prune.config import PruneConfig
    from tapioca.commands.prune.run import prune
    from tapioca.models.learner import Learner, learner_config
    from tapioca.models.tiny import tiny
    from tapioca.plan import Plan

    model = tiny("llama")
    model.save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        Learner(learner_config(3, 16, 2)).save_pretrained(folder / "learners" / name)
    (folder / "plan.json").write_text(Plan.drop(model.config.num_hidden_layers, (1,)).to_json())
    prune(
        PruneConfig.from_command(shlex.join(["tapioca", *LINES["prune"]])).model_copy(
            update={"out": folder / "finished"}
        )
    )
    (folder / "study.yaml").write_text(STUDY.replace("CLAIMS", str(CLAIMS)))


def import_all() -> None:
    """Import what lives import."""
    for command in COMMANDS.values():
        resolve_name(command.run)
        resolve_name(command.page)
    for name in ("tapioca.cli.main", "tapioca.lab.train", "vl_convert", "transformers.models.llama.modeling_llama"):
        importlib.import_module(name)


@dataclass
class Tally:
    """What came of the kills of a command; the differences are those of runs that did not end as the undisturbed one."""

    seconds: float
    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """A command in a folder of its own.

    Attributes:
        cluster: that the line speaks of.
        is_hit: whether the last life got the signal before it was done.
    """

    name: str
    folder: Path
    sent: signal.Signals
    cluster: RayCluster | None = None
    is_hit: bool = False

    def live(self, seconds: float | None = None) -> tuple[int, float]:
        """Run the command; returns its exit code and how long it, or the worker that is killed, was there.

        Args:
            seconds: after which it is killed if it is not done by then.
        """
        line = [self.cluster.address if self.cluster and word == "CLUSTER" else word for word in LINES[self.name]]
        process = begin_life(line, self.folder)
        while not self.list_victims(process) and is_running(process):
            time.sleep(0.05)
        start = time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            self.hit(process)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        self.is_hit &= code != 0 or self.kills_worker
        return code, time.monotonic() - start

    @property
    def kills_worker(self) -> bool:
        """Whether the signal is for a worker, of which the command takes care."""
        return self.name == "ray worker"

    def list_victims(self, process: int) -> list[int]:
        """What there is to kill of a life: the command, or its workers."""
        return self.cluster.list_workers() if self.cluster and self.kills_worker else [process]

    def hit(self, process: int) -> None:
        """Send the signal."""
        victims = self.list_victims(process)
        self.is_hit = bool(victims)
        for victim in victims[:1]:
            os.kill(victim, self.sent)

    def clear(self) -> None:
        """Take away all that lives made."""
        for path in self.folder.iterdir():
            if path.name not in INPUTS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.folder / "tmp").mkdir()
        (self.folder / "answers").mkdir()
        if self.name == "compensate":  # which works in the folder of a finished run
            shutil.copytree(self.folder / "finished", self.folder / "out")

    def describe(self) -> dict[str, Any]:
        """All that is there afterwards but for inputs and notes."""
        described = describe_folder(self.folder)
        return {name: described[name] for name in described if Path(name).parts[0] not in (*INPUTS, "answers", "log")}

    def list_answers(self) -> list[str]:
        """Every answer that was stored, by any life."""
        return [line for notes in (self.folder / "answers").iterdir() for line in notes.read_text().splitlines()]

    def list_measured(self) -> dict[str, bytes]:
        """The files of a study or a timing, which say how long each took: a file measured twice differs."""
        files = [*self.folder.glob("out/**/*.npz"), *self.folder.glob("out/timings/*.json")]
        return {str(path): path.read_bytes() for path in files if ".tapioca-" not in str(path)}

    def check_end(self, code: int) -> list[str]:
        """What is wrong with how a life ended that got the signal."""
        if self.kills_worker:
            return [f"ended with {code}: {self.log()}"] if code else []
        if self.sent == signal.SIGKILL:
            return [] if code == -self.sent else [f"ended with {code}: {self.log()}"]
        is_told = code == 128 + self.sent and self.log().count("stopped") == 1 and "Traceback" not in self.log()
        return [] if is_told else [f"ended with {code}, and said {self.log()}"]

    def log(self) -> str:
        return (self.folder / "log").read_text()


def is_running(process: int) -> bool:
    """Whether a child has not ended yet."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def try_kills(trial: Trial, n_kills: int, rng: random.Random) -> Tally:
    """Kill a command so many times, each at a random moment of an undisturbed run's length, and run it again."""
    trial.clear()
    code, seconds = trial.live()
    if code:
        sys.exit(f"{trial.name} does not run: {trial.log()}")
    expected, tally = trial.describe(), Tally(seconds)
    while tally.kills < n_kills:
        trial.clear()
        moment = rng.uniform(0, seconds)
        code, _ = trial.live(moment)
        if not trial.is_hit:  # it was done before
            continue
        tally.kills += 1
        problems = trial.check_end(code) + run_again(trial, expected, tally)
        tally.differences += [f"{trial.name} after {moment:.3f} s: {problem}" for problem in problems]
    return tally


def run_again(trial: Trial, expected: dict[str, Any], tally: Tally) -> list[str]:
    """Run a killed command again; returns what is not as after an undisturbed run, and what was done twice."""
    measured, answers = trial.list_measured(), trial.list_answers()
    tally.kept += len(answers) + len(measured)
    tally.moments[describe_moment(trial, bool(answers or measured))] += 1
    code, _ = trial.live()
    is_complete = "out is not empty" in trial.log()  # an export that was killed behind its last step is not begun again
    problems = [f"the rerun ended with {code}: {trial.log()}"] if code and not is_complete else []
    problems += list_differences(expected, trial.describe())
    problems += [f"{answer} stored twice" for answer, n in Counter(trial.list_answers()).items() if n > 1]
    again = trial.list_measured()
    return problems + [f"{path} measured twice" for path in measured if again.get(path) != measured[path]]


def describe_moment(trial: Trial, has_answers: bool) -> str:
    """How far a killed command had come."""
    out = trial.folder / "out"
    if has_answers or (out / "training.pt").exists():
        return "some work kept"
    hidden = [*trial.folder.glob(".tapioca-*"), *trial.folder.glob("tmp/.tapioca-*"), *out.glob(".tapioca-*")]
    return "temporary files" if hidden else "folder made" if out.exists() else "nothing yet"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(LINES))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM", "INT", "HUP"])
    options = parser.parse_args()
    import_all()
    n_different = 0
    print("| command | an undisturbed run | kills | found at the kill | answers and files kept | runs that differ |")
    print("|---|---|---|---|---|---|")
    for name in options.commands or LINES:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-"))
            make_inputs(Path(folder))
            trial = Trial(name, Path(folder), signal.Signals[f"SIG{options.signal}"])
            if "CLUSTER" in LINES[name]:
                trial.cluster = stack.enter_context(RayCluster(n_nodes=2))
            tally = try_kills(trial, options.kills, random.Random(options.seed))
        moments = ", ".join(f"{what} {n}" for what, n in tally.moments.most_common())
        different = len({problem.split(": ")[0] for problem in tally.differences})
        n_different += different
        print(
            f"| `{name}` | {tally.seconds:.1f} s | {tally.kills} | {moments} | {tally.kept} | {different} |",
            flush=True,
        )
        print("\n".join(tally.differences), end="\n" if tally.differences else "", file=sys.stderr)
    return int(n_different > 0)


if __name__ == "__main__":
    sys.exit(main())
