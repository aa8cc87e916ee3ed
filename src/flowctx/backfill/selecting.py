"""Which partitions of several workflows one selection means, and what hangs on it."""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import reduce

from flowctx.backfill.order import BatchInput, batch_inputs, ranked
from flowctx.backfill.selected import scheme_of
from flowctx.core.errors import NotDue, PartitionError
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.mapping import PartitionMapping
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")

_NAMES = re.compile(r"(\w+)\s*=")


def selections_of(
    workflows: Sequence[Workflow], text: str | None, *, now: datetime, until: date | str | None = None
) -> list[Selection]:
    """Return what a selection means for each of several workflows.

    Those that have all dimensions that it names take it as it is; any other takes the partitions that read a selected
    one of those before it, of which those that are not due yet are left out, and those that a calendar does not reach.

    Args:
        workflows: The workflows, in any order.
        text: The selection; ``None``: all partitions of each.
        now: The time.
        until: The last as-of date; a workflow without dates has none.

    Raises:
        PartitionError: One cannot take it, and reads none of the others.

    Example:
        >>> from datetime import UTC
        >>> from flowctx import Daily, Monthly, PartitionScheme
        >>> days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2013-01-01", calendar="WEEKDAYS")))
        >>> months = Workflow("months", partitions=PartitionScheme(month=Monthly(start="2013-01-31")))
        >>> @days.step()
        ... def load(ctx):
        ...     return {}
        >>> @months.step(inputs={"all": days.output(load)})
        ... def report(ctx, *, all):
        ...     return {}
        >>> now = datetime(2026, 1, 9, tzinfo=UTC)
        >>> [str(some) for some in selections_of([days, months], "date=2013-01-30..2013-02-01", now=now)]
        ['date=2013-01-30..2013-02-01', 'month=2013-01-31|2013-02-28']
    """
    names, inputs = set(_NAMES.findall(text or "")), batch_inputs(workflows)
    found: dict[int, Selection] = {}
    for place in ranked(workflows):
        workflow, scheme = workflows[place], scheme_of(workflows[place])
        read = [one for one in inputs[place] if one.source in found]
        if not names <= set(scheme.dimensions) and read:
            same_date = [one for one in read if not one.back] or read
            found[place] = _reading(scheme, same_date, found, now, until)
            _tell_unknown(workflows, place, same_date, found, now, until)
            continue
        try:
            found[place] = selected(scheme, text, until if scheme.cadence is not None else None)
        except PartitionError as exc:
            kind = NotDue if isinstance(exc, NotDue) else PartitionError
            raise kind(f"workflow {workflow.name!r}: {exc}") from exc
    return [found[place] for place in range(len(workflows))]


def downstream(
    chosen: Sequence[tuple[Workflow, Selection]],
    others: Sequence[Workflow],
    now: datetime,
    until: date | str | None = None,
) -> list[Selection]:
    """Return what is to run of each workflow if all that hangs on a selection is to run with it.

    A date hangs on those before it that it reads, however many dates are between them. What is not due yet is left out,
    and so is what a calendar does not reach.

    Args:
        chosen: Workflows, and what is selected of each.
        others: Workflows of which some may read those.
        now: The time.
        until: The last as-of date of all of them.

    Returns:
        The partitions of each workflow, those that were chosen first; of some of the others there may be none.
    """
    workflows = [*(workflow for workflow, _ in chosen), *others]
    schemes, inputs = [scheme_of(workflow) for workflow in workflows], batch_inputs(workflows)
    found = dict(enumerate(selection for _, selection in chosen))
    grown = True
    while grown:
        grown = False
        for place, scheme in enumerate(schemes):
            read = [_any_date_before(one, scheme, now) if one.source == place else one for one in inputs[place]]
            read = [one for one in read if one.source in found]
            more = _reading(scheme, read, found, now, until)
            before = found.get(place)
            both = more if before is None else before | more
            if len(both) > (0 if before is None else len(before)):
                found[place], grown = both, True
    for place, read in enumerate(inputs):
        _tell_unknown(workflows, place, [one for one in read if one.source in found], found, now, until)
    return [found.get(place, Selection._of(scheme, None)) for place, scheme in enumerate(schemes)]


def _reading(
    scheme: PartitionScheme,
    read: Sequence[BatchInput],
    found: dict[int, Selection],
    now: datetime,
    until: date | str | None,
) -> Selection:
    """Return what is due of a workflow and reads some of what is found, up to the last as-of date."""
    dates, due = _dates_due(scheme, now), scheme.due_keys(now)
    readers = (one.mapping.readers(found[one.source], dates) & due for one in read)
    every = reduce(operator.or_, readers, Selection._of(scheme, None))
    return every if until is None or scheme.cadence is None else every.up_to(until)


def _tell_unknown(
    workflows: Sequence[Workflow],
    place: int,
    read: Sequence[BatchInput],
    found: dict[int, Selection],
    now: datetime,
    until: date | str | None,
) -> None:
    """Say from which date on a workflow is left out that may read what is found, since a calendar does not reach it."""
    name, scheme = workflows[place].name, scheme_of(workflows[place])
    dates = _dates_due(scheme, now)
    unknown = dict.fromkeys((one.source, one.mapping.first_unknown(found[one.source], dates)) for one in read)
    for source, known in unknown:
        if scheme.cadence is None or known is None:
            continue
        first = scheme.cadence.text(scheme.cadence[known])
        if until is None or first[:10] <= str(until):  # an hour begins with its date
            logger.warning(
                "%s of %r and later dates are left out: the calendar of %r, which they read, does not reach that far",
                first,
                name,
                workflows[source].name,
            )


def _any_date_before(one: BatchInput, scheme: PartitionScheme, now: datetime) -> BatchInput:
    """Return the input as if it read all dates before: what hangs on a date of a chain is the rest of the chain."""
    dates = max(1, _dates_due(scheme, now))
    return one._replace(mapping=PartitionMapping(scheme, scheme, previous=dates, where=one.mapping.where))


def _dates_due(scheme: PartitionScheme, now: datetime) -> int:
    return max((cadence.known_due_count(now) for cadence, _ in scheme.cadences), default=0)
