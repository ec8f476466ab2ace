"""The page docs/results.md: every key of every JSON file that the program writes.

Records describe themselves (`records.py`). Files that are no record have a table here, which tests/test_results_docs.py
holds against real files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pkgutil import resolve_name
from typing import NamedTuple

from records import Record, describe_record, describe_type, escape, find_meaning, list_fields, list_nested, summarize

from tapioca.commands import COMMANDS, load_config_class
from tapioca.commands.bench.result import SizeTiming
from tapioca.diagnosis.records import ShiftClassifier
from tapioca.lab.config import TextConfig, TrainConfig, TuneConfig
from tapioca.plan import Plan
from tapioca.records import DataConfig, ExampleResult
from tapioca.runs.rows import RUN_ROWS, SEEN_ROWS, RunRows, SeenRows
from tapioca.session.folder import NOT_IN_MANIFEST


class File(NamedTuple):
    """A file that the program writes: by which commands, and what it holds, a record or the rows of a table; and what stands in
    the file alone, not where the record is part of another one."""

    name: str
    writer: str
    content: Record | str
    about: str = ""
    last_row: str = ""


TRAINING_REQUESTS: dict[str, Record] = {"train": TrainConfig, "tune": TuneConfig, "train-text": TextConfig}

PAGE = """# Result files

Made by `make docs` from the records of the code: every key of every JSON file that a command leaves. A name in the column
*type* leads to the keys of that object. Scores are higher-is-better, so errors are negative; layers are numbered from 0;
shares lie between 0 and 1; intervals are of 95 %. No number is NaN or infinite: what does not exist is `null`.

| file | written by | what |
|---|---|---|
{files}

A checkpoint that `tapioca export` or the lab writes has the files of transformers, which are documented there.

