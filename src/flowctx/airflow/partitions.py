"""PartitionTimetable: one native partitioned Airflow run for each key of a scheme, and nothing for any other."""

from __future__ import annotations

import heapq
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow import settings
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.run_order import (
    Lane,
    bound_of,
    clock_of,
    dag_run_info,
    instant_of,
    lanes_of,
    midnight_of,
    to_pendulum,
)
from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.calendar_end import CalendarEnd, calendar_end
from flowctx.core.dates.due_rules import Delays
from flowctx.core.dates.zones import zone_name
from flowctx.core.errors import CalendarError, ContextError, MissingExtra, PartitionError
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey, key_of
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.names import listed

if TYPE_CHECKING:
    from airflow.partition_mappers.base import PartitionMapper
    from airflow.utils.types import DagRunType
    from pendulum import DateTime

_log = logging.getLogger(__name__)

#: Longest text of a key within a run id. Airflow takes ids of up to 250 characters, but makes folders for logs that are
#: named ``run_id=...``, and most file systems end at 255.
_ID_ROOM = 150

#: The id of a run, as :meth:`PartitionTimetable.generate_run_id` makes it; those of batches begin otherwise.
_RUN_ID = re.compile(r"(?!batch__)[a-z_]+?__(.+)__[0-9a-f]{8}")


