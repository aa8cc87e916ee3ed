"""The window and the due time of an as-of date together, as they are and as they are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from flowctx.core.dates.zones import Window


class Moments(NamedTuple):
    """When the data of an as-of date begins and ends, and when its run is due; each as a time and as text."""

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
    def of(cls, window: Window, due: datetime) -> Moments:
        """Return the moments with their texts.

        Example:
            >>> day = datetime(2012, 1, 3, tzinfo=UTC)
            >>> Moments.of(Window(day, day.replace(day=4)), day.replace(day=4)).due_text
            ('2012-01-04T00:00:00+00:00', 'UTC')
        """
        return cls(window, due, due.astimezone(UTC), window_text(window), (due.isoformat(), str(due.tzinfo)))


def window_text(window: Window) -> tuple[str, str, str]:
    """Return the ends of a window in ISO 8601, and the name of their zone.

    Example:
        >>> window_text(Window(datetime(2012, 1, 3, tzinfo=UTC), datetime(2012, 1, 4, tzinfo=UTC)))
        ('2012-01-03T00:00:00+00:00', '2012-01-04T00:00:00+00:00', 'UTC')
    """
    start, end = window
    return start.isoformat(), end.isoformat(), str(start.tzinfo)
