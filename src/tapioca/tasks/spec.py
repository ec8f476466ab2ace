"""What a user says about a data file: in a YAML beside it, or by flags."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError, model_validator

from tapioca.errors import DataError, did_you_mean
from tapioca.reading import explain_damage, read_yaml
from tapioca.tasks.gold import AnswerForm
from tapioca.tasks.marking import Marking, Match

HUB = "hub:"
"""How the names of hub data sets begin."""

COMPRESSED = (".gz", ".bz2", ".xz")
"""What may follow the end of a data file's name."""

THINK_END = "</think>"
"""What ends a thought in the texts of most models that think."""

Kind = Literal["choice", "label", "generate", "classify", "perplexity", "regression"]


class TaskSpec(BaseModel, frozen=True, extra="forbid"):
    """How to read a file as a task; every field may also stand in a YAML beside the data."""

    data: str | None = Field(default=None, description="Data file, relative to the YAML; or hub:ID.")
    kind: Kind | None = None
    fields: dict[str, str | tuple[str, ...]] = Field(
        default={},
        description="Expected name -> name in the file, or {{ an expression over its fields }}; a list of them where each choice has a column.",
    )
    template: str | None = None
    continuation: str = " {{ choice }}"
    shuffle_choices: bool = Field(
        default=False, description="Give the choices of each row an order of its own, by a hash of the row."
    )
    labels: tuple[str, ...] = Field(default=(), description="Answers to choose from, where they are few.")
    answers: AnswerForm | None = Field(
        default=None, description="How the right choice is given: choice (its text), label, index (from 0) or letter."
    )
    normalize: Literal["none", "tokens", "characters", "bytes"] = "characters"
    score: Literal["accuracy", "likelihood"] = "accuracy"
    gold: str = Field(default="{{ answer }}", description="Template of the answer a model should write.")
    max_new_tokens: int = Field(default=256, ge=1, description="Most tokens a model writes as an answer.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end a written answer.")
    match: Match = Field(default="text", description="What makes a written answer equal to the gold one.")
    extract: str | None = Field(default=None, description="Regular expression that finds the answer in a text.")
    take: Literal["first", "last"] = Field(default="last", description="Which match, or which number, is the answer.")
    ignore_case: bool = False
    score_function: str | None = Field(
        default=None, description="module:function that scores a written text by its row; needs --trust-task-code."
    )
    trust_task_code: bool = False
    chat: bool | Literal["text"] = Field(
        default=False,
        description="Ask by the tokenizer's chat template; text: encode what it prints, with a second BOS.",
    )
    system: str | None = Field(default=None, description="System prompt of the chat.")
    chat_template_kwargs: dict[str, JsonValue] = Field(
        default={}, description="What the chat template reads beside the turns, for instance enable_thinking: false."
    )
    think_end_token: str | None = Field(
        default=THINK_END, min_length=1, description="What ends a thought in a written text; the answer follows it."
    )
    num_fewshot: int = Field(default=0, ge=0, description="Worked examples in every prompt, from the search half.")
    fewshot_delimiter: str = Field(default="\n\n", min_length=1, description="What stands behind each of them.")
    note: str | None = Field(default=None, description="Said aloud in every run on this task.")
    skip_bad_rows: bool = Field(default=False, description="Leave out rows that cannot be used, and count them.")
    too_long: Literal["refuse", "skip"] = Field(
        default="refuse", description="What becomes of rows longer than the model can read; those skipped are counted."
    )
    window: int = Field(default=512, ge=2, description="Most tokens read at once in running text.")

    @property
    def answer_field(self) -> str:
        """What the right answer of a row is called."""
        return "label" if self.kind == "classify" else "answer"

    @property
    def marking(self) -> Marking:
        """How a written answer is found and compared."""
        return Marking(self.match, self.extract, self.take, self.ignore_case, self.labels)

    @model_validator(mode="after")
    def _check(self) -> TaskSpec:
        if self.system is not None and not self.chat:
            raise ValueError("a system prompt needs chat: true, or --chat")
        if self.chat_template_kwargs and not self.chat:
            raise ValueError("options of the chat template need chat: true, or --chat")
        several = [name for name, column in self.fields.items() if not isinstance(column, str) and name != "choices"]
        if several:
            raise ValueError(f"field {several[0]} is given several columns; only choices can have several")
        if self.match == "tale_letter" and not self.labels:
            raise ValueError("match: tale_letter needs labels, in capitals")
        if self.score_function and (self.match != "text" or self.extract or self.ignore_case):
            raise ValueError("a score_function is given the whole text; leave out match, extract and ignore_case")
        if not all(self.stop):
            raise ValueError("a stop string is empty")
        try:
            re.compile(self.extract or "")
        except re.error as error:
            raise ValueError(f"extract {self.extract!r} is no regular expression ({error})") from error
        return self


def read_spec(path: Path, task_options: dict[str, Any]) -> tuple[Path, TaskSpec]:
    """The data file, and everything said about it: in a YAML, and in `task_options`, which wins.

    Raises:
        DataError: the YAML cannot be read or says something unknown.
    """
    if str(path).startswith(HUB):
        return path, make_spec(task_options, str(path))
    if not path.name:
        raise DataError(f"'{path}' is no data file; expected a file, a folder of files, hub:ID, or a task .yaml")
    yaml_path = path if path.suffix in (".yaml", ".yml") else _find_description(path)
    settings: dict[str, Any] = {}
    if yaml_path == path or os.path.isfile(yaml_path):
        with explain_damage(yaml_path, DataError):
            settings = read_yaml(yaml_path)
        if not isinstance(settings, dict):
            raise DataError(f"{yaml_path}: expected names and values such as 'data: file.jsonl'")
        if "trust_task_code" in settings:
            raise DataError(
                f"{yaml_path}: a file cannot trust its own code; leave out trust_task_code, say --trust-task-code"
            )
    spec = make_spec({**settings, **task_options}, str(yaml_path if settings else path))
    if yaml_path == path:
        if not spec.data:
            raise DataError(f"{path}: names no data; add a line 'data: file.jsonl'")
        path = Path(spec.data) if spec.data.startswith(HUB) else path.parent / spec.data
    return path, spec


def _find_description(path: Path) -> Path:
    """The YAML that would describe a data file or a folder: beside it, of the same name."""
    if os.path.isdir(path):
        return path.with_name(f"{path.name}.yaml")
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).with_suffix(".yaml")


def make_spec(settings: dict[str, Any], where: str) -> TaskSpec:
    """What was said about a task, checked.

    Raises:
        DataError: something unknown was said, or something that cannot be; begins with `where`.
    """
    try:
        return TaskSpec(**settings)
    except (ValidationError, TypeError) as error:
        reason = " ".join(_reason(error).split())  # a name in the YAML may hold a line break
        raise DataError(f"{where}: {reason}") from error


def parse_options(name: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """The name and the options of "source:NAME,option=value,..."; options not given are empty.

    Raises:
        DataError: an option is unknown, or has no value.
    """
    source_name, *pairs = name.partition(":")[2].split(",")
    options = dict.fromkeys(known, "")
    for pair in pairs:
        option, _, option_value = pair.partition("=")
        if option not in options or not option_value:
            raise DataError(f"{name}: '{pair}' is no option=value; {did_you_mean(option, known)}")
        options[option] = option_value
    return source_name, options


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first_error = error.errors()[0]
        where = "".join(f"{part}: " for part in [".".join(map(str, first_error["loc"]))] if part)
        return f"{where}{first_error['msg'].removeprefix('Value error, ').lower()}"
    return str(error)
