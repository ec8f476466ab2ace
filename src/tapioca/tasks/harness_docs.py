"""Read tasks of lm-evaluation-harness: its documents, prompts, few-shot samples and data splits. Needs `[harness]`."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tapioca.errors import DataError, did_you_mean
from tapioca.hub import without_bars
from tapioca.records import Example, Metric, Row
from tapioca.tasks.base import Task, check_unique, rows_digest
from tapioca.tasks.choice import GOLD_LOSS
from tapioca.tasks.generate import ANSWER_LOSS
from tapioca.tasks.harness import Harness, HarnessText
from tapioca.tasks.harness_chat import SYSTEM, YES, chat_arguments
from tapioca.tasks.harness_errors import explain_failure, missing_split
from tapioca.tasks.harness_shots import (
    HarnessShots,
    example_id,
    fixed_questions,
    question_of,
    requests_of,
    shot_splits,
)
from tapioca.tasks.spec import THINK_END, options_of
from tapioca.tasks.text import Encoder

MAX_NEW_TOKENS = 256
"""Tokens lm-eval lets a model write where the task does not say."""

ROLLING = {
    "word_perplexity": Metric(name="loss per word (nats)", kind="error"),
    "byte_perplexity": Metric(name="loss per byte (nats)", kind="error"),
    "bits_per_byte": Metric(name="loss per byte (nats)", kind="error"),
}
"""What stands for lm-eval's corpus metrics of running text: the mean that they are functions of."""


def load_harness(name: str, encoder: Encoder | None, given: dict[str, Any]) -> Task:
    """Read documents of an lm-eval task, or of all tasks of a group.

    Args:
        name: "harness:TASK", with options behind commas: `split` (the data split to read; by default the validation
            split, else the training split, never the test split), `shots`, `metric`, `filter`, `think_end_token`,
            `chat`, and last, since it may hold commas, `system` (the system prompt of the chat).
        encoder: the model's text encoder.
        given: `include_path` (a folder with task YAMLs), `score` ("likelihood": the gold answer's), and `chat`, `system`,
            `chat_template_kwargs` and `num_fewshot`, as for files.

    Raises:
        DataError: lm-eval is not installed, has no such task, or cannot load its data; or the request does not fit it.
    """
    if encoder is None:
        raise DataError(f"{name} is text, but the model has no tokenizer; expected a language model")
    plain, _, system = name.partition(SYSTEM)
    task_name, options = options_of(plain, ("split", "shots", "metric", "filter", "think_end_token", "chat"))
    chats = options["chat"] or (YES[0] if given.get("chat") else "")
    template_options = given.get("chat_template_kwargs", {})
    chat = chat_arguments(chats, system or given.get("system"), template_options, encoder, name)
    tasks = _tasks(task_name, given.get("include_path"))
    likelihood = given.get("score") == "likelihood"
    kinds = {task.OUTPUT_TYPE for task in tasks}
    if len(kinds) > 1:
        raise DataError(f"{name}: the tasks of this group are of several kinds ({', '.join(sorted(kinds))}); name one")
    measure, metric = _metric(tasks[0], options["metric"], likelihood)
    splits: dict[Any, tuple[str, ...]] = {}
    for task in tasks:
        splits[task] = shot_splits(task, asked := _split(task, options["split"], name))
        task.config.test_split = asked  # what lm-eval evaluates on
    notes = (
        f"{task_name}: lm-eval's {tasks[0].config.test_split} split, metric {measure}",
        *(encoder.unused_template(task_name) if not chat and kinds != {"loglikelihood_rolling"} else ()),
    )
    shots = HarnessShots(
        counts={task: _count(task, options["shots"] or str(given.get("num_fewshot", "")), name) for task in tasks},
        splits=splits,
        own={task: task.sampler for task in tasks},
        chat=chat,
        example=partial(_example, measure=measure, encoder=encoder),
        notes=notes,
    )
    said: dict[str, Any] = {
        "name": name,
        "metric": metric,
        "measure": "" if likelihood else measure,
        "pipeline": _pipeline(tasks[0], options["filter"]),
        **_documents(name, shots),
    }
    if kinds == {"generate_until"}:
        stop, budget = _writing(tasks[0], encoder)
        end = options["think_end_token"] or THINK_END
        said |= {"tokenizer": encoder.tokenizer, "stop": stop, "max_new_tokens": budget, "think_end_token": end}
    bare = (HarnessText if kinds == {"generate_until"} else Harness)(**said)
    return bare.shots.show(bare) if isinstance(bare.shots, HarnessShots) else bare


