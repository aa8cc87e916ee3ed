"""The order of a batch: a partition begins only when what it reads of the same batch is done."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from flowctx.backfill.selected import scheme_of
from flowctx.core.batches.records import Job, PartitionRun, PartitionState
from flowctx.core.errors import CalendarError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.mapping import PartitionMapping
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import inputs_of

#: So many jobs are held back at most. As many as that, one chain of partitions may be behind the others.
MAX_HELD: Final = 1000

#: What is to be done in a batch: a job, or what is known of a partition that is passed over; ``None``: nothing now.
Item: TypeAlias = Job | PartitionRun | None
#: Which workflow of the batch, and the positions of a key's values in the dimensions of its scheme.
Path: TypeAlias = tuple[int, ...]


class BatchInput(NamedTuple):
    """What a workflow of a batch reads of one of its workflows."""

    #: The place of the workflow that is read.
    source: int
    #: Which partitions a partition reads.
    mapping: PartitionMapping
    #: Whether they are of dates before its own.
    back: bool


def own_mappings(workflow: Workflow) -> list[PartitionMapping]:
    """Return which partitions of its own workflow a partition reads, for each such input."""
    return [own.mapping for own in batch_inputs([workflow])[0]]


def batch_inputs(workflows: Sequence[Workflow]) -> list[list[BatchInput]]:
    """Return for each workflow what it reads of them, itself among them."""
    places = {id(workflow): place for place, workflow in enumerate(workflows)}
    found: list[list[BatchInput]] = []
    for workflow in workflows:
        items = [item for _, _, item in inputs_of(workflow) if id(item.workflow) in places]
        mapped = [(item, item.mapping(workflow.partitions)) for item in items]
        found.append([BatchInput(places[id(i.workflow)], m, bool(i.back)) for i, m in mapped if m is not None])
    return found


def ranked(workflows: Sequence[Workflow]) -> list[int]:
    """Return the places of workflows in an order in which each follows those that it reads of the same date."""
    reads = [[source for source, _, back in some if not back] for some in batch_inputs(workflows)]
    found: list[int] = []

    def visit(place: int) -> None:
        if place not in found:
            for source in reads[place]:
                visit(source)
            found.append(place)

    for place in range(len(workflows)):
        visit(place)
    return found


@dataclass
class _Held:
    """A job that waits, and for how many partitions."""

    job: Job
    left: int


class InputOrder:
    """The work of a batch, in an order in which each partition begins after what it reads of the same batch.

    It takes in little more than is under way: a number for each partition that failed or waits, each reason once, and
    the jobs that are held back.

    Args:
        workflows: The batch's workflows.
        work: What is to be done, each partition after those that it reads.
        engine: The engine that the batch is launched on.
    """

    def __init__(self, workflows: Sequence[Workflow], work: Iterator[Job | PartitionRun], engine: str) -> None:
        self._schemes = [scheme_of(workflow) for workflow in workflows]
        self._inputs = batch_inputs(workflows)
        self._places = {"": 0, **{workflow.name: place for place, workflow in enumerate(workflows)}}
        self._work, self._engine = work, engine
        # Where the date stands in a path, after the workflow's place.
        self._dated = [
            1 + one.dimensions.index(dated) if (dated := one.cadence_dimension) else None for one in self._schemes
        ]
        self._ready: deque[Item] = deque()
        self._held: dict[Path, _Held] = {}
        #: What is under way or held back, and who waits for it.
        self._pending: dict[Path, list[Path]] = {}
        #: For each combination of static values, the number of the reason why a date failed or waits; 0: it does not.
        self._blocked: dict[Path, array[int]] = {}
        self._reasons: list[str] = [""]
        self._numbers: dict[str, int] = {}

    def __iter__(self) -> Iterator[Item]:
        """Yield what can be done now; ``None`` while all that is left waits for what is under way."""
        while True:
            if self._ready:
                yield self._ready.popleft()
            elif len(self._held) < MAX_HELD and (item := next(self._work, None)) is not None:
                self._place(item)
            elif self._held:
                yield None
            else:
                return

    def ended(self, run: PartitionRun) -> None:
        """Take in that a partition has ended: what waits for it goes on, or waits for good."""
        path = self._path(run)
        if not run.state.done:
            self._block(path, _failure(run))
            return
        for follower in self._pending.pop(path, ()):
            held = self._held.get(follower)
            if held is None:  # it waits for good, for another that failed
                continue
            held.left -= 1
            if not held.left:
                self._ready.append(self._held.pop(follower).job)

    # -- one partition --------------------------------------------------------------------------------------------

    def _place(self, item: Job | PartitionRun) -> None:
        path = self._path(item)
        if isinstance(item, PartitionRun):
            if not item.state.done:
                self._block(path, _failure(item) if item.state.ended else f"{item.title}, under way elsewhere")
            self._ready.append(item)
            return
        before = self._before(path[0], item)
        blocked = next(filter(None, map(self._why_blocked, before)), 0)
        self._pending[path] = []
        if blocked:
            self._held[path] = _Held(item, 0)
            self._block(path, self._reasons[blocked])
            return
        waits_for = [other for other in before if other in self._pending]
        for other in waits_for:
            self._pending[other].append(path)
        if waits_for:
            self._held[path] = _Held(item, len(waits_for))
        else:
            self._ready.append(item)

    def _before(self, place: int, job: Job) -> list[Path]:
        """Return what a job reads of the batch; where a calendar does not reach, its own step fails of that."""
        found: dict[Path, None] = {}
        for source, mapping, _ in self._inputs[place]:
            with suppress(CalendarError):
                found |= dict.fromkeys((source, *path) for path in mapping.paths(job.key))
        return list(found)

    def _block(self, path: Path, reason: str) -> None:
        """Note that a partition is not done, and let all that hangs on it wait."""
        number = self._number(reason)
        stack = [path]
        while stack:
            at = stack.pop()
            followers = self._pending.pop(at, [])
            dates = self._blocked.setdefault(self._static(at), array("I"))
            date = self._date(at)
            dates.extend([0] * (date + 1 - len(dates)))
            dates[date] = number
            held = self._held.pop(at, None)
            if held is not None:
                self._ready.append(self._waiting(held.job, reason))
            stack += (follower for follower in followers if follower in self._held)

    def _number(self, reason: str) -> int:
        """Return the number of a reason."""
        if reason not in self._numbers:
            self._numbers[reason] = len(self._reasons)
            self._reasons.append(reason)
        return self._numbers[reason]

    def _waiting(self, job: Job, reason: str) -> PartitionRun:
        return PartitionRun(
            partition=job.partition,
            state=PartitionState.WAITING,
            run_id=job.run_id,
            engine=self._engine,
            attempt=0,
            last_seen_at=datetime.now(UTC),
            error=f"waits for {reason}",
            workflow=job.workflow,
        )

    # -- keys as paths --------------------------------------------------------------------------------------------

    def _path(self, item: Job | PartitionRun) -> Path:
        place = self._places[item.workflow]
        return (place, *self._schemes[place].path_of(PartitionKey.parse(item.partition)))

    def _static(self, path: Path) -> Path:
        dated = self._dated[path[0]]
        return path if dated is None else path[:dated] + path[dated + 1 :]

    def _date(self, path: Path) -> int:
        dated = self._dated[path[0]]
        return 0 if dated is None else path[dated]

    def _why_blocked(self, path: Path) -> int:
        """Return the number of the reason why a partition failed or waits; 0: it does not."""
        dates, date = self._blocked.get(self._static(path)), self._date(path)
        return dates[date] if dates is not None and date < len(dates) else 0


def _failure(run: PartitionRun) -> str:
    """Return what a partition is and how it stands, as the reason why others wait."""
    if run.state is PartitionState.WAITING:
        return (run.error or run.partition).removeprefix("waits for ")
    how = {PartitionState.FAILED: "failed", PartitionState.CANCELED: "was canceled"}.get(run.state, "is not complete")
    return f"{run.title}, which {how}" + (f" at step {run.step}" if run.step else "")
