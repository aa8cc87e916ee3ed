"""A batch in bulk: slices of what is left are started once, the ledger tells how they come along."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import flowctx
from backfill.bulk_batch import Bulk
from backfill.flows import flow, numbered
from flowctx import Backfill, BatchError, Workflow
from flowctx.backfill import JointBackfill, LaunchListener, LaunchProgress, LocalLauncher
from flowctx.backfill.bulk import BulkLauncher
from flowctx.backfill.leading import LEASE
from flowctx.backfill.settling import end_runs_of_slices, worker_of
from flowctx.bulk import SliceProcess
from flowctx.core.batches.bulk import BulkRequest, Slice
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger

SOME = "date=2012-01-02..2012-01-05"
BAD = "date=2012-01-03|tier=T2"


class Threads(BulkLauncher):
    """An engine whose tasks are threads of this process."""

    def __init__(self, ledger: Ledger, lanes: int = 1) -> None:
        super().__init__(LocalLauncher(ledger), lanes)
        self.ledger, self.threads, self.started = ledger, list[threading.Thread](), list[Slice]()

    def check(self, workflow: Workflow) -> None:
        """They can run any."""

    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        return None

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        self.started = list(slices)
        processes = [SliceProcess(flow, request, part, self.ledger) for part in slices]
        self.threads = [threading.Thread(target=list, args=(process.run(),)) for process in processes]
        for thread in self.threads:
            thread.start()

    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self.threads)

    def failure(self) -> str | None:
        return None

    def detach(self) -> None:
        """They end by themselves."""


class Heard(LaunchListener):
    """Keeps what it is told of failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def news(self, run: PartitionRun, progress: Any) -> None:
        if run.state is PartitionState.FAILED:
            self.failures.append(f"{run.partition} at {run.step}: {run.error}")


def test_what_is_left_is_in_slices_and_the_launch_counts_how_it_ends(ledger: Ledger, notes: Path) -> None:
    """Launched again, nothing is started; with ``retry_failed`` only the partition that failed is."""
    engine, heard = Threads(ledger), Heard()
    batch = Backfill(flow, SOME, "b", params={"notes": str(notes), "fail": [BAD]}, ledger=ledger)
    progress = batch.launch(engine, listener=heard)
    assert (progress.ended, progress.before, progress.under_way) == (
        {PartitionState.OK: 11, PartitionState.FAILED: 1},
        {},
        0,
    )
    assert heard.failures == [f"{BAD} at check: 12 rows are missing"]
    assert [part.left for part in engine.started] == [6, 6]
    engine = Threads(ledger)
    again = batch.launch(engine)
    assert (again.before, again.ended) == (progress.ended, {})
    assert engine.started == []
    Path(f"{notes}.mended").touch()
    engine = Threads(ledger)
    assert batch.launch(engine, retry_failed=True).complete
    assert [(part.select, part.left) for part in engine.started] == [(engine.started[0].select, 1)]


def test_what_was_pruned_is_in_no_slice(ledger: Ledger) -> None:
    """A version that another batch has made since, and that is forgotten, is not made again over that one."""
    day = "date=2012-01-02"
    batch = Backfill(flow, f"{day}..2012-01-03", "b", ledger=ledger)
    assert batch.launch(LocalLauncher(ledger)).complete
    assert Backfill(flow, day, "restated", ledger=ledger).launch(LocalLauncher(ledger)).complete
    assert ledger.prune(ledger.now()).runs == 3
    for engine in (Threads(ledger), LocalLauncher(ledger)):
        assert batch.plan(retry_skipped=True).would_run == 0
        again = batch.launch(engine, retry_failed=True)
        assert (again.before, again.ended) == ({PartitionState.OK: 3, PartitionState.PRUNED: 3}, {})
    assert {one.key.capture_id.split("|")[-1] for one in ledger.captures() if "2012-01-02" in str(one.partition)} == {
        "restated"
    }


class CutOff(Threads):
    """An engine on which a slice of a launch is under way that was cut off before it began the others."""

    def __init__(self, theirs: Bulk, *, died: bool = False) -> None:
        super().__init__(theirs.ledger)
        self.theirs, self.died, self.launchers = theirs, died, list[str]()

    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        first = not self.threads
        if first:
            self.threads = [threading.Thread(target=list, args=([] if self.died else self.theirs.process().run(),))]
            self.threads[0].start()
        return self.theirs.request.launcher if first or not self.is_over() else None

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        self.launchers.append(request.launcher)
        super().start(request, slices)