def _documents(name: str, shots: HarnessShots) -> dict[str, Any]:
    """The examples of a task without worked ones, and all that belongs to them; a document that the task itself gives as
    a worked example is not asked."""
    examples: list[Example] = []
    requests: dict[str, list[Any]] = {}
    owner: dict[str, Any] = {}
    shown = 0
    for task, count in shots.counts.items():
        fixed = fixed_questions(task) if count and not shots.splits[task] else set()
        for number, asked in requests_of(task, 0, shots.chat).items():
            if fixed and question_of(task, asked[0].doc) in fixed:
                shown += 1
                continue
            id = example_id(task, number)
            examples.append(shots.example(task, id, asked))
            requests[id], owner[id] = asked, task
    check_unique(name, examples)
    if shown:
        note = f"{name}: {shown} documents are not asked, since the task gives their answers in its prompts"
        shots = replace(shots, notes=(*shots.notes, note))
    some = shots if any(shots.counts.values()) else None
    return {
        "examples": tuple(examples),
        "requests": requests,
        "tasks": owner,
        "notes": shots.notes,
        "shots": some,
    }


def _count(task: Any, asked: str, name: str) -> int:
    """How many worked examples a prompt shows: as asked, else as the task says.

    Raises:
        DataError: that is no number.
    """
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return 0
    if asked and not asked.isdecimal():
        raise DataError(f"{name}: shots={asked} is no number of worked examples; expected 0, 1, 2, ...")
    return int(asked or task.config.num_fewshot or 0)


def _writing(task: Any, encoder: Encoder) -> tuple[tuple[str, ...], int]:
    """Stop strings and token budget, as lm-eval's Hugging Face model takes them from the task.

    Raises:
        DataError: the task samples its answers.
    """
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    said = normalize_gen_kwargs(task.config.generation_kwargs, MAX_NEW_TOKENS)
    if said.get("do_sample"):
        raise DataError(
            f"{task.task_name}: the task samples its answers; set do_sample: false in its generation_kwargs"
        )
    eos = encoder.tokenizer.decode(encoder.tokenizer.eos_token_id)
    return tuple(filter(None, handle_stop_sequences(said["until"], eos=eos))), int(said["max_gen_toks"])


def _tasks(name: str, include_path: str | None) -> list[Any]:
    """The lm-eval tasks of a name: one, or the members of a group."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = _manager(include_path, defaults=not include_path)
    if name not in manager.all_tasks and include_path:
        manager = _manager(include_path, defaults=True)
    if name not in manager.all_tasks:
        raise DataError(f"lm-eval has no task '{name}'; {did_you_mean(name, manager.all_tasks)}")
    try:
        with without_bars():
            return list(manager.load(name)["tasks"].values())
    except Exception as error:  # data sets are loaded by code of lm-eval and of the datasets library
        raise DataError(explain_failure(error, name)) from error


@lru_cache(maxsize=4)
def _manager(include_path: str | None, defaults: bool) -> Any:
    """lm-eval's index of tasks; with its own thousands it takes seconds."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise DataError("harness: tasks need lm-eval; install it with pip install 'tapioca-prune[harness]'") from error
    return TaskManager(include_path=include_path, include_defaults=defaults)


def _split(task: Any, asked: str, name: str) -> str:
    """The data split to read."""
    config = task.config
    if asked:
        roles = {"train": config.training_split, "validation": config.validation_split, "test": config.test_split}
        chosen = roles.get(asked) or asked
    else:
        chosen = config.validation_split or config.training_split
    if not chosen:
        raise DataError(
            f"{name}: this task has only a test split, which a search would spoil for judging; "
            f"say {name},split=test to divide it into a search and a test part"
        )
    if chosen not in task.dataset:
        raise DataError(missing_split(name, chosen, task.dataset))
    return str(chosen)


