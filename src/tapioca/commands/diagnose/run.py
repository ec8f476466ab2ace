"""What unlabelled inputs are to a model, before any search: in distribution, distorted or misaligned."""

import numpy as np

from tapioca.commands import save_result
from tapioca.commands.diagnose.config import DiagnoseConfig
from tapioca.commands.diagnose.result import DiagnoseResult, Evidence
from tapioca.diagnosis.classify import classify, contributions, is_above_null, read_classifier
from tapioca.diagnosis.records import ShiftClassifier
from tapioca.errors import DataError
from tapioca.models.find import find_layers
from tapioca.observe import GeometrySample, capture_stream_states
from tapioca.plan import Plan
from tapioca.profiles.evidence import EVIDENCE, measure_evidence, measure_evidence_of_halves
from tapioca.profiles.profiles import state_geometry
from tapioca.progress import SILENT, Progress
from tapioca.reading import explain_damage
from tapioca.records import Profile
from tapioca.runs.fingerprint import fingerprint
from tapioca.session.context import RunInputs, load_inputs, open_folder
from tapioca.session.geometry import profile_from_geometry

N_HALVES = 20


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
        ood_evidence = measure_evidence(ood_states, reference_states, id_states, config.seed)
        half_evidence = measure_evidence_of_halves(reference_states, id_states, N_HALVES, config.seed)
        with explain_damage(config.classifier or "the packaged classifier", DataError):
            diagnosis = classify(classifier, ood_evidence)
            weighed_evidence = _weigh_evidence(classifier, ood_evidence, half_evidence)
        info = DiagnoseResult(
            **header,
            n=ood_states.shape[1],
            diagnosis=diagnosis,
            evidence=weighed_evidence,
            n_halves=N_HALVES,
            profiles=_profile_samples(id_states, ood_states, config.seed),
            classifier=classifier,
        )
        save_result("diagnose", info)
    return info


def _observe_states(inputs: RunInputs, config: DiagnoseConfig, progress: Progress) -> list[np.ndarray]:
    """The streams of the ID reference, of other ID examples and of OOD examples under the full model."""
    model = inputs.loaded.model
    full = Plan.full(len(find_layers(model)))
    sample = GeometrySample.draw_held_out(inputs.search, inputs.test, config.seed)
    progress.stage("hidden states", 3)
    sampled_states = []
    for examples in (sample.reference, sample.id, sample.ood):
        sampled_states.append(capture_stream_states(model, full, examples, config.batch_size))
        progress.advance(1)
    return sampled_states


def _weigh_evidence(
    classifier: ShiftClassifier, ood_evidence: dict[str, float], half_evidence: list[dict[str, float]]
) -> tuple[Evidence, ...]:
    """The evidence beside that of ID halves, and what it adds to the verdict."""
    weights, pull_by_name = classifier.weights, {}
    if is_above_null(classifier.null_test, ood_evidence) and not weights.missing:
        pull_by_name = dict(zip(weights.names, contributions(weights, ood_evidence).tolist(), strict=True))
    return tuple(
        Evidence(
            name=name,
            value=ood_evidence[name],
            id_range=(min(half[name] for half in half_evidence), max(half[name] for half in half_evidence)),
            contribution=pull_by_name.get(name),
        )
        for name in EVIDENCE
    )


def _profile_samples(id_states: np.ndarray, ood_states: np.ndarray, seed: int) -> tuple[Profile, ...]:
    full = Plan.full(len(ood_states) - 1)
    return (
        profile_from_geometry(state_geometry(id_states[1:]), "id", full, seed),
        profile_from_geometry(state_geometry(ood_states[1:]), "ood", full, seed),
    )
