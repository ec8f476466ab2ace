"""The arms that stand beside a plan of drops: each changes the model, or what it gives, in another way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tapioca.errors import UsageError
from tapioca.evaluate.output_scale import fit_output_scale
from tapioca.observe.compensation import find_layers_behind_gaps, fit_factors
from tapioca.observe.mlp_maps import fit_maps
from tapioca.observe.norms import make_norm_plan, measure_norm_profiles
from tapioca.plan import Answerer, OutputSum, Plan, Tokens
from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.search.criteria import CRITERIA, OOD_LABELS
from tapioca.session.context import AnyRun
from tapioca.session.fit_inputs import choose_fit_domain, draw_fit_examples
from tapioca.session.run_criteria import CriteriaRunner


class ArmSource:
    """What arms are made from: the search data of a run, read for as much as an arm may know. Each thing is found once."""

    def __init__(self, job: AnyRun):
        self.job = job

    @property
    def inputs_domain(self) -> Domain:
        """Where inputs are read from without their answers: ID data, or where there are none OOD data."""
        return choose_fit_domain(self.job)

    @cached_property
    def inputs(self) -> tuple[Example, ...]:
        """Search inputs."""
        return draw_fit_examples(self.job)

    @cached_property
    def output_scale(self) -> float:
        """The number that the full model's outputs are best multiplied by on OOD search data."""
        task = self.job.search["ood"]
        return fit_output_scale(
            task,
            self.job.n_layers,
            lambda sums: self.job.evaluate(task, sums, f"outputs times {len(sums)} numbers on OOD search data"),
        )

    @cached_property
    def norms(self) -> dict[Tokens, np.ndarray]:
        """The norm of the stream in front of each layer on ID search inputs, (layer,).

        Raises:
            UsageError: there are none.
        """
        if self.inputs_domain != "id":
            raise UsageError("without --reference no ID norms are known")
        self.job.progress.stage("norms of the stream on ID search inputs", 0)
        return measure_norm_profiles(self.job.loaded.model, self.inputs, self.job.config.batch_size)

    @cached_property
    def best_repeat(self) -> Plan:
        """The repeated block of any length that scores best on OOD search data; of equals the shortest.

        Raises:
            UsageError: no layer of the model can be repeated.
        """
        sizes = tuple(range(1, self.job.n_layers // 2 + 1))
        job = replace(self.job, space=replace(self.job.space, sizes=sizes))
        picks, _ = CriteriaRunner(job).choose("repeat", CRITERIA["repeat"])
        if not picks:
            raise UsageError("no layer of this model can be repeated")
        task, plans = self.job.search["ood"], [picks[size] for size in sorted(picks)]
        means = task.weights @ self.job.evaluate(task, plans, "repeated blocks on OOD search data").values.T
        return plans[int(means.argmax())]


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        about: what it does, in a few words.
        make: from what may be read and the plan of drops, what is scored; a UsageError says why it cannot be had.
        reads_labels: whether it is chosen by the answers to OOD search data, the plan of drops included.
        reads_inputs: whether it reads other inputs, without answers (`ArmSource.inputs`).
    """

    about: str
    make: Callable[[ArmSource, Plan], Answerer]
    reads_labels: bool = True
    reads_inputs: bool = False


def _fit_factors(source: ArmSource, drop: Plan) -> Plan:
    if not find_layers_behind_gaps(drop):
        raise UsageError(f"no layer stands behind what '{drop}' drops")
    source.job.progress.stage(f"factors behind {drop}", 0)
    prompts = [example.prompt for example in source.inputs]
    return fit_factors(source.job.loaded.model, drop, prompts, source.job.config.batch_size)


def _fit_maps(source: ArmSource, drop: Plan) -> Plan:
    source.job.progress.stage(f"maps in front of {drop}", 0)
    prompts = [example.prompt for example in source.inputs]
    mapped = fit_maps(source.job.loaded.model, drop, prompts, source.job.config.batch_size)
    if mapped == drop:
        raise UsageError(f"no linear map in front of what '{drop}' drops serves other inputs better than none")
    return mapped


def _rescale(tokens: Tokens) -> Callable[[ArmSource, Plan], Plan]:
    def make(source: ArmSource, drop: Plan) -> Plan:
        return make_norm_plan(source.norms[tokens], tokens)

    return make


def _scale_outputs(source: ArmSource, drop: Plan) -> OutputSum:
    return OutputSum.times(source.output_scale, Plan.full(drop.n_layers))


def _average_outputs(source: ArmSource, drop: Plan) -> OutputSum:
    if source.job.search["ood"].max_new_tokens:
        raise UsageError("texts are written under one plan at a time, so there are no outputs to average")
    return OutputSum.mean(Plan.full(drop.n_layers), drop)


DROP = "drop"

ARMS = {
    DROP: Arm("the plan of drops itself", lambda source, drop: drop),
    "drop + factor": Arm(
        "the same plan, and the stream behind each gap times one number, by least squares",
        _fit_factors,
        reads_inputs=True,
    ),
    "drop + map": Arm(
        "the same plan, and a linear map of what the MLP in front of each gap adds, by least squares",
        _fit_maps,
        reads_inputs=True,
    ),
    "rescale last": Arm(
        "nothing dropped; in front of each layer the last token's state gets the mean norm that ID inputs have there",
        _rescale("last"),
        reads_labels=False,
        reads_inputs=True,
    ),
    "rescale all": Arm(
        "the same with the states of all tokens but each prompt's first",
        _rescale("all"),
        reads_labels=False,
        reads_inputs=True,
    ),
    "repeat": Arm("nothing dropped; the block of layers that is best run twice", lambda source, _: source.best_repeat),
    "output scale": Arm(
        "nothing dropped; all outputs (logits, predictions) of the full model times one number", _scale_outputs
    ),
    "mean of outputs": Arm(
        "the mean of what the full and the planned model give (logits, predictions)", _average_outputs
    ),
}
"""Every arm by its name, in the order of the table."""


def make_arms(source: ArmSource, drop: Plan) -> dict[str, Answerer]:
    """What each arm scores beside a plan of drops; those that cannot be had are left out, and why is noted."""
    arms: dict[str, Answerer] = {}
    for name, arm in ARMS.items():
        try:
            arms[name] = arm.make(source, drop)
        except UsageError as error:
            note = f"arm {name} is left out: {error}"
            source.job.add_notes(*({note} - set(source.job.notes)))
    return arms


def describe_reading(arm: Arm, inputs_domain: Domain) -> tuple[str, ...]:
    """What of the search data an arm was chosen or fitted by."""
    labels = (OOD_LABELS,) if arm.reads_labels else ()
    return (*labels, f"{inputs_domain.upper()} inputs") if arm.reads_inputs else labels
