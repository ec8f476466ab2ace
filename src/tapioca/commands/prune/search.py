"""The search of a run: TALE's greedy, or the plans another criterion picks, as one path of plans and scores."""

from dataclasses import replace

import numpy as np

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.meter import WorkMeter
from tapioca.commands.prune.targets import make_search
from tapioca.commands.prune.unlabelled import search_without_labels
from tapioca.errors import UsageError
from tapioca.plan import GRAINS, Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.records import Scores, Trial
from tapioca.search.base import Search, SearchSpace
from tapioca.search.criteria import CRITERIA, PASSES, PASSES_A_PLAN, UNLABELLED, Criterion, shorten_rounds
from tapioca.search.floor import FlooredSearch
from tapioca.search.path import SearchPath
from tapioca.search.population import search_randomly
from tapioca.search.race import DELTA, Race, choose_bound
from tapioca.session.context import AnyRun, RunContext
from tapioca.session.preflight import reference_drops
from tapioca.session.run_criteria import CriteriaRunner
from tapioca.session.search_space import incompatibility
from tapioca.session.unlabelled_data import UnlabelledData, explain_missing
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_chunks


def criterion_from_config(config: PruneConfig) -> Criterion:
    """The criterion a user names.

    Raises:
        UsageError: there is none of that name, or the request says what it has no use for.
    """
    name, criterion = config.criterion, CRITERIA[config.criterion]
    flags = {"--epsilon": config.epsilon is not None, "--ties": config.ties != "index", "--race": config.race}
    for flag, is_given in flags.items():
        if is_given and not criterion.stops_at_floor:
            raise UsageError(f"{flag} belongs to --criterion tale, got {name}; leave it out")
    if config.shortlist:
        if name != "tale":
            raise UsageError(f"--shortlist belongs to --criterion tale, got {name}; leave it out")
        return shorten_rounds(criterion, config.shortlist)
    if criterion.choose is search_randomly and not config.random_plans:
        raise UsageError("--criterion random chooses among --random-plans plans, got 0; ask for at least 1")
    return criterion


