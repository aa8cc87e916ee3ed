"""What Dagster knows of the time of a run: which part of its key names a window, and the zone of its schedule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeAlias

import dagster as dg

from flowctx.core.dates.parsing import iso_date
from flowctx.core.dates.zones import last_day_before
from flowctx.core.errors import ContextError
from flowctx.core.workflow.business_date import AsOf
from flowctx.core.workflow.run_context import fires_within_day
from flowctx.dagster._compat import SCHEDULED_TIME_TAG, ticks_from
from flowctx.dagster.tags import SCHEDULE_TAG

#: The part of a key that names a window of time, and its definition.
_TimeDimension: TypeAlias = tuple[str, dg.TimeWindowPartitionsDefinition]


def _time_dimensions(key: str | None, definition: object) -> dict[str, _TimeDimension]:
    """Return the parts of a key that name windows of time, with their definitions, by dimension."""
    if key is None:
        return {}
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return {"": (key, definition)}
    if not isinstance(definition, dg.MultiPartitionsDefinition) or not isinstance(key, dg.MultiPartitionKey):
        return {}
    return {
        dimension.name: (key.keys_by_dimension[dimension.name], dimension.partitions_def)
        for dimension in definition.partitions_defs
        if isinstance(dimension.partitions_def, dg.TimeWindowPartitionsDefinition)
    }


def time_dimension(key: str | None, definition: object) -> _TimeDimension | None:
    """Return the part of a key that names a window of time, with its definition, if there is one such part."""
    found = _time_dimensions(key, definition)
    return next(iter(found.values())) if len(found) == 1 else None


def window_of(value: str, definition: dg.TimeWindowPartitionsDefinition) -> dg.TimeWindow:
    """Return the window that a part of a key names.

    Raises:
        ContextError: It is no key of the definition.
    """
    try:
        return definition.time_window_for_partition_key(value)
    except ValueError as exc:
        raise ContextError(
            f"the partition {value!r} is no key of its definition, whose keys are written as {definition.fmt}; "
            "give one (partition_key=, the tag dagster/partition)"
        ) from exc


def check_one_of_time(key: str | None, definition: object, as_of: AsOf | None, as_of_date: date | None) -> None:
    """Refuse a partition with two dimensions of time, unless the rule or the caller says which one is the date.

    Raises:
        ContextError: Nobody does, or the caller's date is in neither.
    """
    found = _time_dimensions(key, definition)
    if len(found) < 2:
        return
    first, second = found
    by_key = as_of is not None and as_of.kind == "key"
    if as_of_date is None and not by_key:
        raise ContextError(
            f"the partition {key} has 2 dimensions of time, {first} and {second}; say which one is the business date: "
            f"as_of=AsOf.key({first!r})"
        )
    if as_of_date is None or not (as_of is None or by_key):
        return
    days = {name: _days(value, part) for name, (value, part) in found.items()}
    if not any(start <= as_of_date <= last for start, last in days.values()):
        spans = " and ".join(f"{name} {' to '.join(dict.fromkeys(map(str, span)))}" for name, span in days.items())
        raise ContextError(
            f"as_of_date={as_of_date} is no date of the partition {key}, which is {spans}; pass one of it"
        )


def _days(value: str, definition: dg.TimeWindowPartitionsDefinition) -> tuple[date, date]:
    """Return the first and the last day of a window."""
    window = window_of(value, definition)
    return window.start.date(), last_day_before(window.end)


def check_bare_key(key: str | None, as_of: AsOf | None, as_of_date: date | None) -> None:
    """Refuse a key of which nobody knows what it is a key of, so that it would have no date, or no dimensions.

    Raises:
        ContextError: A rule, or the looks of the key, say that it should have one.
    """
    if key is None or isinstance(key, dg.MultiPartitionKey):
        return
    several = "|" in key  # which Dagster allows in no other key
    dated = as_of_date is None and (as_of is not None or iso_date(key) is not None)
    if several or dated:
        raise ContextError(
            f"this context has the key {key!r} and no partitions definition, so no "
            f"{'dimensions' if several else 'date'}; pass workflow= or scheme=, or in a unit test call "
            f"the asset with it: loaded(dg.build_asset_context(partition_key={key!r}))"
        )


class Tick(NamedTuple):
    """For when a schedule launched a run, as fields of ``RunFacts``; of a run that none launched, nothing."""

    #: The zone of the schedule, since the tag with its time is in UTC; None if the schedule is gone.
    timezone: str | None = None
    #: When.
    fired_at: datetime | None = None
    #: Whether it fires several times a day.
    within_day: bool = False


def schedule_tick(tags: Mapping[str, str], repository: dg.RepositoryDefinition | None) -> Tick:
    """Return the tick of the schedule that launched a run, by the run's tags and its code location."""
    text = tags.get(SCHEDULED_TIME_TAG)
    if text is None:
        return Tick()
    fired_at, schedule = datetime.fromisoformat(text), _schedule(tags.get(SCHEDULE_TAG), repository)
    if schedule is None:
        return Tick(fired_at=fired_at)
    within_day = fires_within_day(itertools.islice(ticks_from(schedule, fired_at), 4))
    return Tick(schedule.execution_timezone or "UTC", fired_at, within_day)


def _schedule(name: str | None, repository: dg.RepositoryDefinition | None) -> dg.ScheduleDefinition | None:
    """Return the schedule that launched the run, unless it is gone, or the run outside of any code location."""
    try:
        return repository.get_schedule_def(name) if name and repository is not None else None
    except dg.DagsterInvariantViolationError:
        return None


def zone_of(moment: datetime) -> str | None:
    """Return the IANA name of a moment's zone, or None for a fixed offset other than UTC."""
    name: str | None = "UTC" if moment.tzinfo is UTC else getattr(moment.tzinfo, "key", None)
    return name
