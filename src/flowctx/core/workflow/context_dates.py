"""The window of data that a run is about, and when it was due, as they stand in a context's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowctx.core.dates.zones import Window, get_zone
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import RunTiming

#: Names in ``metadata``.
WINDOW, DUE = "window", "due"


def dated(
    scheme: PartitionScheme | None, partition: PartitionKey | None, due: datetime | None, time: RunTiming | None
) -> dict[str, Any]:
    """Return what ``metadata`` says of the window of a run and of when it was due, as text with the zone's name.

    They are the partition's. A run without a partition has the window that its engine says, and no due time.

    Example:
        >>> from flowctx import Daily
        >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", timezone="America/New_York"))
        >>> key = scheme.key(date="2012-01-03")
        >>> dated(scheme, key, scheme.due(key), None)["due"]["at"]
        '2012-01-04T00:00:00-05:00'
    """
    window = _interval_of(time) if scheme is None or partition is None else scheme.window(partition)
    found: dict[str, Any] = {}
    if window is not None:
        ends = {"start": window.start.isoformat(), "end": window.end.isoformat()}
        found[WINDOW] = {**ends, "timezone": str(window.start.tzinfo), "partition": str(partition or "")}
    if due is not None:
        found[DUE] = {"at": due.isoformat(), "timezone": str(due.tzinfo), "partition": str(partition or "")}
    return found


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
