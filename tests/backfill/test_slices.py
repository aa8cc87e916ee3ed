"""Slices of a selection: every partition in one, after what it reads, with about as much left in each."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import Daily, PartitionKey, PartitionScheme, Workflow
from flowctx.backfill.order import own_mappings
from flowctx.backfill.slices import split
from flowctx.core.partitions.selection import Selection

SCHEME = PartitionScheme(
    venue=["X", "Y"], date=Daily(start="2012-01-02", end="2012-02-10", calendar="WEEKDAYS"), tier=["T1", "T2", "T3"]
)
ALONE = Workflow("alone", partitions=SCHEME)


def reader(name: str, **where: str) -> Workflow:
    """Return a workflow of which each partition reads the one of the day before."""
    flow = Workflow(name, partitions=SCHEME)

    @flow.step()
    def load(ctx: object) -> dict[str, int]:
        return {"rows": 1}

    before = flow.output(load).previous(1)

    @flow.step(inputs={"before": before.where(**where) if where else before})
    def add(ctx: object, *, before: object) -> None:
        """Read it."""

    return flow


CHAINED, COUPLED = reader("chained"), reader("coupled", tier="T2")
FLOWS = st.sampled_from([ALONE, CHAINED, COUPLED])
COUNTS = st.integers(1, 12)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    """Some keys of the scheme, of whatever shape."""
    keys = SCHEME.keys()
    if draw(st.booleans()):
        return keys
    low, high = sorted(draw(st.tuples(st.integers(0, len(keys)), st.integers(0, len(keys)))))
    return keys[low : high : draw(st.integers(1, 4))] | SCHEME.select(f"venue={draw(st.sampled_from('XY'))},tier=T3")


@st.composite
def started(draw: st.DrawFn) -> tuple[Selection, list[PartitionKey]]:
    """A selection, of which some is done."""
    selection = draw(selections())
    done = draw(st.lists(st.integers(0, max(0, len(selection) - 1)), unique=True, max_size=len(selection)))
    return selection, [selection[place] for place in done]


@settings(max_examples=40)
@given(FLOWS, started(), COUNTS)
def test_each_partition_that_is_left_is_in_one_slice(
    flow: Workflow, batch: tuple[Selection, list[PartitionKey]], count: int
) -> None:
    """No partition is in two slices, and all that are left are in one; a slice knows how many are left in it."""
    selection, done = batch
    parts = split(flow, selection, done, count)
    held = Counter(key for part in parts for key in part.selection)
    assert set(held.values()) <= {1}
    assert set(selection) - set(done) <= set(held) <= set(selection)
    assert [part.left for part in parts] == [len(set(part.selection) - set(done)) for part in parts]
    assert all(part.left for part in parts)
    assert len(parts) <= count


@settings(max_examples=40)
@given(st.sampled_from([CHAINED, COUPLED]), started(), COUNTS)
def test_what_a_partition_reads_of_the_batch_is_in_its_slice(
    flow: Workflow, batch: tuple[Selection, list[PartitionKey]], count: int
) -> None:
    """A chain of dates, and whatever it takes in across other dimensions, is never in two slices."""
    selection, done = batch
    for part in split(flow, selection, done, count):
        for mapping in own_mappings(flow):
            for key in list(part.selection)[::7]:
                assert all(read in part.selection for read in mapping.keys(key) if read in selection)


@settings(max_examples=40)
@given(started(), COUNTS)
def test_ranges_have_as_much_left_as_each_other(batch: tuple[Selection, list[PartitionKey]], count: int) -> None:
    """Where nothing is read, slices differ by one partition at most."""
    left = [part.left for part in split(ALONE, *batch, count)]
    assert max(left, default=0) - min(left, default=0) <= 1


@settings(max_examples=40)
@given(started(), COUNTS)
def test_chains_are_shared_out_evenly(batch: tuple[Selection, list[PartitionKey]], count: int) -> None:
    """No slice has more left than its fair share and the longest chain together."""
    selection, done = batch
    parts = split(CHAINED, selection, done, count)
    chains = Counter((key.venue, key.tier) for key in set(selection) - set(done))
    fair = sum(chains.values()) / count
    assert max((part.left for part in parts), default=0) <= fair + max(chains.values(), default=0)


def test_a_slice_is_read_back_from_its_text() -> None:
    """The text of a slice, which engines show and hand on, selects the same partitions."""
    for flow in (ALONE, CHAINED, COUPLED):
        for part in split(flow, SCHEME.keys(), [SCHEME.keys()[4]], 4):
            assert SCHEME.select(str(part.selection)).digest() == part.selection.digest()


def test_one_chain_is_one_slice() -> None:
    """Dates that follow each other across all other dimensions cannot be split."""
    assert [len(part.selection) for part in split(COUPLED, SCHEME.select("venue=X"), [], 8)] == [90]
    assert len(split(CHAINED, SCHEME.keys(), [], 8)) == 6
