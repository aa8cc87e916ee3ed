"""A schedule that requests exactly the keys that are due, each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import dagster as dg

from flowctx.core.dates.cadence import Cadence, Daily, Weekly
from flowctx.core.dates.parsing import WEEKDAY_NAMES
from flowctx.core.dates.zones import local_date
from flowctx.core.errors import WorkflowError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.dagster._compat import UnresolvedAssetJobDefinition
from flowctx.dagster.partitions import open_weekdays, static_values, to_dagster_key

#: Tag with the business date of a run.
AS_OF_TAG: Final = "flowctx/as_of_date"
_SCHEDULE_TAG: Final = "dagster/schedule_name"
_PARTITION_TAG: Final = "dagster/partition"
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)

#: What a schedule may start: a job, an asset job, or assets.
ScheduleTarget: TypeAlias = (
    dg.JobDefinition
    | UnresolvedAssetJobDefinition
    | dg.AssetSelection
    | dg.AssetsDefinition
    | str
    | Sequence[str]
    | Sequence[dg.AssetKey]
    | Sequence[dg.AssetsDefinition | dg.SourceAsset]
)


def workflow_schedule(
    target: ScheduleTarget,
    scheme: PartitionScheme,
    *,
    name: str | None = None,
    catch_up: int = 0,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
    description: str | None = None,
) -> dg.ScheduleDefinition:
    """Return a schedule that requests a run for each key of a scheme when it is due.

    It ticks at the due times of the scheme's cadence, by the wall clock of the cadence's time zone, and requests the
    keys of the business date that is due then, one run for each combination of the static dimensions. On a holiday
    it requests nothing and says why. A delay is rounded up to whole minutes, and of a wall-clock time that happens
    twice when clocks are put back, Dagster's schedules tick at the second.

    After an outage of its daemon Dagster evaluates only the last of the ticks that it missed. With ``catch_up`` a
    tick therefore looks back, and also requests what this schedule has not requested for the dates before.

    Args:
        target: A job, an asset job, or assets, partitioned by ``partitions_def(scheme)``.
        scheme: The scheme; it needs a cadence.
        name: The schedule's name; the job's and ``_schedule`` by default, and needed for assets.
        catch_up: For how many business dates before the one that is due a tick also requests the keys for which
            this schedule never requested a run; so many are also requested when it is turned on.
        run_config: Configuration of the runs.
        tags: More tags for the runs.
        default_status: Whether it is turned on when it is deployed.
        description: Shown in Dagster's UI.

    Raises:
        WorkflowError: The scheme has no cadence, ``name`` is missing or ``catch_up`` negative.

    Example:
        ::

            job = dg.define_asset_job("daily", [prices], partitions_def=partitions_def(scheme))
            defs = dg.Definitions([prices], jobs=[job], schedules=[workflow_schedule(job, scheme, catch_up=5)])
    """
    if scheme.cadence is None:
        raise WorkflowError(
            "the scheme has no cadence, so nothing says when its keys are due; give it one, such as Daily"
        )
    if catch_up < 0:
        raise WorkflowError(f"catch_up={catch_up} must be 0 or more: it counts business dates")
    is_job = isinstance(target, dg.JobDefinition | UnresolvedAssetJobDefinition)
    schedule_name = name or (f"{target.name}_schedule" if is_job else None)  # type: ignore[union-attr]
    if schedule_name is None:
        raise WorkflowError("a schedule of assets needs a name; pass name='daily_prices_schedule'")
    ticks = _Ticks(scheme, scheme.cadence, schedule_name, catch_up, dict(run_config or {}), dict(tags or {}))
    return dg.ScheduleDefinition(
        name=schedule_name,
        target=target,
        cron_schedule=cron_schedule(scheme.cadence),
        execution_timezone=scheme.cadence.timezone,
        execution_fn=ticks.evaluate,
        default_status=default_status,
        description=description or f"Requests each key when it is due: {scheme.cadence!r}.",
    )


class _Ticks:
    """What each tick of a schedule requests."""

    def __init__(
        self,
        scheme: PartitionScheme,
        cadence: Cadence,
        name: str,
        catch_up: int,
        run_config: dict[str, Any],
        tags: dict[str, str],
    ) -> None:
        self.scheme, self.cadence, self.name = scheme, cadence, name
        self.catch_up, self.run_config, self.tags = catch_up, run_config, tags

    def evaluate(self, context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request what is due at the tick, or say why nothing is."""
        now = context.scheduled_execution_time
        due, reason = _due_at(self.cadence, now)
        missed = self.missed(context, now, due)
        yield from missed
        if due is not None:
            yield from self.requests(due)
        elif not missed:
            yield dg.SkipReason(reason)

    def requests(self, as_of: date) -> Iterator[dg.RunRequest]:
        """Yield one request for each key of a business date."""
        for key in keys_of(self.scheme, as_of):
            yield dg.RunRequest(
                run_key=str(key),
                partition_key=to_dagster_key(key, self.scheme),
                run_config=self.run_config,
                tags=self.tags | {AS_OF_TAG: as_of.isoformat()},
            )

    def missed(self, context: dg.ScheduleEvaluationContext, now: datetime, due: date | None) -> list[dg.RunRequest]:
        """Return requests for the dates before the one that is due, as far as this schedule made none yet."""
        if not self.catch_up:
            return []
        stop = self.cadence.index(due) if due else self.cadence.due_count(now)
        dates = list(self.cadence[max(0, stop - self.catch_up) : stop])
        made = {_SCHEDULE_TAG: self.name, AS_OF_TAG: [day.isoformat() for day in dates]}
        runs = context.instance.get_runs(filters=dg.RunsFilter(tags=made)) if dates else []
        known = {run.tags.get(_PARTITION_TAG) for run in runs}
        return [request for day in dates for request in self.requests(day) if request.partition_key not in known]


