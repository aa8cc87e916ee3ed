"""A selection in slices that can run beside each other: each partition in one of them, after what it reads."""

from __future__ import annotations

import heapq
import itertools
import operator
from bisect import bisect_left
from collections.abc import Sequence
from functools import reduce
from typing import Final, NamedTuple

from flowctx.backfill.order import own_mappings
from flowctx.backfill.selected import scheme_of
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow

#: So many groups for each slice are enough to balance them.
_GROUPS: Final = 16


class Part(NamedTuple):
    """A slice of a selection."""

    #: Its partitions, done ones among them.
    selection: Selection
    #: How many of them are left to run.
    left: int


def split(workflow: Workflow, selection: Selection, done: Sequence[PartitionKey], count: int) -> list[Part]:
    """Return a selection in slices with about as much left to run in each; those with nothing left are left out.

    Where no partition reads another one of the selection, a slice is a range of it. Where they do, a slice has all
    dates and whatever else hangs together: it is split along the other dimensions only, and is one slice if there are
    none.

    Args:
        workflow: The workflow.
        selection: What is to run, and what has run before.
        done: Its keys that need no more to be run.
        count: How many slices there are to be, if there is as much to split.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> scheme = PartitionScheme(date=Daily(start="2012-01-02", end="2012-01-05"), tier=["T1", "T2"])
        >>> flow = Workflow("tiers", partitions=scheme)
        >>> parts = split(flow, scheme.keys(), [scheme.keys()[0]], 2)
        >>> [(len(part.selection), part.left) for part in parts]
        [(4, 3), (4, 4)]
    """
    mappings = own_mappings(workflow)
    if not mappings:
        return _ranges(selection, done, count)
    scheme = scheme_of(workflow)
    kept = frozenset[str].intersection(*(mapping.kept for mapping in mappings))
    free = [name for name in scheme.dimensions if name in kept and name != scheme.cadence_dimension]
    return _groups(selection, done, count, free)


def _ranges(selection: Selection, done: Sequence[PartitionKey], count: int) -> list[Part]:
    """Return ranges of a selection."""
    places = sorted(selection.index(key) for key in done)
    left = len(selection) - len(places)
    ends = [_place_of(places, number * left // count) for number in range(1, count)]
    bounds = [0, *ends, len(selection)] if left else [0]
    parts = []
    for start, end in itertools.pairwise(bounds):
        done_there = bisect_left(places, end) - bisect_left(places, start)
        if end - start > done_there:
            parts.append(Part(selection[start:end], end - start - done_there))
    return parts


def _place_of(done: Sequence[int], number: int) -> int:
    """Return the place before which so many are left to run."""
    # Of those before the done one at ``i``, ``done[i] - i`` are left.
    before = bisect_left(range(len(done)), number, key=lambda i: done[i] - i)
    return number + before


def _groups(selection: Selection, done: Sequence[PartitionKey], count: int, free: Sequence[str]) -> list[Part]:
    """Return groups of values of free dimensions, the largest of them first given to whoever has least."""
    names: list[str] = []
    groups: dict[tuple[str, ...], Selection] = {(): selection}
    for name in free:
        if len(groups) >= count * _GROUPS:
            break
        names.append(name)
        groups = {(*at, value): some for at, all_ in groups.items() for value, some in all_.by_value(name)}
    left = {at: len(some) for at, some in groups.items()}
    for key in done:
        left[tuple(key[name] for name in names)] -= 1
    heap = [(0, number) for number in range(count)]
    parts: list[list[tuple[str, ...]]] = [[] for _ in heap]
    for at in sorted((at for at, some in left.items() if some), key=lambda at: -left[at]):
        load, number = heapq.heappop(heap)
        parts[number].append(at)
        heapq.heappush(heap, (load + left[at], number))
    some = filter(None, parts)
    return [Part(reduce(operator.or_, map(groups.__getitem__, one)), sum(left[at] for at in one)) for one in some]
