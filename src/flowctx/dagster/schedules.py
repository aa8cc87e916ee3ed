"""A schedule that requests exactly the keys that are due, each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import dagster as dg

from flowctx.core.dates.cadence import Cadence, Hourly
from flowctx.core.dates.calendar_end import calendar_end
from flowctx.core.dates.due_rules import Delays
from flowctx.core.dates.zones import local_date
from flowctx.core.errors import CalendarError, WorkflowError
from flowctx.core.partitions.dagster_keys import static_values
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.dagster._compat import UnresolvedAssetJobDefinition
from flowctx.dagster.cron import cron_schedules, whole_delay
from flowctx.dagster.partitions import check_scheme, to_dagster_key
from flowctx.dagster.tags import PARTITION_TAG, SCHEDULE_TAG

#: Tag with the business date of a run.
AS_OF_TAG: Final = "flowctx/as_of_date"
#: Tag that says what a run does where its partition has been captured.
_ON_CAPTURED_TAG: Final = "flowctx/on_captured"
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
    it requests nothing and says why, and after the last day that the calendar knows its ticks fail and say so; in the
    60 days before that they warn. A delay is rounded up to whole minutes, and of a wall-clock time that happens
    twice when clocks are put back, Dagster's schedules tick at the second.

    After an outage of its daemon Dagster evaluates only the last of the ticks that it missed. With ``catch_up`` a
    tick therefore looks back, and also requests what this schedule has not requested for the dates before. With a
    ledger, such a run skips a partition that has been captured meanwhile, such as by hand.

    Args:
        target: A job, an asset job, or assets, partitioned by ``partitions_def(scheme)``.
        scheme: The scheme; it needs a cadence.
        name: The schedule's name; the job's and ``_schedule`` by default, and needed for assets.
        catch_up: For how many business dates before the one that is due a tick also requests the keys for which
            this schedule never requested a run; so many are also requested when it is turned on.
        run_config: Configuration of the runs.
        tags: More tags for the runs; with ``flowctx/on_captured: recapture``, ``catch_up`` captures again what is
            captured.
        default_status: Whether it is turned on when it is deployed.
        description: Shown in Dagster's UI.

    Raises:
        WorkflowError: The scheme has no cadence, ``name`` is missing or ``catch_up`` negative or no number.
        PartitionError: It is no scheme.

    Example:
        ::

            job = dg.define_asset_job("daily", [prices], partitions_def=partitions_def(scheme))
            defs = dg.Definitions([prices], jobs=[job], schedules=[workflow_schedule(job, scheme, catch_up=5)])
    """
    check_scheme(scheme, "workflow_schedule")
    if scheme.cadence is None:
        raise WorkflowError(
            "the scheme has no cadence, so nothing says when its keys are due; give it one, such as Daily"
        )
    if not isinstance(catch_up, int) or catch_up < 0:
        raise WorkflowError(f"catch_up={catch_up!r} must be a number, 0 or more: it counts business dates")
    is_job = isinstance(target, dg.JobDefinition | UnresolvedAssetJobDefinition)
    schedule_name = name or (f"{target.name}_schedule" if is_job else None)  # type: ignore[union-attr]
    if schedule_name is None:
        raise WorkflowError("a schedule of assets needs a name; pass name='daily_prices_schedule'")
    ticks = _Ticks(scheme, scheme.cadence, schedule_name, catch_up, dict(run_config or {}), dict(tags or {}))
    return dg.ScheduleDefinition(
        name=schedule_name,
        target=target,
        cron_schedule=cron_schedules([cadence for cadence, _ in scheme.cadences]),
        execution_timezone=scheme.cadence.timezone,
        execution_fn=ticks.evaluate,
        default_status=default_status,
        description=description or _description(scheme.cadence),
    )


def _description(cadence: Cadence) -> str:
    end = calendar_end(cadence, datetime.now(UTC))
    return f"Requests each key when it is due: {cadence!r}.{'' if end is None else f' Note: {end}.'}"


