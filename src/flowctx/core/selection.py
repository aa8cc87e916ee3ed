"""Selection: some keys of a scheme, as a lazy sequence that can be counted, sliced and combined."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, overload

from flowctx.core.dimensions import CadenceDimension, Dimension, StaticDimension, iso_date
from flowctx.core.errors import CalendarError, PartitionError, UnknownPartition
from flowctx.core.hashing import sha256
from flowctx.core.keyspace import POINT, Runs, Tree, blocks, combine, tree_over
from flowctx.core.partition import PartitionKey, escape_value, unescape_value

if TYPE_CHECKING:
    from flowctx.core.scheme import PartitionScheme

_ENDS = re.compile(r"(first|last):(\d+)\Z")
_STEP = re.compile(r"/(\d+)\Z")
_SEPARATOR = re.compile(r"([,|])")


class Selection(Sequence[PartitionKey]):
    """Some keys of a scheme, as a lazy sequence; made by :meth:`PartitionScheme.select` and ``keys``.

    Keys are in the scheme's order, and none is there twice. ``|``, ``&`` and ``-`` combine selections of one scheme
    without listing keys; a slice such as ``selection[k::n]`` is a selection too, so that ``n`` workers can share one.
    ``str(selection)`` is text that ``select`` reads, the same however the selection was written.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> prices = PartitionScheme(date=Daily(start="2012-01-03"), symbol=["AAPL", "FB", "IBM"])
        >>> some = prices.select("symbol=IBM,date=2012-01-03..2012-01-31") | prices.select("date=2012-01-05")
        >>> len(some), str(some[2]), len(some[0::4])
        (31, 'date=2012-01-05|symbol=AAPL', 8)
    """

    __slots__ = ("_tree", "_view", "scheme")
    #: The scheme that it selects from.
    scheme: PartitionScheme
    _tree: Tree | None
    _view: range  # which positions of the tree, in which order

    def __init__(self) -> None:
        raise PartitionError("a Selection is not made by calling the class; use scheme.select(...) or scheme.keys()")

    @classmethod
    def _of(cls, scheme: PartitionScheme, tree: Tree | None, view: range | None = None) -> Selection:
        self = object.__new__(cls)
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "_tree", tree)
        object.__setattr__(self, "_view", range(0 if tree is None else tree.count) if view is None else view)
        return self

    def __len__(self) -> int:
        return len(self._view)

    @overload
    def __getitem__(self, index: int) -> PartitionKey: ...
    @overload
    def __getitem__(self, index: slice) -> Selection: ...
    def __getitem__(self, index: int | slice) -> PartitionKey | Selection:
        if isinstance(index, slice):
            return Selection._of(self.scheme, self._tree, self._view[index])
        try:
            position = self._view[index]
        except IndexError:
            raise IndexError(f"index {index} is out of range: {len(self)} keys are selected") from None
        return self.scheme._key(self._whole().path(position))

    def _whole(self) -> Tree:
        assert self._tree is not None  # noqa: S101 - a view of nothing has no positions
        return self._tree

    def __iter__(self) -> Iterator[PartitionKey]:
        if not self._view:
            return iter(())
        if self._view.step == 1:
            some = self._whole().cut(self._view.start, self._view.stop)
            return iter(()) if some is None else _walk(self.scheme, some)
        return (self.scheme._key(self._whole().path(position)) for position in self._view)

    def _position(self, path: list[int]) -> int | None:
        position = None if self._tree is None else self._tree.position(path)
        return self._view.index(position) if position is not None and position in self._view else None

    def __contains__(self, key: object) -> bool:
        try:
            return self._position(self.scheme._path(self.scheme.check(key))) is not None
        except (PartitionError, CalendarError):
            return False

    def index(self, key: object, start: int = 0, stop: int | None = None) -> int:
        """Return the position of a key in the selection.

        Raises:
            UnknownPartition: The scheme has no such key, or it is not selected.
        """
        checked = self.scheme.check(key)
        position = self._position(self.scheme._path(checked))
        if position is None or position < start or (stop is not None and position >= stop):
            raise UnknownPartition(f"{checked} is a key of the scheme, but not one of the {len(self)} selected")
        return position

    # -- sets ---------------------------------------------------------------------------------------------------

    def _set(self) -> Tree | None:
        """Return the tree of what the view shows, in the scheme's order."""
        view = self._view if self._view.step > 0 else self._view[::-1]
        if not view or self._tree is None:
            return None
        some = self._tree.cut(view[0], view[-1] + 1)
        return None if some is None else some.stride(0, view.step if len(view) > 1 else 1)

    def _combined(self, other: Selection, keep: Callable[[bool, bool], bool]) -> Selection:
        if self.scheme != other.scheme:
            raise PartitionError("selections of different schemes do not mix; select both from one scheme")
        return Selection._of(self.scheme, combine(self._set(), other._set(), keep))

    def __or__(self, other: Selection) -> Selection:
        return self._combined(other, lambda a, b: a or b) if isinstance(other, Selection) else NotImplemented

    def __and__(self, other: Selection) -> Selection:
        return self._combined(other, lambda a, b: a and b) if isinstance(other, Selection) else NotImplemented

    def __sub__(self, other: Selection) -> Selection:
        return self._combined(other, lambda a, b: a and not b) if isinstance(other, Selection) else NotImplemented

    # -- text ---------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        tree = self._set()
        if tree is None:
            return "(nothing)"
        return ";".join(_block_text(self.scheme._dimensions, block) for block in blocks(tree))

    def digest(self) -> str:
        """Return 32 hex characters that depend on which keys are selected, and on nothing else.

        Two selections have the same digest if they hold the same keys of the same dimensions, whatever text they
        were written as and whatever their order; a value that joins the scheme later changes the digest of a selection
        that takes it in.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", calendar="WEEKDAYS"))
            >>> a, b = scheme.select("date=2012-01-06..2012-01-09"), scheme.select("date=2012-01-09|2012-01-06")
            >>> a.digest() == b.digest()
            True
        """
        tree, dimensions = self._set(), self.scheme._dimensions
        content = (
            []
            if tree is None
            else [[_spelled_out(d, runs) for d, runs in zip(dimensions, block, strict=True)] for block in blocks(tree)]
        )
        import json

        text = json.dumps([[d.name for d in dimensions], content], separators=(",", ":"))
        return sha256(text)[:32]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Selection is immutable; make a new one")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.scheme, self._tree, self._view)

    def __repr__(self) -> str:
        if not self:
            return "<Selection: no keys>"
        return f"<Selection: {len(self)} keys from {self[0]} to {self[-1]}>"


