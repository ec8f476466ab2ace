"""The dry run: what a search would work on and what it would cost, from a sample; it leaves nothing behind."""

import time
from dataclasses import replace

import psutil
import torch

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.estimate import Workload, estimate_judging, suggest_shorter_run
from tapioca.commands.prune.preview_result import Preview, WrittenAnswer
from tapioca.commands.prune.search import criterion_from_config, estimate_round_costs, restrict_sizes
from tapioca.disk import scratch_folder
from tapioca.engine.decode import PromptBatch, decode
from tapioca.errors import DataError
from tapioca.evaluate import evaluate
from tapioca.models.cost import count_flops
from tapioca.models.inputs import collate
from tapioca.observe import draw_sample
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.records import Preflight
from tapioca.records.results import Domain
from tapioca.runs.store import Store
from tapioca.search.criteria import CRITERIA
from tapioca.session.context import AnyRun, RunInputs, choose_reading, context_from_inputs, load_inputs
from tapioca.session.preflight import run_preflight
from tapioca.session.tokens import split_first_row
from tapioca.tasks.batches import make_batches

READ, RUN, WRITTEN = 512, 64, 2
"""Most examples of each data set that are read; of these, those that are scored; and answers that are written."""


def preview_run(config: PruneConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> Preview:
    """Tell what a search would do, without doing it. Nothing is kept, and no folder is made."""
    criterion = criterion_from_config(config)  # refused before anything is loaded
    inputs = choose_reading(config, inputs or _read_first_examples(config, progress))
    with scratch_folder() as scratch, Store(scratch / "run", inputs.make_manifest(config)) as store:
        job = context_from_inputs(config, _sample_search_examples(inputs, config), store, progress)
        job.space = restrict_sizes(job)
        seconds, operations = _time_example(job)
        checks = run_preflight(job, stop_at_chance=False)
    sizes = _full_sizes(inputs, config)
    work = Workload(
        rounds=tuple(estimate_round_costs(criterion, job.space)),
        judged=estimate_judging(criterion, job.space),
        search=sizes["ood"][0],
        test=sum(test for _, test in sizes.values()),
        random=min(config.random_examples, sizes["ood"][1]),
        seconds=seconds,
    )
    first_example = job.search["ood"].examples[0]
    read, scored = split_first_row(job.loaded, first_example)
    return Preview(
        metric=job.metric,
        checks={domain: _rescale_check(check, inputs, domain, sizes[domain]) for domain, check in checks.items()},
        prompt=first_example.text,
        n_read=read,
        scored=scored,
        head_labels=len(first_example.choices) if job.search["ood"].is_sequence_classifier else None,
        written=_write_answers(job),
        criterion=config.criterion,
        shortlist=config.shortlist,
        work=work,
        whole_rounds=tuple(estimate_round_costs(CRITERIA[config.criterion], job.space)),
        shorter=suggest_shorter_run(config, work, criterion, job.space),
        flops=sum(work.rounds) * operations * work.search,
        peak_memory=_peak_memory(),
    )


def _read_first_examples(config: PruneConfig, progress: Progress) -> RunInputs:
    """The model and the first examples of each data set; all of them where those are of too few groups to be split."""
    if config.limit and config.limit <= READ:
        return load_inputs(config, progress)
    try:
        return load_inputs(config.model_copy(update={"limit": READ}), progress)
    except DataError:  # or something is wrong with the data, which is then said of all of them
        return load_inputs(config, progress)


def _sample_search_examples(inputs: RunInputs, config: PruneConfig) -> RunInputs:
    """The same with few search examples of each data set; of different groups where some are left out."""
    search = {
        domain: task
        if len(task.examples) <= RUN
        else task.select_examples(draw_sample(task.examples, RUN, config.seed))
        for domain, task in inputs.search.items()
    }
    return replace(inputs, search=search)


def _full_sizes(inputs: RunInputs, config: PruneConfig) -> dict[Domain, tuple[int, int]]:
    """Search and test examples of each data set as the run would have them, by the shares of what was read."""
    sizes: dict[Domain, tuple[int, int]] = {}
    for domain, task in inputs.search.items():
        n_examples = min(task.available, config.limit or task.available)
        if domain == "ood" and config.test:
            test = inputs.test["ood"].available
            sizes[domain] = n_examples, min(test, config.limit or test)
        else:
            parts = len(task.examples), len(inputs.test[domain].examples)
            share = parts[0] / sum(parts)
            sizes[domain] = round(share * n_examples), n_examples - round(share * n_examples)
    return sizes


def _rescale_check(sample_check: Preflight, inputs: RunInputs, domain: Domain, sizes: tuple[int, int]) -> Preflight:
    """A check of a sample as one of the whole data; the error of a gain falls with the root of the test examples."""
    search, test = sizes
    detectable = sample_check.detectable * (len(inputs.test[domain].examples) / test) ** 0.5
    narrower = len(inputs.test[domain].examples) / test
    unchanged = sample_check.unchanged and tuple(end * narrower for end in sample_check.unchanged)
    n_scored = sample_check.n_search if sample_check.n_search < search else None
    update = {
        "n_search": search,
        "n_test": test,
        "detectable": detectable,
        "unchanged": unchanged,
        "n_scored": n_scored,
    }
    return sample_check.model_copy(update=update)


def _time_example(job: AnyRun) -> tuple[float, float]:
    """Seconds and FLOPs of one example under the full model, from a batch of middling length."""
    task_batches = make_batches(job.search["ood"], job.config.batch_size)
    batch = task_batches[len(task_batches) // 2]
    task, full = job.search["ood"].select_examples(batch.examples), [Plan.full(job.n_layers)]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        evaluate(job.loaded.model, task, full, batch_size=len(batch.examples))
        times.append(time.perf_counter() - start)
    inputs = collate(job.loaded.model, [row.inputs for example in batch.examples for row in example.rows])
    operations = count_flops(job.loaded.model, full[0], inputs)
    return min(times) / len(batch.examples), operations / len(batch.examples)


def _write_answers(job: AnyRun) -> tuple[WrittenAnswer, ...]:
    """What the full model writes after the first prompts."""
    task, tokenizer = job.search["ood"], job.loaded.tokenizer
    if not task.max_new_tokens or tokenizer is None:
        return ()
    examples = task.examples[:WRITTEN]
    prompts = [example.prompt for example in examples]
    answer_ids = decode(job.loaded.model, PromptBatch(prompts, task.max_new_tokens, task.is_finished))
    return tuple(
        WrittenAnswer(str(tokenizer.decode(ids.tolist(), skip_special_tokens=True)), example.answer)
        for example, ids in zip(examples, answer_ids, strict=True)
    )


def _peak_memory() -> int:
    """Most bytes held so far: on the GPU where there is one, else now by this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