@pytest.mark.parametrize("died", [False, True])
def test_a_launch_that_follows_another_one_does_what_that_leaves(ledger: Ledger, died: bool) -> None:
    """Slices that it had not begun, and those that have died, are started in the name of who follows it."""
    engine = CutOff(Bulk(ledger, SOME, 4), died=died)
    progress = Backfill(flow, SOME, "b", ledger=ledger).launch(engine)
    assert (progress.complete, sum(part.left for part in engine.started)) == (True, 12 if died else 9)
    assert len(engine.launchers) == 1
    assert engine.launchers != ["me"]
    assert ledger.batches.acquire_launch_lease("b", "next", LEASE) == "next"


class FollowedByTwo(CutOff):
    """Such an engine, where somebody else who follows the slices, too, sees first that they are over."""

    def launcher_under_way(self, batch: BatchRecord) -> str | None:
        under_way = super().launcher_under_way(batch)
        if under_way is None:
            self.ledger.batches.acquire_launch_lease("b", "them", LEASE, instead_of=self.theirs.request.launcher)
        return under_way


def test_of_launches_that_follow_another_one_the_first_does_what_that_leaves(ledger: Ledger) -> None:
    """The other one says so, and starts nothing."""
    engine = FollowedByTwo(Bulk(ledger, SOME, 4))
    with pytest.raises(BatchError, match="somebody else launches batch 'b' by now"):
        Backfill(flow, SOME, "b", ledger=ledger).launch(engine)
    assert engine.launchers == []
    assert ledger.batches.acquire_launch_lease("b", "next", LEASE) == "them"


def test_a_launch_that_follows_another_one_retries_what_fails_meanwhile(ledger: Ledger, notes: Path) -> None:
    """It was asked to retry what failed, and slices that it starts do not take that for their own failure."""
    keys = [str(key) for key in flow.partitions.select(SOME)] if flow.partitions else []
    theirs = Bulk(ledger, SOME, 4, notes=str(notes), fail=keys)

    class Mended(CutOff):
        def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
            Path(f"{notes}.mended").touch()
            super().start(request, slices)

    engine = Mended(theirs)
    batch = Backfill(flow, SOME, "b", params=theirs.plan.params, ledger=ledger)
    assert batch.launch(engine, retry_failed=True).complete
    assert sum(part.left for part in engine.started) == 12


def test_a_launch_that_follows_a_canceled_one_starts_nothing(ledger: Ledger) -> None:
    """Though partitions are left when the slices are over."""
    engine = CutOff(Bulk(ledger, SOME, 4))

    class Cancels(LaunchListener):
        def begun(self, progress: LaunchProgress) -> None:
            ledger.batches.cancel("b")

    progress = Backfill(flow, SOME, "b", ledger=ledger).launch(engine, listener=Cancels())
    assert (progress.stopped, engine.started) == ("canceled", [])
    for thread in engine.threads:
        thread.join()


def running(ledger: Ledger) -> list[RunRecord]:
    """Return what the ledger takes for running in the batch."""
    return ledger.list_runs(batch_id="b", status=RunStatus.RUNNING)


