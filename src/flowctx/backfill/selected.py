"""What is selected for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from flowctx.core.batches.records import BatchRecord
from flowctx.core.dates.due_rules import Delays
from flowctx.core.errors import BatchError, NotDue
from flowctx.core.partitions.dimensions import CadenceDimension
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount, brief
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
    dates = next((part for part in scheme.parts if isinstance(part, CadenceDimension)), None)
    if until is None and dates is not None and isinstance(selection, str) and "last:" in selection:
        return _last_due(scheme, selection, dates)
    return scheme.select(selection, until=until)


def selections_again(
    known: BatchRecord, workflows: Sequence[Workflow], until: date | str | None, *, extend: bool
) -> list[Selection | None]:
    """Return what a batch that is there has of each of its workflows, for whoever selects nothing.

    Args:
        known: The batch.
        workflows: Some of its workflows.
        until: The last as-of date.
        extend: Whether what is asked for is added to the batch.

    Raises:
        BatchError: The last date leaves out some of what the batch has, or would add to it, which it cannot.
    """
    found: list[Selection | None] = []
    dated: list[tuple[PartitionScheme, Selection]] = []
    for workflow in workflows:
        record, scheme = known.of(workflow.name), scheme_of(workflow)
        takes_until = len(workflows) == 1 or scheme.cadence is not None  # of several, some have no dates
        if record is None or record.selection is None:
            found.append(None if until is None or not takes_until else scheme.select(None, until=until))
            continue
        found.append(some := scheme.select(record.selection))
        if takes_until:
            dated.append((scheme, some))
    if until is not None and dated:
        _refuse_until(known.batch_id, dated, until, extend=extend)
    return found


def _refuse_until(
    batch_id: str, own: Sequence[tuple[PartitionScheme, Selection]], until: date | str, *, extend: bool
) -> None:
    for _, some in own:
        if left_out := len(some) - len(some.up_to(until)):
            raise BatchError(
                f"batch {batch_id!r} has {amount(len(some), 'partition')} ({brief(str(some), 80)}), of which "
                f"until={str(until)!r} leaves out {left_out:,}; run it without until= (--until), or take "
                "another id"
            )
    last = max(filter(None, (some.last_date() for _, some in own)))
    due = [scheme.due_keys(datetime.now(UTC)).up_to(until) for scheme, _ in own]
    if extend or any(some - some.up_to(last) for some in due):
        has = brief("; ".join(str(some) for _, some in own), 80)
        add = "select what to add (--select)" + ("" if extend else " and say extend=True (--extend)")
        raise BatchError(
            f"until={str(until)!r} only leaves dates out, and adds none to batch {batch_id!r}, which has {has}; run it "
            f"without until= (--until), or {add}"
        )


def scheme_of(workflow: Workflow) -> PartitionScheme:
    """Return the partitions of a workflow; one without has nothing to fill."""
    if workflow.partitions is None:
        raise BatchError(
            f"workflow {workflow.name!r} has no partitions to fill; declare them: Workflow(..., partitions=...)"
        )
    return workflow.partitions


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
