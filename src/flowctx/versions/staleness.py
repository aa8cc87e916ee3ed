"""Which partitions were built on what has been captured again since, with other content; and by which way."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import known_time
from flowctx.core.durability.records import RunRecord, StepRecord, VersionRead
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import Version, comes_after
from flowctx.core.execution.envelope import Envelope
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus
from flowctx.versions.changes import Tolerance, output_changes
from flowctx.versions.choosing import StepVersions, required_ledger

#: How many partitions are looked at at a time.
_PAGE = 500
#: Of a longer chain, so many links are told: a partition that reads the one before has as many as there are dates.
_MOST_LINKS = 6
_CURRENT = VersionChoice()


class Made(NamedTuple):
    """What a workflow made of a partition: all of it, or one step."""

    #: The workflow's name.
    workflow: str
    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The step; ``None``: all of them.
    step: str | None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.workflow} {self.partition}" if self.partition is not None else self.workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleLink:
    """One link of the chain that makes a partition stale: what was read is stale itself, was made again or is gone."""

    #: What was read.
    read: Made
    #: The capture from which it was read.
    capture_id: str
    #: Its revision.
    revision: int
    #: The capture that is current instead and has other content; ``None`` where it is itself stale, or there is none.
    now: str | None = None
    #: The batch of that.
    batch_id: str | None = None
    #: Whether that has not the step that was read.
    without_step: bool = False
    #: Whether what was read is there no more, and no newer capture has taken its place.
    gone: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is the last link: what was read is not stale itself."""
        return self.gone or self.now is not None

    @property
    def text(self) -> str:
        """The link in words."""
        if self.gone:
            instead = "nothing has taken its place" if self.now is None else f"{self.now}, which is older, is current"
            return f"{self.read.text}: what {self.capture_id} held is there no more, and {instead}"
        if self.now is None:
            return f"{self.read.text} is stale"
        how = "in place" if self.now == self.capture_id else f"by {self.now}"
        what = f"without the step {self.read.step!r}" if self.without_step else "with other content"
        return f"{self.read.text} was captured again {how} after {self.capture_id}, {what}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StalePartition:
    """A partition whose current version was built on what is not current any more."""

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: Its current capture.
    capture_id: str
    #: Why, from what it has read itself to what was captured again; empty where only code has changed.
    chain: tuple[StaleLink, ...] = ()
    #: How many links of a long chain are left out before its last one.
    left_out: int = 0
    #: The steps that ran with other code than they have now.
    code: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why, in words."""
        links = [link.text for link in self.chain]
        if self.left_out:
            links.insert(-1, f"… {amount(self.left_out, 'more link')} …")
        return ": ".join(links) or f"the code of {', '.join(self.code)} has changed"


def stale(
    workflow: Workflow,
    select: Selection | str | None = None,
    *,
    code: bool = False,
    atol: float = 0.0,
    rtol: float = 0.0,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> list[StalePartition]:
    """Return the partitions that were built on what has been captured again since, with other content.

    What a step has read is recorded with it. A partition is stale if the current version of something that it has read
    has other content than what it has read, or not the step that was read, or is stale itself, over any number of
    workflows. Content that is the same after a new capture makes nothing stale, and nor is what a run has made that was
    to read what was known at a time (``known_at=``).

    Args:
        workflow: The workflow.
        select: Which partitions, as a selection or its text; ``None``: all that were captured.
        code: Also return partitions of which a step ran with other code than it has now.
        atol: Numbers that differ by no more are the same content.
        rtol: The same, as a part of the new number.
        until: The last as-of date: what is selected after it is left out. Without it, ``last:5`` counts from the latest
            one that is due.
        ledger: Where they are remembered, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.

    Returns:
        The stale partitions in the scheme's order, each with the chain of what makes it so; of a long one, the first
        links and the last.

    Raises:
        LedgerError: There is no ledger.
        ContextError: A tolerance cannot be.
        PartitionError: The selection cannot be.

    Example:
        >>> from flowctx import Workflow
        >>> flow = Workflow("alone")
        >>> flow.step(name="only")(lambda ctx: {}) and None
        >>> stale(flow, ledger="memory://")
        []
    """
    return list(iter_stale(workflow, select, code=code, atol=atol, rtol=rtol, until=until, ledger=ledger))


def iter_stale(
    workflow: Workflow,
    select: Selection | str | None = None,
    *,
    code: bool = False,
    atol: float = 0.0,
    rtol: float = 0.0,
    until: date | str | None = None,
    ledger: Ledger | str | None = None,
) -> Iterator[StalePartition]:
    """Yield what :func:`stale` returns, as soon as it is found; it takes and raises the same."""
    there = required_ledger(ledger)
    first = next(iter(workflow.steps))
    versions = StepVersions(there, workflow, first)
    graph = _Graph(there, Tolerance(atol=atol, rtol=rtol))
    now = {step.name: step.code_version for step in workflow.steps.values()} if code else {}
    chosen = versions.chosen(versions.keys(select, until), _CURRENT)
    while page := list(itertools.islice(chosen, _PAGE)):
        current = {Made(workflow.name, key, None): version for key, version in page if version is not None}
        records = graph.explore({made: version.run_key for made, version in current.items()}, every=code)
        for made, version in current.items():
            changed = _changed(records.get(version.run_key, ()), now)
            if made in graph.stale or changed:
                chain, left_out = graph.chain(made)
                yield StalePartition(
                    partition=made.partition,
                    capture_id=version.capture_id,
                    chain=chain,
                    left_out=left_out,
                    code=changed,
                )


def _changed(records: Iterable[StepRecord], now: dict[str, str | None]) -> tuple[str, ...]:
    """Return the steps that ran with other code, where both are known."""
    return tuple(r.step for r in records if r.version and now.get(r.step) and now[r.step] != r.version)


class _Behind(NamedTuple):
    """A reader that is stale by something that it has read."""

    reader: Made
    read: VersionRead
    #: What is current instead; ``None``: what was read is stale itself.
    now: Version | None = None
    gone: bool = False


class _Graph:
    """What was read by what, as the ledger remembers it; explored from readers to what they have read."""

    def __init__(self, ledger: Ledger, how: Tolerance) -> None:
        self.ledger, self.how = ledger, how
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
        #: What runs have recorded that have claimed no capture, by the run's key and the step.
        self._unclaimed: dict[tuple[str, str], tuple[StepStatus, str]] = {}
        self._unclaimed_runs: dict[str, RunRecord] = {}
        self._same: dict[tuple[str, str, str], bool] = {}

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
            reads = [
                (made, read)
                for made, run_key in current.items()
                for read in _reads(records.get(run_key, ()), made.step)
            ]
            self._look_up({_made(read) for _, read in reads})
            self._look_up_unclaimed([read for _, read in reads])
            following: dict[Made, str] = {}
            behind: list[_Behind] = []
            for reader, read in reads:
                source = _made(read)
                run_key = self._compare(reader, read, behind)
                if run_key is not None and source not in self._explored:
                    following[source] = run_key
            self._mark(behind, found)
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
        now = _CURRENT.version(self._versions[source])
        gone = now is None or self._is_older(now, read)
        held = gone and self._is_held(read)
        if not held and (now is None or self._differs(read, now)):
            behind.append(_Behind(reader, read, now, gone))
        elif source in self.stale:
            behind.append(_Behind(reader, read))
        return read.run_key if held else now.run_key if now is not None else None

    def _mark(self, behind: Sequence[_Behind], found: deque[Made]) -> None:
        """Mark readers as stale, but for those whose runs were to read what was known at a time."""
        unknown = {self._run_keys[one.reader] for one in behind} - self._as_of.keys()
        runs = self.ledger.runs_of(unknown) if unknown else {}
        self._as_of |= {run_key: known_time(run.context) is not None for run_key, run in runs.items()}
        for reader, read, now, gone in behind:
            if reader in self.stale or self._as_of.get(self._run_keys[reader], False):
                continue
            self.stale[reader] = link = StaleLink(
                read=_made(read),
                capture_id=read.capture_id,
                revision=read.revision,
                now=now.capture_id if now is not None else None,
                batch_id=now.batch_id if now is not None else None,
                without_step=now is not None and not now.has_step,
                gone=gone,
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
            for version in self.ledger.versions(workflow, step, partitions):
                self._versions[Made(workflow, version.partition, step)].append(version)

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
        pair = (read.step, then.run_key, now.run_key)
        if pair not in self._same:
            self._same[pair] = self._is_same(*pair)
        return not self._same[pair]

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

    def _is_same(self, step: str, then: str, now: str) -> bool:
        records = self.ledger.step_records(step, [then, now])
        if len(records) < 2:
            return False
        old, new = (Envelope(step=step, output=records[key].output) for key in (then, now))
        return next(output_changes(old, new, self.store, self.how), None) is None


def _made(read: VersionRead) -> Made:
    return Made(read.workflow, read.partition, read.step)


def _reads(records: Sequence[StepRecord], step: str | None) -> Iterator[VersionRead]:
    """Yield what a step has read, or a step before it; of no step in particular, what any has."""
    by_name = {record.step: record for record in records}
    pending, seen = [step] if step is not None else list(by_name), set()
    while pending:
        name = pending.pop()
        record = by_name.get(name)
        if record is None or name in seen:
            continue
        seen.add(name)
        for reads in record.inputs.values():
            yield from reads
        pending += record.after
