"""A slice in a process of its own: what is recorded never runs again, and whoever leads the batch can stop it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfill.bulk_batch import LEASE, Bulk
from backfill.flows import flow
from flowctx import BatchError
from flowctx.bulk import SliceNews, not_done, slice_counts
from flowctx.core.batches.bulk import Slice
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus


def test_a_slice_that_is_killed_goes_on_from_what_is_recorded(ledger: Ledger, notes: Path) -> None:
    """The next attempt runs what is left, tells of what had ended, and no step that is recorded is called twice."""
    bad = "date=2012-01-03|tier=T2"
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-06", notes=str(notes), pause=0.05, fail=[bad])
    first = bulk.process()
    news: Iterator[SliceNews] = first.run()
    seen = [next(news) for _ in range(6)]
    assert first._process is not None
    os.kill(first._process.pid, signal.SIGKILL)
    with pytest.raises(BatchError, match="was not finished: its process ended by signal SIGKILL"):
        seen += list(news)
    again = bulk.process()
    rest = list(again.run())
    assert again.end is not None
    assert dict(again.end.counts) == {"ok": 14, "failed": 1}
    assert {one.partition for one in seen} <= {one.partition for one in rest if one.before}
    assert len({one.partition for one in rest}) == len(rest) == 15
    calls = Counter(notes.read_text().splitlines())
    assert sum(count > 1 for count in calls.values()) <= 1  # the step that it was at when it was killed
    assert len(calls) == 15 + 14


def test_what_dies_with_its_worker_in_a_slice_has_failed(ledger: Ledger) -> None:
    """As in a batch here: its run says how it ended, and it does not run again by itself."""
    bad = "date=2012-01-02|tier=T2"
    bulk = Bulk(ledger, "date=2012-01-02", die=[bad])
    list(bulk.process().run())
    (died,) = ledger.list_runs(batch_id="b", status=RunStatus.FAILED)
    assert str(died.context.partition) == bad
    assert died.error == "its worker process ended by signal SIGKILL; was the memory full?; step 'load' had not ended"
    assert bulk.counts() == {"ok": 2, "failed": 1}
    assert bulk.plan.plan().would_run == 0


def test_what_ended_in_an_earlier_launch_is_told_with_when_it_did(ledger: Ledger) -> None:
    """Whoever was to hear of it then may have died; it does not run again."""
    bulk = Bulk(ledger, "date=2012-01-02")
    first = list(bulk.process().run())
    bulk.request = replace(bulk.request, launched_at=datetime.now(UTC))
    again = list(bulk.process().run())
    assert [(one.partition, one.run_id, one.before) for one in again] == [
        (one.partition, one.run_id, True) for one in first
    ]
    assert all(one.ended_at < bulk.request.launched_at for one in again)


def test_slices_stand_in_the_ledger_as_any_batch(ledger: Ledger) -> None:
    """Two slices make the runs, captures and outcomes that one batch here makes, and parameters reach the steps."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-01-03", 2, number=7, skip=["date=2012-01-02|tier=T1"])
    for part in bulk.slices:
        list(bulk.process(part).run())
    assert bulk.counts() == {"ok": 5, "skipped": 1}
    assert slice_counts(ledger, flow, "b", bulk.slices) == {"ok": 5, "skipped": 1}
    assert bulk.plan.plan().would_run == 0
    run = ledger.list_runs(batch_id="b", limit=1)[0]
    assert run.context.params["number"] == 7
    assert run.context.capture_id == f"{flow.partitions.text(run.context.partition)}|b" if flow.partitions else None


@pytest.mark.parametrize("how", ["canceled", "led by somebody else"])
def test_whoever_leads_the_batch_stops_its_slices(ledger: Ledger, how: str) -> None:
    """A slice of a batch that was canceled, or that somebody else launches by now, begins nothing."""
    bulk = Bulk(ledger, "date=2012-01-02")
    if how == "canceled":
        ledger.batches.cancel("b")
    else:
        ledger.batches.acquire_launch_lease("b", "them", LEASE, instead_of="me")
    process = bulk.process()
    assert list(process.run()) == []
    assert process.end is not None
    assert process.end.stopped == ("canceled" if how == "canceled" else "stopped by whoever leads the batch now")
    assert not_done(slice_counts(ledger, flow, "b", bulk.slices)) == "3 missing"


def test_cancel_stops_a_slice_that_is_under_way(ledger: Ledger, notes: Path) -> None:
    """It finishes the partition that it is at, and begins no other one."""
    bulk = Bulk(ledger, "date=2012-01-02..2012-03-30", notes=str(notes), pause=0.1)
    process = bulk.process()
    for _ in process.run():
        ledger.batches.cancel("b")
    assert process.end is not None
    assert process.end.stopped == "canceled"
    assert set(bulk.counts()) == {"ok", "missing"}


def test_a_slice_of_other_partitions_is_refused(ledger: Ledger) -> None:
    """Where the workflow has other partitions than where the batch was launched, nothing runs."""
    bulk = Bulk(ledger, "date=2012-01-02")
    part = Slice(select=bulk.slices[0].select, digest="another", partitions=3, left=3)
    with pytest.raises(BatchError, match="other partitions here than where batch 'b' was launched"):
        list(bulk.process(part).run())
    assert bulk.counts() == {"missing": 3}
