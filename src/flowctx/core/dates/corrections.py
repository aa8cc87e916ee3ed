"""Corrections of a calendar: days closed or opened after all, other closing times; each makes another calendar."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Self

from flowctx.core.dates.closes import Closes, parse_minutes
from flowctx.core.dates.parsing import parse_date, parse_dates
from flowctx.core.dates.session_table import SessionTable
from flowctx.core.errors import CalendarError


class CorrectableTable(SessionTable):
    """A table of sessions that can be corrected; what users see of it is ``BusinessCalendar``."""

    __slots__ = ()

    def with_holidays(self, dates: Iterable[date | str], *, version: str = "") -> Self:
        """Return the calendar with these days closed.

        Args:
            dates: Days that are no sessions, such as a typhoon; a day that is none already changes nothing.
            version: What to call the correction; a digest of the result if not given. It is added to the version of
                the calendar, and goes into ``ctx.metadata["calendar"]`` with it.

        Raises:
            CalendarError: A day outside the bounds, or a calendar without bounds.

        Example:
            >>> from flowctx import BusinessCalendar
            >>> desk = BusinessCalendar.from_holidays("DESK", ["2026-01-01"], version="1")
            >>> typhoon = desk.with_holidays(["2026-09-10"], version="typhoon")
            >>> typhoon.is_session(date(2026, 9, 10)), typhoon.version
            (False, '1+typhoon')
        """
        closed = {self._ordinal(d) for d in parse_dates(dates, "holidays")}
        table = [o for o in self._bounded_table() if o not in closed]
        return self._corrected(table, last=None, closes=None, version=version)

    def with_sessions(self, dates: Iterable[date | str], *, last: date | str | None = None, version: str = "") -> Self:
        """Return the calendar with these days open.

        Args:
            dates: Days that are sessions, such as a Saturday worked.
            last: The last day that is then known, if later than before: of the days up to it, those listed are
                sessions and no others.
            version: As for :meth:`with_holidays`.

        Raises:
            CalendarError: A day outside the bounds, or a calendar without bounds.

        Example:
            >>> from flowctx import BusinessCalendar
            >>> desk = BusinessCalendar.from_holidays("DESK", ["2026-01-01"])
            >>> desk.with_sessions(["2026-01-03"]).is_session(date(2026, 1, 3))
            True
        """
        end = self._last if last is None else max(self._last, parse_date(last, "last").toordinal())
        opened = {d.toordinal() for d in parse_dates(dates, "sessions")}
        outside = next((o for o in sorted(opened) if not self._first <= o <= end), None)
        if outside is not None:
            raise self._outside(
                date.fromordinal(outside).isoformat(),
                "pass last=, the last day that is then known" if outside > end else "",
            )
        table = sorted(opened.union(self._bounded_table()))
        return self._corrected(table, last=end, closes=None, version=version)

    def with_closes(self, times: Mapping[date | str, time | str], *, version: str = "") -> Self:
        """Return the calendar with these closing times, by the clocks of the zone of its closing times.

        Args:
            times: Closing times by session, such as ``{"2026-12-24": "12:00"}``.
            version: As for :meth:`with_holidays`.

        Raises:
            CalendarError: A day that is no session, or a calendar without closing times.

        Example:
            >>> from flowctx import BusinessCalendar
            >>> desk = BusinessCalendar.from_holidays("DESK", ["2026-01-01"], close="16:00", timezone="Asia/Tokyo")
            >>> desk.with_closes({"2026-12-30": "11:30"}).close(date(2026, 12, 30)).isoformat()
            '2026-12-30T11:30:00+09:00'
        """
        days = {parse_date(day, "closes"): parse_minutes(at, "closes") for day, at in times.items()}
        for day in days:
            self.index(day)
        closes = self.known_closes().with_times((day.toordinal(), minutes) for day, minutes in days.items())
        return self._corrected(self._bounded_table(), last=None, closes=closes, version=version)

    def _bounded_table(self) -> array[int]:
        if not self.bounded:
            raise CalendarError(
                f"the calendar {self.name} has no bounds and cannot be corrected; make one of your own: "
                "BusinessCalendar.from_holidays(name, holidays)"
            )
        return self._table

    def _corrected(self, table: Iterable[int], *, last: int | None, closes: Closes | None, version: str) -> Self:
        raise NotImplementedError  # pragma: no cover - the calendar has it
