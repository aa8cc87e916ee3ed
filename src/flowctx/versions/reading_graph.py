"""What was read by what, followed from readers to what they have read, to find what is stale."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from flowctx.artifacts import artifact_store
from flowctx.core.durability.asking import Asked, asked_now
from flowctx.core.durability.current import pruned_beside
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import known_time
from flowctx.core.durability.records import RunRecord, StepRecord, VersionRead
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import (
    PrunedVersion,
    Version,
    comes_after,
    newest_known,
    newest_pruned,
    version_read,
)
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Tolerance, output_changes
from flowctx.versions.stale_links import Made, StaleLink

#: Of a longer chain, so many links are told: a partition that reads the one before has as many as there are dates.
_MOST_LINKS = 6
#: A step, and the key of a run.
_StepOfRun: TypeAlias = tuple[str, str]
#: The version that is read now.
CURRENT = VersionChoice()


class _Behind(NamedTuple):
    """A reader that is stale by something that it has read."""

    reader: Made
    read: VersionRead
    #: What is current instead, or was before it was pruned; ``None``: what was read is stale itself.
    now: Version | PrunedVersion | None = None
    gone: bool = False
    #: Whether it was not read, and would be now; or was read, and would not be now.
    added: bool = False
    removed: bool = False


class ReadingGraph:
    """What was read by what, as the ledger remembers it; explored from readers to what they have read.

    Args:
        ledger: Where that is remembered.
        how: Which numbers are near enough.
        workflows: The workflows that read, as they are now, by their names.
    """

    def __init__(self, ledger: Ledger, how: Tolerance, workflows: Mapping[str, Workflow]) -> None:
        self.ledger, self.how, self.workflows = ledger, how, workflows
        self.store = artifact_store(ledger)
        #: What is stale, and the link by which.
        self.stale: dict[Made, StaleLink] = {}
        #: How many links the chain has from there on, and the last of them.
        self._ends: dict[Made, tuple[int, StaleLink]] = {}
        self._explored: set[Made] = set()
        #: The run that made each of them, and whether runs were to read what was known at a time.
        self._run_keys: dict[Made, str] = {}
        self._as_of: dict[str, bool] = {}
        self._readers: dict[Made, list[tuple[Made, VersionRead]]] = {}
        self._versions: dict[Made, list[Version]] = {}
        #: What was current of them and was pruned, where what is there is older.
        self._pruned: dict[Made, PrunedVersion] = {}
        #: What runs have recorded that have claimed no capture, by the run's key and the step.
        self._unclaimed: dict[tuple[str, str], tuple[StepStatus, str]] = {}
        self._unclaimed_runs: dict[str, RunRecord] = {}
        self._same: dict[tuple[_StepOfRun, _StepOfRun], bool] = {}
        #: What was read of steps that have another name now, by that name.
        self._renamed: dict[VersionRead, VersionRead] = {}

    def explore(self, current: dict[Made, str], *, every: bool) -> dict[str, list[StepRecord]]:
        """Follow what has been read, find what is stale, and return what the runs of the first ones have recorded.

        Args:
            current: What is asked about, each with all its steps, and the key of the run that wrote what is current.
            every: Return every step of those, also those that have read nothing.
        """
        first: dict[str, list[StepRecord]] | None = None
        found: deque[Made] = deque()
        while current:
            self._explored |= current.keys()
            self._run_keys |= current
            reading = first is None and not every  # further on, what a step has read may be that of one before it
            records = self.ledger.recorded_steps(set(current.values()), reading=reading)
            first = records if first is None else first
            steps = [(made, one) for made, key in current.items() for one in _steps(records.get(key, ()), made.step)]
            asked = [(made, one) for made, step in steps for one in self._asked(made, step)]
            reads = [(made, read) for made, one in steps for some in one.inputs.values() for read in some]
            reads = [(made, self._renamed.get(read, read)) for made, read in reads]
            self._look_up({_made(read) for _, read in reads})
            self._look_up_unclaimed([read for _, read in reads])
            following: dict[Made, str] = {}
            behind: list[_Behind] = []
            for reader, read in reads:
                source = _made(read)
                run_key = self._compare(reader, read, behind)
                if run_key is not None and source not in self._explored:
                    following[source] = run_key
            self._mark(itertools.chain(behind, self._otherwise(asked)), found)
            current = following
        while found:
            sources = list(found)
            found.clear()
            self._mark([_Behind(*pair) for source in sources for pair in self._readers.get(source, ())], found)
        return first or {}

    def chain(self, made: Made) -> tuple[tuple[StaleLink, ...], int]:
        """Return why something is stale, link by link, and how many links are left out before the last one."""
        count, last = self._ends.get(made, (0, None))
        links: list[StaleLink] = []
        while len(links) < min(count, _MOST_LINKS):
            links.append(self.stale[made])
            made = links[-1].read
        if last is not None:
            links[-1] = last
        return tuple(links), count - len(links)

    def _compare(self, reader: Made, read: VersionRead, behind: list[_Behind]) -> str | None:
        """Note a reader that is stale by what it has read; return the key of the run that made what is there now."""
        source = _made(read)
        self._readers.setdefault(source, []).append((reader, read))
        now = self._current(source)
        if (pruned := self._pruned.get(source)) is not None and self._is_superseded(read, pruned):
            behind.append(_Behind(reader, read, pruned))
            return None
        gone = now is None or self._is_older(now, read)
        held = gone and self._is_held(read)
        if not held and (now is None or self._differs(read, now)):
            behind.append(_Behind(reader, read, now, gone))
        elif source in self.stale:
            behind.append(_Behind(reader, read))
        return read.run_key if held else now.run_key if now is not None else None

    def _asked(self, reader: Made, record: StepRecord) -> Iterator[Asked]:
        """Yield in what a step asks for something else now than it has read; another name alone is nothing else."""
        workflow = self.workflows.get(reader.workflow)
        for one in asked_now(workflow, reader.partition, record) if workflow is not None else ():
            again = [read for read in one.removed if read.workflow == one.workflow and read.partition in one.added]
            same = {read.partition for read in again if self._is_renamed(read, one.step)}
            added = tuple(key for key in one.added if key not in same)
            yield one._replace(added=added, removed=tuple(read for read in one.removed if read.partition not in same))

    # -- steps that have another name now -----------------------------------------------------------------------------

    def _is_renamed(self, read: VersionRead, step: str) -> bool:
        """Whether a step that is read now is the one that was read, under another name; then that is noted."""
        made = Made(read.workflow, read.partition, step)
        self._look_up({made})
        now = self._current(made)
        if now is None:
            return False
        if now.has_step:
            same = not now.is_hole and self._is_same((read.step, read.run_key), (step, now.run_key), read.digest)
            if same:
                self._renamed[read] = replace(read, step=step, digest=now.digest)
            return same
        # It was not made since it has that name: then its code tells.
        workflow = self.workflows.get(read.workflow)
        code = workflow.steps[step].code_version if workflow is not None and step in workflow.steps else None
        found = self.ledger.step_outputs(read.step, [read.run_key]).get(read.run_key)
        return code is not None and found is not None and found.version == code

    def _otherwise(self, asked: Sequence[tuple[Made, Asked]]) -> Iterator[_Behind]:
        """Yield the readers that would read what they have not read, if it is there, or not what they have read."""
        self._look_up({Made(one.workflow, key, one.step) for _, one in asked for key in one.added})
        for reader, one in asked:
            for key in one.added:
                now = self._current(Made(one.workflow, key, one.step))
                if now is not None and now.ended_well and now.has_step and not now.is_hole:
                    yield _Behind(reader, version_read(one.workflow, one.step, now), added=True)
            for read in one.removed:
                yield _Behind(reader, read, removed=True)

    def _mark(self, some: Iterable[_Behind], found: deque[Made]) -> None:
        """Mark readers as stale, but for those whose runs were to read what was known at a time."""
        behind = list(some)
        unknown = {self._run_keys[one.reader] for one in behind} - self._as_of.keys()
        runs = self.ledger.runs_of(unknown) if unknown else {}
        self._as_of |= {run_key: known_time(run.context) is not None for run_key, run in runs.items()}
        for reader, read, now, gone, added, removed in behind:
            if reader in self.stale or self._as_of.get(self._run_keys[reader], False):
                continue
            self.stale[reader] = link = StaleLink(
                read=_made(read),
                capture_id=read.capture_id,
                revision=read.revision,
                now=now.capture_id if now is not None else None,
                batch_id=now.batch_id if now is not None else None,
                without_step=isinstance(now, Version) and not now.has_step,
                gone=gone,
                added=added,
                removed=removed,
            )
            links, last = (0, link) if link.ends else self._ends[link.read]
            self._ends[reader] = (links + 1, last)
            found.append(reader)

    def _look_up(self, wanted: Collection[Made]) -> None:
        of_step: dict[tuple[str, str], list[PartitionKey | None]] = {}
        for made in wanted:
            if made not in self._versions and made.step is not None:
                self._versions[made] = []
                of_step.setdefault((made.workflow, made.step), []).append(made.partition)
        for (workflow, step), partitions in of_step.items():
            found = self.ledger.versions(workflow, step, partitions)
            for version in found:
                self._versions[Made(workflow, version.partition, step)].append(version)
            for key, pruned in pruned_beside(self.ledger, workflow, found).items():
                made = Made(workflow, key, step)
                if (newest := newest_pruned(self._versions[made], pruned)) is not None:
                    self._pruned[made] = newest

    def _current(self, made: Made) -> Version | None:
        """Return the version that is read now; ``None`` where that is none, or was pruned."""
        return None if made in self._pruned else newest_known(self._versions[made], ())

    def _is_superseded(self, read: VersionRead, pruned: PrunedVersion) -> bool:
        """Whether what was read is older than what was current since, and was pruned."""
        version = self._version_of(read)
        return version is not None and comes_after(pruned, version)

    def _look_up_unclaimed(self, reads: Iterable[VersionRead]) -> None:
        """Find what was made in runs of some steps, before any capture was claimed."""
        wanted = [read for read in reads if self._version_of(read) is None]
        if wanted:
            steps, run_keys = {read.step for read in wanted}, {read.run_key for read in wanted}
            self._unclaimed |= self.ledger.digests_of(steps, run_keys)
            self._unclaimed_runs |= self.ledger.runs_of(run_keys)

    # -- content --------------------------------------------------------------------------------------------------

    def _differs(self, read: VersionRead, now: Version) -> bool:
        """Whether what was read has other content now; what is not known any more counts as other content."""
        if not now.has_step:
            return True
        if read.digest is None or now.is_hole:
            return (read.digest is None) != now.is_hole
        if now.digest == read.digest:
            return False
        then = next((v for v in self._versions[_made(read)] if v.run_key == read.run_key), None)
        if then is None or then.digest != read.digest or then.run_key == now.run_key:
            return True
        return not self._is_same((read.step, then.run_key), (read.step, now.run_key), read.digest)

    def _is_held(self, read: VersionRead) -> bool:
        """Whether the step that was read is as it was, although what it is of is not complete now."""
        version = self._version_of(read)
        if version is not None:
            return (None if version.is_hole else version.digest) == read.digest
        status, digest = self._unclaimed.get((read.run_key, read.step), (None, None))
        return (digest if status is StepStatus.OK else None) == read.digest

    def _is_older(self, now: Version, read: VersionRead) -> bool:
        """Whether what is current is older than what was read, which is not complete, or not any more."""
        version = self._version_of(read)
        if version is not None:
            return not version.ended_well and comes_after(version, now)
        run = self._unclaimed_runs.get(read.run_key)
        since = run.begun_at if run is not None else None
        done = datetime.fromisoformat(now.completed_at) if now.completed_at is not None else None
        return since is not None and done is not None and done < since

    def _version_of(self, read: VersionRead) -> Version | None:
        """Return how the capture stands that was read."""
        return next((v for v in self._versions[_made(read)] if v.capture_id == read.capture_id), None)

    def _is_same(self, then: _StepOfRun, now: _StepOfRun, digest: str | None) -> bool:
        """Whether two steps of runs have the same content, of which the first one is still what was read."""
        if (then, now) not in self._same:
            old, new = (self.ledger.step_outputs(step, [run_key]).get(run_key) for step, run_key in (then, now))
            if old is None or new is None or old.digest not in (None, digest):
                return False
            found = output_changes((then[0], old.output), (now[0], new.output), self.store, self.how)
            self._same[then, now] = next(found, None) is None
        return self._same[then, now]


def _made(read: VersionRead) -> Made:
    return Made(read.workflow, read.partition, read.step)


def _steps(records: Sequence[StepRecord], step: str | None) -> Iterator[StepRecord]:
    """Yield a step and those before it; all of them, if none in particular is meant."""
    by_name = {record.step: record for record in records}
    pending, seen = [step] if step is not None else list(by_name), set()
    while pending:
        name = pending.pop()
        record = by_name.get(name)
        if record is None or name in seen:
            continue
        seen.add(name)
        yield record
        pending += record.after
