"""PartitionScheme: which partition keys exist, in which order, without listing them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from flowctx.core.dates.cadence import Cadence, Window
from flowctx.core.dates.due_rules import Delays
from flowctx.core.dates.parsing import parse_date
from flowctx.core.errors import CalendarError, PartitionError, UnknownPartition
from flowctx.core.partitions.dimensions import (
    CadenceDimension,
    Dimension,
    StaticDimension,
    Values,
    check_lengths,
    make_dimension,
    not_a_key,
    wrong_names,
)
from flowctx.core.partitions.index_tree import POINT, Tree, box, combine, tree_over
from flowctx.core.partitions.key import PartitionKey, escape_value, unescape_value
from flowctx.core.partitions.selection import Selection
from flowctx.core.partitions.selection_text import parse_selection

#: By how much the clocks of those who schedule and those who work may differ.
CLOCK_SKEW: Final = timedelta(minutes=1)


class PartitionScheme:
    """Which partition keys exist: the product of its dimensions, at most one of which is a cadence.

    Keys come in the order of the declaration, the first dimension slowest. Nothing is listed to count keys, to find
    one or to take the n-th, so a million of them cost no more memory than ten.

    Args:
        **dimensions: For each dimension a cadence, a sequence of values (texts, ints, dates, or an Enum class), or a
            callable without arguments that returns one; it is called once, when the values are first needed.

    Raises:
        PartitionError: A name or value that cannot be, no dimension, two cadences, no values or one twice.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> prices = PartitionScheme(
        ...     date=Daily(start="2012-01-03", end="2012-12-31", calendar="WEEKDAYS"),
        ...     symbol=["AAPL", "IBM"],
        ... )
        >>> len(prices), str(prices[1]), prices.index(prices[1])
        (520, 'date=2012-01-03|symbol=IBM', 1)
    """

    __slots__ = ("_by_name", "_cadence", "_dimensions", "_everything", "_fits", "_sorted")
    _dimensions: tuple[Dimension, ...]
    _by_name: dict[str, Dimension]
    _everything: Selection | None
    _sorted: tuple[int, ...]  # the dimensions, by name
    _cadence: CadenceDimension | None
    _fits: bool  # whether the longest key is known to be short enough

    def __init__(self, /, **dimensions: Values) -> None:
        if not dimensions:
            raise PartitionError("a scheme needs at least one dimension, such as date=Daily(start='2012-01-03')")
        made = tuple(make_dimension(name, values) for name, values in dimensions.items())
        cadences = [dimension.name for dimension in made if isinstance(dimension, CadenceDimension)]
        if len(cadences) > 1:
            raise PartitionError(
                f"{' and '.join(cadences)} are both cadences, and a scheme has at most one, since a key has one as-of "
                f"date; give the values of {cadences[1]} as a list, or make two schemes"
            )
        self._fill(made)
        delays = None if self.cadence is None else self.cadence.delay
        if isinstance(delays, Delays):
            named = self._by_name.get(delays.dimension)
            if not isinstance(named, StaticDimension):
                raise PartitionError(
                    f"delay= differs by {delays.dimension!r}, which is no static dimension of the scheme; add it, or "
                    f"pass one delay (the scheme has {', '.join(self._by_name)})"
                )
            if named.is_read:
                self._check_delays(delays)

    def _fill(self, dimensions: tuple[Dimension, ...]) -> None:
        set_field = object.__setattr__
        set_field(self, "_dimensions", dimensions)
        set_field(self, "_by_name", {dimension.name: dimension for dimension in dimensions})
        set_field(self, "_everything", None)
        set_field(self, "_fits", False)
        set_field(self, "_cadence", next((d for d in dimensions if isinstance(d, CadenceDimension)), None))
        order = sorted(range(len(dimensions)), key=lambda i: dimensions[i].name)
        set_field(self, "_sorted", tuple(order))

    # -- what it is made of -------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the dimensions, as declared."""
        return tuple(self._by_name)

    @property
    def parts(self) -> tuple[Dimension, ...]:
        """The dimensions, as declared."""
        return self._dimensions

    @property
    def cadence(self) -> Cadence | None:
        """The cadence, or None if every dimension is static."""
        return None if self._cadence is None else self._cadence.cadence

    @property
    def cadence_dimension(self) -> str | None:
        """The name of the dimension that is a cadence, or None."""
        return None if self._cadence is None else self._cadence.name

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a static dimension, in order.

        Raises:
            PartitionError: There is no such dimension, or it is the cadence.

        Example:
            >>> PartitionScheme(tier=["T1", "T2"]).values("tier")
            ('T1', 'T2')
        """
        dimension = self._by_name.get(name)
        if dimension is None:
            raise PartitionError(f"the scheme has no dimension {name!r}; it has {', '.join(self._by_name)}")
        if isinstance(dimension, CadenceDimension):
            raise PartitionError(f"{name!r} is a cadence, whose dates are not listed; use scheme.cadence")
        return dimension.values

    # -- counting and order -------------------------------------------------------------------------------------

    def keys(self, until: date | str | None = None) -> Selection:
        """Return all keys, as a lazy sequence.

        Args:
            until: Last as-of date; needed if the cadence has no ``end``.

        Raises:
            PartitionError: The cadence has no ``end`` and there is no ``until``.

        Example:
            >>> [str(key) for key in PartitionScheme(tier=["T1", "T2"]).keys()]
            ['tier=T1', 'tier=T2']
        """
        if until is not None:
            return self.select(until=until)
        everything = self._everything
        if everything is None:
            everything = self.select()
            object.__setattr__(self, "_everything", everything)
        return everything

    def count(self, until: date | str | None = None) -> int:
        """Count the keys, without listing them; see :meth:`keys`."""
        return len(self.keys(until))

    def __len__(self) -> int:
        return len(self.keys())

    def __bool__(self) -> bool:
        return all(dimension.has_values() for dimension in self._dimensions)

    def __iter__(self) -> Iterator[PartitionKey]:
        if self.cadence is None or self.cadence.bounded:
            yield from self.keys()
            return
        rest = self._after_the_cadence("listed")
        for index in itertools.count():
            yield from Selection._of(self, Tree(((range(index, index + 1), rest),)))

    def __getitem__(self, index: int) -> PartitionKey:
        if self._cadence is None or self._cadence.cadence.bounded:
            return self.keys()[index]
        rest = self._after_the_cadence("numbered")
        if index < 0:
            raise PartitionError("the last keys of a scheme without an end are not known; use scheme.keys(until=...)")
        first, position = divmod(index, rest.count)
        return self.key_at([first, *rest.path(position)])

    def index(self, key: object) -> int:
        """Return the position of a key; ``scheme[i]`` inverts it.

        Raises:
            UnknownPartition: The scheme has no such key; the message shows the nearest ones.

        Example:
            >>> PartitionScheme(tier=["T1", "T2"]).index({"tier": "T2"})
            1
        """
        path = self.path_of(self.check(key))
        if self.cadence is None or self.cadence.bounded:
            position = self.keys()._position(path)
            assert position is not None  # noqa: S101 - checked above
            return position
        rest = self._after_the_cadence("numbered")
        return path[0] * rest.count + (rest.position(path[1:]) or 0)

    def _check_lengths(self) -> None:
        """Refuse values whose keys could be too long; keys are then made without looking again."""
        if not self._fits:
            check_lengths(self._dimensions)
            object.__setattr__(self, "_fits", True)

    def _after_the_cadence(self, verb: str) -> Tree:
        self._check_lengths()
        if not isinstance(self._dimensions[0], CadenceDimension):
            raise PartitionError(
                f"the keys cannot be {verb}: {self.cadence_dimension} has no end and varies faster than "
                f"{self.dimensions[0]}; use scheme.keys(until=...), or declare {self.cadence_dimension} first"
            )
        rest = box([range(dimension.size(None)) for dimension in self._dimensions[1:]])
        return POINT if rest is None else rest

    # -- membership ---------------------------------------------------------------------------------------------

    def __contains__(self, key: object) -> bool:
        try:
            self.check(key)
        except (PartitionError, CalendarError):
            return False
        return True

    def key(self, **values: object) -> PartitionKey:
        """Make a key of this scheme.

        Raises:
            UnknownPartition: The scheme has no such key; the message shows the nearest ones.

        Example:
            >>> str(PartitionScheme(tier=["T1", "T2"]).key(tier="T2"))
            'tier=T2'
        """
        return self.check(values)

    def check(self, key: object) -> PartitionKey:
        """Return the key if the scheme has it.

        Args:
            key: A :class:`PartitionKey`, a mapping, or text in either form.

        Raises:
            UnknownPartition: The scheme has no such key; the message shows the nearest ones.

        Example:
            >>> PartitionScheme(tier=["T1", "T2"]).check({"tier": "T2"}).tier
            'T2'
        """
        if isinstance(key, str):
            return self.parse(key)
        if isinstance(key, PartitionKey):
            checked = key
        elif isinstance(key, Mapping):
            checked = PartitionKey(**key)
        else:
            raise PartitionError(f"{key!r} is no partition key; pass a PartitionKey, a dict or text")
        self.path_of(checked)
        return checked

    def path_of(self, key: PartitionKey) -> list[int]:
        """Return the index of each of the key's values, in declared order."""
        values = key._dims
        if values.keys() != self._by_name.keys():
            raise UnknownPartition(wrong_names(self._by_name, key))
        path: list[int] = []
        for name, dimension in self._by_name.items():
            index = dimension.find(values[name])
            if index is None:
                raise UnknownPartition(not_a_key(self._dimensions, key))
            path.append(index)
        return path

    def key_at(self, path: list[int]) -> PartitionKey:
        """Make the key of one index per dimension."""
        order, parts = self._sorted, [d.part(i) for d, i in zip(self._dimensions, path, strict=True)]
        dims = {self._dimensions[at].name: parts[at][0] for at in order}
        return PartitionKey._trusted(dims, "|".join([parts[at][1] for at in order]))

    # -- dates --------------------------------------------------------------------------------------------------

    def as_of_date(self, key: PartitionKey) -> date | None:
        """Return the as-of date of a key, or None if the scheme has no cadence.

        Raises:
            UnknownPartition: The scheme has no such key.

        Example:
            >>> from flowctx import Daily
            >>> scheme = PartitionScheme(date=Daily(start="2012-01-03"))
            >>> scheme.as_of_date(scheme[0])
            datetime.date(2012, 1, 3)
        """
        period = self.period(key)
        return period.date() if isinstance(period, datetime) else period

    def period(self, key: PartitionKey) -> date | None:
        """Return the entry of the cadence that a key is of: its as-of date, or the first instant of its hour.

        Raises:
            UnknownPartition: The scheme has no such key.
        """
        if self._cadence is None:
            return None
        return self._cadence.cadence.parse(self.check(key)[self._cadence.name])

    def window(self, key: PartitionKey) -> Window | None:
        """Return the window of a key's as-of date, or None if the scheme has no cadence."""
        period = self.period(key)
        return None if period is None or self.cadence is None else self.cadence.window(period)

    def due(self, key: PartitionKey) -> datetime | None:
        """Return when the run of a key is due, or None if the scheme has no cadence.

        Example:
            >>> from datetime import timedelta
            >>> from flowctx import Weekly
            >>> delays = {"tier": {"T1": timedelta(weeks=2), "OTC": timedelta(weeks=4)}}
            >>> weeks = PartitionScheme(week=Weekly(start="2026-01-01", delay=delays), tier=["T1", "OTC"])
            >>> [weeks.due(key).date().isoformat() for key in weeks.select("week=2026-01-09")]
            ['2026-01-24', '2026-02-07']
        """
        period = self.period(key)
        return None if period is None else self.cadence_of(self.check(key)).due(period)

    def cadence_of(self, key: Mapping[str, str]) -> Cadence:
        """Return the cadence with the delay that a key has, where delays differ by a static dimension.

        Args:
            key: A key, or its static values.

        Raises:
            PartitionError: The scheme has no cadence.
        """
        if self._cadence is None:
            raise PartitionError("the scheme has no cadence, so nothing says when its keys are due")
        cadence = self._cadence.cadence
        delays = cadence.delay
        return cadence.with_delay(delays.of(key[delays.dimension])) if isinstance(delays, Delays) else cadence

    @property
    def cadences(self) -> tuple[tuple[Cadence, tuple[str, ...] | None], ...]:
        """Each cadence with one delay, and the values of the delays' dimension that have it; None stands for all keys.

        Raises:
            PartitionError: A value has no delay, or a delay no value.
        """
        cadence = self.cadence
        if cadence is None:
            return ()
        delays = cadence.delay
        if not isinstance(delays, Delays):
            return ((cadence, None),)
        self._check_delays(delays)
        groups: dict[timedelta, list[str]] = {}
        for value in self.values(delays.dimension):
            groups.setdefault(delays.of(value), []).append(value)
        return tuple((cadence.with_delay(delay), tuple(values)) for delay, values in sorted(groups.items()))

    def _check_delays(self, delays: Delays) -> None:
        extra = [value for value, _ in delays.values if value not in self.values(delays.dimension)]
        if extra:
            there = ", ".join(self.values(delays.dimension))
            raise PartitionError(
                f"delay= has {', '.join(extra)}, and {delays.dimension} has {there}; correct the values"
            )
        for value in self.values(delays.dimension):
            delays.of(value)

    def due_keys(self, now: datetime) -> Selection:
        """Return the keys that are due at ``now``, of those whose dates are known; all keys without a cadence.

        Example:
            >>> from datetime import UTC
            >>> from flowctx import Daily
            >>> days = PartitionScheme(date=Daily(start="2012-01-03"), tier=["T1", "T2"])
            >>> [str(key) for key in days.due_keys(datetime(2012, 1, 4, tzinfo=UTC))]
            ['date=2012-01-03|tier=T1', 'date=2012-01-03|tier=T2']
        """
        if self._cadence is None:
            return self.select()
        self._check_lengths()
        tree: Tree | None = None
        for cadence, values in self.cadences:
            due = range(cadence.known_due_count(now))
            below: Tree | None = POINT
            for dimension in reversed(self._dimensions):
                ranges = self._indexes(dimension, due, values)
                below = None if below is None else tree_over(ranges, below)
            tree = combine(tree, below, lambda a, b: a or b)
        return Selection._of(self, tree)

    def _indexes(self, dimension: Dimension, due: range, values: tuple[str, ...] | None) -> list[range]:
        if isinstance(dimension, CadenceDimension):
            return [due] if due else []
        delays = self._cadence.cadence.delay if self._cadence is not None else None
        if values is None or not isinstance(delays, Delays) or dimension.name != delays.dimension:
            return [range(dimension.size(None))]
        found = (dimension.find(value) for value in values)
        return [range(index, index + 1) for index in found if index is not None]

    def check_due(self, key: PartitionKey, now: datetime) -> None:
        """Refuse a key that is not due yet, the same on every engine.

        Args:
            key: A key of the scheme.
            now: The time, or when the run started; clocks may differ by a minute.

        Raises:
            PartitionError: It is not due; the message says when it is.
        """
        due = self.due(key)
        if due is not None and due.astimezone(UTC) - CLOCK_SKEW > now:
            raise PartitionError(
                f"{key} is not due until {due.isoformat()}, when its data is complete; run it then, or give the "
                "cadence a smaller delay= or an earlier due="
            )

    # -- text ---------------------------------------------------------------------------------------------------

    def text(self, key: object) -> str:
        """Return the positional text of a key: its values in declared order, percent-escaped, joined by ``|``.

        Raises:
            UnknownPartition: The scheme has no such key.

        Example:
            >>> PartitionScheme(tier=["T1"], venue=["N/Y"]).text({"tier": "T1", "venue": "N/Y"})
            'T1|N%2FY'
        """
        checked = self.check(key)
        return "|".join([escape_value(checked[name]) for name in self._by_name])

    def parse(self, text: str) -> PartitionKey:
        """Read the text of a key, positional (``2012-01-03|IBM``) or named (``date=2012-01-03|symbol=IBM``).

        A ``,`` may stand for ``|``.

        Raises:
            UnknownPartition: The scheme has no such key; the message shows the nearest ones.

        Example:
            >>> PartitionScheme(tier=["T1"], venue=["N/Y"]).parse("T1|N%2FY").venue
            'N/Y'
        """
        if not isinstance(text, str):
            raise PartitionError(f"{text!r} is not text; write a key as {self._pattern()!r}")
        if "=" in text:
            return self.check(PartitionKey.parse(text))
        values = text.replace(",", "|").split("|")
        if len(values) != len(self._by_name):
            raise UnknownPartition(
                f"{text!r} has {len(values)} values, and the scheme has the dimensions {', '.join(self._by_name)}; "
                f"write {self._pattern()!r}"
            )
        return self.check({name: unescape_value(v.strip()) for name, v in zip(self._by_name, values, strict=True)})

    def _pattern(self) -> str:
        return "|".join(f"<{name}>" for name in self._by_name)

    def select(self, text: str | None = None, *, until: date | str | None = None) -> Selection:
        """Return some of the keys, as a lazy sequence.

        Args:
            text: Conditions joined by ``,``, one per dimension; a dimension that is not named is not restricted.
                Alternatives are joined by ``|``; each is a value, a range of the order (``2012-01-03..2012-03-30``,
                with either end left out), every n-th of a range (``2012-01-03..2012-12-31/5``), ``first:3`` or
                ``last:6``. ``;`` joins whole selections. None selects every key.
            until: Last as-of date; needed by what goes on for ever if the cadence has no ``end``.

        Raises:
            PartitionError: The text is not of that form, or a range holds nothing.
            UnknownPartition: A value that the dimension does not have; the message shows the nearest ones.

        Example:
            >>> from flowctx import Daily
            >>> prices = PartitionScheme(date=Daily(start="2012-01-03"), symbol=["AAPL", "FB", "IBM"])
            >>> len(prices.select("date=2012-01-03..2012-03-30,symbol=AAPL|IBM"))
            176
        """
        self._check_lengths()
        last = None if until is None else parse_date(until, "until")
        return Selection._of(self, parse_selection(self._dimensions, text, last))

    # -- writing it down ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; the values of a callable are read and written out.

        Example:
            >>> PartitionScheme(tier=["T1"]).to_dict()
            {'dimensions': [{'name': 'tier', 'values': ['T1']}]}
        """
        return {"dimensions": [dimension.to_dict() for dimension in self._dimensions]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PartitionScheme:
        """Read :meth:`to_dict` back; nothing is imported because the data says so.

        Raises:
            PartitionError: The data is not of that form.

        Example:
            >>> PartitionScheme.from_dict(PartitionScheme(tier=["T1"]).to_dict()).values("tier")
            ('T1',)
        """
        try:
            arguments = {
                item["name"]: Cadence.from_dict(item["cadence"]) if "cadence" in item else list(item["values"])
                for item in data["dimensions"]
            }
        except (KeyError, TypeError) as error:
            raise PartitionError(f"this is not a scheme written by to_dict(): {error!r}") from None
        return cls(**arguments)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartitionScheme):
            return NotImplemented
        return self is other or self._dimensions == other._dimensions

    def __hash__(self) -> int:
        return hash(self._dimensions)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a PartitionScheme is immutable; make a new one")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._dimensions,)

    def __repr__(self) -> str:
        return f"PartitionScheme({', '.join(f'{d.name}={d!r}' for d in self._dimensions)})"


def _rebuild(dimensions: tuple[Dimension, ...]) -> PartitionScheme:
    scheme = object.__new__(PartitionScheme)
    scheme._fill(dimensions)
    return scheme
