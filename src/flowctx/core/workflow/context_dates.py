"""The window of data that a run is about, and when it was due, as they stand in a context's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowctx.core.data.plain import JsonDict
from flowctx.core.dates.moments import Moments, window_text
from flowctx.core.dates.zones import Window, get_zone
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.business_date import RunTiming

#: Names in ``metadata``.
WINDOW, DUE = "window", "due"


def dated(moments: Moments, partition: PartitionKey) -> dict[str, Any]:
    """Return what ``metadata`` says of the window of a partition and of when it is due, as text with the zone's name.

    Args:
        moments: What the scheme says of the partition.
        partition: The partition.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", timezone="America/New_York"))
        >>> key = scheme.key(date="2012-01-03")
        >>> dated(scheme.moments(key), key)["due"]["at"]
        '2012-01-04T00:00:00-05:00'
    """
    text = partition._text
    at, zone = moments.due_text
    # Times in ISO 8601, names of zones and texts of keys are ASCII: all of it is JSON as it stands.
    start, end, window_zone = moments.window_text
    window = JsonDict(start=start, end=end, timezone=window_zone, partition=text)
    return {WINDOW: window, DUE: JsonDict(at=at, timezone=zone, partition=text)}


def dated_by_engine(time: RunTiming | None, partition: PartitionKey | None) -> dict[str, Any]:
    """Return what ``metadata`` says of the window of a run that is of no scheme: the one that its engine says."""
    window = _interval_of(time)
    if window is None:
        return {}
    start, end, zone = window_text(window)
    return {WINDOW: JsonDict(start=start, end=end, timezone=zone, partition=str(partition or ""))}


def _interval_of(time: RunTiming | None) -> Window | None:
    if time is None or time.partition is not None:
        return None
    start, end = time.window_start, time.window_end
    if start is None or end is None or start == end:
        return None
    zone = get_zone(time.timezone or "UTC")  # two instants are the same in any zone
    return Window(start.astimezone(zone), end.astimezone(zone))


def read_window(stored: Mapping[str, Any]) -> Window:
    """Return the window that ``metadata`` holds, in its zone.

    Example:
        >>> stored = {"start": "2012-01-03T00:00:00-05:00", "end": "2012-01-04T00:00:00-05:00"}
        >>> read_window({**stored, "timezone": "America/New_York"}).start.tzinfo.key
        'America/New_York'
    """
    zone = get_zone(str(stored["timezone"]))
    return Window(*(datetime.fromisoformat(str(stored[end])).astimezone(zone) for end in ("start", "end")))


def read_due(stored: Mapping[str, Any]) -> datetime:
    """Return the due time that ``metadata`` holds, in its zone.

    Example:
        >>> str(read_due({"at": "2012-01-04T00:00:00-05:00", "timezone": "America/New_York"}))
        '2012-01-04 00:00:00-05:00'
    """
    return datetime.fromisoformat(str(stored["at"])).astimezone(get_zone(str(stored["timezone"])))
