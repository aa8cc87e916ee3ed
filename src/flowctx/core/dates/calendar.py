"""BusinessCalendar: which days count as business days, as a table of ordinals with fast arithmetic on it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Any, Final

from flowctx.core.dates.calendar_names import check_calendar_name, check_own_name
from flowctx.core.dates.closes import Closes
from flowctx.core.dates.corrections import CorrectableTable
from flowctx.core.dates.parsing import parse_bounds, parse_dates, weekmask_text
from flowctx.core.dates.weekly_pattern import table_of_pattern
from flowctx.core.errors import CalendarError
from flowctx.core.hashing import sha256
from flowctx.core.suggestions import a_kind, nearest

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_MAX_ORDINAL: Final = date.max.toordinal()


class BusinessCalendar(CorrectableTable):
    """Which days count as business days (sessions), immutable, at most 2 µs a look-up.

    Make one with :meth:`from_sessions` or :meth:`from_holidays`, or load a named one with
    :func:`get_calendar`; correct one with :meth:`with_holidays`, :meth:`with_sessions` and :meth:`with_closes`, which
    return another one with a version of its own. ``EVERY_DAY`` and ``WEEKDAYS`` are arithmetic and know no bounds;
    every other calendar knows the days from :attr:`first` to :attr:`last` and refuses to guess outside of them.

    Equality and hash are by content: name, version, bounds and every session.

    Example:
        >>> desk = BusinessCalendar.from_holidays("DESK", ["2012-10-29", "2012-10-30"])
        >>> desk.is_session(date(2012, 10, 29)), desk.next(date(2012, 10, 26))
        (False, datetime.date(2012, 10, 31))
    """

    __slots__ = ("_hash", "_reloadable")
    _reloadable: bool
    _hash: int

    def __init__(self) -> None:
        raise CalendarError(
            "a calendar is not made by calling the class; use BusinessCalendar.from_sessions(name, dates), "
            "BusinessCalendar.from_holidays(name, holidays) or get_calendar('XNYS')"
        )

    # -- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def _make(cls, name: str, table: array[int], bounds: tuple[int, int], **more: Any) -> BusinessCalendar:
        self = object.__new__(cls)
        closes: Closes | None = more.get("closes")
        times = repr(closes.content).encode() if closes else b""
        version = more.get("version") or sha256(table.tobytes() + times)[:12]
        for field, value in {
            "name": check_calendar_name(name),
            "version": version,
            "_table": table,
            "_first": bounds[0],
            "_last": bounds[1],
            "_open_days": more.get("open_days"),
            "_reloadable": more.get("reloadable", False),
            "_size": len(table),
            "_closes": closes,
            "_hash": hash((name, version, bounds, len(table), table.tobytes(), times)),
        }.items():
            object.__setattr__(self, field, value)
        return self

    @classmethod
    def from_sessions(
        cls,
        name: str,
        dates: Iterable[date | str],
        *,
        first: date | str | None = None,
        last: date | str | None = None,
        version: str = "",
        close: time | str | None = None,
        timezone: str | ZoneInfo | None = None,
        special_closes: Mapping[date | str, time | str] | None = None,
    ) -> BusinessCalendar:
        """Make a calendar from its sessions.

        Args:
            name: What to call it.
            dates: The sessions, in any order.
            first: First day that the calendar knows about; the first session if not given.
            last: Last day that the calendar knows about; the last session if not given.
            version: Which edition it is; a digest of the sessions if not given.
            close: When sessions end, by the wall clock: ``16:00``; needed by cadences that are due after the close.
            timezone: IANA name of the zone of closing times.
            special_closes: The closing times of sessions that end at another time, by date.

        Raises:
            CalendarError: No sessions, sessions outside the bounds, a closing time of a day that is no session, or a
                name that another calendar has.

        Example:
            >>> BusinessCalendar.from_sessions("TWO", ["2012-10-26", "2012-10-31"]).count(date.min, date.max)
            2
        """
        check_own_name(name)
        table = array("i", sorted(d.toordinal() for d in parse_dates(dates, "dates")))
        if not table:
            raise CalendarError(f"the calendar {name!r} has no sessions; give it at least one")
        bounds = parse_bounds(name, first, last, date.fromordinal(table[0]), date.fromordinal(table[-1]))
        if table[0] < bounds[0] or table[-1] > bounds[1]:
            raise CalendarError(
                f"the calendar {name!r} has sessions from {_iso(table[0])} to {_iso(table[-1])}, outside its bounds "
                f"{_iso(bounds[0])} to {_iso(bounds[1])}; widen first= and last="
            )
        closes = Closes.of_calendar(name, table, close, timezone, special_closes)
        return cls._make(name, table, bounds, version=version, closes=closes)

    @classmethod
    def from_ordinals(
        cls,
        name: str,
        ordinals: Iterable[int],
        *,
        bounds: tuple[int, int],
        version: str = "",
        reloadable: bool = False,
        closes: Closes | None = None,
    ) -> BusinessCalendar:
        """Make a calendar from a table that is known to be right: what loaders use.

        Args:
            name: What to call it.
            ordinals: ``date.toordinal()`` of the sessions, in order, at least one.
            bounds: The ordinals of the first and last day that the calendar knows about.
            version: Which edition it is; a digest of the sessions if not given.
            reloadable: The loader finds the calendar by its name, so that writing it down takes no table.
            closes: When its sessions end.
        """
        return cls._make(name, array("i", ordinals), bounds, version=version, reloadable=reloadable, closes=closes)

    @classmethod
    def from_holidays(
        cls,
        name: str,
        holidays: Iterable[date | str],
        *,
        weekmask: str = "MON-FRI",
        first: date | str | None = None,
        last: date | str | None = None,
        extra: Iterable[date | str] = (),
        version: str = "",
        close: time | str | None = None,
        timezone: str | ZoneInfo | None = None,
        special_closes: Mapping[date | str, time | str] | None = None,
    ) -> BusinessCalendar:
        """Make a calendar from its weekly pattern and the days on which it is closed.

        Args:
            name: What to call it.
            holidays: The closed days; those outside the weekmask change nothing.
            weekmask: Open weekdays: ``MON-FRI``, ``SUN-THU``, ``MON,WED,FRI`` or seven flags from Monday, ``1111100``.
            first: First day that the list is known to cover; 1 January of the first holiday's year if not given.
            last: Last such day; 31 December of the last holiday's year if not given.
            extra: Sessions outside the weekmask, such as a Saturday worked.
            version: Which edition it is; a digest of the sessions if not given.
            close: As for :meth:`from_sessions`.
            timezone: As for :meth:`from_sessions`.
            special_closes: As for :meth:`from_sessions`.

        Raises:
            CalendarError: No holidays and no bounds, a weekmask that cannot be, no session at all, a closing time of a
                day that is no session, or a name that another calendar has.

        Example:
            >>> riyadh = BusinessCalendar.from_holidays("R", ["2024-09-23"], weekmask="SUN-THU")
            >>> riyadh.previous(date(2024, 9, 24))
            datetime.date(2024, 9, 22)
        """
        check_own_name(name)
        pattern: dict[str, Any] = {"weekmask": weekmask, "first": first, "last": last, "extra": extra}
        table, bounds, open_days = table_of_pattern(name, holidays, **pattern)
        closes = Closes.of_calendar(name, table, close, timezone, special_closes)
        return cls._make(name, table, bounds, version=version, open_days=open_days, closes=closes)

    def _corrected(
        self, table: Iterable[int], *, last: int | None, closes: Closes | None, version: str
    ) -> BusinessCalendar:
        ordinals, closes = array("i", table), closes or self._closes
        if not ordinals:
            raise CalendarError(f"the calendar {self.name} would have no session left")
        times = repr(closes.content).encode() if closes else b""
        added = version or f"corrected.{sha256(ordinals.tobytes() + times)[:8]}"
        bounds = (self._first, self._last if last is None else last)
        return self._make(self.name, ordinals, bounds, version=f"{self.version}+{added}", closes=closes)

    # -- writing it down ----------------------------------------------------------------------------------------

    @property
    def reloadable(self) -> bool:
        """Whether its name is enough to load it again."""
        return self._reloadable

    @property
    def identity(self) -> dict[str, str]:
        """Name and version, as they go into ``ctx.metadata["calendar"]``."""
        return {"name": self.name, "version": self.version}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict: just name and version if it can be loaded by name, else all that it takes.

        Example:
            >>> WEEKDAYS.to_dict()
            {'name': 'WEEKDAYS', 'version': '1'}
        """
        if self._reloadable:
            return dict(self.identity)
        table, open_days = set(self._table), self._usual_weekdays()
        usual = {o for o in range(self._first, self._last + 1) if (o + 6) % 7 in open_days}
        return {
            "name": self.name,
            "version": self.version,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "weekmask": weekmask_text(open_days),
            "holidays": [_iso(o) for o in sorted(usual - table)],
            "extra": [_iso(o) for o in sorted(table - usual)],
            **({"closing_times": self._closes.to_dict()} if self._closes else {}),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> BusinessCalendar:
        """Read :meth:`to_dict` back; a calendar written by name is loaded as it is installed here.

        Raises:
            CalendarError: The data is not of that form, or there is no such calendar.

        Example:
            >>> BusinessCalendar.from_dict(WEEKDAYS.to_dict()) is WEEKDAYS
            True
        """
        try:
            name, version = data["name"], data["version"]
            if "weekmask" not in data:
                return get_calendar(name)
            pattern = {field: data[field] for field in ("weekmask", "first", "last", "extra")}
            table, bounds, open_days = table_of_pattern(name, data["holidays"], **pattern)
            closes = Closes.from_dict(data["closing_times"]) if "closing_times" in data else None
            return BusinessCalendar._make(name, table, bounds, version=version, open_days=open_days, closes=closes)
        except (KeyError, TypeError, AttributeError) as error:
            raise CalendarError(f"this is not a calendar written by to_dict(): {error!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a BusinessCalendar is immutable; make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a BusinessCalendar is immutable; make a new one")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BusinessCalendar):
            return NotImplemented
        return self is other or (self._hash == other._hash and self._content() == other._content())

    def _content(self) -> tuple[object, ...]:
        return self.name, self.version, self._first, self._last, self._table, self._closes

    def __hash__(self) -> int:
        return self._hash

    def __copy__(self) -> BusinessCalendar:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> BusinessCalendar:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {"version": self.version, "open_days": self._open_days, "reloadable": self._reloadable}
        more: dict[str, Any] = {**fields, "closes": self._closes}
        return _unpickle, (self.name, self._table, (self._first, self._last), more)

    def __repr__(self) -> str:
        return f"<BusinessCalendar {self.name} {self.version}: {self.first} to {self.last}>"