def _metric(task: Any, asked: str, likelihood: bool) -> tuple[str, Metric]:
    """The lm-eval metric that is the score, and what it means here."""
    known = list(task._metric_fn_list)
    if asked and asked not in known:
        raise DataError(f"task '{task.task_name}' has no metric '{asked}'; {did_you_mean(asked, known)}")
    measure = asked or known[0]
    if measure in ROLLING:
        return measure, ROLLING[measure]
    if likelihood:
        return measure, ANSWER_LOSS if task.OUTPUT_TYPE == "generate_until" else GOLD_LOSS
    if not task.higher_is_better().get(measure, True):
        raise DataError(f"metric '{measure}' falls as answers get better; use --score likelihood or another metric")
    return measure, Metric(name={"acc": "accuracy"}.get(measure, measure), kind="accuracy")


def _pipeline(task: Any, asked: str) -> str:
    """The lm-eval filter to use: the one asked for, else the first."""
    known = [ensemble.name for ensemble in task._filters]
    if asked and asked not in known:
        raise DataError(f"task '{task.task_name}' has no filter '{asked}'; {did_you_mean(asked, known)}")
    return asked or known[0]


def _example(task: Any, id: str, requests: list[Any], measure: str, encoder: Encoder) -> Example:
    """One document as an example."""
    text = requests[0].args[0]
    gold, chance, weight, choices = None, None, 1.0, list[str]()
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        rows = _windows(text, encoder, id)
        words = measure == "word_perplexity"
        weight = task.count_words(text) if words else task.count_bytes(text)
        prompt = rows[-1].inputs
    else:
        writes = task.OUTPUT_TYPE == "generate_until"
        answers = [_gold_text(task, requests[0].doc)] if writes else [request.args[1] for request in requests]
        pairs = [encoder.pair(asked.args[0], answer, id) for asked, answer in zip(requests, answers, strict=True)]
        lengths, choices = [1.0] * len(pairs), answers
        if task.OUTPUT_TYPE == "multiple_choice":
            choices = task.doc_to_choice(requests[0].doc)
            golds = _golds(task, requests[0].doc, choices)
            gold, chance = golds[0], len(golds) / len(choices)
            lengths = [float(len(choice)) if measure == "acc_norm" else 1.0 for choice in choices] + lengths
        rows = tuple(
            Row(inputs=tuple((before + after)[:-1]), targets=tuple(after), length=length)
            for (before, after), length in zip(pairs, lengths, strict=False)
        )
        prompt = tuple(encoder.text(text) if writes else pairs[0][0])
        chance = 0.0 if writes else chance
    content = f"{rows_digest(rows)}-{gold}"
    return Example(
        id=id, group=content, rows=rows, prompt=prompt, gold=gold, label="" if gold is None else f"choice {gold}",
        weight=weight, chance=chance, content=content, text=text, choices=tuple(str(one).strip() for one in choices),
    )  # fmt: skip


def _gold_text(task: Any, doc: dict[str, Any]) -> str:
    """The gold answer as lm-eval would write it behind the prompt; the first where there are several."""
    gold = task.doc_to_target(doc)
    gold = gold[0] if isinstance(gold, list) else gold
    return f"{task.config.target_delimiter}{gold}"


def _golds(task: Any, doc: dict[str, Any], choices: list[str]) -> list[int]:
    """Indices of the right choices, as lm-eval's `process_results` finds them."""
    said = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    golds = [choices.index(one) if isinstance(one, str) else int(one) for one in np.atleast_1d(said).tolist()]
    if not golds or not all(0 <= gold < len(choices) for gold in golds):
        raise DataError(f"{task.task_name}: the answer {said!r:.60} is none of the {len(choices)} choices")
    return golds


def _windows(text: str, encoder: Encoder, where: str) -> tuple[Row, ...]:
    """The windows lm-eval cuts running text into."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    cut = get_rolling_token_windows(encoder.text(text), encoder.prefix, encoder.max_length, 1)
    pairs = [make_disjoint_window(pair) for pair in cut]
    if not pairs:
        raise DataError(f"{where}: an empty text; expected some words")
    return tuple(Row(inputs=tuple((before + after)[:-1]), targets=tuple(after)) for before, after in pairs)
