"""Read tasks of lm-evaluation-harness: its documents, prompts, few-shot samples and data splits. Needs `[harness]`."""

import logging
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tapioca.errors import DataError, did_you_mean
from tapioca.hub import hide_progress_bars
from tapioca.records import Example, Metric, Request
from tapioca.tasks.base import Task, check_unique, digest_rows
from tapioca.tasks.choice import GOLD_LOSS
from tapioca.tasks.generate import ANSWER_LOSS
from tapioca.tasks.limit import name_row
from tapioca.tasks.lm_eval.chat import SYSTEM, YES, chat_arguments
from tapioca.tasks.lm_eval.errors import CostlyDocument, explain_failure, missing_split
from tapioca.tasks.lm_eval.guard import bound_templates, refuse_written_code, watch_code
from tapioca.tasks.lm_eval.shots import (
    HarnessShots,
    build_requests,
    list_fixed_questions,
    list_shot_splits,
    make_example_id,
    question_from_doc,
)
from tapioca.tasks.lm_eval.task import LmEvalTask, LmEvalTextTask
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import THINK_END, parse_options
from tapioca.tasks.text import Encoder

MAX_NEW_TOKENS = 256
"""Tokens lm-eval lets a model write where the task does not say."""

ROLLING = {
    "word_perplexity": Metric(name="loss per word (nats)", kind="error"),
    "byte_perplexity": Metric(name="loss per byte (nats)", kind="error"),
    "bits_per_byte": Metric(name="loss per byte (nats)", kind="error"),
}
"""What stands for lm-eval's corpus metrics of running text: the mean that they are functions of."""


def load_lm_eval(name: str, encoder: Encoder | None, task_options: dict[str, Any]) -> Task:
    """Read documents of an lm-eval task, or of all tasks of a group.

    Args:
        name: "harness:TASK", with options behind commas: `split` (the data split to read; by default the validation
            split, else the training split, never the test split), `shots`, `metric`, `filter`, `think_end_token`,
            `chat`, and last, since it may hold commas, `system` (the system prompt of the chat).
        encoder: the model's text encoder.
        task_options: `include_path` (a folder with task YAMLs), `score` ("likelihood": the gold answer's), and `chat`, `system`,
            `chat_template_kwargs`, `num_fewshot` and `trust_task_code`, as for files.

    Raises:
        DataError: lm-eval is not installed, has no such task, or cannot load its data; the request does not fit it; or the
            task has code of its own that is not trusted.
    """
    if encoder is None:
        raise DataError(f"{name} is text, but the model has no tokenizer; expected a language model")
    options, chat = _read_options(name, encoder, task_options)
    trusted = bool(task_options.get("trust_task_code"))
    with watch_code(trusted) as functions:
        tasks = _tasks(options["task"], task_options.get("include_path"), name)
    refuse_written_code(tasks, trusted)
    likelihood = task_options.get("score") == "likelihood"
    measure, metric = _metric(tasks[0], options["metric"], likelihood)
    splits = {task: _divert_splits(task, options["split"], name) for task in tasks}
    notes = [f"{options['task']}: lm-eval's {tasks[0].config.test_split} split, metric {measure}"]
    if functions:
        notes.append(f"{options['task']}: Python code of the task runs: {', '.join(dict.fromkeys(functions))}")
    if not chat and tasks[0].OUTPUT_TYPE != "loglikelihood_rolling":
        notes += encoder.note_unused_template(options["task"])
    shots = HarnessShots(
        counts={task: _count(task, options["shots"], name) for task in tasks},
        splits=splits,
        lm_eval_samplers={task: task.sampler for task in tasks},
        chat=chat,
        example=partial(_example, measure=measure, encoder=encoder),
        notes=tuple(notes),
    )
    writes = tasks[0].OUTPUT_TYPE == "generate_until"
    task = (LmEvalTextTask if writes else LmEvalTask)(
        name=name,
        metric=metric,
        measure="" if likelihood else measure,
        pipeline=_pick(tasks[0], "filter", options["filter"], [ensemble.name for ensemble in tasks[0]._filters]),
        **_read_documents(name, shots),
        **(_read_generation_options(tasks[0], options["think_end_token"], encoder) if writes else {}),
    )
    return task.shots.show_shots(task) if isinstance(task.shots, HarnessShots) else task


