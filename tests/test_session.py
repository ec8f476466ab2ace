"""A session loads and splits once, and its methods do what the commands do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.commands import COMMANDS, load_config_class
from tapioca.commands import options as taken
from tapioca.errors import UsageError
from tapioca.models.tiny import tiny
from tapioca.records import DataConfig
from tapioca.session import context

README = Path(__file__).parents[1] / "README.md"
DATA = {"task": "lab:context_noise=0.2,n=60", "reference": "lab:id,n=60"}


def test_commands_of_a_session_are_those_of_the_shell_on_one_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loadings: list[Any] = []
    load = context.load_configured_model
    monkeypatch.setattr(context, "load_configured_model", lambda config: loadings.append(config) or load(config))
    session = tapioca.Session("learner", **DATA, batch_size=30, seed=3, progress=False)
    mine = session.prune(out=tmp_path / "a", max_drops=1, random_plans=0)
    geometry = session.geometry(out=tmp_path / "c", plan=mine.shown)
    assert len(loadings) == 1
    theirs = tapioca.prune(
        "learner", **DATA, batch_size=30, seed=3, out=tmp_path / "b", max_drops=1, random_plans=0, progress=False
    )
    assert (mine.plan, mine.judgements, mine.deviations) == (theirs.plan, theirs.judgements, theirs.deviations)
    assert geometry.plan == mine.shown
    again = session.prune(out=tmp_path / "b", max_drops=1, random_plans=0)  # the same run, so it goes on in its folder
    assert again.judgements == theirs.judgements


@pytest.mark.slow
def test_the_session_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = re.findall(r"```py\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name, first in (("drifted", 0), ("clean", 48)):
        write_lines(tmp_path / f"{name}.jsonl", choice_rows(48, first))
    code = code.replace("reference=", 'score="likelihood", progress=False, reference=').replace(
        "prune()", "prune(max_drops=1)"
    )
    names: dict[str, Any] = {"tapioca": tapioca, "model": tiny("llama"), "tokenizer": word_tokenizer()}
    exec(code.replace("run.plan", "run.shown"), names)
    assert {path.name for path in (tmp_path / "runs").glob("*/*.json")} >= {"run.json", "diagnose.json", "scale.json"}


def test_what_is_said_when_a_session_is_made_is_not_said_again(tmp_path: Path) -> None:
    model = tiny("llama")
    session = tapioca.Session(model, word_tokenizer(), task=choice_rows(40), score="likelihood", progress=False)
    with pytest.raises(UsageError, match=r"^seed is said when the session is made, not to prune$"):
        session.run("prune", seed=1)
    with pytest.raises(UsageError, match=r"^unknown option colour; expected one of model, task, "):
        session.run("compare", colour="red")
    with pytest.raises(UsageError, match="dry_run prints and returns nothing; use `tapioca prune"):
        session.run("prune", dry_run=True)
    with pytest.raises(UsageError, match="--reference"):
        session.diagnose(out=tmp_path)


@pytest.mark.parametrize("name", [name for name, row in COMMANDS.items() if hasattr(tapioca.Session, name)])
def test_every_option_of_a_command_is_typed(name: str) -> None:
    config = load_config_class(COMMANDS[name])
    fields = config.model_fields.keys() - {"model", "other", "task", "reference", "dry_run"}
    method, call = (getattr(taken, f"{name.title()}{kind}") for kind in ("Options", "Call"))
    assert fields <= get_type_hints(call).keys()
    shared = get_type_hints(taken.SessionOptions).keys()
    if not issubclass(config, DataConfig):  # of a session's options those of the model alone
        shared &= fields
    assert get_type_hints(method).keys() | shared == get_type_hints(call).keys()
    assert not get_type_hints(method).keys() & get_type_hints(taken.SessionOptions).keys()
