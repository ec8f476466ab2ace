"""What a user asks for: one record per recipe. The command line derives its flags from these fields."""

import json
import shlex
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ByteSize, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.records.portable import portable_name

NAMING_FIELDS = {"task", "reference", "test", "include_path", "plan", "data", "model"}
"""Settings that may be paths as text."""


class BaseConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()):
    """Base of requests: a wrong value is a UsageError of one line.

    Attributes:
        without: fields that are no options of the command.
    """

    without: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            flag = f"--{'.'.join(map(str, first['loc']))}: ".replace("_", "-") if first["loc"] else ""
            message = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"{flag}{message}, got {first['input']!r:.60}") from error

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The options of the command as they are listed: what is no part of the request stands last."""
        fields = {name: field for name, field in cls.model_fields.items() if name not in cls.without}
        return dict(sorted(fields.items(), key=lambda option: bool(option[1].exclude)))


class FolderConfig(BaseConfig):
    """What every command is asked that works in a folder."""

    take_over: bool = Field(
        default=False,
        exclude=True,  # no part of what is asked: neither of a manifest nor of a command line that makes a result again
        description="Take the folder from another process that was working in it, and that you know to be gone.",
    )


def write_plan(plan: Any) -> Any:
    """A plan in memory as its JSON, a path as text: how a request names it."""
    if isinstance(plan, Plan) and plan.maps:
        raise ValueError("a request names no matrices: write the plan into a file (plan.write) and give its path")
    return plan.to_json() if isinstance(plan, Plan) else str(plan) if isinstance(plan, Path) else plan


def write_command(config: BaseConfig, verb: str, arguments: Sequence[str]) -> str:
    """The command line that makes a request; what is named by a path out of the working folder, by its last part.

    Args:
        config: the request.
        verb: the command.
        arguments: the options that stand without a flag, in their order; they are names of models.
    """
    words = ["tapioca", verb, *(portable_name(name) for name in (getattr(config, one) for one in arguments) if name)]
    for name, field in type(config).model_fields.items():
        setting = getattr(config, name)
        if name in arguments or setting == field.default or field.exclude:
            continue
        flag = "--" + name.replace("_", "-")
        for argument in setting if isinstance(setting, tuple) else (setting,):
            is_path = name in NAMING_FIELDS or isinstance(argument, Path)
            text = portable_name(str(argument)) if is_path else str(argument)
            words += [flag] if argument is True else [flag, text]
    return shlex.join(words)


def parse_chat_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options of a chat template from name=value; a value that is JSON (false, 2, a list) is read as such.

    Raises:
        UsageError: one is not of that form.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if not (name and text):
            raise UsageError(f"--chat-option {pair} is not of the form name=value, for instance enable_thinking=false")
        try:
            options[name] = json.loads(text.lower() if text in ("True", "False") else text)
        except ValueError:
            options[name] = text
    return options


def _parse_bytes(text: str) -> int:
    """A size as people write it, in bytes."""
    return int(TypeAdapter(ByteSize).validate_python(text))


class DataConfig(FolderConfig):
    """What every recipe is asked that runs a model on data: which model, which data, and how they are read and split."""

    verb: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ("model",)
    """Options that stand in a command line without a flag, in this order (`Command.arguments`)."""

    model: str = Field(min_length=1, description="Model: a folder, or a hub id.")
    task: str = Field(
        min_length=1,
        description="OOD data, what the model is asked now: a data file (.jsonl, .json, .csv, .tsv, .parquet), a folder or "
        "pattern of them, a task .yaml, a ready task's name, hub:ID, harness:TASK, or lab:SHIFT=STRENGTH.",
    )
    reference: str | None = Field(default=None, description="ID data, of the same form: what the model is adapted to.")
    test: str | None = Field(default=None, description="OOD test data; by default half of the task is held out.")
    out: Path | None = Field(default=None, description="Run folder; by default runs/MODEL-TASK-HASH.")

    compat: Literal["tale"] | None = Field(
        default=None,
        description="Ask and mark the ready tasks as TALE's code does, with its known faults; for comparison.",
    )
    kind: Literal["choice", "label", "generate", "classify", "perplexity", "regression"] | None = Field(
        default=None, description="Kind of task; guessed from the fields when left out."
    )
    include_path: str | None = Field(default=None, description="Folder with lm-eval task YAMLs for harness:TASK.")
    field: tuple[str, ...] = Field(
        default=(),
        description="Rename a field of the file: --field answer=gold. Repeatable; several times for choices in several columns.",
    )
    template: str | None = Field(
        default=None, min_length=1, description="Jinja2 template of the prompt over the row's fields."
    )
    continuation: str | None = Field(default=None, description="Jinja2 template of an answer over {{ choice }}.")
    label: tuple[str, ...] = Field(default=(), description="Answer token of a label task, in order. Repeatable.")
    answers: Literal["choice", "label", "index", "letter"] | None = Field(
        default=None,
        description="How the right choice is given: its text, the label the row gives it, its index from 0, or its letter; found out over all rows by default.",
    )
    shuffle_choices: bool = Field(
        default=False,
        description="Give the choices of each row an order of its own, where a file has the right one first.",
    )
    normalize: Literal["none", "tokens", "characters", "bytes"] | None = Field(
        default=None, description="What a choice's log-likelihood is divided by; characters by default."
    )
    chat: bool = Field(default=False, description="Ask by the tokenizer's chat template.")
    system: str | None = Field(default=None, min_length=1, description="System prompt of the chat.")
    chat_option: tuple[str, ...] = Field(
        default=(),
        description="What the chat template reads beside the turns: --chat-option enable_thinking=false. Repeatable.",
    )
    chat_date: date | None = Field(
        default=None,
        description="What a chat template prints as today's date, for instance 2026-01-31; by default the day the run began.",
    )

    num_fewshot: int | None = Field(
        default=None,
        ge=0,
        description="Worked examples in every prompt, from the search half; never the row itself or a held-out one.",
    )

    skip_bad_rows: bool = Field(
        default=False, description="Leave out rows that cannot be used, and count them; refused by default."
    )
    too_long: Literal["refuse", "skip"] = Field(
        default="refuse", description="What becomes of rows longer than the model can read; those skipped are counted."
    )

    search_share: float = Field(
        default=0.5, gt=0, lt=1, description="Share of each data set used for the search; the rest is held out."
    )
    limit: int | None = Field(default=None, ge=8, description="Use at most so many examples of each data set.")
    batch_size: int = Field(
        default=16, ge=1, description="Examples in a batch; part of what is measured, so kept in the manifest."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the split, of what is drawn at random, and of the resampling."
    )

    device: str | None = Field(
        default=None,
        description="cpu, cuda:N, mps, or auto (over all GPUs, then memory, then disk); by default cuda where it is there, else cpu.",
    )
    dtype: str = Field(default="auto", description="Torch dtype; auto keeps the checkpoint's.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub model.")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the model.")
    trust_task_code: bool = Field(
        default=False, description="Run Python code that a task names: score_function, or !function of lm-eval tasks."
    )
    adapter: Path | None = Field(
        default=None, description="Folder with a LoRA adapter (peft), merged into the model's weights first."
    )

    def task_options(self) -> dict[str, Any]:
        """What the user said about the data files, under the names of `tasks.spec.TaskSpec`.

        Raises:
            UsageError: a --field is not of the form name=column.
        """
        bad = [pair for pair in self.field if not all(pair.partition("="))]
        if bad:
            raise UsageError(f"--field {bad[0]} is not of the form name=column, for instance answer=gold")
        fields: dict[str, tuple[str, ...]] = {}
        for name, _, column in (pair.partition("=") for pair in self.field):
            fields[name] = (*fields.get(name, ()), column)
        options = {
            "kind": self.kind,
            "include_path": self.include_path,
            "fields": {name: columns[0] if len(columns) == 1 else columns for name, columns in fields.items()},
            "template": self.template,
            "continuation": self.continuation,
            "labels": self.label,
            "answers": self.answers,
            "shuffle_choices": self.shuffle_choices or None,
            "normalize": self.normalize,
            "skip_bad_rows": self.skip_bad_rows or None,
            "too_long": None if self.too_long == "refuse" else self.too_long,
            "trust_task_code": self.trust_task_code or None,
            "num_fewshot": self.num_fewshot,
            "chat": self.chat or None,
            "system": self.system,
            "chat_template_kwargs": parse_chat_options(self.chat_option),
        }
        return {
            name: option for name, option in options.items() if option is not None and option != {} and option != ()
        }

    def command(self) -> str:
        """The command line that makes this request; what is named by a path out of the working folder, by its last part."""
        return write_command(self, self.verb, self.arguments)

    @classmethod
    def from_command(cls, command: str) -> Self:
        """The request of a command line that `command` wrote.

        Raises:
            UsageError: it is of another command, or of another version, whose options were others.
        """
        words = iter(shlex.split(command)[1:])
        if next(words, "") != cls.verb:
            raise UsageError(f"'{command:.60}' is no command line of tapioca {cls.verb}")
        settings: dict[str, Any] = {name: next(words, "") for name in cls.arguments}
        for word in words:
            name = word.removeprefix("--").replace("-", "_")
            if not (field := cls.model_fields.get(name)):
                raise UsageError(
                    f"'{command:.60}' has {word}, which tapioca {cls.verb} does not know; make the run again"
                )
            if field.annotation is bool:
                settings[name] = True
            elif isinstance(field.default, tuple):
                settings[name] = (*settings.get(name, ()), next(words))
            else:
                settings[name] = next(words)
        return cls(**settings)


class RunConfig(DataConfig):
    """What every run that chooses and judges plans is asked beside the model and the data.

    Attributes:
        without_reference: what is said where there are no ID data.
    """

    without_reference: ClassVar[str] = (
        "no --reference: what the plan does to ID data and to the geometry is not measured"
    )

    score: Literal["accuracy", "likelihood"] = Field(
        default="accuracy",
        description="What drives search and verdict where answers are right or wrong: accuracy, or the gold answer's likelihood.",
    )
    plan_batching: Literal["auto", "single", "stacked"] = Field(
        default="auto",
        description="Plans go through a layer one after the other, or stacked on the batch axis; auto stacks on GPUs and where weights are offloaded.",
    )
    state_memory: str | None = Field(
        default=None,
        description="Most memory for the hidden states of plans that run together, for instance 8GiB; changes no answer, but stacked ones by rounding.",
    )
    no_shared_context: bool = Field(default=False, description="Read rows whole, also where an example's begin alike.")
    ray: str | None = Field(
        default=None,
        min_length=1,
        exclude=True,
        description="Spread batches over workers of a Ray cluster: the HOST:PORT of its head, or local for processes of this machine; changes no answer.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        exclude=True,
        description="Workers of --ray, each with the model: by default one for each GPU, or for every 4 cores.",
    )

    @field_validator("workers")
    @classmethod
    def _belong_to_ray(cls, workers: int | None, fields: ValidationInfo) -> int | None:
        if workers and not fields.data.get("ray"):
            raise ValueError("they are those of --ray, add --ray local for processes of this machine")
        return workers

    @field_validator("state_memory")
    @classmethod
    def _is_a_size(cls, size: str | None) -> str | None:
        if size is not None and _parse_bytes(size) < 1:
            raise ValueError("a size is a number of bytes above 0 with or without a unit, for instance 8GiB")
        return size

    @property
    def state_memory_bytes(self) -> int | None:
        """`state_memory` as a number of bytes."""
        return None if self.state_memory is None else _parse_bytes(self.state_memory)

    @property
    def order_seed(self) -> int | None:
        """Seed of the order in which examples are run; None where the longest come first."""
        return None

    @property
    def n_random_plans(self) -> int:
        """How many random plans there are for each number of drops."""
        return 0

    def task_options(self) -> dict[str, Any]:
        """The same, with the score that decides."""
        return super().task_options() | ({} if self.score == "accuracy" else {"score": self.score})


class ChoosingConfig(RunConfig):
    """What runs are asked that choose few plans of many, so that random ones have to stand beside them."""

    random_plans: int = Field(default=20, ge=0, description="Random plans of equal size judged beside the chosen one.")
    random_examples: int = Field(
        default=256,
        ge=1,
        description="Held-out OOD examples, at most, on which random plans are judged; the chosen one stands beside them on the same.",
    )

    @property
    def n_random_plans(self) -> int:
        return self.random_plans
