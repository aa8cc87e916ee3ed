"""What Dagster knows of the time of a run: which part of its key names a window, and the zone of its schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeAlias

import dagster as dg

from flowctx.core.errors import ContextError
from flowctx.core.workflow.business_date import AsOf
from flowctx.dagster._compat import CheckError

_SCHEDULE_TAG: Final = "dagster/schedule_name"
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


def check_one_of_time(key: str | None, definition: object, as_of: AsOf | None) -> None:
    """Refuse a partition with two dimensions of time, unless the rule says which one is the date."""
    names = list(_time_dimensions(key, definition))
    if len(names) > 1 and (as_of is None or as_of.kind != "key"):
        raise ContextError(
            f"the partition {key} has {len(names)} dimensions of time, {' and '.join(names)}; say which one is the "
            f"business date: as_of=AsOf.key({names[0]!r})"
        )


def schedule_timezone(op: dg.OpExecutionContext) -> str | None:
    """Return the zone of the schedule that launched the run, since the tag with its time is in UTC.

    None stands for a schedule that is gone, or a run outside of any code location.
    """
    name = op.run.tags.get(_SCHEDULE_TAG)
    try:
        return op.repository_def.get_schedule_def(name).execution_timezone or "UTC" if name else None
    except (dg.DagsterInvariantViolationError, CheckError):
        return None


def zone_of(moment: datetime) -> str | None:
    """Return the IANA name of a moment's zone, or None for a fixed offset other than UTC."""
    name: str | None = "UTC" if moment.tzinfo is UTC else getattr(moment.tzinfo, "key", None)
    return name
