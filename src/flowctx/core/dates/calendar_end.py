"""What to say of a cadence whose calendar ends: a warning in the weeks before, and an error from then on."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from flowctx.core.dates.calendar_names import OF_EXCHANGES
from flowctx.core.dates.windows import Cadence

#: So long before the last day that is known people are warned.
NOTICE: Final = timedelta(days=60)

_OF_LIBRARY: Final = (
    "install an edition of exchange_calendars that reaches further, add its sessions, and last =, in the file of "
    "FLOWCTX_CALENDARS"
)
_OF_YOUR_OWN: Final = "make the calendar of later dates, too, with last= as the last day that they cover"


class CalendarEnd(NamedTuple):
    """That a cadence goes on for longer than its calendar is known.

    Example:
        >>> str(CalendarEnd("XSHG", "4.13", date(2026, 12, 31), 5))
        'the calendar XSHG (4.13) is known until 2026-12-31, 5 days from now; dates after it will not be scheduled: ...'
    """

    #: The calendar.
    calendar: str
    #: Its edition.
    version: str
    #: The last day whose as-of dates are known.
    known_until: date
    #: How many days are left; negative when it is past.
    days_left: int

    @property
    def ended(self) -> bool:
        """Whether today is after the last day that is known."""
        return self.days_left < 0

    def __str__(self) -> str:
        known = f"the calendar {self.calendar} ({self.version}) is known until {self.known_until}"
        remedy = f"{_OF_LIBRARY if self.calendar in OF_EXCHANGES else _OF_YOUR_OWN}, or give the cadence an end="
        if self.ended:
            return f"{known}, which is past: dates after it are not scheduled; {remedy}"
        return f"{known}, {self.days_left} days from now; dates after it will not be scheduled: {remedy}"


def calendar_end(cadence: Cadence, now: datetime) -> CalendarEnd | None:
    """Return what there is to say of the end of a cadence's calendar, or None if it is far off or does not matter.

    Example:
        >>> from datetime import UTC
        >>> from flowctx import BusinessCalendar, Daily
        >>> desk = BusinessCalendar.from_holidays("DESK", ["2026-01-01"])
        >>> calendar_end(Daily(start="2026-01-01", calendar=desk), datetime(2026, 12, 1, tzinfo=UTC)).days_left
        30
    """
    last = cadence.known_until
    if last is None or (cadence.end is not None and cadence.end <= last):
        return None
    left = last - now.astimezone(cadence.zone).date()
    if left > NOTICE:
        return None
    calendar = cadence.business_calendar
    return CalendarEnd(calendar.name, calendar.version, last, left.days)
