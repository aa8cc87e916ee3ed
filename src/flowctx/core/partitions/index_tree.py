"""Sets of keys as trees of index ranges: counted, indexed, sliced and combined without listing a key.

A key is a path: one index per dimension, in the scheme's order. A tree holds, for its first dimension, runs of
indexes that share one subtree for the dimensions after it; so a whole scheme takes one run per dimension, and the
same set of paths always makes the same tree.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

#: From an index to the one after the last, and what follows them.
Segment = tuple[int, int, "Tree"]

#: For one dimension, its runs of indexes.
Runs = tuple[range, ...]


class Tree:
    """An immutable, non-empty set of paths; ``POINT`` is the one without dimensions.

    Args:
        runs: Ranges of indexes in ascending order, none reaching past the first of the next, each with its subtree.

    Example:
        >>> box([range(3), range(2)]).count
        6
    """

    __slots__ = ("_firsts", "_hash", "_offsets", "count", "runs")
    #: Runs of this dimension, each with what follows it.
    runs: tuple[tuple[range, Tree], ...]
    #: How many paths there are.
    count: int

    def __init__(self, runs: tuple[tuple[range, Tree], ...]) -> None:
        self.runs = runs
        self._firsts = [run[0] for run, _ in runs]
        self._offsets = [0]
        for run, below in runs:
            self._offsets.append(self._offsets[-1] + len(run) * below.count)
        self.count = self._offsets[-1] if runs else 1
        self._hash = hash(runs)

    def path(self, position: int) -> list[int]:
        """Return the path at a position, from 0 to ``count - 1``."""
        path = []
        tree = self
        while tree.runs:
            at = bisect_right(tree._offsets, position) - 1
            run, below = tree.runs[at]
            steps, position = divmod(position - tree._offsets[at], below.count)
            path.append(run[steps])
            tree = below
        return path

    def position(self, path: Sequence[int]) -> int | None:
        """Return the position of a path, or None if it is not in the set."""
        position = 0
        tree = self
        for index in path:
            at = bisect_right(tree._firsts, index) - 1
            if at < 0 or index not in tree.runs[at][0]:
                return None
            run, below = tree.runs[at]
            position += tree._offsets[at] + run.index(index) * below.count
            tree = below
        return position

    def segments(self) -> Iterator[Segment]:
        """Yield the runs without steps: a stepped one becomes single indexes."""
        for run, below in self.runs:
            if run.step == 1:
                yield run.start, run.stop, below
            else:
                for index in run:
                    yield index, index + 1, below

    def cut(self, low: int, high: int) -> Tree | None:
        """Return the paths at positions ``low`` to ``high - 1``."""
        if low <= 0 and high >= self.count:
            return self
        if not self.runs:
            return None
        segments: list[Segment] = []
        for (run, below), offset in zip(self.runs, self._offsets, strict=False):
            first, last = max(0, low - offset), min(len(run) * below.count, high - offset)
            if first >= last:
                continue
            (a, head), (b, tail) = divmod(first, below.count), divmod(last, below.count)
            if a == b:
                segments += _one(run[a], below.cut(head, tail))
                continue
            if head:
                segments += _one(run[a], below.cut(head, below.count))
                a += 1
            segments += Tree(((run[a:b], below),)).segments() if a < b else ()
            if tail:
                segments += _one(run[b], below.cut(0, tail))
        return tree_of(segments)

    def stride(self, first: int, step: int) -> Tree | None:
        """Return the paths at positions ``first``, ``first + step`` and so on; ``first`` is less than ``step``."""
        return self if step == 1 else _stride(self, first, step, {})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        return self is other or (self._hash == other._hash and self.runs == other.runs)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Tree], tuple[object, ...]]:
        return Tree, (self.runs,)


#: The set of the one path that has no dimensions: the end of every branch.
POINT: Final = Tree(())


def _one(index: int, below: Tree | None) -> list[Segment]:
    return [] if below is None else [(index, index + 1, below)]


def _stride(tree: Tree, first: int, step: int, seen: dict[tuple[Tree, int], Tree | None]) -> Tree | None:
    if not tree.runs:
        return tree if first == 0 else None
    key = (tree, first)
    if key not in seen:
        segments: list[Segment] = []
        offset = 0
        for run, below in tree.runs:
            for index in run:
                segments += _one(index, _stride(below, (first - offset) % step, step, seen))
                offset += below.count
        seen[key] = tree_of(segments)
    return seen[key]


def tree_of(segments: Iterable[Segment]) -> Tree | None:
    """Make the one tree that stands for these segments, which are in ascending order and do not overlap."""
    merged: list[Segment] = []
    for start, stop, below in segments:
        if merged and merged[-1][1] == start and merged[-1][2] == below:
            merged[-1] = (merged[-1][0], stop, below)
        else:
            merged.append((start, stop, below))
    runs: list[tuple[range, Tree]] = []
    at = 0
    while at < len(merged):
        start, stop, below = merged[at]
        length = _progression(merged, at)
        if length >= 3:
            runs.append((range(start, merged[at + length - 1][1], merged[at + 1][0] - start), below))
            at += length
        else:
            runs.append((range(start, stop), below))
            at += 1
    return Tree(tuple(runs)) if runs else None


def _progression(merged: list[Segment], at: int) -> int:
    """Count the single indexes from ``at`` on that are evenly spaced and share a subtree."""
    length = 1
    while at + length < len(merged):
        (a, a_stop, a_below), (b, b_stop, b_below) = merged[at + length - 1], merged[at + length]
        if a_stop - a != 1 or b_stop - b != 1 or a_below != b_below:
            break
        if length > 1 and b - a != merged[at + 1][0] - merged[at][0]:
            break
        length += 1
    return length


def tree_over(ranges: Iterable[range], below: Tree = POINT) -> Tree | None:
    """Make the tree of one dimension from ranges that may overlap and come in any order.

    Example:
        >>> tree_over([range(4, 6), range(0, 5)]).runs[0][0]
        range(0, 6)
    """
    spans: list[tuple[int, int]] = []
    for item in ranges:
        if item.step == 1:
            spans += [(item.start, item.stop)] if item else []
        else:
            spans += [(index, index + 1) for index in item]
    apart: list[Segment] = []
    for start, stop in sorted(spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(stop, apart[-1][1]), below)
        else:
            apart.append((start, stop, below))
    return tree_of(apart)


def box(ranges: Sequence[range]) -> Tree | None:
    """Make the tree of all paths whose every index lies in the range of its dimension."""
    return tree_of_block([[item] for item in ranges])


def tree_of_block(block: Sequence[Iterable[range]]) -> Tree | None:
    """Return the set of all paths with the indexes of some runs in each dimension; ``None`` if one has none."""
    below: Tree | None = POINT
    for ranges in reversed(block):
        below = tree_over(ranges, below) if below is not None else None
    return below


def combine(a: Tree | None, b: Tree | None, keep: Callable[[bool, bool], bool]) -> Tree | None:
    """Combine two sets of paths.

    Args:
        a: One set; None is the empty one.
        b: The other.
        keep: Given whether a path is in ``a`` and in ``b``, whether it is in the result; never asked for neither.

    Example:
        >>> combine(box([range(4)]), box([range(2)]), lambda a, b: a and not b).runs[0][0]
        range(2, 4)
    """
    return _combine(a, b, keep, {})


def union(trees: Iterable[Tree | None]) -> Tree | None:
    """Unite sets of paths, two neighbours at a time: many cost n log n, where one after the other would cost n².

    Example:
        >>> union([box([range(2)]), None, box([range(2, 4)])]).runs[0][0]
        range(0, 4)
    """
    level = list(trees)
    while len(level) > 1:
        pairs = zip(level[::2], [*level[1::2], None], strict=False)
        level = [combine(a, b, lambda in_a, in_b: in_a or in_b) for a, b in pairs]
    return level[0] if level else None


def _combine(
    a: Tree | None, b: Tree | None, keep: Callable[[bool, bool], bool], seen: dict[tuple[Tree, Tree], Tree | None]
) -> Tree | None:
    if a is None or b is None or a == b:
        some = a or b
        return some if some is not None and keep(a is not None, b is not None) else None
    if (a, b) not in seen:
        segments: list[Segment] = []
        for start, stop, a_below, b_below in _overlay(list(a.segments()), list(b.segments())):
            below = _combine(a_below, b_below, keep, seen)
            if below is not None:
                segments.append((start, stop, below))
        seen[a, b] = tree_of(segments)
    return seen[a, b]


def _overlay(a: list[Segment], b: list[Segment]) -> Iterator[tuple[int, int, Tree | None, Tree | None]]:
    """Yield stretches of indexes with what follows them in either list."""
    i = j = 0
    at = min([*(s[0] for s in a[:1]), *(s[0] for s in b[:1])], default=0)
    while i < len(a) or j < len(b):
        in_a = i < len(a) and a[i][0] <= at
        in_b = j < len(b) and b[j][0] <= at
        edges = [a[i][1] if in_a else a[i][0]] if i < len(a) else []
        edges += [b[j][1] if in_b else b[j][0]] if j < len(b) else []
        stop = min(edges)
        if in_a or in_b:
            yield at, stop, a[i][2] if in_a else None, b[j][2] if in_b else None
        at = stop
        i += i < len(a) and a[i][1] <= at
        j += j < len(b) and b[j][1] <= at


def blocks(tree: Tree) -> Iterator[tuple[Runs, ...]]:
    """Yield the set as few products of runs, one tuple of runs per dimension."""
    if not tree.runs:
        yield ()
        return
    shared: dict[Tree, list[range]] = {}
    for run, below in tree.runs:
        shared.setdefault(below, []).append(run)
    for below, runs in shared.items():
        for rest in blocks(below):
            yield (tuple(runs), *rest)
