"""The paper's mechanism as an intervention: the stream gets the norms it has on ID inputs, layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np

from tapioca.commands import save_result
from tapioca.commands.rescale.config import RescaleConfig
from tapioca.commands.rescale.result import RescaleResult, Rescaling
from tapioca.errors import UsageError
from tapioca.observe.norms import make_norm_plan, measure_norm_profiles
from tapioca.observe.sample import MAX_EXAMPLES, draw_sample
from tapioca.plan import Tokens
from tapioca.progress import SILENT, Progress
from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.session.context import RunContext, RunInputs, open_run
from tapioca.session.held_out import HeldOutScores


def rescale(config: RescaleConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> RescaleResult:
    """Set the norm in front of every layer to that of ID search inputs, and judge that on the test splits."""
    with open_run(config, progress, inputs) as job:
        tokens_asked = _choose_tokens(job)
        samples = {domain: draw_sample(task.examples, MAX_EXAMPLES, config.seed) for domain, task in job.search.items()}
        info = RescaleResult(
            **job.header(),
            metric=job.metric,
            examples={domain: len(task.examples) for domain, task in job.test.items()},
            inputs={domain: len(sample) for domain, sample in samples.items()},
            rescalings=_judge_rescalings(job, tokens_asked, _measure_norms(job, samples)),
        )
        for rescaling in info.rescalings:
            rescaling.plan.write(info.folder / rescaling.plan_file)
        save_result("rescale", info)
    return info


def _measure_norms(
    job: RunContext[RescaleConfig], samples: Mapping[Domain, Sequence[Example]]
) -> dict[Domain, dict[Tokens, np.ndarray]]:
    """The norms of the stream on search inputs of each data set."""
    job.progress.stage("norms of the stream on search inputs", 0)
    model, batch_size = job.loaded.model, job.config.batch_size
    return {domain: measure_norm_profiles(model, sample, batch_size) for domain, sample in samples.items()}


def _judge_rescalings(
    job: RunContext[RescaleConfig], tokens_asked: Sequence[Tokens], norms: Mapping[Domain, Mapping[Tokens, np.ndarray]]
) -> tuple[Rescaling, ...]:
    """What setting the norms to those of ID inputs changes at each choice of tokens."""
    plans = {tokens: make_norm_plan(norms["id"][tokens], tokens) for tokens in tokens_asked}
    judged = tuple(plans.values())
    scores = HeldOutScores.evaluate(job, dict.fromkeys(job.test, judged))
    gains = {domain: scores.measure_gains(domain, judged) for domain in job.test}
    return tuple(
        Rescaling(
            tokens=tokens,
            plan=plan,
            ood_norms=tuple(norms["ood"][tokens].tolist()),
            gains={domain: gains[domain][plan] for domain in job.test},
        )
        for tokens, plan in plans.items()
    )


def _choose_tokens(job: RunContext[RescaleConfig]) -> tuple[Tokens, ...]:
    """At which tokens norms are set.

    Raises:
        UsageError: at the last alone, while the model writes.
    """
    asked = job.config.tokens
    tokens: tuple[Tokens, ...] = ("last", "all") if asked == "both" else (asked,)
    if not job.test["ood"].max_new_tokens:
        return tokens
    if asked == "last":
        raise UsageError(
            "--tokens last: the model writes, and of a text that goes on each token is once the last; use --tokens all"
        )
    if asked == "both":
        job.add_notes("norms are set at all tokens alone: of a text that is written each token is once the last")
    return ("all",)
