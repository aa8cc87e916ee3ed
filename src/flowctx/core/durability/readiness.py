"""Which partitions can run, because all that they read has been captured or skipped: the ledger decides."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from flowctx.core.dates.zones import last_day_before
from flowctx.core.durability.asking import asked_of
from flowctx.core.durability.current import under_way, versions_to_read
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import known_time
from flowctx.core.durability.records import StepRecord, VersionRead
from flowctx.core.durability.versions import Version, by_partition, comes_after, newest
from flowctx.core.errors import CalendarError, WorkflowError
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.mapping import PartitionMapping
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import inputs_of

logger = logging.getLogger("flowctx")

#: So many partitions of the reader are looked up at once.
_CHUNK: Final = 200
#: What may be done with a partition whose inputs are captured again.
ON_RESTATEMENT: Final = ("ignore", "run")
#: What :class:`Ready` says of a partition that has not been captured.
FIRST: Final = "first"


class Ready(NamedTuple):
    """A partition that can run."""

    #: The partition.
    key: PartitionKey
    #: What it would run for: ``FIRST``, or the time when the last of its inputs was restated, and a digest of what they
    #: ask for and it has not read, or the other way round.
    occasion: str
    #: The ids of the runs that have been at it and have not made it, the latest last.
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Need:
    """One input of a workflow, without its code."""

    #: The workflow that is read, and the step.
    workflow: str
    step: str
    #: Which partitions of it are read; ``None``: it has none.
    mapping: PartitionMapping | None
    #: The step of the reader, and the name that the input has there; empty where an older version has told it.
    reader: str = ""
    name: str = ""
    #: Whether it was warned that the calendar of that workflow does not reach so far: one warning tells of all.
    _warned: bool = field(default=False, init=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        found: dict[str, Any] = {
            "workflow": self.workflow,
            "step": self.step,
            "reader": self.reader,
            "name": self.name,
        }
        if self.mapping is not None:
            where = {name: list(values) for name, values in self.mapping.where.items()}
            found |= {"partitions": self.mapping.upstream.to_dict(), "previous": self.mapping.previous, "where": where}
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], reader: PartitionScheme) -> Need:
        """Read :meth:`to_dict` back."""
        mapping = None
        if "partitions" in data:
            scheme = PartitionScheme.from_dict(data["partitions"])
            mapping = PartitionMapping(scheme, reader, previous=data["previous"], where=data["where"])
        whose = {name: data.get(name, "") for name in ("reader", "name")}
        return cls(workflow=data["workflow"], step=data["step"], mapping=mapping, **whose)

    def complete(self, ledger: Ledger, keys: Sequence[PartitionKey]) -> dict[PartitionKey, list[_Read]]:
        """Return what each partition reads, of those that lack nothing.

        The ledger is asked once for all of them, however many windows are open.
        """
        asked = {key: self._keys(key) for key in keys}
        read = {key: some for key, some in asked.items() if some is not None}
        wanted = list(dict.fromkeys(itertools.chain.from_iterable(read.values())))
        versions = ledger.versions(self.workflow, self.step, wanted) if wanted else []
        found = by_partition(versions)
        there = {
            one: _Read(self, version, found[one])
            for one, version in versions_to_read(ledger, self.workflow, versions).items()
            if isinstance(version, Version) and version.has_step
        }
        return {
            key: [there[one] for one in some]
            for key, some in read.items()
            if there.keys() >= set(some) and (some or self._may_be_empty(key))
        }

    def _keys(self, key: PartitionKey) -> Sequence[PartitionKey | None] | None:
        """Return what a partition reads; ``None`` if it lacks some of that, or its calendar does not reach that far."""
        if self.mapping is None:
            return [None]
        try:
            return None if self.mapping.lacking(key) else list(self.mapping.keys(key))
        except CalendarError as exc:
            if not self._warned:
                object.__setattr__(self, "_warned", True)
                logger.warning("%s and later dates are not ready: workflow %r: %s", key, self.workflow, exc)
            return None

    def _may_be_empty(self, key: PartitionKey) -> bool:
        """Whether a partition that reads nothing is right to: the first dates, and a week without a session."""
        assert self.mapping is not None  # noqa: S101 - else there is something
        if self.mapping.previous:
            return True
        cadence, reader = self.mapping.upstream.cadence, self.mapping.downstream
        window = reader.window(key) if reader is not None else None
        if cadence is None or window is None or cadence.within(window):
            return False
        return last_day_before(window.end) >= cadence.start


class _Read(NamedTuple):
    """One partition that is read, as it is now."""

    #: As what it is read.
    need: Need
    #: The version that is current.
    current: Version
    #: All of its versions.
    versions: Sequence[Version]

    @property
    def was_made_again(self) -> bool:
        """Whether it may have been another version that was read."""
        return len(self.versions) > 1 or self.current.first_completed_at is not None

    def is_newer(self, read: VersionRead) -> bool:
        """Whether the current version is newer than the one that was read."""
        if self.current.capture_id == read.capture_id:
            return (None if self.current.is_hole else self.current.digest) != read.digest
        then = next((version for version in self.versions if version.capture_id == read.capture_id), None)
        return then is None or comes_after(self.current, then)


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What the partitions of a workflow need before they can run.

    Inputs that are ``optional()`` are not needed.
    """

    #: The workflow, and its first step.
    workflow: str
    step: str
    #: Its partitions.
    scheme: PartitionScheme
    #: What it reads.
    needs: tuple[Need, ...]

    @classmethod
    def checked(cls, workflow: Workflow, shown: str, on_restatement: str) -> Readiness:
        """Return what a workflow needs whose partitions are to run when their inputs are there.

        Args:
            workflow: The workflow.
            shown: What asks for that, as the start of a message.
            on_restatement: What to do with a partition whose inputs are captured again.

        Raises:
            WorkflowError: It has no dates, or reads nothing.
        """
        if on_restatement not in ON_RESTATEMENT:
            raise WorkflowError(f"on_restatement={on_restatement!r} must be 'ignore' or 'run'")
        if workflow.partitions is None or workflow.partitions.cadence is None:
            raise WorkflowError(f"{shown} needs partitions with a cadence, such as month=Monthly(...), and it has none")
        if all(item.is_optional for _, _, item in inputs_of(workflow)):
            raise WorkflowError(
                f"{shown} waits for its inputs, and it has none that is not optional(); declare one, or leave it out"
            )
        return cls.of(workflow)

    @classmethod
    def of(cls, workflow: Workflow) -> Readiness:
        """Return what a workflow with partitions needs."""
        assert workflow.partitions is not None  # noqa: S101 - the caller has seen to it
        needs = [
            Need(
                workflow=item.workflow.name,
                step=item.step_name,
                mapping=item.mapping(workflow.partitions),
                reader=reader,
                name=name,
            )
            for reader, name, item in inputs_of(workflow)
            if not item.is_optional
        ]
        return cls(
            workflow=workflow.name, step=next(iter(workflow.steps)), scheme=workflow.partitions, needs=tuple(needs)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON: for a process that does not have the workflow's code."""
        needs = [need.to_dict() for need in self.needs]
        return {"workflow": self.workflow, "step": self.step, "partitions": self.scheme.to_dict(), "needs": needs}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Readiness:
        """Read :meth:`to_dict` back."""
        scheme = PartitionScheme.from_dict(data["partitions"])
        needs = tuple(Need.from_dict(need, scheme) for need in data["needs"])
        return cls(workflow=data["workflow"], step=data["step"], scheme=scheme, needs=needs)

    def ready(self, ledger: Ledger, now: datetime, since: date, *, restated: bool) -> Iterator[Ready]:
        """Yield the partitions that are due and can run, and have not been captured, in order.

        A partition that a run is at waits for how that ends.

        Args:
            ledger: Where outputs are remembered.
            now: The time by which they are due.
            since: The first as-of date, or the first instant of the first hour.
            restated: Yield also those that have been captured, if one of their inputs was completed after that, or
                after it was read, or asks for another partition now than was read.
        """
        due = (key for key in self.scheme.due_keys(now) if self.place(key, since) >= since)
        while some := list(islice(due, _CHUNK)):
            versions = ledger.versions(self.workflow, self.step, some)
            captured, begun = self._captured(ledger, versions), under_way(ledger, versions)
            once = {version.partition for version in versions if version.ended_well or version.first_completed_at}
            asked = [key for key in some if key not in begun and (restated or key not in captured)]
            complete = self._complete(ledger, asked)
            behind = self._behind(ledger, captured, complete)
            for key, read in complete.items():
                time = max((one.current.completed_at or "" for one in read), default="")
                if key not in captured:
                    yield Ready(key, time if restated and key in once else FIRST, _run_ids(versions, key))
                elif key in behind or time > _last_time(captured[key]):
                    yield Ready(key, time + behind.get(key, ""))

    def _captured(self, ledger: Ledger, versions: Sequence[Version]) -> dict[PartitionKey, list[Version]]:
        """Return the versions that can be read of each partition of which one is current."""
        current = versions_to_read(ledger, self.workflow, versions)
        found: dict[PartitionKey, list[Version]] = {}
        for version in versions:
            if version.partition is None or not isinstance(current[version.partition], Version):
                continue
            if version.ended_well and version.completed_at is not None:
                found.setdefault(version.partition, []).append(version)
        return found

    def place(self, key: PartitionKey, bound: date) -> date:
        """Return what a bound is compared with: the as-of date of a key, or of an instant its hour."""
        found = self.scheme.period(key) if isinstance(bound, datetime) else self.scheme.as_of_date(key)
        return found or bound

    def _complete(self, ledger: Ledger, keys: Sequence[PartitionKey]) -> dict[PartitionKey, list[_Read]]:
        """Return all that each partition reads, of those that lack nothing."""
        found: dict[PartitionKey, list[_Read]] = {key: [] for key in keys}
        for need in self.needs:
            read = need.complete(ledger, list(found))
            found = {key: some + read[key] for key, some in found.items() if key in read}
        return found

    def _behind(
        self,
        ledger: Ledger,
        captured: Mapping[PartitionKey, Sequence[Version]],
        complete: Mapping[PartitionKey, Sequence[_Read]],
    ) -> dict[PartitionKey, str]:
        """Return the captured partitions whose run has read something else than it would read now, each with a mark.

        That is an older version than is current, which came meanwhile, or what their inputs do not ask for; or they ask
        for what it has not read: of that the mark tells. A run that was to read what was known at a time is right to.
        """
        latest = {key: newest(captured[key]) for key in complete if key in captured}
        current = {version.run_key: key for key, version in latest.items() if version is not None}
        found: dict[str, str] = {}
        for run_key, records in (ledger.recorded_steps(current, reading=True) if current else {}).items():
            read = complete[current[run_key]]
            otherwise = self._otherwise(read, records)
            if otherwise or _is_behind(read, records):
                found[run_key] = otherwise
        runs = ledger.runs_of(found) if found else {}
        return {current[run_key]: found[run_key] for run_key, run in runs.items() if known_time(run.context) is None}

    def _otherwise(self, read: Sequence[_Read], records: Sequence[StepRecord]) -> str:
        """Return a mark of what inputs ask for and steps have not read, or the other way round; empty: of nothing."""
        by_step = {record.step: record for record in records}
        text = []
        for need in self.needs:
            there = {one.current.partition: one.current for one in read if one.need is need}
            record = by_step.get(need.reader)
            found = asked_of(record, need.name, need.workflow, need.step, list(there)) if record is not None else None
            if found is not None:
                text += [f"+{need.name} {key}" for key in found.added if not there[key].is_hole]
                text += [f"-{need.name} {one.workflow} {one.step} {one.partition}" for one in found.removed]
        return f"+{sha256(chr(0).join(sorted(text)))[:8]}" if text else ""


def _is_behind(read: Sequence[_Read], records: Sequence[StepRecord]) -> bool:
    """Whether steps have read an older version than is current."""
    now = {(one.need.workflow, one.need.step, one.current.partition): one for one in read if one.was_made_again}
    reads = (read for record in records for some in record.inputs.values() for read in some) if now else ()
    pairs = ((now.get((one.workflow, one.step, one.partition)), one) for one in reads)
    return any(there is not None and there.is_newer(one) for there, one in pairs)


def _run_ids(versions: Sequence[Version], key: PartitionKey) -> tuple[str, ...]:
    """Return the ids of the runs that had the captures of a partition, the latest last."""
    own = [version for version in versions if version.partition == key and not version.part]
    return tuple(version.run_id for version in sorted(own, key=lambda version: version.claimed_at or ""))


def _last_time(captured: Sequence[Version]) -> str:
    """Return when a partition was captured last."""
    return max(version.completed_at or "" for version in captured)
