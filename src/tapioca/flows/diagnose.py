"""What unlabelled inputs are to a model, before any search: in distribution, distorted or misaligned."""

from __future__ import annotations

import numpy as np

from tapioca.diagnosis.classify import classify, contributions, is_above_null, read_classifier
from tapioca.disk import write_text
from tapioca.flows.folder import choose_run_folder
from tapioca.flows.prepare import RunInputs, Tasks, load_inputs, make_header
from tapioca.flows.run_geometry import profile_from_geometry, sample_splits
from tapioca.models.find import find_layers
from tapioca.models.load import LoadedModel
from tapioca.observe import capture_stream_states
from tapioca.plan import Plan
from tapioca.profiles.evidence import EVIDENCE, measure_evidence, measure_evidence_of_halves
from tapioca.profiles.profiles import state_geometry
from tapioca.progress import SILENT, Progress
from tapioca.records import DiagnoseConfig, DiagnoseInfo, Evidence, Profile, ShiftClassifier
from tapioca.report.diagnose import write_diagnose_page
from tapioca.runs.fingerprint import fingerprint
from tapioca.runs.folder import claim_folder

N_HALVES = 20


def diagnose(
    config: DiagnoseConfig, watcher: Progress = SILENT, loaded: LoadedModel | None = None, tasks: Tasks | None = None
) -> DiagnoseInfo:
    """Say what to expect of pruning a model for some inputs, from their hidden states alone.

    Observed are the samples `tapioca geometry` observes for the same data and seed. Nothing is scored and no answer is
    used, but that labels, where rows have them, deal the rows evenly to the halves of the data.

    Args:
        config: the request.
        watcher, loaded, tasks: as of `flows.prepare.load_inputs`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the classifier, the data or the model.
    """
    classifier = read_classifier(config.classifier)
    ground = load_inputs(config, watcher, loaded, tasks)
    manifest = {**ground.manifest, "classifier": fingerprint(classifier.model_dump(mode="json"))}
    folder = choose_run_folder(config, manifest)
    manifest = claim_folder(folder, manifest)
    reference_states, id_states, ood_states = _observe_states(ground, config, watcher)
    watcher.stage("evidence", 0)
    ood_evidence = measure_evidence(ood_states, reference_states, id_states, config.seed)
    half_evidence = measure_evidence_of_halves(reference_states, id_states, N_HALVES, config.seed)
    info = DiagnoseInfo(
        **make_header(config, folder, manifest, ground.notes),
        n=ood_states.shape[1],
        diagnosis=classify(classifier, ood_evidence),
        evidence=_weigh_evidence(classifier, ood_evidence, half_evidence),
        n_halves=N_HALVES,
        profiles=_profile_samples(id_states, ood_states, config.seed),
        classifier=classifier,
    )
    write_text(folder / "diagnose.json", info.model_dump_json(indent=2) + "\n")
    write_diagnose_page(info)
    return info


def _observe_states(ground: RunInputs, config: DiagnoseConfig, watcher: Progress) -> list[np.ndarray]:
    """The streams of the ID reference, of other ID examples and of OOD examples under the full model."""
    model = ground.loaded.model
    full = Plan.full(len(find_layers(model)))
    reference, samples = sample_splits(ground.search, ground.test, config.seed)
    watcher.stage("hidden states", 3)
    sampled_states = []
    for examples in (reference, samples["id"], samples["ood"]):
        sampled_states.append(capture_stream_states(model, full, examples, config.batch_size))
        watcher.advance(1)
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
