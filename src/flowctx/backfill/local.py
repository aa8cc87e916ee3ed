"""Run a batch here: a few processes, each of which runs one partition after the other."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from flowctx.backfill.worker_process import start_worker
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of
from flowctx.ledger import ledger_or_default

#: Whether what short steps record is committed together, or each step waits for the commit of the one before it.
Durability: TypeAlias = Literal["group", "step"]

#: Jobs that a worker has at first: one that it runs and one to go on with. It asks for more when they are short.
_DEPTH = 2
#: A worker with so many jobs has something to do while what workers say is gathered for a moment.
_MANY = 8
_GATHER_SECONDS = 0.005
_TICK_SECONDS = 0.2
#: So many workers in a row may end without a word before they can begin; then no more are started.
_MOST_LOST = 3


class LocalLauncher:
    """Runs partitions in processes of this machine.

    A worker that dies takes nothing with it but the partition that it ran, which counts as failed; another takes its
    place. Where none can begin, as with a workflow that cannot be imported there, nothing has failed by that: what is
    under way is finished, and the launch ends with the reason. If this process dies, whatever the way, its workers end
    at once.

    Args:
        ledger: The batch's ledger, or its URL; it must be in a file or a database, since other processes write to it.
        workers: How many processes; one for each processor by default.
        durability: ``"group"``: what short steps record is committed together, so that a worker that is killed may
            run again what took it some 20 ms (where commits are slow, ten times as long as they wait, up to 0.2 s), and
            a step of that length or longer is on the disk before the next one begins. ``"step"``: each step is, however
            short. What is told as ended is on the disk in both.

    Raises:
        BatchError: The ledger is in memory, there are no workers, or no such durability.
    """

    engine = "local"
    writes_ledger = True

    def __init__(self, ledger: Ledger | str, workers: int | None = None, *, durability: Durability = "group") -> None:
        address: str | None = getattr(ledger_or_default(ledger), "address", None)
        if address is None:
            raise BatchError(
                "a ledger in memory cannot be shared with worker processes; use sqlite:////folder/ledger.db"
            )
        self.workers = workers if workers is not None else os.cpu_count() or 1
        if not isinstance(self.workers, int) or self.workers < 1:
            raise BatchError(f"workers={workers!r} runs nothing; use 1 or more")
        if durability not in get_args(Durability):
            raise BatchError(f"durability={durability!r} must be 'group' or 'step'")
        self._durability = durability
        self._address = address
        self._import_paths: dict[str, str] = {}
        self._pool: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._taking = True
        self._prepared: _Prepared | None = None
        #: How many workers in a row ended before they could begin, and why none can.
        self._lost, self._problem = 0, ""

    @property
    def under_way(self) -> int:
        """How many partitions worker processes are at."""
        return sum(bool(worker.jobs) for worker in self._pool)

    def check(self, workflow: Workflow) -> None:
        """See whether worker processes can import the workflow.

        Raises:
            BatchError: They cannot.
        """
        import_path = import_path_of(workflow)
        if import_path is None:
            raise BatchError(
                f"workflow {workflow.name!r} cannot be imported by worker processes; bind it to a name in a module, "
                "such as prices = Workflow(...) in flows.py; two files of one batch need two names"
            )
        self._import_paths[workflow.name] = import_path

    def prepare(self, workflows: Sequence[Workflow], batch_id: str) -> None:
        """Start the first worker of a batch that is about to be launched: it begins to import the workflows now.

        Args:
            workflows: The batch's, as far as they are known.
            batch_id: The batch.
        """
        targets = [path for path in map(import_path_of, workflows) if path is not None]
        setup = self._setup(targets, batch_id)
        if self._prepared is None:
            self._prepared = _Prepared(setup, start_worker(setup))

    def close(self) -> None:
        """End the worker that was started for a batch and has not been needed."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            prepared.process.kill()  # it has nothing to do
            prepared.process.communicate()

    def _setup(self, targets: list[str], batch_id: str) -> dict[str, Any]:
        grouped = self._durability == "group"
        return {"targets": targets, "ledger": self._address, "batch_id": batch_id, "grouped": grouped}

    def launch(self, batch: BatchRecord, jobs: Iterator[Job | None]) -> Iterator[PartitionRun | None]:
        """Run jobs, and yield how each ended.

        Raises:
            BatchError: Workers cannot begin; what was not begun has not failed.
        """
        self._taking, self._lost, self._problem = True, 0, ""
        waiting: list[Job] = []
        try:
            while True:
                self._hand_out(batch, jobs, waiting)
                # Workers that were told to stop end by themselves; until then they may be at their second job.
                if not (any(worker.jobs for worker in self._pool) if self._taking else self._pool):
                    break
                yield from self._news(waiting)
                yield None
        finally:
            self._end()
        if self._problem:
            raise BatchError(
                f"batch {batch.batch_id!r} has ended early, as its workers cannot begin: {self._problem}; the same "
                "command goes on when that is mended"
            )

    def stop(self) -> None:
        """Begin no more partitions; those under way are finished."""
        self._taking = False
        for worker in self._pool:
            worker.stop()

    detach = stop

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield nothing: local runs are in the ledger as they are."""
        return iter(())

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return True: what runs here is in the ledger."""
        return True

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Yield the runs as canceled: whoever launches the batch sees that it is, and begins no more of them."""
        now = datetime.now(UTC)
        for run in runs:
            yield PartitionRun(
                partition=run.partition,
                state=PartitionState.CANCELED,
                run_id=run.run_id,
                engine=run.engine,
                attempt=0,
                last_seen_at=now,
                workflow=run.workflow,
            )

    # -- workers ----------------------------------------------------------------------------------------------------

    def _hand_out(self, batch: BatchRecord, jobs: Iterator[Job | None], waiting: list[Job]) -> None:
        """Hand out jobs: one for each worker before the second for any."""
        while self._taking:
            idle = min(self._pool, key=_share, default=None)
            to_start = len(self._pool) < self.workers and (idle is None or bool(idle.jobs))
            if not to_start and (idle is None or len(idle.jobs) >= idle.depth):
                break
            again = bool(waiting)
            job = waiting.pop(0) if waiting else next(jobs, None)
            if job is None:
                break
            worker = self._start(batch) if to_start or idle is None else idle
            worker.take(_going_on(job), again=again)
        for worker in self._pool:
            worker.send()

    def _start(self, batch: BatchRecord) -> _Worker:
        setup = self._setup([self._import_paths[name] for name in batch.workflows], batch.batch_id)
        if self._prepared is not None and self._prepared.setup == setup:
            process, self._prepared = self._prepared.process, None
        else:
            process = start_worker(setup)
        worker = _Worker(process)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._pool.append(worker)
        return worker

    def _news(self, waiting: list[Job]) -> Iterator[PartitionRun]:
        if self._pool and all(len(worker.jobs) >= _MANY for worker in self._pool):
            time.sleep(_GATHER_SECONDS)  # to be woken for each word would take time from those who work
        for key, _ in self._selector.select(_TICK_SECONDS):
            worker: _Worker = key.data
            yield from worker.read(waiting)
            if worker.gone:
                self._selector.unregister(key.fileobj)
                self._pool.remove(worker)
                if worker.ready:
                    self._lost = 0
                    yield from worker.last_words()
                else:
                    self._not_begun(worker)
                waiting += worker.jobs

    def _not_begun(self, worker: _Worker) -> None:
        """Start no more workers if there is no use: this one ended before it could begin."""
        self._lost += 1
        how = worker.ending()
        if not worker.stopping and (worker.problem or self._lost >= _MOST_LOST):
            self._problem = worker.problem or f"their processes end {how}"
            self.stop()

    def _end(self) -> None:
        self.close()
        for worker in self._pool:
            worker.end()
        self._selector.close()
        self._selector, self._pool = selectors.DefaultSelector(), []


class _Prepared(NamedTuple):
    """A worker that was started before there was work, and what it was told its batch is."""

    setup: dict[str, Any]
    process: subprocess.Popen[bytes]


@dataclass
class _Worker:
    """A process that runs partitions, one after the other."""

    process: subprocess.Popen[bytes]
    #: What it was given and has not told the end of.
    jobs: list[Job] = field(default_factory=list)
    #: How many jobs it is to have.
    depth: int = _DEPTH
    #: The run that it is at.
    at: str | None = None
    #: Who it is, as the runs that it begins name their owner.
    name: str | None = None
    #: Whether it has all that it needs, and why it cannot have it.
    ready: bool = False
    problem: str = ""
    #: Whether it has ended.
    gone: bool = False
    #: Whether it was told to end when it has finished what it is at.
    stopping: bool = False
    _rest: bytes = b""
    _words: list[bytes] = field(default_factory=list)

    def take(self, job: Job, *, again: bool) -> None:
        self.jobs.append(job)
        # What died with its worker has no attempt that could be told, and a run that can be gone on with all the same;
        # what another worker was to do may have one, and may even have ended.
        again = again and job.before is None
        known = job.before is not None or again
        params = {} if not job.params else {"params": to_json(job.params)}
        step = {} if job.from_step is None else {"from_step": job.from_step}
        accept = {"accept_changes": True} if job.accept_changes else {}
        config = {"step_config": to_json(job.request.step_config)} if job.request.step_config else {}
        workflow = {"workflow": job.workflow} if job.workflow else {}
        how = {"known": known, "again": again, **workflow, **params, **step, **accept, **config}
        self.say({"partition": job.partition, "run_id": job.run_id, **how})
        if len(self.jobs) < _MANY:  # it may have nothing else to do
            self.send()

    def stop(self) -> None:
        self.stopping = True
        self.say({"stop": True})
        self.send()

    def say(self, message: dict[str, Any]) -> None:
        """Say something with what is sent next."""
        self._words.append(json.dumps(message).encode() + b"\n")

    def send(self) -> None:
        """Send what was said."""
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        if not self._words:
            return
        words, self._words = b"".join(self._words), []
        try:
            self.process.stdin.write(words)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; that is seen when it is read from

    def read(self, returned: list[Job]) -> Iterator[PartitionRun]:
        """Yield what became of jobs; those that it leaves to others are added to a list."""
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        data: bytes | None = self.process.stdout.read()
        if data is None:  # there was nothing to read after all
            return
        self.gone = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.ready = self.ready or "ready" in message
            self.problem = message.get("cannot_begin", self.problem)
            self.at = message.get("at", self.at)
            self.name = message.get("worker", self.name)
            self.depth = message.get("depth", self.depth)
            for run_id in message.get("returned", ()):
                returned += [job for job in self.jobs if job.run_id == run_id]
                self.jobs = [job for job in self.jobs if job.run_id != run_id]
            if "state" not in message:
                continue
            job = next((job for job in self.jobs if job.run_id == message["run_id"]), None)
            if job is None:
                continue
            self.jobs.remove(job)
            yield _run_of(job, message, self.name)

    def last_words(self) -> Iterator[PartitionRun]:
        """Say of the job that it was at that it failed, if it died of it, or was canceled, if the process was ended."""
        code = self.process.wait()
        if not self.jobs or (self.stopping and not code):
            return
        # Those before it have ended, and may not have been written yet: they are gone on with.
        job = next((job for job in self.jobs if job.run_id == self.at), self.jobs[0])
        self.jobs.remove(job)
        hint = "; does a step exit?" if not code else ""
        error = f"its worker process ended {self.ending()}{hint}"
        state = "canceled" if code == -signal.SIGTERM else "failed"
        yield _run_of(job, {"state": state, "error": error, "attempt": 0}, self.name)

    def ending(self) -> str:
        """Wait until it has ended, and say how."""
        code = self.process.wait()
        if code >= 0:
            return f"with exit code {code}"
        return f"by signal {signal.Signals(-code).name}" + ("; was the memory full?" if code == -signal.SIGKILL else "")

    def end(self) -> None:
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        self.process.stdout.close()


def _share(worker: _Worker) -> tuple[bool, int]:
    """Return how soon a worker is to have a job, the least first."""
    return len(worker.jobs) >= worker.depth, len(worker.jobs)


def _going_on(job: Job) -> Job:
    """Return the job as it runs here: a part of the workflow that the ledger has, of any engine, goes on itself."""
    before = job.before
    return replace(job, run_id=before.run_id) if before is not None and before.part and before.recorded else job


def _run_of(job: Job, message: dict[str, Any], worker: str | None) -> PartitionRun:
    now = datetime.now(UTC)
    started = message.get("started_at")
    return PartitionRun(
        partition=job.partition,
        state=PartitionState(message["state"]),
        run_id=job.run_id,
        engine="local",
        attempt=message["attempt"],
        started_at=datetime.fromisoformat(started) if started else None,
        ended_at=now,
        last_seen_at=now,
        step=message.get("step"),
        error=message.get("error"),
        workflow=job.workflow,
        worker=worker,
    )