@dataclass(frozen=True)
class _Ticks:
    """What each tick of a schedule requests; its fields are the arguments of :func:`workflow_schedule`."""

    scheme: PartitionScheme
    cadence: Cadence
    name: str
    catch_up: int
    run_config: Mapping[str, Any]
    tags: Mapping[str, str]

    def evaluate(self, context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request what is due at the tick, or say why nothing is.

        Raises:
            CalendarError: Nothing is, since the calendar has ended.
        """
        now = context.scheduled_execution_time
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for cadence, values in self.scheme.cadences:
            due, reason = _due_at(cadence, now)
            requests += self.missed(context, now, due, cadence, values)
            requests += [] if due is None else self.requests(due, values)
            reasons += [reason] if reason else []
        end = calendar_end(self.cadence, now)
        if end is not None and end.ended and not requests:
            raise CalendarError(str(end))
        if end is not None:
            context.log.warning(str(end))
        yield from requests
        if not requests:
            yield dg.SkipReason("; ".join(reasons) + (f". Note: {end}" if end else ""))

    def requests(
        self, as_of: date, values: tuple[str, ...] | None, more: Mapping[str, str] | None = None
    ) -> Iterator[dg.RunRequest]:
        """Yield one request for each key of a business date, of those with these values of the delays' dimension."""
        for key in keys_of(self.scheme, as_of, values):
            yield dg.RunRequest(
                run_key=str(key),
                partition_key=to_dagster_key(key, self.scheme),
                run_config=self.run_config,
                tags={**(more or {}), **self.tags, AS_OF_TAG: _day(as_of)},
            )

    def missed(
        self,
        context: dg.ScheduleEvaluationContext,
        now: datetime,
        due: date | None,
        cadence: Cadence,
        values: tuple[str, ...] | None,
    ) -> list[dg.RunRequest]:
        """Return requests for the dates before the one that is due, as far as this schedule made none yet."""
        if not self.catch_up:
            return []
        stop = cadence.index(due) if due else cadence.known_due_count(now)
        dates = list(cadence[max(0, stop - self.catch_up) : stop])
        made = {SCHEDULE_TAG: self.name, AS_OF_TAG: sorted({_day(as_of) for as_of in dates})}
        runs = context.instance.get_runs(filters=dg.RunsFilter(tags=made)) if dates else []
        known = {run.tags.get(PARTITION_TAG) for run in runs}
        chosen = self.tags.keys() & {_ON_CAPTURED_TAG, "on_captured"}
        skip = {} if chosen else {_ON_CAPTURED_TAG: "skip"}  # what was made or restated by hand meanwhile stays
        found = [request for as_of in dates for request in self.requests(as_of, values, skip)]
        return [request for request in found if request.partition_key not in known]


def _day(as_of: date) -> str:
    """Return the business date of an entry of a cadence, which may be an hour."""
    return date(as_of.year, as_of.month, as_of.day).isoformat()


def keys_of(scheme: PartitionScheme, as_of: date, values: tuple[str, ...] | None = None) -> Iterator[PartitionKey]:
    """Yield the keys of a business date, in the scheme's order of its static dimensions.

    Args:
        scheme: The scheme.
        as_of: The business date, or the hour.
        values: Only keys with one of these values of the dimension by which delays differ.

    Example:
        >>> from flowctx import Daily, PartitionScheme
        >>> scheme = PartitionScheme(date=Daily(start="2012-01-01"), tier=["T1", "T2"])
        >>> [str(key) for key in keys_of(scheme, date(2012, 1, 3))]
        ['date=2012-01-03|tier=T1', 'date=2012-01-03|tier=T2']
    """
    cadence, name = scheme.cadence, scheme.cadence_dimension
    dated = {name: cadence.text(as_of)} if cadence is not None and name is not None else {}
    delays = None if cadence is None else cadence.delay
    for static in static_values(scheme) or ({},):
        if values is None or not isinstance(delays, Delays) or static[delays.dimension] in values:
            yield scheme.key(**dated, **static)


def _due_at(cadence: Cadence, tick: datetime) -> tuple[date | None, str]:
    """Return the business date that is due at a tick; without one, also why."""
    # By way of UTC: Dagster writes a tick that falls into a gap of the clocks as the wall-clock time that is not.
    now = tick.astimezone(UTC)
    count = cadence.known_due_count(now)
    latest = cadence[count - 1] if count else None
    if latest is not None and _is_tick_of(cadence, latest, tick):
        return latest, ""
    try:
        return None, _why_nothing(cadence, now)
    except CalendarError as error:
        return None, f"nothing is due: {error}"


def _is_tick_of(cadence: Cadence, as_of: date, tick: datetime) -> bool:
    """Tell whether a tick is the one for a business date: in the minute in which it is due, by the clocks of the zone.

    A time that clocks leave out is due when they jump, and ticks then; at one that they show twice, an hour's own
    schedule ticks twice, and any other at the second.
    """
    if -(-cadence.due(as_of).timestamp() // 60) * 60 == tick.timestamp():
        return True
    if isinstance(cadence, Hourly):
        return False
    in_zone = tick if getattr(tick.tzinfo, "key", None) == cadence.timezone else tick.astimezone(cadence.zone)
    return _whole_minute(cadence.due_wall_time(as_of)) == in_zone.replace(tzinfo=None)


def _whole_minute(wall: datetime) -> datetime:
    return wall if not (wall.second or wall.microsecond) else wall.replace(second=0, microsecond=0) + _MINUTE


def _why_nothing(cadence: Cadence, now: datetime) -> str:
    """Say why no business date is due at a tick."""
    if isinstance(cadence, Hourly):
        hour = now - cadence.fixed_delay - timedelta(hours=1)
        as_of, meant = cadence.containing(hour), f"the hour of {hour.isoformat()} is none of a session"
    else:
        today = local_date(now, cadence.zone)
        last_day = today if cadence.due_at is not None else today - (whole_delay(cadence)[0] + 1) * _DAY
        as_of = cadence.containing(last_day)
        meant = cadence.explain(last_day) if as_of is None else f"no window ends with {last_day}"
        if as_of is not None and cadence.due_at is None and cadence.window(as_of).end.date() != last_day + _DAY:
            as_of = None
    if as_of is None:
        return f"nothing is due: {meant}"
    due = cadence.due(as_of)
    late = due.timestamp() <= now.timestamp()
    return f"{as_of} was due at {due.isoformat()}" if late else f"{as_of} is not due until {due.isoformat()}"
