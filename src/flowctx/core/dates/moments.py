"""The window and the due time of an as-of date together, as they are and as they are written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from flowctx.core.dates.zones import Window

#: Of so many as-of dates it is kept what was worked out: a batch asks for each day once for each of its keys.
KEPT: Final = 1024


class Moments(NamedTuple):
    """When the data of an as-of date begins and ends, and when its run is due; each as a time and as text."""

    #: The as-of date; of an hour its day.
    as_of_date: date
    #: The same as text.
    as_of_text: str
    #: The window of data.
    window: Window
    #: When the run is due.
    due: datetime
    #: The same moment in UTC: two times of one zone are compared by what clocks show.
    due_utc: datetime
    #: The ends of the window in ISO 8601, and the name of their zone.
    window_text: tuple[str, str, str]
    #: The due time in ISO 8601, and the name of its zone.
    due_text: tuple[str, str]

    @classmethod
    def of(cls, as_of: date, window: Window, due: datetime) -> Moments:
        """Return the moments with their texts.

        Example:
            >>> day = datetime(2012, 1, 3, tzinfo=UTC)
            >>> Moments.of(day, Window(day, day.replace(day=4)), day.replace(day=4)).due_text
            ('2012-01-04T00:00:00+00:00', 'UTC')
        """
        day = as_of.date() if isinstance(as_of, datetime) else as_of
        texts = window_text(window), (due.isoformat(), str(due.tzinfo))
        return cls(day, day.isoformat(), window, due, due.astimezone(UTC), *texts)


def window_text(window: Window) -> tuple[str, str, str]:
    """Return the ends of a window in ISO 8601, and the name of their zone.

    Example:
        >>> window_text(Window(datetime(2012, 1, 3, tzinfo=UTC), datetime(2012, 1, 4, tzinfo=UTC)))
        ('2012-01-03T00:00:00+00:00', '2012-01-04T00:00:00+00:00', 'UTC')
    """
    start, end = window
    return start.isoformat(), end.isoformat(), str(start.tzinfo)
