"""Profiles of ID and OOD data under the full model and under a plan, and how far they deviate."""

from collections.abc import Mapping

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
    same_layers = {
        (domain, planned): geometry if planned else geometry.select(layers=plan.kept)
        for (domain, planned), geometry in geometries.items()
    }
    return measure_profile_deviations(same_layers, pool.select(layers=plan.kept), plan.kept, seed)


def measure_profile_deviations(
    geometries: Mapping[tuple[Domain, bool], StateGeometry], pool: StateGeometry, layers: tuple[int, ...], seed: int
) -> tuple[Deviation, ...]:
    """The deviations of sets of examples by kind of profile, as `profiles.deviation.measure_deviations`.

    Args:
        geometries: by data set, and whether under a plan.
        pool: what all are compared with, the reference and as many other ID examples.
        layers: that are compared.
        seed: of the resampling.
    """
    measured = measure_deviations(list(geometries.values()), pool, seed)
    return tuple(
        Deviation(data=domain, planned=planned, kind=kind, layers=layers, **vars(deviation))
        for (domain, planned), deviations in zip(geometries, measured, strict=True)
        for kind, deviation in deviations.items()
    )
