"""Profiles of ID and OOD data under the full model and under a plan, and how far they deviate."""

from __future__ import annotations

from tapioca.flows.prepare import Job
from tapioca.geometry.alignment import bands, measure
from tapioca.geometry.profiles import KINDS, Shape, shape
from tapioca.observe import SAMPLE, sample, states
from tapioca.records import Deviation, Example, Plan, Profile
from tapioca.records.results import Data
from tapioca.tasks.base import Task


def observe_run(job: Job, plan: Plan) -> tuple[tuple[Profile, ...], tuple[Deviation, ...]]:
    """Measure the geometry of a run.

    The reference is a sample of the ID search split under the full model. Compared with it are equal
    samples of the OOD and ID test splits, under the full model and under the plan, over the layers
    the plan keeps (before a plan also over all layers, when it is the full model). The null is two
    disjoint ID samples of the same size.

    Args:
        job: the run; without ID data there is no reference and nothing is measured.
        plan: the plan to compare with the full model.
    """
    if "id" not in job.search:
        return (), ()
    full, seed = Plan.full(plan.n_layers), job.config.seed
    reference, samples = samples_of(job.search, job.test, seed)
    size = len(reference)
    pool = (*reference, *samples["id"])
    pool_shape = _shape(job, full, pool, "ID under the full model")
    shapes: dict[tuple[Data, bool], Shape] = {
        ("id", False): pool_shape.take(examples=range(size, 2 * size)),
        ("ood", False): _shape(job, full, samples["ood"], "OOD under the full model"),
    }
    if not plan.is_full:
        for data in samples:
            shapes[data, True] = _shape(job, plan, samples[data], f"{data.upper()} under the plan")
    profiles = (profile_of(seen, data, plan if planned else full, seed) for (data, planned), seen in shapes.items())
    return tuple(profiles), _deviations(shapes, pool_shape, plan, size, seed)


def samples_of(
    search: dict[Data, Task], test: dict[Data, Task], seed: int
) -> tuple[tuple[Example, ...], dict[Data, tuple[Example, ...]]]:
    """Equal samples to observe: the reference, from the ID search split, and one of each test split."""
    size = min(SAMPLE, *(len(set(task.groups)) for task in (search["id"], *test.values())))
    return sample(search["id"].examples, size, seed), {data: sample(test[data].examples, size, seed) for data in test}


def _shape(job: Job, plan: Plan, examples: tuple[Example, ...], what: str) -> Shape:
    job.watcher.stage(f"geometry: {what}", 0)
    return shape(states(job.loaded.model, plan, examples, job.config.batch_size))


def profile_of(seen: Shape, data: Data, plan: Plan, seed: int) -> Profile:
    """The profiles of a set of examples with their bands, measured under a plan."""
    norm, distance = seen.profiles()
    norm_band, distance_band = bands(seen, seed)
    return Profile(
        data=data,
        planned=not plan.is_full,
        layers=plan.kept,
        n=seen.norms.shape[1],
        norm=norm[0].tolist(),
        norm_band=norm_band.tolist(),
        distance=distance[0].tolist(),
        distance_band=distance_band.tolist(),
    )


def _deviations(
    shapes: dict[tuple[Data, bool], Shape], pool: Shape, plan: Plan, size: int, seed: int
) -> tuple[Deviation, ...]:
    """Every profile against the ID reference, over the layers the plan keeps."""
    kept = pool.take(layers=plan.kept)
    reference = kept.take(examples=range(size))
    found = []
    for (data, planned), seen in shapes.items():
        same_layers = seen if planned else seen.take(layers=plan.kept)
        found += deviations_of(same_layers, reference, kept, data, planned, plan.kept, seed)
    return tuple(found)


def deviations_of(
    seen: Shape, reference: Shape, pool: Shape, data: Data, planned: bool, layers: tuple[int, ...], seed: int
) -> list[Deviation]:
    """Norm and distance deviation of one set of examples, see `geometry.alignment.measure`."""
    return [
        Deviation(
            data=data,
            planned=planned,
            kind=kind,
            layers=layers,
            signed=measured.signed.tolist(),
            effect=measured.effect.tolist(),
            value=measured.value,
            ci95=measured.ci95,
            null_mean=measured.null_mean,
            null_upper=measured.null_upper,
        )
        for kind, measured in zip(KINDS, measure(seen, reference, pool, seed), strict=True)
    ]
