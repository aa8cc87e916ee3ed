"""What is selected for a batch."""

from __future__ import annotations

from datetime import UTC, date, datetime

from flowctx.core.errors import BatchError, NotDue
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow


def selected(scheme: PartitionScheme, selection: Selection | str | None, until: date | str | None) -> Selection:
    """Return a selection as it was made, or as its text says, up to the last as-of date.

    Args:
        scheme: The partitions that there are.
        selection: A selection, its text, or ``None`` for all.
        until: The last as-of date; where it is not given, ``last:5`` counts from the latest one that is due.

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
    return scheme.select(selection, until=until, latest=None if until is not None else latest_due(scheme, selection))


def scheme_of(workflow: Workflow) -> PartitionScheme:
    """Return the partitions of a workflow; one without has nothing to fill."""
    if workflow.partitions is None:
        raise BatchError(
            f"workflow {workflow.name!r} has no partitions to fill; declare them: Workflow(..., partitions=...)"
        )
    return workflow.partitions


def latest_due(scheme: PartitionScheme, selection: str | None) -> date | None:
    """Return the date from which ``last:5`` counts: the latest one that is due; ``None`` where all are.

    Raises:
        NotDue: None is due yet.
    """
    cadence = scheme.cadence
    if not isinstance(selection, str) or "last:" not in selection or not cadence:
        return None
    latest = cadence.latest_due(datetime.now(UTC))
    if latest is None:
        raise NotDue(f"{selection} counts from the latest date that is due, and none is yet: the first is {cadence[0]}")
    return None if cadence.bounded and latest == cadence[-1] else latest
