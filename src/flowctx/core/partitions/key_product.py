"""KeyProduct: the keys that some dimensions make, counted, numbered and found without listing them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import date, datetime

from flowctx.core.dates.cadence import Cadence, Hourly
from flowctx.core.dates.parsing import parse_date
from flowctx.core.errors import CalendarError, PartitionError, UnknownPartition
from flowctx.core.partitions.dimensions import CadenceDimension, Dimension, check_lengths, not_a_key, wrong_names
from flowctx.core.partitions.index_tree import POINT, Tree, box
from flowctx.core.partitions.key import PartitionKey, escape_value, key_of, unescape_value
from flowctx.core.partitions.selection import Selection
from flowctx.core.partitions.selection_text import Within, parse_selection


class KeyProduct:
    """All combinations of the values of some dimensions, in order, without listing them.

    What users see of it is :class:`flowctx.core.partitions.scheme.PartitionScheme`.
    """

    __slots__ = (
        *("cadence", "cadence_dimension", "dimensions"),
        *("_by_name", "_cadence", "_dimensions", "_everything", "_fits", "_sorted"),
    )
    #: The names of the dimensions, as declared.
    dimensions: tuple[str, ...]
    #: The cadence, or None if every dimension is static.
    cadence: Cadence | None
    #: The name of the dimension that is a cadence, or None.
    cadence_dimension: str | None
    _dimensions: tuple[Dimension, ...]
    _by_name: dict[str, Dimension]
    _everything: Selection | None
    _sorted: tuple[int, ...]  # the dimensions, by name
    _cadence: CadenceDimension | None
    _fits: bool  # whether the longest key is known to be short enough

    def _fill(self, dimensions: tuple[Dimension, ...]) -> None:
        set_field = object.__setattr__
        set_field(self, "_dimensions", dimensions)
        set_field(self, "_by_name", {dimension.name: dimension for dimension in dimensions})
        set_field(self, "_everything", None)
        set_field(self, "_fits", False)
        dated = next((d for d in dimensions if isinstance(d, CadenceDimension)), None)
        set_field(self, "_cadence", dated)
        set_field(self, "cadence", None if dated is None else dated.cadence)
        set_field(self, "cadence_dimension", None if dated is None else dated.name)
        set_field(self, "dimensions", tuple(dimension.name for dimension in dimensions))
        order = sorted(range(len(dimensions)), key=lambda i: dimensions[i].name)
        set_field(self, "_sorted", tuple(order))

    # -- what it is made of -------------------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Dimension, ...]:
        """The dimensions, as declared."""
        return self._dimensions

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of a static dimension, in order.

        Raises:
            PartitionError: There is no such dimension, or it is the cadence.

        Example:
            >>> from flowctx import PartitionScheme
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
            >>> from flowctx import PartitionScheme
            >>> [str(key) for key in PartitionScheme(tier=["T1", "T2"]).keys()]
            ['tier=T1', 'tier=T2']
        """
        if until is not None:
            return self._selected(None, until, None)
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
            >>> from flowctx import PartitionScheme
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
            if isinstance(key, PartitionKey):  # often of a ledger: no words are made of those that are gone
                return key._scheme is self or self._find(key) is not None
            self.check(key)
        except (PartitionError, CalendarError):
            return False
        return True

    def key(self, **values: object) -> PartitionKey:
        """Make a key of this scheme.

        Raises:
            UnknownPartition: The scheme has no such key; the message shows the nearest ones.

        Example:
            >>> from flowctx import PartitionScheme
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
            >>> from flowctx import PartitionScheme
            >>> PartitionScheme(tier=["T1", "T2"]).check({"tier": "T2"}).tier
            'T2'
        """
        if type(key) is PartitionKey:
            if key._scheme is self:
                return key
            checked = key
        elif isinstance(key, str):
            return self.parse(key)
        elif isinstance(key, Mapping):
            checked = key_of(self._with_hour_as_text(key))
        else:
            raise PartitionError(f"{key!r} is no partition key; pass a PartitionKey, a dict or text")
        if self._find(checked) is None:
            self.path_of(checked)  # says why
        return checked._checked_by(self)

    def _with_hour_as_text(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return values of which an hour is written as in keys, where a datetime would have seconds."""
        name = self.cadence_dimension
        hour = values.get(name) if name is not None and isinstance(self.cadence, Hourly) else None
        if not isinstance(hour, datetime) or hour.tzinfo is None or hour.second or hour.microsecond:
            return values
        return {**values, str(name): hour.isoformat(timespec="minutes")}

    def path_of(self, key: PartitionKey) -> list[int]:
        """Return the index of each of the key's values, in declared order."""
        path = self._find(key)
        if path is None:
            is_named = key._dims.keys() == self._by_name.keys()
            raise UnknownPartition(not_a_key(self._dimensions, key) if is_named else wrong_names(self._by_name, key))
        return path

    def _find(self, key: PartitionKey) -> list[int] | None:
        values = key._dims
        if values.keys() != self._by_name.keys():
            return None
        path: list[int] = []
        for name, dimension in self._by_name.items():
            index = dimension.find(values[name])
            if index is None:
                return None
            path.append(index)
        return path

    def key_at(self, path: list[int]) -> PartitionKey:
        """Make the key of one index per dimension."""
        order, parts = self._sorted, [d.part(i) for d, i in zip(self._dimensions, path, strict=True)]
        dims = {self._dimensions[at].name: parts[at][0] for at in order}
        return PartitionKey._trusted(dims, "|".join([parts[at][1] for at in order]), self)

    # -- text ---------------------------------------------------------------------------------------------------

    def text(self, key: object) -> str:
        """Return the positional text of a key: its values in declared order, percent-escaped, joined by ``|``.

        Raises:
            UnknownPartition: The scheme has no such key.

        Example:
            >>> from flowctx import PartitionScheme
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
            >>> from flowctx import PartitionScheme
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
                f"{text!r} has {len(values)} value{'s' * (len(values) != 1)}, and the scheme has the dimensions "
                f"{', '.join(self._by_name)}; "
                f"write {self._pattern()!r}"
            )
        return self.check({name: unescape_value(v.strip()) for name, v in zip(self._by_name, values, strict=True)})

    def _pattern(self) -> str:
        return "|".join(f"<{name}>" for name in self._by_name)

    def select(
        self, text: str | None = None, *, until: date | str | None = None, latest: date | str | None = None
    ) -> Selection:
        """Return some of the keys, as a lazy sequence.

        Args:
            text: Conditions joined by ``,``, one per dimension; a dimension that is not named is not restricted.
                Alternatives are joined by ``|``; each is a value, a range of the order (``2012-01-03..2012-03-30``,
                with either end left out), every n-th of a range (``2012-01-03..2012-12-31/5``), ``first:3`` or
                ``last:6``. ``;`` joins whole selections. None selects every key; an empty text, or
                part, is refused.
            until: Last as-of date: what is selected after it is left out. What goes on for ever needs it if the
                cadence has no ``end``.
            latest: Where ``last:6`` counts from, and where what has no end of its own ends, if there is no ``until``;
                of hours a day, or an hour.

        Raises:
            PartitionError: The text is not of that form, a range or all that is up to ``until`` or ``latest`` holds
                nothing, or there is an ``until`` and no cadence.
            UnknownPartition: A value that the dimension does not have; the message shows the nearest ones.

        Example:
            >>> from flowctx import Daily, PartitionScheme
            >>> prices = PartitionScheme(date=Daily(start="2012-01-03"), symbol=["AAPL", "FB", "IBM"])
            >>> len(prices.select("date=2012-01-03..2012-03-30,symbol=AAPL|IBM"))
            176
        """
        found = self._selected(text, until, latest)
        last, name = (latest, "latest=") if until is None else (until, "until= (--until)")
        if last is not None and not found and self.cadence is not None:
            raise PartitionError(
                f"{'the scheme' if text is None else text} holds no as-of date up to {last}, which {name} says is the "
                f"last; the first of the scheme is {self.cadence.text(self.cadence[0])}"
            )
        return found

    def _selected(
        self, text: str | None, until: date | str | None, latest: date | str | None, within: Within | None = None
    ) -> Selection:
        self._check_lengths()
        last = self._latest(latest) if until is None else parse_date(until, "until")
        found = Selection._of(self, parse_selection(self._dimensions, text, last, within))
        return found if until is None or last is None else found.up_to(last)

    def _latest(self, latest: date | str | None) -> date | None:
        if latest is None:
            return None
        if isinstance(self.cadence, Hourly):
            hour = self.cadence.parse(latest) if isinstance(latest, str) else latest
            if isinstance(hour, datetime):
                return hour
        return parse_date(latest, "latest")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a PartitionScheme is immutable; make a new one")
