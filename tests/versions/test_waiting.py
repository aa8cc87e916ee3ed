"""What differs on its way to a reader: the largest change first, with little of it in memory."""

from __future__ import annotations

import json
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.errors import FlowctxError
from flowctx.core.partitions.key import PartitionKey
from flowctx.versions.changes import Change
from flowctx.versions.differences import Differences, Outcome, StepDifference
from flowctx.versions.html_page import html_parts, render_html
from flowctx.versions.largest_first import LargestFirst
from flowctx.versions.shown import lines, to_data
from flowctx.versions.waiting import WaitingDifferences

SIZES = st.lists(st.sampled_from([0.0, 1.0, 2.5, float("inf")]), max_size=20)


@given(SIZES, st.none() | st.integers(1, 5))
def test_texts_come_by_size_and_else_as_they_came(sizes, most):
    """Also where only the first few are asked for, and the others are not even made."""
    texts = [f"{place}" for place in range(len(sizes))]
    with LargestFirst(most) as found:
        for size, text in zip(sizes, texts, strict=True):
            found.add(size, lambda text=text: text)
        expected = sorted(texts, key=lambda text: -sizes[int(text)])
        assert list(found)[:most] == expected[:most]


def some(number, name="n"):
    """Yield so many steps of partitions that differ, the last one the most."""
    for at in range(number):
        change = Change(path=name, old=f"hunter2-{at}" if name != "n" else 0, new=at)
        key = PartitionKey(tier=f"T{at}")
        yield StepDifference(partition=key, step="s", outcome=Outcome.CHANGED, changes=(change,), after="hunter2-0")


@pytest.mark.parametrize("name", ["n", "token"])
def test_it_is_what_is_shown_of_all_at_once(name):
    """As lines, as data and as a page."""
    whole = Differences(workflow="w", before="b1", after="b2")
    for one in some(7, name):
        whole.add(one)
    found = Differences(workflow="w", before="b1", after="b2")
    with WaitingDifferences(found, some(7, name), data=True) as waiting:
        assert not found.equal
        assert list(waiting.lines()) == list(lines(whole))
        assert "".join(html_parts(found, waiting.lines())) == render_html(whole)
        assert json.loads(json.dumps({**waiting.head(), "steps": list(waiting.data())})) == to_data(whole)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_is_only_counted_differs_as_what_is_kept(outcome):
    """Whether two versions are equal is one rule; what has been put together by hand need not be counted."""
    one = StepDifference(partition=None, step="s", outcome=outcome)
    found = [Differences(workflow="w", before="b1", after="b2") for _ in range(3)]
    found[0].add(one)
    found[1].steps.append(one)
    with WaitingDifferences(found[2], [one]):
        assert {(each.equal, bool(each)) for each in found} == {(not outcome.differs, outcome.differs)}


def test_few_differences_are_in_memory():
    """Of two thousand, no more than a few are there at any time."""
    alive, most = weakref.WeakSet(), 0

    class Seen(Change):
        __slots__ = ("__weakref__",)
        __hash__ = object.__hash__

    def watched():
        nonlocal most
        for one in some(2000):
            change = Seen(path="n", old=0, new=one.changes[0].new)
            alive.add(change)
            most = max(most, len(alive))
            yield StepDifference(partition=one.partition, step="s", outcome=Outcome.CHANGED, changes=(change,))

    with WaitingDifferences(Differences(workflow="w", before="b1", after="b2"), watched()) as waiting:
        assert sum(1 for _ in waiting.lines()) == 2000
    assert most < 10


def test_a_full_disk_is_said_where_it_is():
    """What differs needs room in the folder of temporary files."""
    with LargestFirst() as texts:
        texts._file.execute("PRAGMA max_page_count = 3")
        with pytest.raises(FlowctxError, match="is full.*set TMPDIR to a folder that has room"):
            texts.add(1.0, lambda: "text" * 10_000)
