"""What unlabelled inputs are to a model, before any search: in distribution, distorted or misaligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tapioca.diagnosis.judge import above, pulls, read_judge, say
from tapioca.disk import write_text
from tapioca.flows.folder import folder_of
from tapioca.flows.geometry import profile_of, samples_of
from tapioca.flows.prepare import Ground, gather
from tapioca.flows.watcher import Silent, Watcher
from tapioca.geometry.evidence import EVIDENCE, evidence, evidence_of_halves
from tapioca.geometry.profiles import shape
from tapioca.models.find import find_layers
from tapioca.models.load import Loaded
from tapioca.observe import stream_states
from tapioca.records import DiagnoseConfig, DiagnoseInfo, Evidence, Judge, Plan, Profile
from tapioca.report.diagnose import write_diagnose_page
from tapioca.runs.fingerprint import fingerprint
from tapioca.runs.folder import claim
from tapioca.tasks.base import Task

HALVES = 20


def diagnose(
    config: DiagnoseConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> DiagnoseInfo:
    """Say what to expect of pruning a model for some inputs, from their hidden states alone.

    Observed are the samples `tapioca profile` observes for the same data and seed. Nothing is scored and no answer is
    used, but that labels, where rows have them, deal the rows evenly to the halves of the data.

    Args:
        config: the request.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the judge, the data or the model.
    """
    judge = read_judge(config.judge)
    watcher = watcher or Silent()
    ground = gather(config, watcher, loaded, tasks)
    manifest = {**ground.manifest, "judge": fingerprint(judge.model_dump(mode="json"))}
    folder = folder_of(config, manifest)
    manifest = claim(folder, manifest)
    reference, other, ood = _states(ground, config, watcher)
    watcher.stage("evidence", 0)
    found = evidence(ood, reference, other, config.seed)
    usual = evidence_of_halves(reference, other, HALVES, config.seed)
    info = DiagnoseInfo(
        folder=folder,
        command=config.command(),
        model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
        model_hash=manifest["model"],
        task=config.task,
        reference=config.reference,
        notes=ground.notes,
        n=ood.shape[1],
        said=say(judge, found),
        evidence=_weighed(judge, found, usual),
        halves=HALVES,
        profiles=_profiles(other, ood, config.seed),
        judge=judge,
    )
    write_text(folder / "diagnose.json", info.model_dump_json(indent=2) + "\n")
    write_diagnose_page(info)
    return info


def _states(ground: Ground, config: DiagnoseConfig, watcher: Watcher) -> list[np.ndarray]:
    """The streams of the ID reference, of other ID examples and of OOD examples under the full model."""
    model = ground.loaded.model
    full = Plan.full(len(find_layers(model)))
    reference, samples = samples_of(ground.search, ground.test, config.seed)
    watcher.stage("hidden states", 3)
    found = []
    for examples in (reference, samples["id"], samples["ood"]):
        found.append(stream_states(model, full, examples, config.batch_size))
        watcher.advance(1)
    return found


def _weighed(judge: Judge, found: dict[str, float], usual: list[dict[str, float]]) -> tuple[Evidence, ...]:
    """The evidence beside that of ID halves, and what it adds to the verdict."""
    weighs = above(judge.gate, found) and not judge.weights.missing
    pull = dict(zip(judge.weights.names, pulls(judge.weights, found).tolist(), strict=True)) if weighs else {}
    return tuple(
        Evidence(
            name=name,
            value=found[name],
            halves=(min(one[name] for one in usual), max(one[name] for one in usual)),
            pull=pull.get(name),
        )
        for name in EVIDENCE
    )


def _profiles(other: np.ndarray, ood: np.ndarray, seed: int) -> tuple[Profile, ...]:
    full = Plan.full(len(ood) - 1)
    return (profile_of(shape(other[1:]), "id", full, seed), profile_of(shape(ood[1:]), "ood", full, seed))
