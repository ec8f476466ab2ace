"""Split data into what the search may see and what it is judged on."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TypeVar

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.base import Task
from tapioca.tasks.limit import hash_with_seed

AnyTask = TypeVar("AnyTask", bound=Task)
LEAST_GROUPS = 8


def search_groups(datasets: Sequence[Sequence[Example]], share: float, seed: int) -> set[str]:
    """The groups that go to search: a seeded hash orders them, stratum by stratum.

    Args:
        datasets: the examples of all data sets of a run, so that a group they share lands on one side in
            all of them. Groups that stand in the same data sets and whose first example has the same
            label make a stratum.
        share: of every stratum's groups that go to search.
        seed: of the hash.
    """
    labels: dict[str, str] = {}
    datasets_by_group: dict[str, set[int]] = defaultdict(set)
    for dataset_index, examples in enumerate(datasets):
        for example in examples:
            labels.setdefault(example.group, example.label)
            datasets_by_group[example.group].add(dataset_index)
    strata: dict[tuple[object, str], list[str]] = defaultdict(list)
    for group, label in labels.items():
        strata[frozenset(datasets_by_group[group]), label].append(group)
    chosen: set[str] = set()
    for groups in strata.values():
        ordered = sorted(groups, key=lambda group: hash_with_seed(group, seed))
        chosen.update(ordered[: round(share * len(ordered))])
    return chosen


def split(task: AnyTask, groups: set[str]) -> tuple[AnyTask, AnyTask]:
    """Search and test part of a task.

    Raises:
        DataError: a part has fewer than `LEAST_GROUPS` groups.
    """
    all_groups = set(task.groups)
    n_search, n_test = len(all_groups & groups), len(all_groups - groups)
    if min(n_search, n_test) < LEAST_GROUPS:
        raise DataError(
            f"{task.name}: {len(task.examples)} examples in {len(all_groups)} groups make {n_search} groups for search and "
            f"{n_test} for test; at least {LEAST_GROUPS} of each are needed, give more data or another --search-share"
        )
    search = task.select_examples(example for example in task.examples if example.group in groups)
    test = task.select_examples(example for example in task.examples if example.group not in groups)
    return search, test


def check_size(task: Task, what: str) -> None:
    """Refuse with a DataError a part too small to say anything, of fewer than `LEAST_GROUPS` groups."""
    if len(set(task.groups)) < LEAST_GROUPS:
        raise DataError(
            f"{task.name}: {len(task.examples)} examples in {len(set(task.groups))} groups for {what}; "
            f"at least {LEAST_GROUPS} groups are needed, give more data"
        )


def limit_task(task: AnyTask, limit: int | None, seed: int) -> AnyTask:
    """At most `limit` examples, group after group in seeded order, so that a small sample still covers the file."""
    if limit is None or limit >= len(task.examples):
        return task
    order = sorted(task.examples, key=lambda e: (hash_with_seed(e.group, seed), e.id))
    kept_ids = {example.id for example in order[:limit]}
    return task.select_examples(example for example in task.examples if example.id in kept_ids)


def refuse_same(first: Task, second: Task) -> None:
    """Refuse with a DataError two data sets whose rows say the same, whatever their ids."""
    if {example.content for example in first.examples} == {example.content for example in second.examples}:
        raise DataError(f"{second.name} holds the same rows as {first.name}; ID and OOD data must differ")


def refuse_seen(test: Task, seen: Collection[str], model: str) -> None:
    """Refuse with a DataError rows to judge a model on that it was searched or tuned on.

    Args:
        test: the rows.
        seen: digests of rows that the model has seen.
        model: what the user calls it.
    """
    leaked = [example for example in test.examples if example.row_digest in seen]
    if leaked:
        raise DataError(
            f"{len(leaked)} of {len(test.examples)} rows of {test.name} (such as id '{leaked[0].id}') stand among those that {model} was "
            "searched or tuned on; remove them, or give --run RUN for the test rows of the run it comes from"
        )


def refuse_leak(search: Task, test: Task) -> None:
    """Refuse with a DataError a test split of which a row or a group stands in the search split."""
    contents, groups = {example.content for example in search.examples}, set(search.groups)
    leaked = [example for example in test.examples if example.content in contents or example.group in groups]
    if leaked:
        raise DataError(
            f"{len(leaked)} of {len(test.examples)} test rows of {test.name} (such as id '{leaked[0].id}') stand among the search rows of "
            f"{search.name}, or share a group with one; remove them, or give such rows one group"
        )