class _WeeklyCalendar(BusinessCalendar):
    """A calendar without holidays: arithmetic instead of a table, and no bounds but those of dates."""

    __slots__ = ("_length",)
    _length: int  # open days of each week, from Monday on without a gap

    @classmethod
    def _weekly(cls, name: str, length: int) -> _WeeklyCalendar:
        open_days = frozenset(range(length))
        self = cls._make(name, array("i"), (1, _MAX_ORDINAL), version="1", open_days=open_days, reloadable=True)
        assert isinstance(self, _WeeklyCalendar)  # noqa: S101 - for the type checker
        object.__setattr__(self, "_length", length)
        object.__setattr__(self, "_size", self.position(_MAX_ORDINAL + 1))
        return self

    @property
    def bounded(self) -> bool:
        return False

    def position(self, ordinal: int) -> int:
        weeks, day = divmod(ordinal - 1, 7)  # ordinal 1 is a Monday
        return weeks * self._length + min(day, self._length)

    def _ordinal_at(self, position: int) -> int:
        weeks, day = divmod(position, self._length)
        return weeks * 7 + day + 1

    def __reduce__(self) -> tuple[Any, ...]:
        return get_calendar, (self.name,)


def _unpickle(name: str, table: array[int], bounds: tuple[int, int], more: dict[str, Any]) -> BusinessCalendar:
    return BusinessCalendar._make(name, table, bounds, **more)