def _walk(scheme: PartitionScheme, tree: Tree) -> Iterator[PartitionKey]:
    dims = dict.fromkeys(sorted(scheme.dimensions), "")
    return _walk_from(scheme._dimensions, tree, dims, dict(dims))


def _walk_from(
    dimensions: tuple[Dimension, ...], tree: Tree, dims: dict[str, str], parts: dict[str, str]
) -> Iterator[PartitionKey]:
    """Yield the keys of a tree; ``dims`` and ``parts`` hold the dimensions before it, sorted by name."""
    dimension, make = dimensions[0], PartitionKey._trusted
    name, names = dimension.name, list(dims)
    at = names.index(name)
    before = "".join(f"{parts[other]}|" for other in names[:at])
    after = "".join(f"|{parts[other]}" for other in names[at + 1 :])
    for run, below in tree.runs:
        if len(dimensions) > 1:
            for dims[name], parts[name] in dimension.parts(run):
                yield from _walk_from(dimensions[1:], below, dims, parts)
        else:
            for value, part in dimension.parts(run):
                mine = dims.copy()
                mine[name] = value
                yield make(mine, f"{before}{part}{after}")


# -- reading ----------------------------------------------------------------------------------------------------


def parse_selection(dimensions: tuple[Dimension, ...], text: str | None, until: date | None) -> Tree | None:
    """Read a selection's text into a tree; see :meth:`PartitionScheme.select` for its form."""
    if text is not None and not isinstance(text, str):
        raise PartitionError(f"{text!r} is not text; write a selection as 'date=2012-01-03..2012-03-30,symbol=IBM'")
    tree: Tree | None = None
    for part in (text or "").split(";"):
        tree = combine(tree, _parse_block(dimensions, part, until), lambda a, b: a or b)
    return tree


def _parse_block(dimensions: tuple[Dimension, ...], text: str, until: date | None) -> Tree | None:
    clauses = _clauses(text, [dimension.name for dimension in dimensions])
    below: Tree | None = POINT
    for dimension in reversed(dimensions):
        items = clauses.get(dimension.name)
        ranges = [range(dimension.size(until))] if items is None else [_item(dimension, i, until) for i in items]
        below = None if below is None else tree_over(ranges, below)
    return below


def _clauses(text: str, names: list[str]) -> dict[str, list[str]]:
    """Split ``a=1|2,b=3`` into the alternatives of each dimension."""
    clauses: dict[str, list[str]] = {}
    if not text.strip():
        return clauses
    current: list[str] = []
    pieces = _SEPARATOR.split(text)
    for separator, token in zip(["", *pieces[1::2]], pieces[0::2], strict=True):
        name, equals, item = token.partition("=")
        if equals:
            name = name.strip()
            if name not in names:
                raise PartitionError(f"{text!r} names {name!r}, and the scheme has the dimensions {', '.join(names)}")
            if name in clauses:
                raise PartitionError(f"{text!r} names {name!r} twice; join alternatives with '|': {name}=A|B")
            current = clauses[name] = [item.strip()]
        elif separator == "|":
            current.append(token.strip())
        else:
            last = next(reversed(clauses), names[0])
            raise PartitionError(f"{token!r} in {text!r} has no '='; write {last}=..., and alternatives as {last}=A|B")
    return clauses


