"""A canary for writing: multiple choice can look fine while free text has fallen apart."""

import numpy as np

from tapioca.commands.prune.result import Canary, Fluency
from tapioca.engine.decode import PromptBatch, decode
from tapioca.evaluate import evaluate
from tapioca.models.edit import apply
from tapioca.models.inputs import find_max_length
from tapioca.observe import draw_sample
from tapioca.plan import Plan
from tapioca.records import Example, Request
from tapioca.session.context import AnyRun
from tapioca.tasks.perplexity import Perplexity

PROMPTS, TOKENS, EARLY, GRAM = 8, 64, 16, 4
"""Texts written, most tokens of each, what counts as stopping early, and the length of the pieces that may repeat."""


def check_fluency(job: AnyRun, plan: Plan) -> Canary | None:
    """Let the full model and a plan continue the same few test prompts greedily.

    Returns:
        How fluent both are; None for a full plan, and for models that do not write.
    """
    model = job.loaded.model
    if plan.is_full or job.loaded.tokenizer is None or not model.can_generate():
        return None
    job.progress.stage("canary: a few free continuations", 0)
    prompts = draw_sample(job.test["ood"].examples, PROMPTS, job.config.seed)
    tokens = min(TOKENS, find_max_length(model) // 2)  # a short context has room for a prompt too
    full, planned = (_measure_fluency(job, under, prompts, tokens) for under in (Plan.full(plan.n_layers), plan))
    return Canary(plan=plan, prompts=len(prompts), tokens=tokens, full=full, planned=planned)


def measure_repetition(ids: np.ndarray) -> float:
    """Share of a text's 4-grams that stood in it before; 0 for a text too short to have two."""
    grams = [tuple(ids[start : start + GRAM].tolist()) for start in range(len(ids) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _measure_fluency(job: AnyRun, plan: Plan, examples: tuple[Example, ...], tokens: int) -> Fluency:
    """What is written under a plan, and what the full model thinks of it."""
    model = job.loaded.model
    room = find_max_length(model) - tokens  # running text fills the window; continue its first part
    prompts = [tuple(example.prompt[:room]) for example in examples]
    with apply(model, plan):
        written = decode(model, PromptBatch(prompts, tokens, lambda ids: False))
    written_examples = tuple(
        Example(
            id=example.id,
            group=example.group,
            rows=(Request(inputs=(*prompt, *ids[:-1].tolist()), targets=tuple(ids.tolist())),),
            prompt=prompt,
            weight=len(ids),
        )
        for example, prompt, ids in zip(examples, prompts, written, strict=True)
        if len(ids)
    )
    loss = None
    if written_examples:
        task = Perplexity(name="canary", examples=written_examples)
        scores = evaluate(model, task, [Plan.full(plan.n_layers)], batch_size=PROMPTS).values[0]
        loss = -float(np.average(scores, weights=task.weights))
    return Fluency(
        repetition=float(np.mean([measure_repetition(ids) for ids in written])),
        early=sum(len(ids) < EARLY for ids in written),
        loss=loss,
    )
