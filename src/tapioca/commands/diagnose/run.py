"""What unlabelled inputs are to a model, before any search: shifted or not, and what searches came to on such shifts."""

import numpy as np

from tapioca.commands import save_result
from tapioca.commands.diagnose.config import DiagnoseConfig
from tapioca.commands.diagnose.result import DiagnoseResult, Evidence
from tapioca.diagnosis.classify import classify, read_classifier, weigh
from tapioca.diagnosis.records import Diagnosis, ShiftClassifier
from tapioca.errors import DataError
from tapioca.models.find import find_layers
from tapioca.observe import GeometrySample, capture_last_and_mean_states
from tapioca.plan import Plan
from tapioca.profiles.evidence import (
    EVIDENCE,
    HALVES,
    MIN_EXAMPLES,
    MeasuredEvidence,
    evidence_from_geometries,
    pair_geometries,
)
from tapioca.profiles.profiles import StateGeometry
from tapioca.progress import SILENT, Progress
from tapioca.reading import explain_damage
from tapioca.records import Profile
from tapioca.runs.fingerprint import fingerprint
from tapioca.session.context import RunInputs, load_inputs, open_folder
from tapioca.session.geometry import profile_from_geometry


def diagnose(config: DiagnoseConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> DiagnoseResult:
    """Say what to expect of pruning a model for some inputs, from their hidden states alone.

    Observed are the samples `tapioca geometry` observes for the same data and seed. Nothing is scored and no answer is
    used, but that labels, where rows have them, deal the rows evenly to the halves of the data.
    """
    classifier = read_classifier(config.classifier)
    inputs = inputs or load_inputs(config, progress)
    with open_folder(config, inputs, classifier=fingerprint(classifier.model_dump(mode="json"))) as header:
        reference_states, id_states, ood_states = _observe_states(inputs, config, progress)
        progress.stage("evidence", 0)
        geometries = pair_geometries(ood_states, reference_states, id_states)
        measured = evidence_from_geometries(geometries, config.seed)
        with explain_damage(config.classifier or "the packaged classifier", DataError):
            diagnosis = classify(classifier, measured)
            weighed_evidence = _weigh_evidence(classifier, measured, diagnosis)
        info = DiagnoseResult(
            **header,
            metric=inputs.search["ood"].metric,
            n=ood_states["last"].shape[1],
            diagnosis=diagnosis,
            excess=measured.excess,
            evidence=weighed_evidence,
            n_halves=HALVES,
            profiles=_profile_samples(*geometries["last"], config.seed),
            classifier=classifier,
        )
        save_result("diagnose", info)
    return info


def _observe_states(inputs: RunInputs, config: DiagnoseConfig, progress: Progress) -> list[dict[str, np.ndarray]]:
    """The streams of the ID reference, of other ID examples and of OOD examples under the full model.

    Raises:
        DataError: there are too few examples for halves of them to be compared.
    """
    model = inputs.loaded.model
    full = Plan.full(len(find_layers(model)))
    sample = GeometrySample.draw_held_out(inputs.search, inputs.test, config.seed)
    if sample.size < MIN_EXAMPLES:
        raise DataError(
            f"a diagnosis compares sets of at least {MIN_EXAMPLES} examples of different groups, got {sample.size} in one of "
            "the halves of the data; give more rows"
        )
    progress.stage("hidden states", 3)
    sampled_states = []
    for examples in (sample.reference, sample.id, sample.ood):
        sampled_states.append(capture_last_and_mean_states(model, full, examples, config.batch_size))
        progress.advance(1)
    return sampled_states


def _weigh_evidence(
    classifier: ShiftClassifier, measured: MeasuredEvidence, diagnosis: Diagnosis
) -> tuple[Evidence, ...]:
    """The evidence with its errors, beside that of ID halves, and what it adds to the log-odds."""
    values = dict(zip(EVIDENCE, measured.values.tolist(), strict=True))
    contributions: dict[str, float] = {}
    if diagnosis.probability is not None:
        weights = classifier.weights
        contributions = dict(zip(weights.names, weigh(weights, values).tolist(), strict=True))
    return tuple(
        Evidence(
            name=name,
            value=values[name],
            error=float(measured.halves[:, place].std(ddof=1)),
            id_range=(float(measured.id_halves[:, place].min()), float(measured.id_halves[:, place].max())),
            contribution=contributions.get(name),
        )
        for place, name in enumerate(EVIDENCE)
    )


def _profile_samples(ood: StateGeometry, pool: StateGeometry, seed: int) -> tuple[Profile, ...]:
    """The profiles after each layer, of the ID examples that are no reference and of the OOD examples."""
    layers, n = range(1, len(ood.norms)), ood.n_examples
    full = Plan.full(len(layers))
    return (
        profile_from_geometry(pool.select(layers, range(n, 2 * n)), "id", full, seed),
        profile_from_geometry(ood.select(layers), "ood", full, seed),
    )
