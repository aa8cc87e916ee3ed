"""The runs of keys that are due together, as one sequence in the order in which Airflow schedules them.

Airflow knows a partition by two things: its key, an opaque text, and its ``partition_date``, an instant. A backfill
decides by the *instant* whether a run exists already, and the dag-processor takes the run with the latest instant for
the last one. So each key has an instant of its own here: the first moment of its as-of date in the cadence's zone, and
after it, within a minute, an offset in microseconds that is derived from the key's static values. It depends on nothing
else, so that a value that is added to a dimension, anywhere in it, changes no other key's instant: a backfill then
makes the new value's runs and none twice.

Where delays differ by a dimension, keys of later dates are due before others of earlier ones. The instant is then the
due time, since a schedule goes on from the latest instant there is.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, NamedTuple, cast

import pendulum
from airflow import settings
from airflow.timetables.base import DagRunInfo, DataInterval

from flowctx.airflow._versions import AIRFLOW
from flowctx.core.dates.cadence import Cadence, Hourly
from flowctx.core.dates.zones import first_instant, get_zone
from flowctx.core.partitions.key import escape_value
from flowctx.core.partitions.scheme import PartitionScheme

if TYPE_CHECKING:
    from pendulum import DateTime

#: Partition dates lie within this many microseconds, a minute, of the first moment of their as-of date.
_OFFSETS = 60_000_000


class _Slot(NamedTuple):
    """One combination of static values, which has a run on every as-of date."""

    #: Microseconds from the first moment of the as-of date to the partition date.
    offset: int
    #: What stands before the date in the text of the key.
    before: str
    #: What stands after it.
    after: str


class Position(NamedTuple):
    """Where a run stands among those of its lane, which are ordered by partition date."""

    #: Position of its as-of date in the cadence.
    date: int
    #: Position of its combination of static values among the slots.
    slot: int


class Lane:
    """The runs of all keys with one delay: every combination of their static values on every as-of date.

    Args:
        cadence: The cadence, with the delay of these keys.
        slots: The combinations of static values, in the order of their offsets.
        by_due: Partition dates are due times, since other lanes have other delays.
    """

    def __init__(self, cadence: Cadence, slots: list[_Slot], *, by_due: bool) -> None:
        self.cadence, self.slots, self._by_due = cadence, slots, by_due

    def info(self, position: Position) -> DagRunInfo:
        """Return what Airflow is told of a run.

        Runs of one as-of date, which are due together, start microseconds apart: Airflow's OpenLineage provider makes
        the id of a run of this instant, and of nothing else that tells the keys apart.
        """
        as_of, slot = self.cadence[position.date], self.slots[position.slot]
        apart = timedelta(microseconds=slot.offset)
        return dag_run_info(
            run_after=to_pendulum(self.cadence.due(as_of)) + apart,
            instant=self._instant(position),
            key=self.text(position),
        )

    def text(self, position: Position) -> str:
        """Return the text of a key."""
        slot = self.slots[position.slot]
        return f"{slot.before}{self.cadence.text(self.cadence[position.date])}{slot.after}"

    def key_at(self, instant: datetime) -> str | None:
        """Return the key whose own instant this is, or None."""
        begun, reached = self._reached(instant)
        if not reached:
            return None
        position = Position(begun - 1, reached - 1)
        return self.text(position) if self._instant(position) == instant else None

    def position_of(self, text: str, as_of: date) -> Position | None:
        """Return the position of a key by its text, or None if it is of another lane."""
        iso = self.cadence.text(as_of)
        slots = (i for i, slot in enumerate(self.slots) if f"{slot.before}{iso}{slot.after}" == text)
        slot = next(slots, None)
        return None if slot is None else Position(self.cadence.index(as_of), slot)

    def after(self, last: DagRunInfo) -> Position:
        """Return the position of the first run whose instant is later than that of ``last``."""
        instant = instant_of(last)
        if instant is None:  # of a time when the DAG had another schedule
            return Position(self.cadence.known_due_count(last.run_after), 0)
        begun, reached = self._reached(instant)
        return Position(begun - 1, reached) if begun and reached < len(self.slots) else Position(begun, 0)

    def _reached(self, instant: datetime) -> tuple[int, int]:
        """Count the as-of dates that have begun at an instant, and the slots of the last of them that are reached."""
        begun = self._begun(instant)
        if not begun:
            return 0, 0
        first = to_pendulum(self._moment(begun - 1))
        return begun, bisect_right(self.slots, instant, key=lambda slot: first.add(microseconds=slot.offset))

    def _instant(self, position: Position) -> DateTime:
        """Return the instant that is a key's own."""
        return to_pendulum(self._moment(position.date)).add(microseconds=self.slots[position.slot].offset)

    def _moment(self, index: int) -> datetime:
        """Return the instant from which the partition dates of an as-of date count."""
        as_of = self.cadence[index]
        if self._by_due:
            return self.cadence.due(as_of)
        return as_of if isinstance(as_of, datetime) else first_instant(as_of, self.cadence.zone)

    def _begun(self, instant: datetime) -> int:
        """Count the as-of dates whose partition dates count from this instant or an earlier one."""
        if self._by_due:
            return self.cadence.known_due_count(instant)
        hourly = isinstance(self.cadence, Hourly)
        return self.cadence.known_count(instant if hourly else day_in(self.cadence, instant))

    def next_info(
        self, last: DagRunInfo | None, *, earliest: date | None, latest: date | None, least: int
    ) -> DagRunInfo | None:
        """Return the run after the last one, within bounds on as-of dates; None after the end.

        Args:
            last: The last run, of whichever lane.
            earliest: The first as-of date that may have a run.
            latest: The last one.
            least: The position of the first one for which a run may begin; one that was begun is finished.
        """
        position = Position(0, 0) if last is None else self.after(last)
        bounds = [0 if earliest is None else self.cadence.known_count_before(earliest)]
        if position.slot == 0:
            bounds.append(least)
        if position.date < max(bounds):
            position = Position(max(bounds), 0)
        if self.cadence._entry(position.date) is None:
            return None
        if latest is not None and position.date >= self.cadence.known_count(latest):
            return None
        return self.info(position)

    def between(self, earliest: date, latest: date, now: datetime) -> Iterator[DagRunInfo]:
        """Yield the runs of the as-of dates between two, those that are due and known."""
        first = self.cadence.known_count_before(earliest)
        after = min(self.cadence.known_count(latest), self.cadence.known_due_count(now))
        for index in range(first, after):
            for slot in range(len(self.slots)):
                yield self.info(Position(index, slot))


