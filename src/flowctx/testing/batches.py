"""What every ledger does for batches, as tests; part of ``LedgerContract``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.errors import UnknownBatch
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.records import MINUTE, a_run

_BATCH = BatchRecord(
    batch_id="b1", workflow="flow", selection="tier=T1|T2", digest="d", total=2, params={"n": 1}, created_at=NOON
)


def _note(partition: str, state: PartitionState, **fields: Any) -> PartitionRun:
    values = {"run_id": f"run {partition}", "engine": "airflow", "last_seen_at": NOON, **fields}
    return PartitionRun(partition=partition, state=state, **values)


class BatchesContract:
    """The facts that hold for what a batch asks for, who launches it and what becomes of its partitions."""

    def test_a_batch_comes_back_as_it_was_put(self, ledger: Ledger) -> None:
        """Changed, it is the changed one; the latest comes first, and one that nobody remembers is an error."""
        later = replace(_BATCH, batch_id="b2", created_at=NOON + MINUTE)
        for batch in (_BATCH, later, replace(_BATCH, total=3)):
            ledger.batches.put(batch)
        assert ledger.batches.get("b1") == ledger.batches.find("b1") == replace(_BATCH, total=3)
        assert ledger.batches.find("b3") is None
        assert ledger.batches.all() == [later, replace(_BATCH, total=3)]
        assert ledger.batches.all(limit=1) == [later]
        for ask in (ledger.batches.get, ledger.batches.cancel, ledger.batches.keep):
            with pytest.raises(UnknownBatch):
                ask("b3")

    def test_one_at_a_time_launches_a_batch(self, ledger: Ledger, clock: FakeClock) -> None:
        """Others are told who it is, until it lets go, its lease runs out, or it is known to be gone."""
        ledger.batches.put(_BATCH)
        acquire = ledger.batches.acquire_launch_lease
        assert acquire("b1", "one", MINUTE) == "one"
        assert acquire("b1", "two", MINUTE) == "one"
        assert acquire("b1", "one", timedelta(0)) == "one"
        assert acquire("b1", "two", MINUTE) == "two"
        clock.advance(2 * MINUTE)
        assert acquire("b1", "one", MINUTE) == "one"
        assert acquire("b1", "three", MINUTE, instead_of="two") == "one"
        assert acquire("b1", "three", MINUTE, instead_of="one") == "three"

    def test_who_leads_says_what_a_batch_asks_for(self, ledger: Ledger) -> None:
        """It is made, or changed and canceled no more, by the one who launches it; another one changes nothing."""
        seen: list[BatchRecord | None] = []

        def decide(known: BatchRecord | None) -> BatchRecord:
            seen.append(known)
            return replace(known or _BATCH, total=len(seen))

        assert ledger.batches.lead("b1", "one", MINUTE, decide).launcher == "one"
        assert seen[0] is None
        canceled = ledger.batches.cancel("b1")
        assert canceled.canceled_at is not None
        assert ledger.batches.lead("b1", "two", MINUTE, decide).launcher == "one"
        assert ledger.batches.get("b1") == canceled
        lease = ledger.batches.lead("b1", "one", MINUTE, decide)
        assert (lease.launcher, lease.remaining) == ("one", MINUTE)
        assert seen[-1] is not None
        again = ledger.batches.get("b1")
        assert (again.canceled_at, again.total) == (None, len(seen))

    def test_what_became_of_partitions_comes_from_notes_and_runs(self, ledger: Ledger) -> None:
        """In the order of their texts; a note replaces another one; counts and standings tell the same."""
        ledger.batches.put(_BATCH)
        failed = _note("tier=T1", PartitionState.FAILED, error="no answer")
        ledger.batches.record_outcomes("b1", [_note("tier=T1", PartitionState.LAUNCHED)])
        ledger.batches.record_outcomes("b1", [_note("tier=T3", PartitionState.CANCELED), failed])
        ledger.finish(ledger.begin(a_run("r2", partition={"tier": "T2"}, batch_id="b1")), RunStatus.OK)
        ledger.begin(a_run("r9", partition={"tier": "T9"}, batch_id="b9"))
        outcomes = list(ledger.batches.iter_outcomes("b1", workflow="flow"))
        states = [("tier=T1", "failed"), ("tier=T2", "ok"), ("tier=T3", "canceled")]
        assert [(run.partition, str(run.state)) for run in outcomes] == states
        assert outcomes[0].error == "no answer"
        assert [(one.partition, str(one.state)) for one in ledger.batches.iter_standings("b1", "flow")] == states
        assert ledger.batches.count_outcomes("b1", "flow") == {"ok": 1, "failed": 1, "canceled": 1}
        assert set(ledger.batches.iter_partitions("b1", "flow")) == {"tier=T1", "tier=T2", "tier=T3"}
        assert [run.partition for run in ledger.batches.iter_outcomes("b1", ["tier=T2"])] == ["tier=T2"]
        assert ledger.batches.count_outcomes("b1", "other") == {}

    def test_runs_of_other_workflows_with_the_id_are_told_apart(self, ledger: Ledger) -> None:
        """They are no outcomes of the batch, and are counted by workflow."""
        ledger.batches.put(_BATCH)
        ledger.finish(ledger.begin(a_run("r1", partition={"tier": "T1"}, batch_id="b1")), RunStatus.FAILED)
        other = a_run("r2", partition={"tier": "T1"}, batch_id="b1")
        ledger.begin(replace(other, workflow="other"))
        assert ledger.batches.runs_by_workflow("b1") == {"flow": {"failed": 1}, "other": {"running": 1}}
        assert [str(run.state) for run in ledger.batches.iter_outcomes("b1", workflow="flow")] == ["failed"]