{sections}
"""

FINGERPRINT = "| `fingerprint` | string | Of all the above: a file with another one is damaged, and refused |"
DIGEST = (
    "| `digest` | string | In a file of its own: names the plan, so that a damaged file is refused; may be left out |"
)

RESULT = """\
| `plan` | [Plan](#planjson) | The best plan of the search; it may be the full model |
| `criterion` | string | Name of what chose the plans |
| `verdict` | [Verdict](#verdict) | What to do, and why |
| `cost` | [Cost](#cost) | What the run cost, and what its plan saves |
| `ood`, `id` | object | How the plan did on the test split; `id` only with reference data. DATA is one of the two: |
| `DATA.metric` | string | What a score is, for instance accuracy or squared error |
| `DATA.n` | integer | Test examples |
| `DATA.full`, `DATA.planned` | number | Mean accuracy or error, as people read it |
| `DATA.gain` | number | planned - full for accuracies, 1 - planned/full for errors; above 0 is better |
| `DATA.ci95` | list of 2 numbers | Interval of `gain`; [0, 0] where the plan is the full model |
| `DATA.p` | number or `null` | p-value of `gain`; `null` where the plan is the full model, so that nothing was tested |
| `DATA.written` | [Written](#written) | How the texts ended; only where the model writes |"""

MANIFEST = """\
| `model_type` | string | transformers' name of the kind of model |
| `model` | string | Names the model by configuration, weights and dtype |
| `dtype` | string | Torch dtype of the weights |
| `device` | string | Kind of device that reads the inputs: `cpu`, `cuda`, `mps` |
| `attention` | string | transformers' name of the way attention is computed |
| `settings` | object | Options that could change an answer or a choice: |
{settings}
| `settings.new_tokens`, `settings.precision`, `settings.max_rounds` | integer; number; integer | Only of `tapioca bench`: its options |
| `versions` | object | Versions of the packages: |
| `versions.tapioca`, `versions.torch`, `versions.transformers` | string | As installed when the run was made |
| `data` | object | Digests of the data sets (token ids, answers, groups): |
| `data.ROLE` | string | Of one; ROLE is `ood`, `id` or `test` |
| `skipped` | object | Rows that were left out; only where some were |
| `skipped.ROLE` | object: string → integer | How many, by reason |
| `num_fewshot` | object | Worked examples; only where there are |
| `num_fewshot.ROLE` | list of integers | The numbers of them in a prompt |
| `shared_contexts` | boolean | True where what the rows of an example begin with is read once; only where examples have several rows, and without `--no-shared-context` |
| `chat_date` | string | The day that the chat template prints as today's; only where it does |
| `plan` | [Plan](#planjson) | Only of `tapioca geometry`: the plan, or the full model where none was given; and of `tapioca bench`, `null` without one |
| `other` | [manifest.json](#manifestjson) | Only of `tapioca versus`, whose manifest is that of A: the same of B |
| `second` | string or `null` | Only of `tapioca bench`: names the second model; `null` without one |
| `machine` | [MachineRecord](#machinerecord) | Only of `tapioca bench`: what computed |
| `classifier` | string | Only of `tapioca diagnose`: names the classifier by what it holds |
| `fingerprint` | string | Names all of the above; a file with another one is damaged, and refused |"""

SIMILARITY = """\
| `data` | string | Digest of the search data it was measured on |
| `influence` | list of numbers | Block influence of each layer, mean over prompt tokens |
| `magnitude` | list of numbers | Relative magnitude of what each layer adds, mean over prompt tokens |
| `angles` | list of lists of numbers | Mean angular distance between the states before two layers, at the last prompt \
token; the last row and column are of the state after the last layer |
| `seconds` | number | Time it took |
| `fingerprint` | string | Of all the above: a file with another one is damaged, and refused |"""

TRAINING = """\
| `config` | object | The request: |
{config}
| `config.model_hash` | string | Names the model that was tuned by configuration, weights and dtype (tune) |
| `config.data` | string | Digest of the task (train-text) |
| `threads` | integer | CPU threads of torch |
| `final_loss` | number | Mean loss of the last 500 steps |
| `loss_every_100` | list of numbers | Mean loss of each 100 steps |
| `held_out` | object | How the rows that were never trained on went (train-text): |
| `held_out.rows` | integer | How many there are |
| `held_out.prompt_loss`, `held_out.answer_loss` | number or `null` | Loss per token of prompts and answers, in nats; \
`null` without rows |
| `held_out.answers_right` | number or `null` | Share of the answers that the model would write, EOS included; `null` \
without rows |"""


def list_files() -> tuple[File, ...]:
    """Every JSON file that a command leaves."""
    leaving = {name: command for name, command in COMMANDS.items() if command.file}
    records = [
        File(row.file, f"`tapioca {name}`", resolve_name(row.result), last_row=FINGERPRINT)
        for name, row in leaving.items()
    ]
    requests = {name: load_config_class(row) for name, row in leaving.items()}
    data_requests = {name: request for name, request in requests.items() if issubclass(request, DataConfig)}
    settings = describe_settings("settings", data_requests, NOT_IN_MANIFEST)
    config = describe_settings("config", TRAINING_REQUESTS, {"out"})
    return (
        *records,
        File("result.json", "`tapioca prune`", RESULT, "What the screen of a run says, for scripts"),
        File("plan.json", "`tapioca prune`, `tapioca geometry`", Plan, last_row=DIGEST),
        File(
            "examples.jsonl",
            "`tapioca prune`, `tapioca versus`",
            ExampleResult,
            "One held-out example a line; keys that do not apply to a task are left out. Of `tapioca versus`, `full` is A and `plan` is B",
        ),
        File(RUN_ROWS, "`tapioca prune`", RunRows, last_row=FINGERPRINT),
        File(SEEN_ROWS, "`tapioca export`, beside the weights", SeenRows, last_row=FINGERPRINT),
        File(
            "SIZE.json",
            "`tapioca bench`",
            SizeTiming,
            "What was timed at one size, in the folder timings; SIZE is BATCHxLENGTH, behind tale- of that protocol",
            last_row=FINGERPRINT,
        ),
        File("classifier.json", "`studies/diagnosis.py`", ShiftClassifier),
        File(
            "manifest.json",
            "every command with a run folder",
            MANIFEST.format(settings=settings),
            "Everything that could change an answer or a choice",
        ),
        File(
            "similarity.json",
            "`tapioca prune` and `compare`, where a criterion asks for it",
            SIMILARITY,
            "How alike the states around each layer are",
        ),
        File(
            "training.json",
            "`tapioca lab train`, `tune` and `train-text`, `tapioca study` where it tunes",
            TRAINING.format(config=config),
            "How a model of the lab was made",
        ),
    )


def build_page(files: Iterable[File] | None = None) -> str:
    """The page: a section for each file, then one for each record that stands in them.

    Raises:
        ValueError: a key has no meaning, or two records have the same name.
    """
    files = tuple(files or list_files())
    homes = {file.content: f"#{file.name.lower().replace('.', '')}" for file in files if isinstance(file.content, type)}
    for record in list_nested(homes):
        homes.setdefault(record, f"#{record.__name__.lower()}")
    if len(set(homes.values())) < len(homes):
        raise ValueError(f"two records have the same name: {', '.join(sorted(homes.values()))}")
    summaries, sections = [], []
    for file in files:
        if isinstance(file.content, str):
            about, rows = file.about, file.content
        else:
            about, rows = file.about or summarize(file.content), describe_record(file.content, homes)
        summaries.append(f"| [`{file.name}`](#{file.name.lower().replace('.', '')}) | {file.writer} | {about} |")
        rows = "\n".join(filter(None, [rows, file.last_row]))
        sections.append(format_section(file.name, f"{about}. Written by {file.writer}.", rows))
    for record in list(homes)[sum(isinstance(file.content, type) for file in files) :]:
        sections.append(format_section(record.__name__, f"{summarize(record)}.", describe_record(record, homes)))
    return PAGE.format(files="\n".join(summaries), sections="\n\n".join(sections))


def format_section(title: str, about: str, rows: str) -> str:
    """One section with its table."""
    return f"## {title}\n\n{about}\n\n| key | type | meaning |\n|---|---|---|\n{rows}"


def describe_settings(prefix: str, requests: Mapping[str, Record], left_out: Collection[str]) -> str:
    """The rows of options that a file repeats, with the commands that have them where not all do."""
    commands_by_row: dict[tuple[str, str, str], list[str]] = {}
    for command, request in requests.items():
        for name, field in list_fields(request).items():
            if name not in left_out:
                row = name, describe_type(field.annotation, {}), escape(find_meaning(request, name))
                commands_by_row.setdefault(row, []).append(command)
    rows = []
    for (name, kind, meaning), commands in commands_by_row.items():
        suffix = f" ({', '.join(commands)})" if len(commands) < len(requests) else ""
        rows.append(f"| `{prefix}.{name}` | {kind} | {meaning}{suffix} |")
    return "\n".join(rows)
