"""Splits: groups stay whole, labels stay balanced, shared groups land on one side."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import choice_rows, write_lines
from support.words import WORDS, word_tokenizer

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.choice import ACCURACY, Choice
from tapioca.tasks.files import load_task
from tapioca.tasks.split import limit_task, refuse_leak, refuse_same, search_groups, split
from tapioca.tasks.text import Encoder


def example(name: str, group: str, label: str = "", content: str = "") -> Example:
    return Example(id=name, group=group, rows=(), prompt=(), label=label, content=content or name)


def task_of(examples: list[Example], name: str = "task") -> Choice:
    return Choice(name=name, examples=tuple(examples), metric=ACCURACY)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), min_size=60, max_size=200),
    st.floats(0.3, 0.7),
    st.integers(0, 9),
)
def test_groups_stay_whole_and_nothing_is_lost(pairs: list[tuple[int, str]], share: float, seed: int) -> None:
    examples = [example(str(at), f"g{group}", label) for at, (group, label) in enumerate(pairs)]
    chosen = search_groups([examples], share, seed)
    groups = {e.group for e in examples}
    assert chosen <= groups
    try:
        search, test = split(task_of(examples), chosen)
    except DataError:
        return
    assert not set(search.groups) & set(test.groups)
    assert len(search.examples) + len(test.examples) == len(examples)


def test_labels_are_balanced() -> None:
    examples = [example(str(at), str(at), "rare" if at % 10 == 0 else "common") for at in range(400)]
    search, test = split(task_of(examples), search_groups([examples], 0.5, 0))
    assert [sum(e.label == "rare" for e in part.examples) for part in (search, test)] == [20, 20]


def test_the_seed_decides_and_order_does_not() -> None:
    examples = [example(str(at), str(at)) for at in range(100)]
    assert search_groups([examples], 0.5, 0) == search_groups([examples[::-1]], 0.5, 0)
    assert search_groups([examples], 0.5, 0) != search_groups([examples], 0.5, 1)


def test_a_group_shared_by_data_sets_lands_on_one_side() -> None:
    first = [example(f"a{at}", f"g{at}") for at in range(60)]
    second = [example(f"b{at}", f"g{at}") for at in range(30, 90)]
    groups = search_groups([first, second], 0.5, 0)
    (search_a, test_a), (search_b, test_b) = split(task_of(first), groups), split(task_of(second), groups)
    assert not set(search_a.groups) & set(test_b.groups)
    assert not set(search_b.groups) & set(test_a.groups)
    assert len(search_a.examples) == len(search_b.examples) == 30


def test_too_few_groups() -> None:
    examples = [example(str(at), f"g{at % 3}") for at in range(100)]
    with pytest.raises(
        DataError, match="100 examples in 3 groups make 2 groups for search and 1 for test; at least 8 of each"
    ):
        split(task_of(examples), search_groups([examples], 0.5, 0))


def test_a_limit_takes_whole_groups_from_all_over() -> None:
    task = task_of([example(str(at), f"g{at // 5}") for at in range(500)])
    some = limit_task(task, 50, seed=0)
    assert len(some.examples) == 50
    assert len(set(some.groups)) == 10
    assert max(int(e.id) for e in some.examples) > 250
    assert limit_task(task, None, 0) is task


def test_the_same_data_twice_is_refused() -> None:
    first = task_of([example(str(at), str(at), content=f"c{at}") for at in range(20)], "first")
    again = task_of([example(f"x{at}", str(at), content=f"c{at}") for at in range(20)], "again")
    other = task_of([example(str(at), str(at), content=f"c{at}") for at in range(15, 40)], "other")
    apart = task_of([example(str(at), str(at), content=f"c{at}") for at in range(20, 40)], "apart")
    with pytest.raises(DataError, match="again holds the same rows as first"):
        refuse_same(first, again)
    refuse_same(first, other)
    refuse_leak(first, apart)
    with pytest.raises(
        DataError, match=r"5 of 25 test rows of other \(such as id '15'\) stand among the search rows of first"
    ):
        refuse_leak(first, other)
    by_group = task_of([example("new", "3", content="new")], "by group")
    with pytest.raises(DataError, match="1 of 1 test rows"):
        refuse_leak(first, by_group)


def test_rows_without_a_group_are_grouped_by_content(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key not in ("id", "group")} for row in choice_rows(4)]
    task = load_task(str(write_lines(tmp_path / "t.jsonl", rows)), Encoder(word_tokenizer(), 128), {})
    assert len(set(task.groups)) == 4
    assert task.examples[0].id == task.examples[0].content


@pytest.mark.parametrize("named", [(), ("id",), ("group",), ("id", "group")])
def test_copies_of_a_long_text_stay_together(tmp_path: Path, named: tuple[str, ...]) -> None:
    """Every window of a text and of its copies stands on one side, under an id of its own."""
    random = Random(0)
    texts = [" ".join(random.choices(WORDS[3:], k=11)) for _ in range(20)]
    names = {"id": range(40), "group": [*range(20), *range(19, -1, -1)]}
    rows = [{"text": text} for text in [*texts, *texts[::-1]]]
    rows = [{**row, **{name: f"{name}{names[name][at]}" for name in named}} for at, row in enumerate(rows)]
    task = load_task(str(write_lines(tmp_path / "t.jsonl", rows)), Encoder(word_tokenizer(), 128), {"window": 4})
    told = "t.jsonl: 20 rows say the same as an earlier one; each is kept, in one group with it"
    assert [note for note in task.notes if "say the same" in note] == ([] if "id" in named else [told])
    assert len({example.id for example in task.examples}) == len(task.examples) == 40 * 3
    search, test = split(task, search_groups([task.examples], 0.5, 0))
    assert (len(search.examples), len(test.examples)) == (60, 60)
    assert not {example.content for example in search.examples} & {example.content for example in test.examples}