def _iso(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


#: Every day is a business day: no bounds, no holidays.
EVERY_DAY: Final[BusinessCalendar] = _WeeklyCalendar._weekly("EVERY_DAY", 7)
#: Monday to Friday, whatever happens: no bounds, no holidays.
WEEKDAYS: Final[BusinessCalendar] = _WeeklyCalendar._weekly("WEEKDAYS", 5)

_BUILT_IN: Final = {calendar.name: calendar for calendar in (EVERY_DAY, WEEKDAYS)}
_loaders: Final[list[Callable[[str], BusinessCalendar]]] = []
_loaded: Final[dict[str, BusinessCalendar]] = {}


def set_calendar_loader(loader: Callable[[str], BusinessCalendar]) -> None:
    """Say how calendars other than the built-in ones are found by name; flowctx itself does this once.

    Args:
        loader: Takes a name, returns the calendar or raises :class:`CalendarError` (see :func:`unknown_calendar`).
            It is called when a name is first looked up, so that it may import what it needs then.

    Example:
        >>> set_calendar_loader(lambda name: __import__("flowctx.calendars").calendars.load_calendar(name))
    """
    _loaders[:] = [loader]
    _loaded.clear()


def get_calendar(name: str | BusinessCalendar) -> BusinessCalendar:
    """Return a calendar by its name; a calendar is returned as it is.

    Args:
        name: ``EVERY_DAY``, ``WEEKDAYS``, or a name that the loader knows, such as ``XNYS``.

    Raises:
        CalendarError: No such calendar; the message names the nearest ones.
        MissingExtra: Exchange calendars are not installed.

    Example:
        >>> get_calendar("WEEKDAYS").is_session(date(2012, 10, 26))
        True
    """
    if isinstance(name, BusinessCalendar):
        return name
    if not isinstance(name, str):
        raise CalendarError(f"calendar={name!r} is {a_kind(name)}; pass a name or a BusinessCalendar")
    calendar = _BUILT_IN.get(name) or _loaded.get(name)
    if calendar is None:
        if not _loaders:
            raise unknown_calendar(name, ())
        calendar = _loaded[name] = _loaders[0](name)
    return calendar


def unknown_calendar(name: str, known: Iterable[str]) -> CalendarError:
    """Make the error for a name that no calendar has: nearest names first, then the built-in ones.

    Example:
        >>> print(unknown_calendar("WEEKDAY", ["XNYS"]))
        there is no calendar 'WEEKDAY'; did you mean WEEKDAYS? Built in are EVERY_DAY and WEEKDAYS; ...
    """
    near = nearest(name.upper(), [*_BUILT_IN, *known], n=3, cutoff=0.7)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    return CalendarError(
        f"there is no calendar {name!r}{meant} Built in are {' and '.join(_BUILT_IN)}; the others are those of "
        "exchange_calendars, such as XNYS; for one of your own pass a BusinessCalendar"
    )