class PartitionTimetable(Timetable):
    """A schedule with one partitioned run for each key of a scheme, for any number of dimensions.

    ``dag_run.partition_key`` is the scheme's positional text, ``2012-01-03|IBM``. A run is due when the scheme says
    so: when the window of its as-of date has ended and the cadence's ``delay`` is over, by the clocks of its zone, or
    at the ``due`` time of the as-of date itself. Of the keys of one as-of date, which are due together, the order is
    arbitrary and always the same; they start within a minute, microseconds apart.

    * **Catch-up** on: every key of every as-of date that is due, from the DAG's ``start_date`` on. Off: every key of
      the latest as-of date that is due. A date is always finished once its first run is there.
    * **Dates that bound** (``start_date`` and ``end_date`` of the DAG, ``--from-date`` and ``--to-date`` of
      ``airflow backfill create``) bound as-of dates, both included. A time that is midnight in its own zone means
      the date that it shows there, as ``--from-date 2012-01-03`` does; any other means the day that the cadence's zone
      has then. So ``--from-date D --to-date D`` makes all keys of the as-of date ``D``, in every zone. Of the DAG's
      dates Airflow keeps the instants alone: their zone is in ``timezone``, which ``workflow_dag`` says.
    * **Backfills** make runs that are due only, and no run of a key that has one (``--reprocess-behavior none``).
      As on any schedule, Airflow goes on after the latest run there is, whatever made it: leave dates that catch-up
      has still to reach to catch-up.
    * **By hand** (REST, the UI) any key can be run that is due; one that is not, or that the scheme does not have, is
      refused.
    * **Where a calendar ends**, dates are scheduled and backfilled for as long as they are known. From 60 days before,
      the schedule's text in the UI, a warning and the log say so.
    * **After an update from Airflow 3.0 or 3.1**, which has no partitioned runs, the schedule goes on after the latest
      run that was made there, if ``dag_id`` is known.
    * **Without a cadence** nothing is scheduled: start runs by their key, such as ``{"partition_key": "T1|XNYS"}``.

    Values that come from a callable are read when the DAG file is parsed.

    Args:
        scheme: Which keys there are.
        by_inputs: Its runs are started elsewhere, when their inputs are there, and the schedule makes none.
        dag_id: The DAG that it is the schedule of; ``workflow_dag`` says it.
        timezone: The zone, or zones, of the DAG's ``start_date`` and ``end_date``. If left out: UTC, Airflow's
            ``default_timezone`` or the cadence's, whichever has midnight then; where none has, the log warns.

    Raises:
        PartitionError: It is no scheme.
        CalendarError: Keys are due after the close, and the calendar has no closing times; or there is no such
            ``timezone``.

    Example:
        >>> from datetime import timedelta
        >>> from flowctx import Daily, PartitionScheme
        >>> timetable = PartitionTimetable(PartitionScheme(
        ...     date=Daily(start="2012-01-03", calendar="WEEKDAYS", delay=timedelta(hours=6)),
        ...     symbol=["AAPL", "IBM"],
        ... ))
        >>> day = datetime(2012, 1, 6, tzinfo=UTC)
        >>> sorted(run.partition_key for run in timetable.iter_partition_dagrun_infos(earliest=day, latest=day))
        ['2012-01-06|AAPL', '2012-01-06|IBM']
    """

    partitioned = True
    #: In the grid, runs stand in the order in which they are due.
    run_ordering = ("run_after", "partition_date" if AIRFLOW.able("partitioned runs") else "logical_date")

    #: Whether it was read from the database, and so is where the database may be asked.
    _stored = False

    def __init__(
        self,
        scheme: PartitionScheme,
        *,
        by_inputs: bool = False,
        dag_id: str | None = None,
        timezone: str | tzinfo | Iterable[str] = (),
    ) -> None:
        if not isinstance(scheme, PartitionScheme):
            raise PartitionError(
                f"PartitionTimetable takes a PartitionScheme, not a {type(scheme).__name__}: "
                "PartitionTimetable(PartitionScheme(date=Daily(start='2012-01-03'), symbol=['AAPL', 'IBM']))"
            )
        self._fill(
            scheme, by_inputs, dag_id, [zone_name(timezone)] if isinstance(timezone, tzinfo) else listed(timezone)
        )
        for lane in self._lanes:
            if lane.cadence.due_at is not None and lane.cadence.due_at.after_close:
                lane.cadence.business_calendar.known_closes()
        if self._end is not None:
            _log.log(logging.ERROR if self._end.ended else logging.WARNING, "%s", self._end)
            warnings.warn(str(self._end), stacklevel=2)

    def _fill(self, scheme: PartitionScheme, by_inputs: bool, dag_id: str | None, zones: list[str]) -> None:
        self.scheme, self.by_inputs, self.dag_id, self._zones = scheme, by_inputs, dag_id, zones
        self._clocks = [clock_of(zone) for zone in zones]
        self._warned: set[datetime] = set()
        self.periodic = scheme.cadence is not None
        self.can_be_scheduled = self.periodic and not by_inputs
        self.description = self._description()

    @cached_property
    def _lanes(self) -> list[Lane]:
        return lanes_of(self.scheme)

    @property
    def _end(self) -> CalendarEnd | None:
        cadence = self.scheme.cadence
        try:
            return None if cadence is None else calendar_end(cadence, datetime.now(UTC))
        except (CalendarError, MissingExtra):  # an api-server without calendars shows DAGs; whoever schedules says why
            return None

    # -- what the UI shows ----------------------------------------------------------------------------------------

    @property
    def summary(self) -> str:
        """The schedule in a few words: ``daily XNYS × 3 tier × 2 venue``, and that its calendar ends soon."""
        text = " × ".join(self._dimension_text(name) for name in self.scheme.dimensions)
        text = f"{text}, when inputs are there" if self.by_inputs else text
        end = self._end
        if end is None:
            return text
        return f"{text} (calendar {'ended' if end.ended else 'ends'} {end.known_until})"

    def _dimension_text(self, name: str) -> str:
        cadence = self.scheme.cadence
        if cadence is None or name != self.scheme.cadence_dimension:
            return f"{len(self.scheme.values(name))} {name}"
        calendar = cadence.calendar if isinstance(cadence.calendar, str) else cadence.calendar.name
        return f"{cadence.kind} {calendar}"

    def _description(self) -> str:
        keys = f"One run for each key {'|'.join(self.scheme.dimensions)}"
        cadence = self.scheme.cadence
        if cadence is None:
            return f"{keys}, started by hand: {self.summary}"
        if cadence.due_at is not None:
            due = f"at {cadence.due_at}"
        elif isinstance(cadence.delay, Delays):
            due = f"after its window ends, later by {cadence.delay.dimension}"
        else:
            due = f"{cadence.delay} after its window ends" if cadence.delay else "when its window ends"
        end = "" if self._end is None else f". Note: {self._end}"
        return f"{keys}: {self.summary}, due {due} ({cadence.timezone}){end}"

    # -- runs in their order --------------------------------------------------------------------------------------

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last one, within what the DAG's dates and catch-up allow; None after the end."""
        if self.by_inputs:
            return None
        if last_dagrun_info is None:
            last_dagrun_info = self._last_without_partition()
        found = [self._next(lane, last_dagrun_info, restriction) for lane in self._lanes]
        return min((info for info in found if info is not None), key=_order, default=None)

    def _last_without_partition(self) -> DagRunInfo | None:
        """Return the last run that an Airflow before 3.2 made, which this one does not take for the DAG's last.

        What another schedule made under the same name is no run of a key: neither its id nor its date is a key's.
        """
        if not (self._stored and self.dag_id and AIRFLOW.able("partitioned runs")):
            return None
        from flowctx.airflow._compat import runs_without_partition

        for run_id, instant in runs_without_partition(self.dag_id):
            key = self.key_of_earlier_run(run_id, instant)
            if key is not None:
                _log.info("DAG %s goes on after %s, which was run before Airflow 3.2", self.dag_id, key)
                return dag_run_info(to_pendulum(instant), to_pendulum(instant), key)
        return None

    def _date_of(self, cadence: Cadence, bound: datetime | None) -> date | None:
        """Return the as-of date, or the hour, that a date of the DAG's means; Airflow has it in UTC."""
        if bound is None:
            return None
        if self._clocks:
            return bound_of(cadence, bound, self._clocks)
        return self._guessed_date(cadence, bound, [UTC, settings.TIMEZONE])

    def _shown_date(self, cadence: Cadence, bound: datetime) -> date:
        """Return the as-of date, or the hour, that a bound of a backfill means, which has the zone that was given."""
        if bound.utcoffset():
            return bound_of(cadence, bound, [bound.tzinfo])
        # The UI sends what is midnight in the zone that it shows as an instant in UTC, and does not say the zone.
        return self._guessed_date(cadence, bound, [UTC, *self._clocks, settings.TIMEZONE])

    def _guessed_date(self, cadence: Cadence, bound: datetime, clocks: list[tzinfo]) -> date:
        """Return the same of a bound that does not say its zone; the log warns once if none has midnight then."""
        found, zones = bound_of(cadence, bound, clocks), [*clocks, cadence.zone]
        if not (bound in self._warned or isinstance(found, datetime) or midnight_of(bound, zones)):
            self._warned.add(bound)
            _log.warning(
                "the date %s is midnight in none of %s; it is taken for %s. If it is midnight in another zone, say "
                "which: PartitionTimetable(scheme, timezone='Asia/Tokyo')",
                *(bound, ", ".join(dict.fromkeys(map(str, zones))), found),
            )
        return found

    def _next(self, lane: Lane, last: DagRunInfo | None, restriction: TimeRestriction) -> DagRunInfo | None:
        # Before 3.2 a scheduled run whose logical date is out of the DAG's dates gets no tasks, and is a success.
        bounds = [self._date_of(lane.cadence, bound) for bound in (restriction.earliest, restriction.latest)]
        least = 0 if restriction.catchup else max(0, lane.cadence.known_due_count(datetime.now(UTC)) - 1)
        info = lane.next_info(last, earliest=bounds[0], latest=bounds[1], least=least)
        if AIRFLOW.able("partitioned runs"):
            return info
        while info is not None and restriction.earliest is not None and _order(info) < restriction.earliest:
            _log.warning("no run at %s, which is before the DAG's start_date %s", _order(info), restriction.earliest)
            info = lane.next_info(info, earliest=bounds[0], latest=bounds[1], least=least)
        if info is not None and restriction.latest is not None and _order(info) > restriction.latest:
            _log.warning("no run at %s, which is after the DAG's end_date %s", _order(info), restriction.latest)
            return None
        return info

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last one, for Airflow before 3.2: the start of its interval is the key's instant."""
        last = None
        if last_automated_data_interval is not None and not AIRFLOW.able("partitioned runs"):
            last = DagRunInfo.exact(last_automated_data_interval.start)
        return self.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)

    def key_at(self, instant: datetime) -> str | None:
        """Return the key whose own instant this is: before Airflow 3.2 it is the logical date of the key's runs."""
        return next((key for lane in self._lanes if (key := lane.key_at(instant)) is not None), None)

    def key_of_earlier_run(self, run_id: str, logical_date: datetime) -> str | None:
        """Return the key of a run that an Airflow before 3.2 made, which its id and its logical date tell."""
        key = self.key_at(logical_date)
        return key if key is not None and id_text_of_run(run_id) == id_text(key) else None

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """Yield the runs of a backfill: all keys, due by now, of the as-of dates from ``earliest`` to ``latest``."""
        now = datetime.now(UTC)
        infos = (
            lane.between(self._shown_date(lane.cadence, earliest), self._shown_date(lane.cadence, latest), now)
            for lane in self._lanes
        )
        yield from heapq.merge(*infos, key=_order)
        if self._end is not None:
            _log.warning("%s", self._end)

    # -- one run --------------------------------------------------------------------------------------------------

    def resolve_partition_date(self, partition_key: str | None) -> datetime | None:
        """Check the key of a run that is started by hand, and return its partition date.

        Raises:
            PartitionError: The scheme has no such key, it is not due yet, or it is written in another way than its
                runs are.
        """
        if partition_key is None:
            return None
        key = self.scheme.parse(partition_key)
        text = self.scheme.text(key)
        if text != partition_key:
            raise PartitionError(f"partition_key={partition_key!r} names the key {text!r}; write it like that")
        self.scheme.check_due(key, datetime.now(UTC))
        period = self.scheme.period(key)
        if period is None:
            return None
        found = ((lane, lane.position_of(text, period)) for lane in self._lanes)
        return next(lane.info(position).partition_date for lane, position in found if position is not None)

    def generate_run_id(
        self,
        *,
        run_type: DagRunType,
        run_after: DateTime,
        data_interval: DataInterval | None,
        **extra: Any,
    ) -> str:
        """Return ``scheduled__2012-01-03~IBM__1c3e5f70``: the type, the key, and something that makes it unique.

        A key can have several runs, such as a backfill's beside the scheduled one, so the key alone will not do.
        """
        key = extra.get("partition_key") or (None if data_interval is None else self.key_at(data_interval.start))
        period = id_text(key) if key else run_after.isoformat()
        return run_type.generate_run_id(suffix=f"{period}__{uuid4().hex[:8]}")

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return an interval without width: a run by hand with a logical date is not about a window of data."""
        return DataInterval.exact(run_after)

    def localize_partition_datetime(self, dt: datetime) -> DateTime:
        """Read a bound on partition dates, as ``airflow partitions clear`` takes it, by the cadence's clocks."""
        cadence = self.scheme.cadence
        return to_pendulum(dt if cadence is None else dt.replace(tzinfo=cadence.zone))

    # -- writing it down ------------------------------------------------------------------------------------------

    def get_partition_mapper(self, *, name: str = "", uri: str = "") -> PartitionMapper:
        """Refuse: no asset triggers these runs.

        Raises:
            PartitionError: Always.
        """
        raise PartitionError(
            f"runs of a PartitionTimetable come from its scheme, not from events of the asset {name or uri!r}; give "
            "the DAG that assets trigger a schedule of assets"
        )

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON; the values of callables are written out."""
        more = {"by_inputs": self.by_inputs, "dag_id": self.dag_id, "timezone": self._zones}
        return {"scheme": self.scheme.to_dict(), **{name: value for name, value in more.items() if value}}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionTimetable:
        """Read :meth:`serialize` back."""
        made = cls.__new__(cls)
        # Whoever schedules has been told of the calendar's end.
        scheme = PartitionScheme.from_dict(data["scheme"])
        made._fill(scheme, bool(data.get("by_inputs")), data.get("dag_id"), data.get("timezone", []))
        made._stored = True
        return made


def _order(info: DagRunInfo) -> datetime:
    instant = instant_of(info)
    assert instant is not None  # noqa: S101 - each run of ours has one
    return instant


def id_text(key: str) -> str:
    """Return a key in the characters of a run id: ``~`` for ``|``, ``~~`` for the ``%`` of an escape, no ``..``."""
    text = key.replace("%", "~~").replace("|", "~").replace("..", ".~~2E")
    if len(text) <= _ID_ROOM:
        return text
    return f"{text[: _ID_ROOM - 17]}~{sha256(key)[:16]}"


def id_text_of_run(run_id: str) -> str | None:
    """Return what :func:`id_text` made of a run's key, from the id that it was given here; else ``None``."""
    found = _RUN_ID.fullmatch(run_id)
    return found[1] if found else None


def requested_key(workflow: Workflow | None, scheme: PartitionScheme | None, partition: Any) -> PartitionKey | None:
    """Return the partition that somebody asks a DAG to run: of its workflow, of its scheme, or any."""
    if workflow is not None:
        return workflow.partition_key(partition)
    if partition is None:
        return None
    if isinstance(partition, str) and scheme is None and "=" not in partition:
        raise ContextError(
            f"this DAG has no partitions, and {partition!r} no dimension; leave it out, or name one: date="
        )
    return scheme.parse(partition) if scheme is not None and isinstance(partition, str) else key_of(partition)