def restrict_sizes(job: RunContext[PruneConfig]) -> SearchSpace:
    """What there is to choose from, for each number of drops up to `max_drops`; by default all there can be where the
    search stops by itself, and half as many as there are layers where it does not.

    Raises:
        UsageError: the criterion cannot be used on this model.
    """
    config = job.config
    criterion = criterion_from_config(config)
    reason = incompatibility(criterion, job.space, job.search)
    if not (reason or criterion.reads_labels):
        reason = explain_missing("faithful", UnlabelledData(job.search["ood"], job.search.get("id")))
    if reason:
        option, remedy = f"--criterion {config.criterion}", "choose another"
        if criterion.shortlist:
            option, remedy = f"--shortlist {criterion.shortlist}", "leave it out"
        raise UsageError(f"{option} cannot be used: {reason}; {remedy}")
    half = max(1, job.n_layers // 2)
    stops_by_itself = criterion.stops_at_floor or not criterion.reads_labels
    most = config.max_drops or (job.n_layers if stops_by_itself else half)
    return replace(job.space, sizes=tuple(range(1, min(most, half if criterion.repeats else job.space.max_drops) + 1)))


def run_search(job: RunContext[PruneConfig]) -> SearchPath:
    """Search on the OOD search split."""
    criterion, space = criterion_from_config(job.config), job.space
    if criterion.guide in UNLABELLED:
        return search_without_labels(job, criterion.guide, criterion.choose)
    if not criterion.stops_at_floor:
        return _search_by_criterion(job, criterion)
    if criterion.measured:
        space, _ = CriteriaRunner(job).measure_guide(criterion.measured)
    if criterion.shortlist:
        job.add_notes(
            f"each round scores the {criterion.shortlist} drops that gradients, then the round before, rank first; it may "
            "miss its best"
        )
    return _search_to_floor(job, make_search(job, criterion, space))


def estimate_round_costs(criterion: Criterion, space: SearchSpace) -> list[float]:
    """What each round of a search would cost, in passes of the full model over the search data, found by letting all
    scores be equal; a search whose number of rounds hangs on the scores may make more.

    The first round of a criterion guided by states or gradients is what reads them; that of a shortlist holds the gradients
    too. A criterion not guided by answers to the task ends with a round that scores its picks; one that reads no answer to OOD
    data has every plan answer the ID data too, which count as if they were as many.
    """
    count = space.n_layers
    rounds = [PASSES[criterion.guide]] if criterion.guide in PASSES else []
    if criterion.guide not in (*PASSES, "nothing"):
        search = Search(criterion.choose, replace(space, drop_effects=dict.fromkeys(GRAINS, np.zeros(count))))
        while question := search.ask():
            passes = PASSES_A_PLAN.get(criterion.guide, question.share)
            if not criterion.reads_labels:
                passes += 1.0  # on ID data, to which plans must stay faithful
            rounds.append(passes * count_layers_computed(question.plans) / count)
            search.tell([0.0] * len(question.plans))
    if criterion.shortlist:
        rounds[0] += PASSES["gradients"]
    if criterion.reads_labels and criterion.guide not in ("score", "likelihood"):
        saved = 0.5 if criterion.branches else 1.0
        rounds.append(sum(count - saved * size for size in space.sizes) / count)
    return rounds


def _search_to_floor(job: RunContext[PruneConfig], search: FlooredSearch) -> SearchPath:
    """A search round by round; plans that cannot win a round, or with --race hardly, are stopped on the way."""
    meter, bound = WorkMeter(job), _measure_race_bound(job)
    while plans := search.ask():
        first = not search.path
        what = "full model on OOD search data" if first else f"round {len(search.rounds) + 1}: {len(plans)} plans"
        race = None if first else _make_race(job, len(plans), bound)
        scores = job.evaluate(job.search["ood"], plans, what, race)
        search.tell(_trials_from_scores(job, scores))
        if not first:
            work = {"work": meter.measure_work(scores), "bound": bound}
            search.rounds[-1] = search.rounds[-1].model_copy(update=work)
        _tell_best(job, search)
    return search


def _measure_race_bound(job: RunContext[PruneConfig]) -> float | None:
    """What differences are cut to in a race over scores that have no bounds; None where there is no such race.

    The full model and the probes are known on all examples before any round: neither the order of the examples nor
    what a round finds plays a part.
    """
    task = job.search["ood"]
    if not job.config.race or _has_bounded_scores(task):
        return None
    scores = job.evaluate(task, [Plan.full(job.n_layers), *reference_drops(job.space)], "bound of the race")
    bound = choose_bound(scores.values * task.weights / task.weights.mean())
    name = task.metric.name
    if not bound:
        job.progress.note(f"race: nearly all differences in {name} are 0 under the checked drops, so none is run")
        return None
    job.progress.note(f"race: differences in {name} beyond {bound:.3g} are cut to {bound:.3g} when plans are stopped")
    return bound


def _make_race(job: RunContext[PruneConfig], plans: int, bound: float | None) -> Race | None:
    """What stops plans that cannot win, or with --race hardly; None where nothing does.

    Args:
        bound: what differences are cut to, in a race over scores that have no bounds.
    """
    task, config = job.search["ood"], job.config
    if bound:
        chunks = make_chunks(task, config.batch_size, config.order_seed)
        ordered_examples = [example for chunk in chunks for example in chunk.examples]
        weights = np.array([example.weight for example in ordered_examples])
        return Race(plans, len(ordered_examples), bound, DELTA, weights / weights.mean())
    return Race(plans, len(task.examples), delta=DELTA if config.race else 0.0) if _has_bounded_scores(task) else None


def _has_bounded_scores(task: Task) -> bool:
    """Whether scores are between 0 and 1 and weigh the same."""
    return task.metric.kind == "accuracy" and len(set(task.weights)) == 1


def _search_by_criterion(job: RunContext[PruneConfig], criterion: Criterion) -> SearchPath:
    """The plans a criterion picks, whatever guided it, and the full model by the task's score."""
    config = job.config
    picks, searched = CriteriaRunner(job).choose(config.criterion, criterion)
    if not picks:
        most = max(job.space.sizes)
        raise UsageError(f"--criterion {config.criterion} picks no plan of up to {most} drops; choose another")
    plans = [Plan.full(job.n_layers), *(picks[size] for size in sorted(picks))]
    what = f"{len(picks)} plans chosen by {config.criterion}"
    full, *trials = _trials_from_scores(job, job.evaluate(job.search["ood"], plans, what))
    search = SearchPath.from_picks(full, trials, 1 + (searched.plans_tried or len(trials)))
    _tell_best(job, search)
    return search


def _trials_from_scores(job: AnyRun, scores: Scores) -> list[Trial]:
    """Mean score and likelihood of each plan on the search examples it was asked."""
    weights, trials = job.search["ood"].weights, []
    for plan, values, likelihoods in zip(scores.plans, scores.values, scores.log_likelihoods, strict=True):
        is_scored = ~np.isnan(values)
        score, likelihood = (np.average(row[is_scored], weights=weights[is_scored]) for row in (values, likelihoods))
        n_scored = None if is_scored.all() else int(is_scored.sum())
        trials.append(Trial(plan=plan, score=float(score), log_likelihood=float(likelihood), n_scored=n_scored))
    return trials


def _tell_best(job: AnyRun, search: SearchPath) -> None:
    job.progress.status(f"best so far: {search.best.plan}: {job.metric.name} {job.metric.format(search.best.score)}")