class Killed(Threads):
    """An engine on which somebody ends a slice while it is at a partition."""

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        process = SliceProcess(flow, request, slices[0], self.ledger)

        def run_and_kill() -> None:
            with pytest.raises(BatchError, match="by signal SIGKILL"):
                list(process.run())

        self.threads = [threading.Thread(target=run_and_kill)]
        self.threads[0].start()
        while not any(run.owner and run.owner.startswith(worker_of("b")) for run in running(self.ledger)):
            time.sleep(0.05)
        os.kill(process._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        self.threads[0].join()


@pytest.mark.e2e
def test_what_a_stopped_slice_leaves_under_way_is_over_with_it(ledger: Ledger) -> None:
    """It is canceled, not running, since its engine says that the slice is over; the same launch again goes on with it.

    What others do in the batch is left alone.
    """
    batch = Backfill(flow, "date=2012-01-02", "b", params={"pause": 0.3}, ledger=ledger)
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-02|T3"), "scheme": flow.partitions}
    theirs = RunRecord(workflow=flow.name, context=begin(flow.name, run_id="theirs", **ids), steps=tuple(flow.steps))
    ledger.begin(theirs, lease=timedelta(0))
    progress = batch.launch(Killed(ledger))
    assert progress.ended[PartitionState.CANCELED] == 1
    (left,) = ledger.list_runs(batch_id="b", status=RunStatus.CANCELED)
    assert left.error == "its slice was stopped, or died"
    assert [run.run_id for run in running(ledger)] == ["theirs"]
    batch.launch(Threads(ledger))
    assert ledger.get_run(left.run_id).status is RunStatus.OK


def test_what_gives_no_sign_of_life_is_over_while_other_slices_go_on(ledger: Ledger, url: str) -> None:
    """A worker that gives signs of life is left alone until the engine calls all slices over."""
    batch = Backfill(flow, SOME, "b", ledger=ledger).record()
    ledger.batches.put(batch)
    of_worker = SqlLedger(url, owner=f"{worker_of('b')} (process 1 on there)")
    for tier, lease in (("T1", timedelta(0)), ("T2", timedelta(hours=1))):
        ids = {"batch_id": "b", "partition": flow.partition_key(f"2012-01-03|{tier}"), "scheme": flow.partitions}
        of_worker.begin(RunRecord(workflow=flow.name, context=begin(flow.name, run_id=tier, **ids)), lease=lease)
    of_worker.close()
    assert [end_runs_of_slices(ledger, batch, over=over) for over in (False, False, True)] == [1, 0, 1]


class Superseded(Threads):
    """An engine whose slices are over when somebody else leads the batch, and is at a partition of it."""

    def start(self, request: BulkRequest, slices: Sequence[Slice]) -> None:
        self.ledger.batches.acquire_launch_lease("b", "them", LEASE, instead_of=request.launcher)
        ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-03|T1"), "scheme": flow.partitions}
        theirs = SqlLedger(self.ledger.url, owner=f"{worker_of('b')} (process 1 on there)")  # type: ignore[attr-defined]
        theirs.begin(RunRecord(workflow=flow.name, context=begin(flow.name, run_id="theirs", **ids)))
        theirs.close()


def test_a_launch_that_leads_no_more_ends_no_run(ledger: Ledger) -> None:
    """It was suspended, say: what is under way in the batch then is another launch's."""
    Backfill(flow, SOME, "b", ledger=ledger).launch(Superseded(ledger))
    assert ledger.get_run("theirs").status is RunStatus.RUNNING


def test_a_batch_with_too_many_failures_stops_its_slices(ledger: Ledger) -> None:
    """No more partitions begin in any slice, and the batch can be launched again at once."""
    keys = [str(key) for key in flow.partitions] if flow.partitions else []
    batch = Backfill(flow, None, "b", params={"fail": keys, "pause": 0.1}, ledger=ledger)
    progress = batch.launch(Threads(ledger), max_failures=2)
    assert progress.stopped is not None
    assert 2 <= progress.failed < 40
    assert ledger.batches.acquire_launch_lease("b", "next", LEASE) == "next"


@pytest.mark.e2e
def test_a_retry_with_too_many_failures_stops_its_slices(ledger: Ledger) -> None:
    """What failed before counts when it fails again, and is told of."""
    keys = [str(key) for key in flow.partitions.select(SOME)] if flow.partitions else []
    batch = Backfill(flow, SOME, "b", params={"fail": keys, "pause": 0.1}, ledger=ledger)
    assert batch.launch(Threads(ledger)).failed == 12
    heard = Heard()
    progress = batch.launch(Threads(ledger), retry_failed=True, max_failures=2, listener=heard)
    assert re.fullmatch(r"\d+ partitions failed", progress.stopped or "")
    assert 2 <= progress.ended[PartitionState.FAILED] == len(heard.failures) < 12


@pytest.mark.e2e
def test_a_launch_that_is_canceled_counts_what_is_under_way_apart(ledger: Ledger) -> None:
    """What had ended before, what ended, what slices are at and what has not begun are all there is."""
    batch = Backfill(flow, None, "b", params={"pause": 0.2}, ledger=ledger)

    class Cancels(LaunchListener):
        def tick(self, progress: LaunchProgress) -> None:
            if not progress.stopped and progress.ended and progress.under_way:
                ledger.batches.cancel("b")

    known = 0
    for _ in range(2):
        engine = Threads(ledger)
        progress = batch.launch(engine, listener=Cancels())
        assert (progress.stopped, sum(progress.before.values())) == ("canceled", known)
        assert progress.under_way > 0
        assert progress.left == progress.total - progress.passed - progress.under_way > 0
        for thread in engine.threads:
            thread.join()
        known = sum(ledger.batches.count_outcomes("b", flow.name).values())


def test_what_no_slice_can_do_is_refused_before_anything_starts(ledger: Ledger) -> None:
    """Parameters made by a function, several workflows, a ledger in memory and this machine, each in a sentence."""
    engine = Threads(ledger)
    with pytest.raises(BatchError, match="parameters that a function makes of each partition"):
        Backfill(flow, SOME, "b", params=numbered, ledger=ledger).launch(engine)
    with pytest.raises(BatchError, match="in bulk, a batch is of one workflow; launch each alone"):
        JointBackfill([Backfill(flow, SOME, "b", ledger=ledger)]).launch(engine)
    with pytest.raises(BatchError, match="run inside tasks of airflow or dagster, and not on 'local'"):
        flowctx.backfill(flow, SOME, batch_id="b", bulk=True, ledger=ledger)
    with pytest.raises(BatchError, match="a ledger in memory cannot be shared with the tasks of an engine"):
        flowctx.backfill(flow, SOME, batch_id="b", on="airflow", bulk=True, ledger=open_ledger("memory://"))
    assert engine.started == []
    assert ledger.find_batch("b") is None
