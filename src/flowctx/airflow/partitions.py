"""PartitionTimetable: one native partitioned Airflow run for each key of a scheme, and nothing for any other.

Airflow knows a partition by two things: its key, an opaque text, and its ``partition_date``, an instant. A backfill
decides by the *instant* whether a run exists already, and the dag-processor takes the run with the latest instant for
the last one. So each key has an instant of its own here: the first moment of its as-of date in the cadence's zone, and
after it, within a minute, an offset in microseconds that is derived from the key's static values. It depends on nothing
else, so that a value that is added to a dimension, anywhere in it, changes no other key's instant: a backfill then
makes the new value's runs and none twice.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from flowctx.core.dates.cadence import Cadence
from flowctx.core.dates.zones import first_instant
from flowctx.core.errors import PartitionError
from flowctx.core.partitions.key import escape_value
from flowctx.core.partitions.scheme import PartitionScheme

if TYPE_CHECKING:
    from airflow.utils.types import DagRunType
    from pendulum import DateTime

#: Partition dates lie within this many microseconds, a minute, of the first moment of their as-of date.
_OFFSETS = 60_000_000
#: Longest text of a key within a run id. Airflow takes ids of up to 250 characters, but makes folders for logs that are
#: named ``run_id=...``, and most file systems end at 255.
_ID_ROOM = 150


class _Slot(NamedTuple):
    """One combination of static values, which has a run on every as-of date."""

    #: Microseconds from the first moment of the as-of date to the partition date.
    offset: int
    #: What stands before the date in the text of the key.
    before: str
    #: What stands after it.
    after: str


class _Position(NamedTuple):
    """Where a run stands among all runs, which are ordered by partition date."""

    #: Position of its as-of date in the cadence.
    date: int
    #: Position of its combination of static values among the slots.
    slot: int


class PartitionTimetable(Timetable):
    """A schedule with one partitioned run for each key of a scheme, for any number of dimensions.

    ``dag_run.partition_key`` is the scheme's positional text, ``2012-01-03|IBM``. A run is due when the scheme says
    so: when the window of its as-of date has ended and the cadence's ``delay`` is over, by the clocks of its zone.
    Of the keys of one as-of date, which are due together, the order is arbitrary and always the same.

    * **Catch-up** on: every key of every as-of date that is due, from the DAG's ``start_date`` on. Off: every key of
      the latest as-of date that is due. A date is always finished once its first run is there.
    * **Dates that bound** (``start_date`` and ``end_date`` of the DAG, ``--from-date`` and ``--to-date`` of
      ``airflow backfill create``) bound as-of dates, both included. A time that is midnight on its own clock means
      the date that it shows, as ``--from-date 2012-01-03`` does; any other means the day that the cadence's zone has
      then. So ``--from-date D --to-date D`` makes all keys of the as-of date ``D``, in every zone.
    * **Backfills** make runs that are due only, and no run of a key that has one (``--reprocess-behavior none``).
      As on any schedule, Airflow goes on after the latest run there is, whatever made it: leave dates that catch-up
      has still to reach to catch-up.
    * **By hand** (REST, the UI) any key can be run, due or not; one that the scheme does not have is refused.
    * **Without a cadence** nothing is scheduled: start runs by their key, such as ``{"partition_key": "T1|XNYS"}``.

    Values that come from a callable are read when the DAG file is parsed.

    Args:
        scheme: Which keys there are.

    Raises:
        PartitionError: It is no scheme.

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
    run_ordering = ("run_after", "partition_date")

    def __init__(self, scheme: PartitionScheme) -> None:
        if not isinstance(scheme, PartitionScheme):
            raise PartitionError(
                f"PartitionTimetable takes a PartitionScheme, not a {type(scheme).__name__}: "
                "PartitionTimetable(PartitionScheme(date=Daily(start='2012-01-03'), symbol=['AAPL', 'IBM']))"
            )
        self.scheme = scheme
        self.periodic = self.can_be_scheduled = scheme.cadence is not None
        self.description = self._description()

    # -- what the UI shows ----------------------------------------------------------------------------------------

    @property
    def summary(self) -> str:
        """The schedule in a few words: ``daily XNYS × 3 tier × 2 venue``."""
        return " × ".join(self._dimension_text(name) for name in self.scheme.dimensions)

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
        after = f" {cadence.delay} after" if cadence.delay else " when"
        return f"{keys}: {self.summary}, due{after} its window ends ({cadence.timezone})"

    # -- runs in their order --------------------------------------------------------------------------------------

    @cached_property
    def _slots(self) -> list[_Slot]:
        """All combinations of static values, in the order of their offsets, no two of which are equal."""
        names, cadence = self.scheme.dimensions, self.scheme.cadence_dimension
        columns = [["\0"] if n == cadence else [escape_value(v) for v in self.scheme.values(n)] for n in names]
        texts = ["|".join(values) for values in itertools.product(*columns)]
        slots: list[_Slot] = []
        for offset, text in sorted((_offset(text), text) for text in texts):
            before, _, after = text.partition("\0")
            slots.append(_Slot(max(offset, slots[-1].offset + 1) if slots else offset, before, after))
        return slots

    def _info(self, cadence: Cadence, position: _Position) -> DagRunInfo:
        as_of, slot = cadence[position.date], self._slots[position.slot]
        return DagRunInfo(
            run_after=_pendulum(cadence.due(as_of)),
            data_interval=None,
            partition_date=_partition_date(cadence, as_of, slot.offset),
            partition_key=f"{slot.before}{as_of.isoformat()}{slot.after}",
        )

    def _after(self, cadence: Cadence, last: DagRunInfo) -> _Position:
        """Return the position of the first run whose partition date is later than that of ``last``."""
        if last.partition_date is None:  # of a time when the DAG had another schedule
            return _Position(cadence.due_count(last.run_after), 0)
        as_of = _day_in(cadence, last.partition_date)
        if as_of not in cadence:
            return _Position(cadence.count(as_of), 0)
        first = _partition_date(cadence, as_of)
        slot = bisect_right(self._slots, last.partition_date, key=lambda s: first + timedelta(microseconds=s.offset))
        return _Position(cadence.index(as_of), slot) if slot < len(self._slots) else _Position(cadence.count(as_of), 0)

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the run after the last one, within what the DAG's dates and catch-up allow; None after the end."""
        cadence = self.scheme.cadence
        if cadence is None:
            return None
        position = _Position(0, 0) if last_dagrun_info is None else self._after(cadence, last_dagrun_info)
        least = 0 if restriction.earliest is None else _count_before(cadence, _day_of(cadence, restriction.earliest))
        if not restriction.catchup and position.slot == 0:
            least = max(least, cadence.due_count(datetime.now(UTC)) - 1)
        if position.date < least:
            position = _Position(least, 0)
        if cadence.bounded and position.date >= len(cadence):
            return None
        if restriction.latest is not None and cadence[position.date] > _day_of(cadence, restriction.latest):
            return None
        return self._info(cadence, position)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the first run: without partition dates, as in Airflow before 3.2, there is no last one to go by."""
        return self.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """Yield the runs of a backfill: all keys, due by now, of the as-of dates from ``earliest`` to ``latest``."""
        cadence = self.scheme.cadence
        if cadence is None:
            return
        due = cadence.due_count(datetime.now(UTC))
        if not due:
            return
        first = _count_before(cadence, _day_of(cadence, earliest))
        after = cadence.count(min(_day_of(cadence, latest), cadence[due - 1]))
        for index in range(first, after):
            for slot in range(len(self._slots)):
                yield self._info(cadence, _Position(index, slot))

    # -- one run --------------------------------------------------------------------------------------------------

    def resolve_partition_date(self, partition_key: str | None) -> datetime | None:
        """Check the key of a run that is started by hand, and return its partition date.

        Raises:
            PartitionError: The scheme has no such key, or the key is written in another way than its runs are.
        """
        if partition_key is None:
            return None
        key = self.scheme.parse(partition_key)
        text = self.scheme.text(key)
        if text != partition_key:
            raise PartitionError(f"partition_key={partition_key!r} names the key {text!r}; write it like that")
        cadence, as_of = self.scheme.cadence, self.scheme.as_of_date(key)
        if cadence is None or as_of is None:
            return None
        iso = as_of.isoformat()
        offset = next(slot.offset for slot in self._slots if f"{slot.before}{iso}{slot.after}" == text)
        return _partition_date(cadence, as_of, offset)

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
        key = extra.get("partition_key")
        period = _id_text(key) if key else run_after.isoformat()
        return run_type.generate_run_id(suffix=f"{period}__{uuid4().hex[:8]}")

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return an interval without width: a run by hand with a logical date is not about a window of data."""
        return DataInterval.exact(run_after)

    def localize_partition_datetime(self, dt: datetime) -> DateTime:
        """Read a bound on partition dates, as ``airflow partitions clear`` takes it, by the cadence's clocks."""
        cadence = self.scheme.cadence
        return _pendulum(dt if cadence is None else dt.replace(tzinfo=cadence.zone))

    # -- writing it down ------------------------------------------------------------------------------------------

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON; the values of callables are written out."""
        return {"scheme": self.scheme.to_dict()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionTimetable:
        """Read :meth:`serialize` back."""
        return cls(PartitionScheme.from_dict(data["scheme"]))


def _offset(text: str) -> int:
    """Return the offset of a combination of static values; 0 if there is nothing but the date."""
    if text == "\0":
        return 0
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (_OFFSETS - 1)


def _partition_date(cadence: Cadence, as_of: date, offset: int = 0) -> DateTime:
    return _pendulum(first_instant(as_of, cadence.zone)) + timedelta(microseconds=offset)


def _pendulum(instant: datetime) -> DateTime:
    return pendulum.instance(instant.astimezone(UTC))


def _day_in(cadence: Cadence, instant: datetime) -> date:
    local = instant.astimezone(cadence.zone)
    return date(local.year, local.month, local.day)


def _day_of(cadence: Cadence, bound: datetime) -> date:
    """Return the as-of date that a bound means; see :class:`PartitionTimetable`."""
    if bound.time() == time():
        return date(bound.year, bound.month, bound.day)
    return _day_in(cadence, bound)


def _count_before(cadence: Cadence, day: date) -> int:
    return cadence.count(day) - (day in cadence)


def _id_text(key: str) -> str:
    """Return a key in the characters of a run id: ``~`` for ``|``, ``~~`` for the ``%`` of an escape, no ``..``."""
    text = key.replace("%", "~~").replace("|", "~").replace("..", ".~~2E")
    if len(text) <= _ID_ROOM:
        return text
    return f"{text[: _ID_ROOM - 17]}~{hashlib.sha256(key.encode()).hexdigest()[:16]}"
