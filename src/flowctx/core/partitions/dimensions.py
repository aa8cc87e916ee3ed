"""The dimensions of a scheme: a cadence or static values, each an ordered list with positions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date
from typing import Any

from flowctx.core.dates.cadence import Cadence, Hourly
from flowctx.core.dates.moments import KEPT
from flowctx.core.dates.parsing import time_order
from flowctx.core.errors import CalendarError, PartitionError
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import MAX_TEXT, PartitionKey, check_dimension_name, dimension_value, escape_value
from flowctx.core.suggestions import a_kind, nearest

#: What may be given for a dimension.
Values = Cadence | Iterable[object] | Callable[[], Iterable[object]]

#: A value, and ``name=value`` with the value escaped.
Part = tuple[str, str]


class CadenceDimension:
    """A dimension whose values are the as-of dates of a cadence, as ISO 8601 texts.

    Args:
        name: The name of the dimension.
        cadence: Its as-of dates.
    """

    __slots__ = ("_dates", "_found", "cadence", "name")

    def __init__(self, name: str, cadence: Cadence) -> None:
        self.name = name
        self.cadence = cadence
        self._dates: dict[int, str] = {}
        self._found: dict[str, int] = {}

    def has_values(self) -> bool:
        """Tell whether there is any value."""
        return bool(self.cadence)

    def max_length(self) -> int:
        """Return how many characters ``name=value`` has at most."""
        return len(self.name) + len("=") + len(self.cadence._text(self.cadence._first_of(self.cadence.start)))

    def size(self, until: date | None) -> int:
        """Count the values up to ``until``."""
        if until is None and not self.cadence.bounded:
            raise PartitionError(
                f"{self.name} has no end, so its keys cannot be counted or listed; "
                "pass until= (--until DATE), or give the cadence an end="
            )
        return self.cadence.count(until)

    def part(self, index: int) -> Part:
        """Return the value at an index."""
        text = self.cadence._text(self.cadence._ordinal_at(index))
        return text, f"{self.name}={text}"

    def parts(self, indexes: Iterable[int]) -> Iterator[Part]:
        """Yield the values at some indexes."""
        at, prefix, text_of = self.cadence._ordinal_at, f"{self.name}=", self.cadence._text
        for index in indexes:
            text = text_of(at(index))
            yield text, prefix + text

    def ends(self, run: range) -> list[object]:
        """Return the first and the last value of a run, its step and how many there are."""
        return [self.part(run[0])[0], self.part(run[-1])[0], run.step, len(run)]

    def spell_out(self, run: range) -> list[object]:
        """Return what a digest says of a run: its ends, and its dates where those leave some out."""
        cadence = self.cadence
        at: Callable[[int], int] = cadence._ordinal_at
        if at(run[-1]) - at(run[0]) == run[-1] - run[0]:
            return self.ends(run)
        indexes, known = run, self._dates  # ranges of many funds have the same dates
        if isinstance(cadence, Hourly):  # a session has all of its hours
            first, last = (cadence._day(at(index)).toordinal() for index in (run[0], run[-1]))
            calendar = cadence.business_calendar
            indexes, at = range(calendar.position(first), calendar.position(last + 1)), calendar.ordinal_at
        known.update((index, str(at(index))) for index in indexes if index not in known)
        return [*self.ends(run), sha256(",".join(map(known.__getitem__, indexes)))[:32]]

    def find(self, value: str) -> int | None:
        """Return the index of a value, or None if it is none of them; keys of one date come one after the other."""
        found = self._found.get(value)
        return self._search(value) if found is None else found

    def _search(self, value: str) -> int | None:
        as_of = self.cadence.parse(value)
        try:
            found = None if as_of is None else self.cadence._find(as_of)
        except CalendarError:
            _ = self.cadence.business_calendar  # raises where there is none: then no key is known, whatever its date
            return None
        if found is not None:
            if len(self._found) >= KEPT:
                self._found.clear()
            self._found[value] = found
        return found

    def explain(self, value: str) -> tuple[str, list[str]]:
        """Say why a text is not one of the values, and return the nearest ones."""
        as_of = self.cadence.parse(value)
        if as_of is None:
            return f"{self.name}={value!r} {self.cadence.say_not_written(value)}", []
        try:
            reason = self.cadence.explain(as_of)  # first: past the calendar, its neighbours are about another day
            return reason, [self.cadence.text(day) for day in self.cadence.neighbours(as_of)]
        except CalendarError as error:
            return str(error), []

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {"name": self.name, "cadence": self.cadence.to_dict()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CadenceDimension):
            return NotImplemented
        return self.name == other.name and self.cadence == other.cadence

    def __hash__(self) -> int:
        return hash((self.name, self.cadence))

    def __reduce__(self) -> tuple[Any, ...]:
        return CadenceDimension, (self.name, self.cadence)

    def __repr__(self) -> str:
        return repr(self.cadence)


class StaticDimension:
    """A dimension with a fixed list of values.

    Args:
        name: The name of the dimension.
        values: Its values, in order.
        read: Where to read them from, once, when they are first needed; instead of ``values``.

    Raises:
        PartitionError: No values, one twice, one that cannot be, or a text, set or mapping instead of a sequence.
    """

    __slots__ = ("_by_time", "_index", "_read", "_table", "_values", "name")

    def __init__(self, name: str, values: object = None, read: Callable[[], Iterable[object]] | None = None) -> None:
        self.name = name
        self._read = read
        self._values: tuple[str, ...] = () if read is not None else _check_values(name, values)
        self._index: dict[str, int] = {}
        self._table: list[Part] = []
        self._by_time: bool | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """The values, in order."""
        if not self._values and self._read is not None:
            self._values = _check_values(self.name, self._read())
        return self._values

    @property
    def is_read(self) -> bool:
        """Whether the values are there, or are still to be read."""
        return bool(self._values)

    @property
    def by_time(self) -> bool:
        """Whether those of its values that are dates or hours are in the order of time."""
        if self._by_time is None:
            times = [time for value in self.values if (time := time_order(value)) is not None]
            self._by_time = all(a < b for a, b in itertools.pairwise(times))
        return self._by_time

    def has_values(self) -> bool:
        """Tell whether there is any value."""
        return bool(self.values)

    def max_length(self) -> int:
        """Return how many characters ``name=value`` has at most."""
        return len(self.name) + 1 + max(len(escape_value(value)) for value in self.values)

    def size(self, until: date | None) -> int:
        """Count the values."""
        return len(self.values)

    def part(self, index: int) -> Part:
        """Return the value at an index."""
        value = self.values[index]
        return value, f"{self.name}={escape_value(value)}"

    def parts(self, indexes: Iterable[int]) -> Iterator[Part]:
        """Yield the values at some indexes."""
        if not self._table:
            self._table = [(value, f"{self.name}={escape_value(value)}") for value in self.values]
        return map(self._table.__getitem__, indexes)

    def find(self, value: str) -> int | None:
        """Return the index of a value, or None if it is none of them."""
        if not self._index:
            self._index = {text: i for i, text in enumerate(self.values)}
        return self._index.get(value)

    def explain(self, value: str) -> tuple[str, list[str]]:
        """Say why a text is not one of the values, and return the nearest ones."""
        folded = {text.casefold(): text for text in self.values}
        near = [folded[text] for text in nearest(value.casefold(), folded, n=3)]
        some = ", ".join(self.values[:5]) + (f" and {len(self.values) - 5} more" if len(self.values) > 5 else "")
        meant = f"did you mean {' or '.join(near)}?" if near else f"it has {some}"
        return f"{self.name} has no value {value!r}, {meant}", near

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {"name": self.name, "values": list(self.values)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticDimension):
            return NotImplemented
        return self.name == other.name and self.values == other.values

    def __hash__(self) -> int:
        return hash((self.name, self.values))

    def __reduce__(self) -> tuple[Any, ...]:
        return StaticDimension, (self.name, self.values)

    def __repr__(self) -> str:
        if self._read is not None and not self._values:
            return f"<values from {getattr(self._read, '__name__', self._read)!s}>"
        return repr(list(self._values)) if len(self._values) <= 8 else f"<{len(self._values)} values>"


Dimension = CadenceDimension | StaticDimension


def make_dimension(name: str, values: Values) -> Dimension:
    """Make a dimension of what was given for it: a cadence, values, or where to read them from."""
    check_dimension_name(name)
    if isinstance(values, Cadence):
        return CadenceDimension(name, values)
    if isinstance(values, type) and issubclass(values, Cadence):
        raise PartitionError(f"{name}={values.__name__} is a class; make one: {values.__name__}(start='2012-01-03')")
    if isinstance(values, type) or not callable(values):
        return StaticDimension(name, values=values)
    return StaticDimension(name, read=values)


def _check_values(name: str, values: object) -> tuple[str, ...]:
    if isinstance(values, str | bytes):
        raise PartitionError(f"{name}={values!r} is one text; pass a list: {name}=[{values!r}]")
    if isinstance(values, Set | Mapping):
        raise PartitionError(f"{name}= is {a_kind(values)}, which has no order of its own; pass sorted(...)")
    if not isinstance(values, Iterable):
        raise PartitionError(f"{name}={values!r}; pass a cadence, a list of values, or a callable that returns one")
    texts = tuple(dimension_value(name, value) for value in values)
    if not texts:
        raise PartitionError(f"{name} has no values, so there would be no keys; give it at least one")
    if len(set(texts)) < len(texts):
        twice = Counter(texts).most_common(1)[0][0]
        raise PartitionError(f"{name} has the value {twice!r} twice; leave one out")
    return texts


def wrong_names(names: Collection[str], key: PartitionKey) -> str:
    """Say what is wrong with a key that has other dimensions than these."""
    missing = [name for name in names if name not in key]
    extra = [name for name in key if name not in names]
    parts = [f"{key} is not a key of this scheme, which has the dimensions {', '.join(names)}"]
    inside = [name for name in missing if any(f"{name}=" in value for value in key.values())]
    if inside:
        parts.append(f"write a comma before {' and before '.join(inside)}")
    elif missing:
        parts.append(f"add {', '.join(missing)}")
    for name in extra:
        near = nearest(name, missing or names)
        parts.append(f"{name} is not one of them" + (f", did you mean {near[0]}?" if near else ", leave it out"))
    return "; ".join(parts)


def not_a_key(dimensions: Sequence[Dimension], key: PartitionKey) -> str:
    """Say which values of a key its dimensions do not have, and which keys are near."""
    reasons = []
    near = {dimension.name: [key[dimension.name]] for dimension in dimensions}
    for dimension in dimensions:
        value = key[dimension.name]
        if dimension.find(value) is None:
            reason, near[dimension.name] = dimension.explain(value)
            reasons.append(reason)
    keys = [str(PartitionKey(**dict(zip(near, values, strict=True)))) for values in itertools.product(*near.values())]
    nearest = f"; the nearest keys are {' and '.join(keys[:3])}" if keys else ""
    typed = "|".join(f"{name}={key[name]}" for name in key)
    return f"the scheme has no key {typed}: {'; '.join(reasons)}{nearest}"


def check_lengths(dimensions: Sequence[Dimension]) -> None:
    """Refuse dimensions whose keys could be longer than a key may be."""
    longest = {dimension.name: dimension.max_length() for dimension in dimensions}
    total = sum(longest.values()) + len(longest) - 1
    if total > MAX_TEXT:
        raise PartitionError(
            f"the longest key has {total} characters, escapes counted, and at most {MAX_TEXT} fit; "
            f"shorten the values of {max(longest, key=longest.__getitem__)}"
        )
