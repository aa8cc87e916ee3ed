"""What a selection means where its text counts from the latest date that is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from flowctx.core.dates.due_rules import Delays
from flowctx.core.errors import NotDue
from flowctx.core.partitions.dimensions import CadenceDimension
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.partitions.selection_text import counts_from_latest, is_open


def selected(
    scheme: PartitionScheme,
    selection: Selection | str | None,
    until: date | str | None,
    latest: Callable[[], date] | None = None,
) -> Selection:
    """Return a selection as it was made, or as its text says, up to the last as-of date.

    Args:
        scheme: The partitions that there are.
        selection: A selection, its text, or ``None`` for all.
        until: The last as-of date; where it is not given, ``last:5`` counts from the latest one that is due.
        latest: Returns the date with which a text ends that has no end, of dates that have none either, where nothing
            else says so; without it, such a text is refused.

    Raises:
        PartitionError: The text selects nothing.
        NotDue: It counts from the latest date that is due, and none is.

    Example:
        >>> from flowctx import Daily
        >>> days = PartitionScheme(date=Daily(start="2012-01-02", calendar="WEEKDAYS"))
        >>> str(selected(days, "date=2012-01", "2012-01-04"))
        'date=2012-01-02..2012-01-04'
    """
    if isinstance(selection, Selection):
        return selection if until is None else selection.up_to(until)
    dates = next((part for part in scheme.parts if isinstance(part, CadenceDimension)), None)
    if until is not None or dates is None or not isinstance(selection, str):
        return scheme.select(selection, until=until)
    if counts_from_latest(scheme.parts, selection):
        return _last_due(scheme, selection, dates)
    if latest is not None and not dates.cadence.bounded and is_open(scheme.parts, selection):
        return scheme._selected(selection, None, latest())
    return scheme.select(selection)


def _last_due(scheme: PartitionScheme, text: str, dates: CadenceDimension) -> Selection:
    """Return what a text selects that counts from the latest date that is due, for each delay of its own.

    Raises:
        NotDue: None is due yet.
    """
    now, found = datetime.now(UTC), Selection._of(scheme, None)
    delays, before_all = dates.cadence.delay, dates.cadence.start - timedelta(days=1)
    counts = [(cadence.known_due_count(now), values) for cadence, values in scheme.cadences]
    for count, values in counts if any(count for count, _ in counts) else ():
        within = (delays.dimension, values) if values is not None and isinstance(delays, Delays) else None
        found |= scheme._selected(text, None, dates.part(count - 1)[0] if count else before_all, within)
    if not found:
        raise NotDue(
            f"{text} counts from the latest date that is due, and none is yet: the first is {dates.part(0)[0]}"
        )
    return found
