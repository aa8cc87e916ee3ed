"""PartitionScheme: which partition keys exist, in which order, and when their runs are due."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from flowctx.core.dates.cadence import Cadence, Window
from flowctx.core.dates.due_rules import Delays
from flowctx.core.dates.moments import Moments
from flowctx.core.errors import NotDue, PartitionError
from flowctx.core.masking import is_secret_name
from flowctx.core.partitions.dimensions import CadenceDimension, Dimension, StaticDimension, Values, make_dimension
from flowctx.core.partitions.index_tree import Tree, combine, tree_of_block
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.key_product import KeyProduct
from flowctx.core.partitions.selection import Selection

#: By how much the clocks of those who schedule and those who work may differ.
CLOCK_SKEW: Final = timedelta(minutes=1)


class PartitionScheme(KeyProduct):
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

    __slots__ = ()

    def __init__(self, /, **dimensions: Values) -> None:
        self._make(dimensions)
        for name in filter(is_secret_name, dimensions):
            text = (
                f"the name of dimension {name!r} says that its values are secret: they are shown as ***, so that its "
            )
            warnings.warn(f"{text}partitions cannot be told apart; take another name", stacklevel=2)

    def _make(self, dimensions: Mapping[str, Values]) -> None:
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

    def without(self, *names: str) -> PartitionScheme | None:
        """Return the scheme of the other dimensions, or ``None`` if none is left.

        Where delays differ by a dimension that is left out, its dates are due after the longest of them: for all keys.

        Args:
            *names: Dimensions to leave out; one that is not there is left out already.

        Example:
            >>> scheme = PartitionScheme(tier=["T1", "T2"], venue=["XNYS"])
            >>> scheme.without("venue"), scheme.without("tier", "venue")
            (PartitionScheme(tier=['T1', 'T2']), None)
        """
        if not set(names) & set(self.dimensions):
            return self
        left = tuple(_after_all(part, names) for part in self._dimensions if part.name not in names)
        return _rebuild(left) if left else None

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
        dated = self._cadence
        return None if dated is None else dated.cadence.parse(self.check(key)._dims[dated.name])

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

    def moments(self, key: PartitionKey, now: datetime | None = None) -> Moments | None:
        """Return the window and the due time of a key together, or None if the scheme has no cadence.

        Args:
            key: A key of the scheme.
            now: The time, or when the run started: a key that is not due by then is refused, the same on every engine;
                clocks may differ by a minute.

        Raises:
            UnknownPartition: The scheme has no such key.
            NotDue: It is not due; the message says when it is.
        """
        dims, dated = self.check(key)._dims, self._cadence
        if dated is None:
            return None
        cadence = dated.cadence
        if isinstance(cadence.delay, Delays):
            cadence = self.cadence_of(dims)
        moments = cadence.moments(dims[dated.name])
        if now is not None and moments.due_utc > now and moments.due_utc - CLOCK_SKEW > now:
            raise NotDue(
                f"{key} is not due until {moments.due_text[0]}, when its data is complete; run it then, or give the "
                "cadence a smaller delay= or an earlier due="
            )
        return moments

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
            block = tree_of_block([self._indexes(dimension, due, values) for dimension in self._dimensions])
            tree = combine(tree, block, lambda a, b: a or b)
        return Selection._of(self, tree)

    def _indexes(self, dimension: Dimension, due: range, values: tuple[str, ...] | None) -> list[range]:
        if isinstance(dimension, CadenceDimension):
            return [due] if due else []
        delays = self._cadence.cadence.delay if self._cadence is not None else None
        if values is None or not isinstance(delays, Delays) or dimension.name != delays.dimension:
            return [range(dimension.size(None))]
        found = (dimension.find(value) for value in values)
        return [range(index, index + 1) for index in found if index is not None]

    def check_due(self, key: PartitionKey, now: datetime) -> datetime | None:
        """Return when a key is due, and refuse one that is not yet, the same on every engine.

        Args:
            key: A key of the scheme.
            now: The time, or when the run started; clocks may differ by a minute.

        Raises:
            NotDue: It is not due; the message says when it is.
        """
        moments = self.moments(key, now)
        return None if moments is None else moments.due

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
        scheme = object.__new__(cls)
        scheme._make(arguments)  # whoever declared it was warned of its names
        return scheme

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartitionScheme):
            return NotImplemented
        return self is other or self._dimensions == other._dimensions

    def __hash__(self) -> int:
        return hash(self._dimensions)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._dimensions,)

    def __repr__(self) -> str:
        return f"PartitionScheme({', '.join(f'{d.name}={d!r}' for d in self._dimensions)})"


def _after_all(part: Dimension, names: Collection[str]) -> Dimension:
    """Return a dimension; a cadence with one delay, the longest, if its delays differ by one of some dimensions."""
    delays = part.cadence.delay if isinstance(part, CadenceDimension) else None
    if not isinstance(part, CadenceDimension) or not isinstance(delays, Delays) or delays.dimension not in names:
        return part
    return CadenceDimension(part.name, part.cadence.with_delay(max(delay for _, delay in delays.values)))


def _rebuild(dimensions: tuple[Dimension, ...]) -> PartitionScheme:
    scheme = object.__new__(PartitionScheme)
    scheme._fill(dimensions)
    return scheme
