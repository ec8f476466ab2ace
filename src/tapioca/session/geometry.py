"""Profiles of ID and OOD data under the full model and under a plan, and how far they deviate."""

from __future__ import annotations

from tapioca.observe import MAX_EXAMPLES, capture_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.deviation import bootstrap_bands, measure_deviations
from tapioca.profiles.profiles import StateGeometry, state_geometry
from tapioca.records import Deviation, Example, Profile
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun
from tapioca.tasks.base import Task


def measure_run_geometry(job: AnyRun, plan: Plan) -> tuple[tuple[Profile, ...], tuple[Deviation, ...]]:
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
    reference, samples = sample_splits(job.search, job.test, seed)
    size = len(reference)
    pool = (*reference, *samples["id"])
    pool_shape = _observe_geometry(job, full, pool, "ID under the full model")
    shapes: dict[tuple[Domain, bool], StateGeometry] = {
        ("id", False): pool_shape.select(examples=range(size, 2 * size)),
        ("ood", False): _observe_geometry(job, full, samples["ood"], "OOD under the full model"),
    }
    if not plan.is_full:
        for domain in samples:
            shapes[domain, True] = _observe_geometry(job, plan, samples[domain], f"{domain.upper()} under the plan")
    profiles = (
        profile_from_geometry(geometry, domain, plan if planned else full, seed)
        for (domain, planned), geometry in shapes.items()
    )
    return tuple(profiles), _deviations_over_kept_layers(shapes, pool_shape, plan, size, seed)


def sample_splits(
    search: dict[Domain, Task], test: dict[Domain, Task], seed: int
) -> tuple[tuple[Example, ...], dict[Domain, tuple[Example, ...]]]:
    """Equal samples to observe: the reference, from the ID search split, and one of each test split."""
    size = observed_size(search, test)
    samples = {domain: draw_sample(task.examples, size, seed) for domain, task in test.items()}
    return draw_sample(search["id"].examples, size, seed), samples


def observed_size(search: dict[Domain, Task], test: dict[Domain, Task]) -> int:
    """How many examples of OOD, and of ID, have their states observed."""
    return min(MAX_EXAMPLES, *(len(set(task.groups)) for task in (search["id"], *test.values())))


def _observe_geometry(job: AnyRun, plan: Plan, examples: tuple[Example, ...], what: str) -> StateGeometry:
    job.progress.stage(f"geometry: {what}", 0)
    return state_geometry(capture_states(job.loaded.model, plan, examples, job.config.batch_size))


def profile_from_geometry(geometry: StateGeometry, domain: Domain, plan: Plan, seed: int) -> Profile:
    """The profiles of a set of examples with their bands, measured under a plan."""
    norm, distance = geometry.profiles()[:, 0].tolist()
    norm_band, distance_band = bootstrap_bands(geometry, seed).tolist()
    return Profile(
        data=domain,
        planned=not plan.is_full,
        layers=plan.kept,
        n=geometry.norms.shape[1],
        norm=norm,
        norm_band=norm_band,
        distance=distance,
        distance_band=distance_band,
    )


def _deviations_over_kept_layers(
    shapes: dict[tuple[Domain, bool], StateGeometry], pool: StateGeometry, plan: Plan, size: int, seed: int
) -> tuple[Deviation, ...]:
    """Every profile against the ID reference, over the layers the plan keeps."""
    kept_pool = pool.select(layers=plan.kept)
    reference = kept_pool.select(examples=range(size))
    deviations = []
    for (domain, planned), geometry in shapes.items():
        same_layers = geometry if planned else geometry.select(layers=plan.kept)
        deviations += measure_profile_deviations(same_layers, reference, kept_pool, domain, planned, plan.kept, seed)
    return tuple(deviations)


def measure_profile_deviations(
    geometry: StateGeometry,
    reference: StateGeometry,
    pool: StateGeometry,
    domain: Domain,
    planned: bool,
    layers: tuple[int, ...],
    seed: int,
) -> list[Deviation]:
    """Norm and distance deviation of one set of examples, see `geometry.alignment.measure`."""
    return [
        Deviation(
            data=domain,
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
        for kind, measured in measure_deviations(geometry, reference, pool, seed).items()
    ]
