"""Selection: some keys of a scheme, as a lazy sequence that can be counted, sliced and combined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Protocol, overload

from flowctx.core.dates.parsing import parse_date
from flowctx.core.errors import CalendarError, PartitionError, UnknownPartition
from flowctx.core.hashing import sha256
from flowctx.core.html_tables import table
from flowctx.core.partitions.dimensions import CadenceDimension, Dimension, StaticDimension
from flowctx.core.partitions.index_tree import Runs, Tree, blocks, box, combine, tree_over
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection_text import block_text
from flowctx.core.printable import amount

#: More dates than any cadence has.
_DATES = 10**9

#: So many keys are shown in a notebook, and the last one.
_SHOWN = 10


class Keys(Protocol):
    """What a selection asks of its scheme."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the dimensions, as declared."""

    @property
    def parts(self) -> tuple[Dimension, ...]:
        """The dimensions, as declared."""

    def key_at(self, path: list[int]) -> PartitionKey:
        """Make the key of one index per dimension."""

    def path_of(self, key: PartitionKey) -> list[int]:
        """Return the index of each of the key's values."""

    def check(self, key: object) -> PartitionKey:
        """Return the key if the scheme has it."""


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
    scheme: Keys
    _tree: Tree | None
    _view: range  # which positions of the tree, in which order

    def __init__(self) -> None:
        raise PartitionError("a Selection is not made by calling the class; use scheme.select(...) or scheme.keys()")

    @classmethod
    def _of(cls, scheme: Keys, tree: Tree | None, view: range | None = None) -> Selection:
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
        return self.scheme.key_at(self._whole().path(position))

    def _whole(self) -> Tree:
        assert self._tree is not None  # noqa: S101 - a view of nothing has no positions
        return self._tree

    def __iter__(self) -> Iterator[PartitionKey]:
        if not self._view:
            return iter(())
        if self._view.step == 1:
            some = self._whole().cut(self._view.start, self._view.stop)
            return iter(()) if some is None else _walk(self.scheme, some)
        return (self.scheme.key_at(self._whole().path(position)) for position in self._view)

    def texts(self) -> Iterator[str]:
        """Yield the canonical text of each key, in order, which takes a third of the time of making the keys.

        Example:
            >>> from flowctx import PartitionScheme
            >>> list(PartitionScheme(venue=["N"], tier=["T1", "T2"]).keys().texts())
            ['tier=T1|venue=N', 'tier=T2|venue=N']
        """
        if not self._view or self._view.step != 1:
            return map(str, self)
        some = self._whole().cut(self._view.start, self._view.stop)
        parts = dict.fromkeys(sorted(self.scheme.dimensions), "")
        return iter(()) if some is None else _texts_from(self.scheme.parts, some, parts)

    def by_date(self) -> Iterator[PartitionKey]:
        """Yield the keys with all of one date before those of the next, whatever the order of the dimensions.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> scheme = PartitionScheme(fund=["A", "B"], date=Daily(start="2012-01-03", end="2012-01-04"))
            >>> [key.date[-1] + key.fund for key in scheme.keys().by_date()]
            ['3A', '3B', '4A', '4B']
        """
        tree, parts = self._set(), self.scheme.parts
        at = next((i for i, part in enumerate(parts) if isinstance(part, CadenceDimension)), 0)
        if tree is None or at == 0:
            yield from iter(()) if tree is None else _walk(self.scheme, tree)
            return
        dates = tree_over([run for block in blocks(tree) for run in block[at]])
        statics = {i: range(part.size(None)) for i, part in enumerate(parts) if i != at}
        for run, _ in dates.runs if dates is not None else ():
            for day in run:
                of_date = box([statics.get(i, range(day, day + 1)) for i in range(len(parts))])
                some = combine(tree, of_date, lambda a, b: a and b)
                yield from iter(()) if some is None else _walk(self.scheme, some)

    def _position(self, path: list[int]) -> int | None:
        position = None if self._tree is None else self._tree.position(path)
        return self._view.index(position) if position is not None and position in self._view else None

    def by_value(self, name: str) -> Iterator[tuple[str, Selection]]:
        """Yield what is selected of each value of a static dimension, where anything is.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-04"), fund=["A", "B"])
            >>> [(fund, len(some)) for fund, some in scheme.select("fund=B").by_value("fund")]
            [('B', 2)]
        """
        tree, parts = self._set(), self.scheme.parts
        at = next(i for i, part in enumerate(parts) if part.name == name)
        dimension = parts[at]
        assert isinstance(dimension, StaticDimension)  # noqa: S101 - dates are no values to be listed
        every = [range(part.size(None)) if isinstance(part, StaticDimension) else range(_DATES) for part in parts]
        for index, value in enumerate(dimension.values):
            of_value = box([range(index, index + 1) if i == at else some for i, some in enumerate(every)])
            found = combine(tree, of_value, lambda a, b: a and b)
            if found is not None:
                yield value, Selection._of(self.scheme, found)

    def __contains__(self, key: object) -> bool:
        try:
            return self._position(self.scheme.path_of(self.scheme.check(key))) is not None
        except (PartitionError, CalendarError):
            return False

    def index(self, key: object, start: int = 0, stop: int | None = None) -> int:
        """Return the position of a key in the selection.

        Raises:
            UnknownPartition: The scheme has no such key, or it is not selected.
        """
        checked = self.scheme.check(key)
        position = self._position(self.scheme.path_of(checked))
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

    def up_to(self, until: date | str) -> Selection:
        """Return what is selected of dates up to one, and nothing of those after it.

        Args:
            until: The last as-of date.

        Raises:
            PartitionError: The scheme has no cadence, and so no dates.

        Example:
            >>> from flowctx import Monthly, PartitionScheme
            >>> months = PartitionScheme(month=Monthly(start="2012-01-01", end="2012-12-31")).keys()
            >>> str(months.up_to("2012-03-30"))
            'month=2012-01-31|2012-02-29'
        """
        last, parts = parse_date(until, "until"), self.scheme.parts
        if not any(isinstance(part, CadenceDimension) for part in parts):
            raise PartitionError(
                f"until={str(last)!r} is the last as-of date, and the scheme has no dates; its dimensions are "
                f"{', '.join(self.scheme.dimensions)}: leave until= (--until) out"
            )
        until_then = [
            range(part.cadence.known_count(last) if isinstance(part, CadenceDimension) else part.size(None))
            for part in parts
        ]
        return Selection._of(self.scheme, combine(self._set(), box(until_then), lambda a, b: a and b))

    def last_date(self) -> date | None:
        """Return the last as-of date that is selected; ``None`` if there is none.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> scheme = PartitionScheme(fund=["A", "B"], date=Daily(start="2012-01-03", end="2012-12-31"))
            >>> scheme.select("fund=A,date=2012-01").last_date()
            datetime.date(2012, 1, 31)
        """
        tree, parts = self._set(), self.scheme.parts
        for at, part in enumerate(parts if tree is not None else ()):
            if tree is not None and isinstance(part, CadenceDimension):
                latest = max(run[-1] for block in blocks(tree) for run in block[at])
                period = part.cadence.parse(part.part(latest)[0])
                return period.date() if isinstance(period, datetime) else period
        return None

    # -- text ---------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        tree = self._set()
        if tree is None:
            return "(nothing)"
        return ";".join(block_text(self.scheme.parts, block) for block in blocks(tree))

    def digest(self) -> str:
        """Return 32 hex characters that depend on which keys are selected, and on nothing else.

        Two selections have the same digest if they hold the same keys of the same dimensions, whatever text they
        were written as and whatever their order; a value that joins the scheme later changes the digest of a selection
        that takes it in, and so does another calendar with other dates.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", calendar="WEEKDAYS"))
            >>> a, b = scheme.select("date=2012-01-06..2012-01-09"), scheme.select("date=2012-01-09|2012-01-06")
            >>> a.digest() == b.digest()
            True
        """
        return self._digest(lambda dimension, run: dimension.spell_out(run))

    def has_digest(self, digest: str) -> bool:
        """Whether a digest is that of the same keys; one that a version before made says less of dates.

        Example:
            >>> from flowctx import PartitionScheme
            >>> funds = PartitionScheme(fund=["A", "B"]).keys()
            >>> funds.has_digest(funds.digest())
            True
        """
        return digest == self._digest(lambda dimension, run: dimension.ends(run)) or digest == self.digest()

    def _digest(self, spell_out: Callable[[CadenceDimension, range], list[object]]) -> str:
        def content(dimension: Dimension, runs: Runs) -> list[object]:
            if isinstance(dimension, StaticDimension):
                return [dimension.values[index] for run in runs for index in run]
            return [spell_out(dimension, run) for run in runs]

        tree, dimensions = self._set(), self.scheme.parts
        found = () if tree is None else blocks(tree)
        spelled_out = [[content(d, runs) for d, runs in zip(dimensions, block, strict=True)] for block in found]
        import json

        text = json.dumps([[d.name for d in dimensions], spelled_out], separators=(",", ":"))
        return sha256(text)[:32]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Selection is immutable; make a new one")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.scheme, self._tree, self._view)

    def __repr__(self) -> str:
        if not self:
            return "<Selection: no keys>"
        return f"<Selection: {amount(len(self), 'key')} from {self[0]} to {self[-1]}>"

    def _repr_html_(self) -> str:
        names = self.scheme.dimensions
        ends = [*self[:_SHOWN], *self[-1:]] if len(self) > _SHOWN + 1 else list(self)
        rows: list[Iterable[object]] = [[key[name] for name in names] for key in ends]
        if len(ends) < len(self):
            rows.insert(_SHOWN, ["…" for _ in names])
        return table(f"selection of {amount(len(self), 'key')}", names, rows)