def keys_of(scheme: PartitionScheme, as_of: date) -> Iterator[PartitionKey]:
    """Yield the keys of a business date, in the scheme's order of its static dimensions.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> scheme = PartitionScheme(date=Daily(start="2012-01-01"), tier=["T1", "T2"])
        >>> [str(key) for key in keys_of(scheme, date(2012, 1, 3))]
        ['date=2012-01-03|tier=T1', 'date=2012-01-03|tier=T2']
    """
    dated = {scheme.cadence_dimension: as_of.isoformat()} if scheme.cadence_dimension else {}
    for values in static_values(scheme) or ({},):
        yield scheme.key(**dated, **values)


def _due_at(cadence: Cadence, tick: datetime) -> tuple[date | None, str]:
    """Return the business date that is due at a tick; without one, also why."""
    days, _ = _delay(cadence)
    # By way of UTC: Dagster writes a tick that falls into a gap of the clocks as the wall-clock time that is not.
    window_end = local_date(tick.astimezone(UTC), cadence.zone) - days * _DAY
    last_day = window_end - _DAY
    as_of = cadence.containing(last_day)
    if as_of is None:
        return None, f"nothing is due: {cadence.explain(last_day)}"
    if cadence.window(as_of).end.date() != window_end:
        return None, f"nothing is due: no window ends with {last_day}"
    due = cadence.due(as_of)
    early = due.timestamp() > tick.timestamp()
    return (None, f"{as_of} is not due until {due.isoformat()}") if early else (as_of, "")


# -- cron -------------------------------------------------------------------------------------------------------


def cron_schedule(cadence: Cadence) -> str | list[str]:
    """Return the cron expressions whose ticks include every due time of a cadence, in its time zone.

    Example:
        >>> from flowctx import Weekly
        >>> cron_schedule(Weekly(start="2012-01-01", delay=timedelta(days=2, hours=6, minutes=30)))
        '30 6 * * 1'
    """
    days, time_of_day = _delay(cadence)
    hours, minutes = divmod(time_of_day // _MINUTE, 60)
    expressions = [f"{minutes} {hours} {fields}" for fields in _days_of_cron(cadence, days)]
    return expressions[0] if len(expressions) == 1 else expressions


def _delay(cadence: Cadence) -> tuple[int, timedelta]:
    """Return the delay in days and the rest of it, rounded up to whole minutes."""
    return divmod(-(-cadence.delay // _MINUTE) * _MINUTE, _DAY)


def _days_of_cron(cadence: Cadence, later: int) -> list[str]:
    """Return the last three fields of cron for the days ``later`` days after the windows end."""
    if isinstance(cadence, Daily | Weekly):
        # Windows end the day after a session, or where the next week starts: two days on if Sunday counts from 0.
        ends = open_weekdays(cadence) if isinstance(cadence, Daily) else {WEEKDAY_NAMES.index(cadence.ends_on)}
        weekdays = {(day + 2 + later) % 7 for day in ends}
        return [f"* * {'*' if len(weekdays) == 7 else _listed(weekdays)}"]
    return list(_days_of_month(cadence, later))


def _days_of_month(cadence: Cadence, later: int) -> Iterator[str]:
    """Yield days and months: a delay of weeks can lead to another day of the month in leap years and short months."""
    starts = (1, 4, 7, 10) if cadence.kind == "quarterly" else range(1, 13)
    days: dict[int, set[int]] = {}
    for year in range(2000, 2028):  # every way in which leap years and month lengths follow each other
        for month in starts:
            day = date(year, month, 1) + later * _DAY
            days.setdefault(day.month, set()).add(day.day)
    months: dict[str, set[int]] = {}
    for month, in_month in days.items():
        months.setdefault(_listed(in_month), set()).add(month)
    for listed, in_year in months.items():
        yield f"{listed} {'*' if len(in_year) == 12 else _listed(in_year)} *"


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
