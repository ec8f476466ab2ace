"""What the functions and methods of `tapioca` take by name: of a session, of each command, and of a task.

Made by `make docs` from the request classes, where every option is explained.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, Required, TypedDict

from pydantic import JsonValue

from tapioca.plan import Plan


class SessionOptions(TypedDict, total=False):
    """How a model and its data are read and split."""

    test: str | None
    compat: Literal["tale"] | None
    kind: Literal["choice", "label", "generate", "classify", "perplexity", "regression"] | None
    include_path: str | None
    field: Sequence[str]
    template: str | None
    continuation: str | None
    label: Sequence[str]
    answers: Literal["choice", "label", "index", "letter"] | None
    shuffle_choices: bool
    normalize: Literal["none", "tokens", "characters", "bytes"] | None
    chat: bool
    system: str | None
    chat_option: Sequence[str]
    chat_date: date | str | None
    num_fewshot: int | None
    skip_bad_rows: bool
    too_long: Literal["refuse", "skip"]
    search_share: float
    limit: int | None
    batch_size: int
    seed: int
    device: str | None
    dtype: str
    revision: str | None
    trust_remote_code: bool
    trust_task_code: bool
    adapter: str | Path | None
    score: Literal["accuracy", "likelihood"]


class TaskOptions(TypedDict, total=False):
    """How rows are asked and marked."""

    kind: Literal["choice", "label", "generate", "classify", "perplexity", "regression"] | None
    fields: dict[str, str | Sequence[str]]
    template: str | None
    continuation: str
    shuffle_choices: bool
    labels: Sequence[str]
    answers: Literal["choice", "label", "index", "letter"] | None
    normalize: Literal["none", "tokens", "characters", "bytes"]
    score: Literal["accuracy", "likelihood"]
    gold: str
    max_new_tokens: int
    stop: Sequence[str]
    match: Literal["text", "number", "math", "tale_letter", "tale_number"]
    extract: str | None
    take: Literal["first", "last"]
    ignore_case: bool
    score_function: str | None
    trust_task_code: bool
    chat: bool | Literal["text"]
    system: str | None
    chat_template_kwargs: dict[str, JsonValue]
    think_end_token: str | None
    num_fewshot: int
    fewshot_delimiter: str
    note: str | None
    skip_bad_rows: bool
    too_long: Literal["refuse", "skip"]
    window: int


class PruneOptions(TypedDict, total=False):
    """Of `tapioca prune` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    random_plans: int
    random_examples: int
    criterion: str
    epsilon: float | None
    max_drops: int | None
    ties: Literal["index", "likelihood"]
    race: bool
    shortlist: int | None
    compensate: Literal["scale", "linear"] | None
    target_params: float | None
    max_harm: float | None


class PruneCall(SessionOptions, PruneOptions, total=False):
    """All of `tapioca prune`."""


class CompareOptions(TypedDict, total=False):
    """Of `tapioca compare` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    random_plans: int
    random_examples: int
    criteria: str
    drops: str
    shortlist: int | None
    arms: bool


class CompareCall(SessionOptions, CompareOptions, total=False):
    """All of `tapioca compare`."""


class DiagnoseOptions(TypedDict, total=False):
    """Of `tapioca diagnose` besides those of a session."""

    take_over: bool
    out: str | Path | None
    classifier: str | Path | None


class DiagnoseCall(SessionOptions, DiagnoseOptions, total=False):
    """All of `tapioca diagnose`."""


class GeometryOptions(TypedDict, total=False):
    """Of `tapioca geometry` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan: str | Path | Plan | None
    branches: bool


class GeometryCall(SessionOptions, GeometryOptions, total=False):
    """All of `tapioca geometry`."""


class EnumerateOptions(TypedDict, total=False):
    """Of `tapioca enumerate` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    max_drops: int | None


class EnumerateCall(SessionOptions, EnumerateOptions, total=False):
    """All of `tapioca enumerate`."""


class ScaleOptions(TypedDict, total=False):
    """Of `tapioca scale` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    plan: Required[str | Path | Plan]
    scales: str | Sequence[float]
    random_sets: int


class ScaleCall(SessionOptions, ScaleOptions, total=False):
    """All of `tapioca scale`."""


class RescaleOptions(TypedDict, total=False):
    """Of `tapioca rescale` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    tokens: Literal["last", "all", "both"]


class RescaleCall(SessionOptions, RescaleOptions, total=False):
    """All of `tapioca rescale`."""


class VersusOptions(TypedDict, total=False):
    """Of `tapioca versus` besides those of a session."""

    take_over: bool
    out: str | Path | None
    plan_batching: Literal["auto", "single", "stacked"]
    state_memory: str | None
    no_shared_context: bool
    ray: str | None
    workers: int | None
    run: str | Path | None
    other_revision: str | None
    other_adapter: str | Path | None


class VersusCall(SessionOptions, VersusOptions, total=False):
    """All of `tapioca versus`."""


class HealOptions(TypedDict, total=False):
    """Of `tapioca heal` besides those of a session."""

    take_over: bool
    run: Required[str | Path]
    out: str | Path | None
    plan: str | Path | Plan | None
    by: Literal["labels", "teacher", "answers"]
    full: bool
    data: str | None
    steps: int
    batch: int
    learning_rate: float | None
    rank: int
    orders: bool
    seeds: int


class HealCall(HealOptions, total=False):
    """All of `tapioca heal`."""

    seed: int


class BenchOptions(TypedDict, total=False):
    """Of `tapioca bench` besides those of a session."""

    take_over: bool
    plan: str | Path | Plan | None
    out: str | Path | None
    grid: str | None
    new_tokens: int
    protocol: Literal["tale"] | None
    precision: float
    max_rounds: int


class BenchCall(BenchOptions, total=False):
    """All of `tapioca bench`."""

    device: str | None
    dtype: str
    revision: str | None
    trust_remote_code: bool
    adapter: str | Path | None