def _walk(scheme: Keys, tree: Tree) -> Iterator[PartitionKey]:
    dims = dict.fromkeys(sorted(scheme.dimensions), "")
    return _walk_from(scheme.parts, tree, dims, dict(dims), partial(PartitionKey._trusted, scheme=scheme))


def _texts_from(dimensions: tuple[Dimension, ...], tree: Tree, parts: dict[str, str]) -> Iterator[str]:
    """Yield the texts of the keys of a tree; ``parts`` holds the dimensions before it, sorted by name."""
    dimension, name = dimensions[0], dimensions[0].name
    before, after = _around(name, parts)
    for run, below in tree.runs:
        if len(dimensions) > 1:
            for _, parts[name] in dimension.parts(run):
                yield from _texts_from(dimensions[1:], below, parts)
        else:
            yield from (f"{before}{part}{after}" for _, part in dimension.parts(run))


def _around(name: str, parts: dict[str, str]) -> tuple[str, str]:
    """Return the text before the part of a dimension, and the one after it."""
    names = list(parts)
    at = names.index(name)
    return "".join(f"{parts[other]}|" for other in names[:at]), "".join(f"|{parts[other]}" for other in names[at + 1 :])


def _walk_from(
    dimensions: tuple[Dimension, ...],
    tree: Tree,
    dims: dict[str, str],
    parts: dict[str, str],
    make: Callable[[dict[str, str], str], PartitionKey],
) -> Iterator[PartitionKey]:
    """Yield the keys of a tree; ``dims`` and ``parts`` hold the dimensions before it, sorted by name."""
    dimension = dimensions[0]
    name, (before, after) = dimension.name, _around(dimension.name, parts)
    for run, below in tree.runs:
        if len(dimensions) > 1:
            for dims[name], parts[name] in dimension.parts(run):
                yield from _walk_from(dimensions[1:], below, dims, parts, make)
        else:
            for value, part in dimension.parts(run):
                own_dims = dims.copy()
                own_dims[name] = value
                yield make(own_dims, f"{before}{part}{after}")


def _rebuild(scheme: Keys, tree: Tree | None, view: range) -> Selection:
    return Selection._of(scheme, tree, view)
