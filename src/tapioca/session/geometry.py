"""Profiles of ID and OOD data under the full model and under a plan, and how far they deviate."""

from tapioca.observe import GeometrySample, capture_states
from tapioca.plan import Plan
from tapioca.profiles.deviation import bootstrap_bands, measure_deviations
from tapioca.profiles.profiles import StateGeometry, state_geometry
from tapioca.records import Deviation, Example, Profile
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun


def measure_run_geometry(job: AnyRun, plan: Plan) -> tuple[tuple[Profile, ...], tuple[Deviation, ...]]:
    """Measure the geometry of a run.

    With the reference of a `GeometrySample` are compared its OOD and its other ID examples, under the full model and under
    the plan, over the layers that the plan keeps.

    Args:
        job: the run; without ID data there is no reference and nothing is measured.
        plan: the plan to compare with the full model.
    """
    if "id" not in job.search:
        return (), ()
    full, seed = Plan.full(plan.n_layers), job.config.seed
    sample = GeometrySample.draw_held_out(job.search, job.test, seed)
    pool = _observe_geometry(job, full, sample.pool, "ID under the full model")
    geometries: dict[tuple[Domain, bool], StateGeometry] = {
        ("id", False): pool.select(examples=range(sample.size, 2 * sample.size)),
        ("ood", False): _observe_geometry(job, full, sample.ood, "OOD under the full model"),
    }
    if not plan.is_full:
        examples: dict[Domain, tuple[Example, ...]] = {"ood": sample.ood, "id": sample.id}
        for domain in job.test:
            what = f"{domain.upper()} under the plan"
            geometries[domain, True] = _observe_geometry(job, plan, examples[domain], what)
    profiles = (
        profile_from_geometry(geometry, domain, plan if planned else full, seed)
        for (domain, planned), geometry in geometries.items()
    )
    return tuple(profiles), _deviations_over_kept_layers(geometries, pool, plan, seed)


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
        n=geometry.n_examples,
        norm=norm,
        norm_band=norm_band,
        distance=distance,
        distance_band=distance_band,
    )


def _deviations_over_kept_layers(
    geometries: dict[tuple[Domain, bool], StateGeometry], pool: StateGeometry, plan: Plan, seed: int
) -> tuple[Deviation, ...]:
    """Every profile against the ID reference, over the layers the plan keeps."""
    kept_pool = pool.select(layers=plan.kept)
    deviations = []
    for (domain, planned), geometry in geometries.items():
        same_layers = geometry if planned else geometry.select(layers=plan.kept)
        deviations += measure_profile_deviations(same_layers, kept_pool, domain, planned, plan.kept, seed)
    return tuple(deviations)


def measure_profile_deviations(
    geometry: StateGeometry, pool: StateGeometry, domain: Domain, planned: bool, layers: tuple[int, ...], seed: int
) -> list[Deviation]:
    """The deviation of one set of examples by kind of profile, as `profiles.deviation.measure_deviations`."""
    return [
        Deviation(data=domain, planned=planned, kind=kind, layers=layers, **vars(measured))
        for kind, measured in measure_deviations(geometry, pool, seed).items()
    ]