def _read_options(name: str, encoder: Encoder, task_options: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The options in a task's name with `task`, its name alone, and what lm-eval is told about chat."""
    bare_name, _, system = name.partition(SYSTEM)
    task_name, options = parse_options(bare_name, ("split", "shots", "metric", "filter", "think_end_token", "chat"))
    chat = options["chat"] or (YES[0] if task_options.get("chat") else "")
    template_options = task_options.get("chat_template_kwargs", {})
    chat_options = chat_arguments(chat, system or task_options.get("system"), template_options, encoder, name)
    shots = options["shots"] or str(task_options.get("num_fewshot", ""))
    return {**options, "task": task_name, "shots": shots}, chat_options


def _read_documents(name: str, shots: HarnessShots) -> dict[str, Any]:
    """The examples of a task without worked ones, and all that belongs to them; a document that the task itself gives as
    a worked example is not asked."""
    examples: list[Example] = []
    requests: dict[str, list[Any]] = {}
    task_by_id: dict[str, Any] = {}
    n_shown = 0
    for task, count in shots.counts.items():
        fixed = list_fixed_questions(task) if count and not shots.splits[task] else set()
        for doc_number, doc_requests in build_requests(task, 0, shots.chat).items():
            if fixed and question_from_doc(task, doc_requests[0].doc) in fixed:
                n_shown += 1
                continue
            doc_id = make_example_id(task, doc_number)
            examples.append(shots.example(task, doc_id, doc_requests))
            requests[doc_id], task_by_id[doc_id] = doc_requests, task
    check_unique(name, examples)
    if n_shown:
        note = f"{name}: {n_shown} documents are not asked, since the task gives their answers in its prompts"
        shots = replace(shots, notes=(*shots.notes, note))
    return {
        "examples": tuple(examples),
        "requests": requests,
        "tasks": task_by_id,
        "notes": shots.notes,
        "shots": shots if any(shots.counts.values()) else None,
    }


def _count(task: Any, requested_shots: str, name: str) -> int:
    """How many worked examples a prompt shows: as asked, which must be a number, else as the task says."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return 0
    if requested_shots and not requested_shots.isdecimal():
        raise DataError(f"{name}: shots={requested_shots} is no number of worked examples; expected 0, 1, 2, ...")
    return int(requested_shots or task.config.num_fewshot or 0)


def _read_generation_options(task: Any, think_end_token: str, encoder: Encoder) -> dict[str, Any]:
    """The fields of `Writing`: how answers end, as lm-eval's Hugging Face model takes it from the task; refused where
    they are sampled."""
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    generation_options = normalize_gen_kwargs(task.config.generation_kwargs, MAX_NEW_TOKENS)
    if generation_options.get("do_sample"):
        raise DataError(
            f"{task.task_name}: the task samples its answers; set do_sample: false in its generation_kwargs"
        )
    eos = encoder.tokenizer.decode(encoder.tokenizer.eos_token_id)
    return {
        "tokenizer": encoder.tokenizer,
        "stop": tuple(filter(None, handle_stop_sequences(generation_options["until"], eos=eos))),
        "token_limit": int(generation_options["max_gen_toks"]),
        "think_end_token": think_end_token or THINK_END,
    }


def _tasks(name: str, include_path: str | None, request: str) -> list[Any]:
    """The lm-eval tasks of a name: one, or the members of a group, which must be of one kind."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = _manager(include_path, defaults=not include_path)
    if name not in manager.all_tasks and include_path:
        manager = _manager(include_path, defaults=True)
    if name not in manager.all_tasks:
        raise DataError(f"lm-eval has no task '{name}'; {did_you_mean(name, manager.all_tasks)}")
    try:
        with hide_progress_bars():
            tasks = list(manager.load(name)["tasks"].values())
    except CostlyDocument as error:
        raise DataError(f"{name}, its first document: {error}") from error
    except DataError:
        raise
    except Exception as error:  # data sets are loaded by code of lm-eval and of the datasets library
        raise DataError(explain_failure(error, name)) from error
    kinds = {task.OUTPUT_TYPE for task in tasks}
    if len(kinds) > 1:
        raise DataError(
            f"{request}: the tasks of this group are of several kinds ({', '.join(sorted(kinds))}); name one"
        )
    return tasks


@lru_cache(maxsize=4)
def _manager(include_path: str | None, defaults: bool) -> Any:
    """lm-eval's index of tasks; with its own thousands it takes seconds."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise DataError("harness: tasks need lm-eval; install it with pip install 'tapioca-prune[harness]'") from error
    bound_templates()
    return TaskManager(include_path=include_path, include_defaults=defaults)


def _divert_splits(task: Any, requested_split: str, name: str) -> tuple[str, ...]:
    """Let lm-eval ask the data split to be read; where worked examples come from then, as `list_shot_splits` has it."""
    config = task.config
    if requested_split:
        roles = {"train": config.training_split, "validation": config.validation_split, "test": config.test_split}
        split = roles.get(requested_split) or requested_split
    else:
        split = config.validation_split or config.training_split
    if not split:
        raise DataError(
            f"{name}: this task has only a test split, which a search would spoil for judging; "
            f"say {name},split=test to divide it into a search and a test part"
        )
    if split not in task.dataset:
        raise DataError(missing_split(name, split, task.dataset))
    shot_splits = list_shot_splits(task, str(split))
    config.test_split = str(split)  # what lm-eval evaluates on
    return shot_splits


def _metric(task: Any, requested_metric: str, likelihood: bool) -> tuple[str, Metric]:
    """The lm-eval metric that is the score, and what it means here."""
    measure = _pick(task, "metric", requested_metric, list(task._metric_fn_list))
    if measure in ROLLING:
        return measure, ROLLING[measure]
    if likelihood:
        return measure, ANSWER_LOSS if task.OUTPUT_TYPE == "generate_until" else GOLD_LOSS
    if not task.higher_is_better().get(measure, True):
        raise DataError(f"metric '{measure}' falls as answers get better; use --score likelihood or another metric")
    return measure, Metric(name={"acc": "accuracy"}.get(measure, measure), kind="accuracy")


def _pick(task: Any, what: str, requested: str, names: list[str]) -> str:
    """A metric or a filter of an lm-eval task by its name: the one asked for, else the first."""
    if requested and requested not in names:
        raise DataError(f"task '{task.task_name}' has no {what} '{requested}'; {did_you_mean(requested, names)}")
    return requested or names[0]


def _example(task: Any, id: str, requests: list[Any], measure: str, encoder: Encoder) -> Example:
    """One document as an example."""
    text = requests[0].args[0]
    gold, chance, weight, choices = None, None, 1.0, list[str]()
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        rows = _windows(text, encoder, id)
        counts_words = measure == "word_perplexity"
        weight = task.count_words(text) if counts_words else task.count_bytes(text)
        prompt = rows[-1].inputs
    else:
        is_generation = task.OUTPUT_TYPE == "generate_until"
        answers = [_gold_text(task, requests[0].doc)] if is_generation else [request.args[1] for request in requests]
        pairs = [
            encoder.encode_pair(doc_request.args[0], answer, id)
            for doc_request, answer in zip(requests, answers, strict=True)
        ]
        lengths, choices = [1.0] * len(pairs), answers
        if task.OUTPUT_TYPE == "multiple_choice":
            choices = task.doc_to_choice(requests[0].doc)
            golds = _golds(task, requests[0].doc, choices)
            gold, chance = golds[0], len(golds) / len(choices)
            lengths = [float(len(choice)) if measure == "acc_norm" else 1.0 for choice in choices] + lengths
        rows = tuple(
            Request.continuation(prompt_ids, answer_ids, length)
            for (prompt_ids, answer_ids), length in zip(pairs, lengths, strict=False)
        )
        prompt = tuple(encoder.encode_text(text) if is_generation else pairs[0][0])
        chance = 0.0 if is_generation else chance
    content = f"{digest_rows(rows)}-{gold}"
    return Example(
        id=id, group=content, rows=rows, prompt=prompt, gold=gold, label="" if gold is None else f"choice {gold}",
        weight=weight, chance=chance, content=content, text=text, choices=tuple(str(option).strip() for option in choices),
        source=name_row(Source(requests[0].doc, id)),
    )  # fmt: skip


def _gold_text(task: Any, doc: dict[str, Any]) -> str:
    """The gold answer as lm-eval would write it behind the prompt; the first where there are several."""
    gold = task.doc_to_target(doc)
    gold = gold[0] if isinstance(gold, list) else gold
    return f"{task.config.target_delimiter}{gold}"


def _golds(task: Any, doc: dict[str, Any], choices: list[str]) -> list[int]:
    """Indices of the right choices, as lm-eval's `process_results` finds them."""
    target = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    golds = [
        choices.index(answer) if isinstance(answer, str) else int(answer) for answer in np.atleast_1d(target).tolist()
    ]
    if not golds or not all(0 <= gold < len(choices) for gold in golds):
        raise DataError(f"{task.task_name}: the answer {target!r:.60} is none of the {len(choices)} choices")
    return golds


def _windows(text: str, encoder: Encoder, where: str) -> tuple[Request, ...]:
    """The windows lm-eval cuts running text into."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    cut = get_rolling_token_windows(encoder.encode_text(text), encoder.prefix, encoder.max_length, 1)
    pairs = [make_disjoint_window(pair) for pair in cut]
    if not pairs:
        raise DataError(f"{where}: an empty text; expected some words")
    return tuple(Request.continuation(context, window) for context, window in pairs)