def lanes_of(scheme: PartitionScheme) -> list[Lane]:
    """Return the lanes of a scheme: one, or one for each delay; none without a cadence."""
    groups = scheme.cadences
    return [Lane(cadence, _slots(scheme, values), by_due=len(groups) > 1) for cadence, values in groups]


def _slots(scheme: PartitionScheme, values: tuple[str, ...] | None) -> list[_Slot]:
    """Return all combinations of static values, in the order of their offsets, no two of which are equal."""
    delays = None if scheme.cadence is None else scheme.cadence.delay
    own = {} if values is None else {getattr(delays, "dimension", ""): values}
    columns = [
        ["\0"] if name == scheme.cadence_dimension else [escape_value(v) for v in scheme.values(name)]
        for name in scheme.dimensions
    ]
    texts = sorted((_offset(text), text) for text in ("|".join(found) for found in itertools.product(*columns)))
    kept = {name: {escape_value(value) for value in found} for name, found in own.items()}
    slots: list[_Slot] = []
    last = -1
    for offset, text in texts:
        last = max(offset, last + 1)
        parts = dict(zip(scheme.dimensions, text.split("|"), strict=True))
        if all(parts[name] in found for name, found in kept.items()):
            before, _, after = text.partition("\0")
            slots.append(_Slot(last, before, after))
    return slots


def _offset(text: str) -> int:
    """Return the offset of a combination of static values; 0 if there is nothing but the date."""
    if text == "\0":
        return 0
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (_OFFSETS - 1)


def dag_run_info(run_after: DateTime, instant: DateTime, key: str) -> DagRunInfo:
    """Return what Airflow is told of a run; before 3.2 the run's logical date is the key's instant."""
    if AIRFLOW.able("partitioned runs"):
        return DagRunInfo(run_after=run_after, data_interval=None, partition_date=instant, partition_key=key)
    return DagRunInfo(run_after=run_after, data_interval=DataInterval.exact(instant))


def instant_of(info: DagRunInfo) -> datetime | None:
    """Return the instant that is a key's own, from what Airflow was told of its run."""
    if AIRFLOW.able("partitioned runs"):
        return info.partition_date
    return None if info.data_interval is None else info.data_interval.start


def to_pendulum(instant: datetime) -> DateTime:
    """Return an instant as Airflow has it."""
    return pendulum.instance(instant.astimezone(UTC))


def day_in(cadence: Cadence, instant: datetime) -> date:
    """Return the day that the cadence's zone has at an instant."""
    local = instant.astimezone(cadence.zone)
    return date(local.year, local.month, local.day)


def midnight_of(bound: datetime, clocks: Iterable[tzinfo | None]) -> date | None:
    """Return the date that the first of some clocks shows which has midnight then, or None."""
    shown = (bound.astimezone(clock) for clock in clocks)
    return next((date(local.year, local.month, local.day) for local in shown if local.time() == time()), None)


def bound_of(cadence: Cadence, bound: datetime, clocks: Iterable[tzinfo | None]) -> date:
    """Return the as-of date, or the hour, that a bound means; see ``PartitionTimetable``.

    Args:
        cadence: The cadence.
        bound: The bound.
        clocks: The zones by which it may have been written.
    """
    found = midnight_of(bound, clocks)
    if found is not None:
        return found
    return bound.astimezone(UTC) if isinstance(cadence, Hourly) else day_in(cadence, bound)


def zones_of(*dates: object) -> list[str]:
    """Return the zones of the dates of a DAG, of which Airflow keeps the instants alone.

    Args:
        *dates: Datetimes, or texts as Airflow reads them; without a zone they are of its ``default_timezone``.

    Returns:
        IANA names, and offsets such as ``+09:00``.
    """
    found: dict[str, None] = {}
    for date_ in dates:
        if isinstance(date_, str | datetime):
            aware = read_date(date_)
            found[getattr(aware.tzinfo, "key", None) or aware.format("Z")] = None
    return list(found)


def read_date(date_: datetime | str) -> DateTime:
    """Return a date of a DAG as Airflow reads it: without a zone it is of its ``default_timezone``."""
    read = pendulum.parse(date_, tz=settings.TIMEZONE, strict=False) if isinstance(date_, str) else date_
    return pendulum.instance(cast("datetime", read), tz=settings.TIMEZONE)


def clock_of(zone: str) -> tzinfo:
    """Return the clock of a zone, by its IANA name or its offset.

    Raises:
        CalendarError: No such zone.
    """
    try:
        return datetime.strptime(zone, "%z").tzinfo or UTC
    except (TypeError, ValueError):
        return get_zone(zone)
