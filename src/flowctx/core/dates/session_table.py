"""SessionTable: the look-ups of a business calendar, by bisection in a table of ordinals."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from datetime import date, datetime

from flowctx.core.dates.closes import Closes
from flowctx.core.dates.parsing import DateSequence, check_date, weekday_name
from flowctx.core.errors import CalendarError


class SessionTable:
    """The sessions of a calendar in order, and arithmetic on them.

    What users see of it is :class:`flowctx.core.dates.calendar.BusinessCalendar`.

    A look-up takes at most 2 µs. Days outside of :attr:`first` to :attr:`last` are refused, never guessed.
    """

    __slots__ = ("_closes", "_first", "_last", "_open_days", "_size", "_table", "name", "version")
    #: What the calendar is called: ``XNYS``.
    name: str
    #: Which edition of it: the library's version, or a digest of the sessions.
    version: str
    _table: array[int]
    _first: int
    _last: int
    _open_days: frozenset[int] | None  # None where it takes a look at the table
    _size: int
    _closes: Closes | None

    @property
    def first(self) -> date:
        """First day that the calendar knows about (which need not be a session)."""
        return date.fromordinal(self._first)

    @property
    def last(self) -> date:
        """Last day that the calendar knows about (which need not be a session)."""
        return date.fromordinal(self._last)

    @property
    def bounded(self) -> bool:
        """Whether days outside :attr:`first` to :attr:`last` are refused; False for the built-in ones."""
        return True

    def is_session(self, d: date) -> bool:
        """Tell whether ``d`` is a business day.

        Raises:
            CalendarError: ``d`` is outside the bounds, or a datetime.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.is_session(date(2012, 10, 27))
            False
        """
        ordinal = self._ordinal(d)
        position = self.position(ordinal)
        return self._ordinal_at(position) == ordinal if position < self._size else False

    def previous(self, d: date, n: int = 1) -> date:
        """Return the n-th session strictly before ``d``.

        Args:
            d: Any day, session or not.
            n: How many sessions back, from 1.

        Raises:
            CalendarError: ``d`` or the answer is outside the bounds.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.previous(date(2012, 10, 29))
            datetime.date(2012, 10, 26)
        """
        if n < 1:
            raise _no_steps(n)
        return self._session(self.position(self._ordinal(d)) - n, f"session number {n} before {d}")

    def next(self, d: date, n: int = 1) -> date:
        """Return the n-th session strictly after ``d``; see :meth:`previous`.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.next(date(2012, 10, 26), 2)
            datetime.date(2012, 10, 30)
        """
        if n < 1:
            raise _no_steps(n)
        return self._session(self.position(self._ordinal(d) + 1) + n - 1, f"session number {n} after {d}")

    def on_or_before(self, d: date) -> date:
        """Return ``d`` if it is a session, else the last one before it.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.on_or_before(date(2012, 10, 28))
            datetime.date(2012, 10, 26)
        """
        return self._session(self.position(self._ordinal(d) + 1) - 1, f"the session on or before {d}")

    def on_or_after(self, d: date) -> date:
        """Return ``d`` if it is a session, else the first one after it.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.on_or_after(date(2012, 10, 28))
            datetime.date(2012, 10, 29)
        """
        return self._session(self.position(self._ordinal(d)), f"the session on or after {d}")

    def _session(self, position: int, what: str) -> date:
        if not 0 <= position < self._size:
            raise self._outside(what)
        return date.fromordinal(self._ordinal_at(position))

    def sessions(self, a: date, b: date) -> DateSequence:
        """Return the sessions from ``a`` to ``b``, both included, as a lazy sequence; empty if ``b < a``.

        ``date.min`` and ``date.max`` stand for the calendar's own bounds.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> len(WEEKDAYS.sessions(date(2012, 10, 1), date(2012, 10, 31)))
            23
        """
        low, high = self._clip(a), self._clip(b)
        return DateSequence(self._ordinal_at, range(self.position(low), self.position(high + 1)))

    def count(self, a: date, b: date) -> int:
        """Count the sessions from ``a`` to ``b``, both included; 0 if ``b < a``.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.count(date(2012, 10, 1), date(2012, 10, 31))
            23
        """
        return max(0, self.position(self._clip(b) + 1) - self.position(self._clip(a)))

    def index(self, d: date) -> int:
        """Return the position of the session ``d`` among all sessions; :meth:`at` inverts it.

        Raises:
            CalendarError: ``d`` is no session; the message says why and which sessions lie around it.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.at(WEEKDAYS.index(date(2012, 10, 26)) + 1)
            datetime.date(2012, 10, 29)
        """
        if not self.is_session(d):
            raise CalendarError(self.explain(d))
        return self.position(d.toordinal())

    def at(self, position: int) -> date:
        """Return the session at ``position``, counted from the calendar's first session.

        Raises:
            CalendarError: The position is outside the calendar.
        """
        return date.fromordinal(self.ordinal_at(position))

    def ordinal_at(self, position: int) -> int:
        """Return ``at(position).toordinal()``; with :meth:`position`, what cadences count with."""
        if not 0 <= position < self._size:
            raise self._outside(f"session {position}")
        return self._ordinal_at(position)

    def position(self, ordinal: int) -> int:
        """Return how many sessions lie before the day with this ordinal; no bounds are checked.

        Args:
            ordinal: ``date.toordinal()`` of the day.

        Example:
            >>> from flowctx import EVERY_DAY
            >>> EVERY_DAY.position(date(1, 1, 3).toordinal())
            2
        """
        return bisect_left(self._table, ordinal)

    def explain(self, d: date) -> str:
        """Say in one sentence why ``d`` is no session, and which sessions lie around it.

        Example:
            >>> from flowctx import WEEKDAYS
            >>> WEEKDAYS.explain(date(2012, 10, 27))
            '2012-10-27 is a Saturday, a weekend day in WEEKDAYS: sessions around it are 2012-10-26 and 2012-10-29'
        """
        ordinal = self._ordinal(d)
        position, after = self.position(ordinal), self.position(ordinal + 1)
        if after > position:
            return f"{d.isoformat()} is a session of {self.name}"
        around = [self.at(i).isoformat() for i in (position - 1, position) if 0 <= i < self._size]
        kind = f"a {weekday_name(d)}, a weekend day" if d.weekday() not in self._usual_weekdays() else "a holiday"
        near = "sessions around it are" if len(around) == 2 else "the session next to it is"
        return f"{d.isoformat()} is {kind} in {self.name}: {near} {' and '.join(around)}"

    # -- closing times ------------------------------------------------------------------------------------------

    @property
    def closes(self) -> Closes | None:
        """When its sessions end, or None if the calendar knows days only."""
        return self._closes

    def close(self, d: date) -> datetime:
        """Return the moment at which the session ``d`` ends.

        Raises:
            CalendarError: ``d`` is no session, or the calendar has no closing times.

        Example:
            >>> from flowctx import BusinessCalendar
            >>> desk = BusinessCalendar.from_holidays(
            ...     "DESK", ["2026-11-26"],
            ...     close="16:00", timezone="America/New_York", special_closes={"2026-11-27": "13:00"})
            >>> desk.close(date(2026, 11, 27)).isoformat(), desk.closes_early(date(2026, 11, 27))
            ('2026-11-27T13:00:00-05:00', True)
        """
        self.index(d)
        return self.known_closes().at(d.toordinal())

    def closes_early(self, d: date) -> bool:
        """Tell whether the session ``d`` ends before the usual time: a half day.

        Raises:
            CalendarError: As for :meth:`close`.
        """
        self.index(d)
        closes, ordinal = self.known_closes(), d.toordinal()
        return closes.minutes(ordinal) < closes.usual_minutes(ordinal)

    def known_closes(self) -> Closes:
        """Return :attr:`closes`, or refuse if there are none."""
        if self._closes is None:
            raise CalendarError(
                f"the calendar {self.name} has no closing times; give it some: close='16:00' and timezone=..., and "
                "special_closes= for half days, or use the calendar of an exchange"
            )
        return self._closes

    # -- inside -------------------------------------------------------------------------------------------------

    def _ordinal_at(self, position: int) -> int:
        return self._table[position]

    def _usual_weekdays(self) -> frozenset[int]:
        """Return the weekdays of which most are sessions, or those with any where none has most."""
        if self._open_days is not None:
            return self._open_days
        sessions = Counter((ordinal + 6) % 7 for ordinal in self._table)
        days = Counter((ordinal + 6) % 7 for ordinal in range(self._first, self._last + 1))
        return frozenset(i for i in sessions if 2 * sessions[i] > days[i]) or frozenset(sessions)

    def _ordinal(self, d: date) -> int:
        if type(d) is not date:
            check_date(d, "d")
        ordinal = d.toordinal()
        if not self._first <= ordinal <= self._last:
            raise self._outside(d.isoformat())
        return ordinal

    def _clip(self, d: date) -> int:
        return self._first if d == date.min else self._last if d == date.max else self._ordinal(d)

    def _outside(self, what: str, remedy: str = "") -> CalendarError:
        return CalendarError(
            f"{what} is outside the calendar {self.name}, which is known from {self.first} to {self.last} (version "
            f"{self.version}); {remedy or 'stay inside, or use an edition of the calendar that reaches further'}"
        )


def _no_steps(n: int) -> CalendarError:
    return CalendarError(f"n={n} sessions cannot be stepped over; n counts from 1")
