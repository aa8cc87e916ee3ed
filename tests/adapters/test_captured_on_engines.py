"""What ``on_captured="skip"`` leaves alone, here and on each engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.dagster_support import Bench
from flowctx import Daily, PartitionScheme, Workflow, outputs, resume, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag

DAYS = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-07"))
DAY = "2026-01-06"


def here(flow, folder, batch_id):
    run(flow, partition=DAY, batch_id=batch_id, on_captured="skip")


def on_airflow(flow, folder, batch_id):
    run_dag(workflow_dag(flow), partition=DAY, batch_id=batch_id, on_captured="skip")


def on_dagster(flow, folder, batch_id):
    Bench(flow, folder / batch_id).run(DAY, tags={"flowctx/batch_id": batch_id, "flowctx/on_captured": "skip"})


@pytest.mark.parametrize("skipping", [here, on_airflow, on_dagster])
def test_what_is_older_than_what_was_pruned_is_made_again(skipping, tmp_path, ledger):
    """A version that is complete and not current keeps no run from making one that is; that one does."""
    flow, bad = Workflow(f"pruned_{skipping.__name__}", partitions=DAYS), []

    @flow.step()
    def fetch(ctx):
        if bad:
            raise ValueError("no data")
        return {"batch": ctx.batch_id}

    @flow.step()
    def load(ctx):
        return {"batch": ctx.get_output("fetch", "batch")}

    def current():
        return [dict(output) for output in outputs(flow, "load", ledger=ledger).values()]

    for batch_id in ("first", "second", "third"):
        last = run(flow, partition=DAY, batch_id=batch_id, ledger=ledger)
    ledger.batches.keep("first")
    assert ledger.prune(ledger.now() + timedelta(days=1)).runs == 1
    skipping(flow, tmp_path, "left")
    assert current() == [{"batch": "third"}]
    bad.append(True)
    resume(last.run_id, flow, from_step="fetch", ledger=ledger)
    bad.clear()
    for batch_id in ("again", "once_more"):
        skipping(flow, tmp_path, batch_id)
        assert current() == [{"batch": "again"}]
