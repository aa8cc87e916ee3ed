"""What Airflow knows of the time of a run: its interval, its instant, and the zone of its timetable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from flowctx.airflow._compat import next_ticks, run_type_of, scheduled_interval
from flowctx.core.dates.zones import Window, zone_name
from flowctx.core.errors import CalendarError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import RunTiming
from flowctx.core.workflow.run_context import fires_within_day

#: Where a timetable keeps its zone: those of the SDK, and a user's own, in public; those of core privately.
_ZONE_ATTRIBUTES: Final = ("timezone", "_timezone")
#: Where a timetable keeps the timetables that it is made of.
_MEMBER_ATTRIBUTES: Final = ("timetable", "timetables", "_timetables")
#: Timetables of Airflow without a zone of their own: they count in the zone of their DAG, that of its start date.
_COUNTED_IN_THE_ZONE_OF_THE_DAG: Final = {
    "AssetTriggeredTimetable",
    "ContinuousTimetable",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "NullTimetable",
    "OnceTimetable",
    "PartitionedAssetTimetable",
    "PartitionedAtRuntime",
}
_BY_HAND: Final = {"manual", "operator_triggered"}


def run_time(dag: Any, run: Any, partition: PartitionKey | None, scheme: PartitionScheme | None) -> RunTiming:
    """Return what Airflow knows of the time of a run, for the rules of business dates.

    Args:
        dag: The DAG, as the worker has it.
        run: The DAG run, likewise.
        partition: The partition of the run.
        scheme: The scheme of the partition.
    """
    zone, problem = _zone(dag)
    window, fired_at = _times(dag, run)
    return RunTiming(
        timezone=zone,
        no_timezone=problem,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        fired_at=fired_at,
        within_day=partition is None and fired_at is not None and fires_within_day(next_ticks(dag, fired_at)),
        partition=partition,
        scheme=scheme,
    )


def _times(dag: Any, run: Any) -> tuple[Window | None, datetime | None]:
    """Return the window of data and the instant that the schedule meant.

    ``run_after`` is no such instant: for a manual run it is the wall clock. A run by hand with a logical date is about
    what the scheduled run of that date is about, although Airflow gives it the interval that ended last: at the
    logical date (REST, the UI) or even now (``airflow dags trigger``, ``TriggerDagRunOperator``).
    """
    logical: datetime | None = run.logical_date
    start, end = run.data_interval_start, run.data_interval_end
    if start is None or end is None or start == end:
        return None if start is None else Window(start, end), logical or _partition_date(dag.timetable, run)
    by_hand = run_type_of(run) in _BY_HAND
    if by_hand and logical is not None and not start <= logical < end:
        interval = scheduled_interval(dag, logical)
        if interval is not None:
            return Window(*interval), None
        if logical < start:  # no run of the schedule has this date, and the interval has nothing to do with it
            return None, logical
    return Window(start, end), None


def _partition_date(timetable: Any, run: Any) -> datetime | None:
    """Return the instant that the timetable gave the partition of a run; Airflow tells tasks of it from 3.3 on.

    A timetable without a zone of its own gives none: a run that assets trigger has that of their producer, which is
    a midnight in the producer's zone, and no day in any other.
    """
    if _counts_in_the_zone_of_the_dag(timetable):
        return None
    date: datetime | None = getattr(run, "partition_date", None)
    return date


def _zone(dag: Any) -> tuple[str | None, str]:
    """Return the IANA name of the zone in which a DAG's timetable takes dates; or None, and why."""
    timetable = dag.timetable
    zones = [dag.timezone] if _counts_in_the_zone_of_the_dag(timetable) else list(_zones(timetable))
    names = {_name(zone) for zone in zones}
    if len(names) == 1 and None not in names:
        return names.pop(), ""
    kind = f"the timetable {type(timetable).__name__} of DAG {dag.dag_id!r}"
    if not zones:
        return None, f"{kind} does not say its time zone (it has no attribute 'timezone')"
    listed = ", ".join(sorted({str(getattr(zone, "name", zone)) for zone in zones}))
    why = "has several time zones" if len(names) > 1 else "has a time zone without an IANA name"
    return None, f"{kind} {why} ({listed})"


def _zones(timetable: Any) -> Iterator[Any]:
    """Yield the zones of a timetable, of those that it is made of, and of the events that it lists."""
    for name in _ZONE_ATTRIBUTES:
        zone = getattr(timetable, name, None)
        if zone is not None:
            yield zone
            return
    for name in _MEMBER_ATTRIBUTES:
        members = getattr(timetable, name, None)
        for member in members if isinstance(members, list | tuple) else () if members is None else (members,):
            yield from _zones(member)
    for event in getattr(timetable, "event_dates", ()):
        yield event.tzinfo


def _counts_in_the_zone_of_the_dag(timetable: Any) -> bool:
    if any(True for _ in _zones(timetable)):
        return False
    members = getattr(timetable, "timetable", None)
    kinds = (type(members) if members is not None else type(timetable)).__mro__
    return any(
        kind.__name__ in _COUNTED_IN_THE_ZONE_OF_THE_DAG and kind.__module__.startswith("airflow.") for kind in kinds
    )


def _name(zone: Any) -> str | None:
    """Return the IANA name of a zone of Airflow's, which are text, of pendulum, or of the standard library."""
    if zone is UTC:
        return "UTC"
    try:
        return zone_name(zone if isinstance(zone, str) else getattr(zone, "key", None) or zone.name)
    except (AttributeError, CalendarError):
        return None