def _item(dimension: Dimension, item: str, until: date | None) -> range:
    """Read one alternative of a clause: a value, a range, or so many from an end."""
    if isinstance(dimension, StaticDimension):
        found = dimension.find(unescape_value(item))
        if found is not None:
            return range(found, found + 1)
    if ends := _ENDS.match(item):
        return _from_an_end(dimension, ends[1], int(ends[2]), until)
    step = _STEP.search(item)
    span = item[: step.start()] if step else item
    low, dots, high = span.partition("..")
    if not dots:
        return _one(dimension, item)
    stride = int(step[1]) if step else 1
    if stride < 1:
        raise PartitionError(f"{dimension.name}={item}: a step counts from 1, such as {span}/5")
    if isinstance(dimension, CadenceDimension):
        return _dates(dimension, low, high, until)[::stride]
    first = _one(dimension, low).start if low else 0
    last = _one(dimension, high).stop if high else dimension.size(until)
    if first >= last:
        raise PartitionError(f"{dimension.name}={item} goes backwards; values are in the order of the scheme")
    return range(first, last, stride)


def _one(dimension: Dimension, item: str) -> range:
    value = unescape_value(item)
    found = dimension.find(value)
    if found is None:
        reason, near = dimension.explain(value)
        near = [day for day in near if day not in reason]
        hint = _nearest(near) if near and isinstance(dimension, CadenceDimension) else ""
        raise UnknownPartition(f"{dimension.name}={item}: {reason}{hint}")
    return range(found, found + 1)


def _from_an_end(dimension: Dimension, end: str, count: int, until: date | None) -> range:
    if count < 1:
        raise PartitionError(f"{dimension.name}={end}:{count} selects nothing; count from 1, such as {end}:3")
    if end == "first" and until is None and isinstance(dimension, CadenceDimension) and not dimension.cadence.bounded:
        return range(count)
    size = dimension.size(until)
    return range(min(count, size)) if end == "first" else range(max(0, size - count), size)


def _date(name: str, text: str) -> date:
    day = iso_date(text)
    if day is None:
        raise PartitionError(f"{name}: {text!r} is not a date; write it as YYYY-MM-DD, such as 2012-10-26")
    return day


def _dates(dimension: CadenceDimension, low: str, high: str, until: date | None) -> range:
    cadence, name = dimension.cadence, dimension.name
    first = _date(name, low) if low else cadence.start
    if not high:
        found = range(cadence.indexes(first, first).start, dimension.size(until))
    else:
        last = _date(name, high)
        if first > last:
            raise PartitionError(f"{name}={low}..{high} goes backwards; write {name}={high}..{low}")
        found = cadence.indexes(first, last if until is None else min(last, until))
    if not found:
        near = [day.isoformat() for day in cadence.neighbours(first)]
        raise PartitionError(f"{name}={low}..{high} holds no as-of date{_nearest(near)}")
    return found


def _nearest(days: Sequence[str]) -> str:
    return f"; the nearest {'are' if len(days) > 1 else 'is'} {' and '.join(days) or 'none'}"


# -- writing ----------------------------------------------------------------------------------------------------


def _block_text(dimensions: tuple[Dimension, ...], block: tuple[Runs, ...]) -> str:
    clauses = []
    for dimension, runs in zip(dimensions, block, strict=True):
        whole = isinstance(dimension, StaticDimension) and runs == (range(dimension.size(None)),)
        if not whole:
            clauses.append(f"{dimension.name}={'|'.join(t for run in runs for t in _run_texts(dimension, run))}")
    return ",".join(clauses) or f"{dimensions[0].name}=.."


def _run_texts(dimension: Dimension, run: range) -> list[str]:
    if len(run) < 3:
        return [_text_at(dimension, index) for index in run]
    low, high = _text_at(dimension, run[0]), _text_at(dimension, run[-1])
    text = f"{low}..{high}" + (f"/{run.step}" if run.step > 1 else "")
    if text.partition("..")[0] != low or ".." in high or high[0] == "." or dimension.find(text) is not None:
        return [_text_at(dimension, index) for index in run]  # values with dots of their own would be misread
    return [text]


def _text_at(dimension: Dimension, index: int) -> str:
    return escape_value(dimension.part(index)[0])


def _spelled_out(dimension: Dimension, runs: Runs) -> list[object]:
    """Return what a digest depends on: every static value, and for dates the ends and the count of each run."""
    if isinstance(dimension, StaticDimension):
        return [dimension.values[index] for run in runs for index in run]
    return [[dimension.part(run[0])[0], dimension.part(run[-1])[0], run.step, len(run)] for run in runs]


def _rebuild(scheme: PartitionScheme, tree: Tree | None, view: range) -> Selection:
    return Selection._of(scheme, tree, view)
