"""Batches that go on with a workflow that declares other parameters by then."""

import sqlite3

import pytest

from backfill.changing import new, old, other
from flowctx import Backfill, BatchStatus, PartitionScheme, Workflow, outputs, resume, run
from flowctx.backfill import LocalLauncher
from flowctx.backfill.worker import _Runs
from flowctx.local import plan_new_run, run_begun


@pytest.fixture
def again(ledger):
    """Launches the batch that the old workflow began, with another one, and returns how its partition ended."""
    Backfill(old, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1))

    def launched(workflow):
        Backfill(workflow, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1), retry_failed=True)
        return BatchStatus.of(ledger, "b", workflow).counts

    return launched


def test_a_batch_does_not_go_on_with_other_parameters(ledger, again):
    """A partition that was begun with other parameters fails with what has changed, until that is accepted."""
    assert again(new) == {"failed": 1}
    status = BatchStatus.of(ledger, "b", new)
    ((why, count),) = status.refused.items()
    assert (status.failures[0].error, count) == ("no file", 1)
    assert why.startswith("WorkflowChanged: workflow 'changing' has changed since run RUN ran: - parameter ")
    (run,) = ledger.list_runs(batch_id="b")
    runs = _Runs(resume, plan_new_run, run_begun, [new], ledger, "b")
    refused = runs.outcome({"partition": "tier=T1", "run_id": run.run_id, "known": True})
    assert "WorkflowChanged" in refused["error"]
    assert "parameter 'y' was added" in refused["error"]
    assert "parameter 'x' was removed" in refused["error"]
    assert ledger.get_run(run.run_id).attempt == 1
    done = resume(run.run_id, new, ledger=ledger, accept_changes=True).raise_for_failure()
    assert done.context.get_output("fetch") == {"params": {"y": 7}}


def test_a_batch_goes_on_with_its_own_values(ledger, again):
    """A parameter that merely has another default keeps the value that the run began with."""
    assert again(other) == {"ok": 1}
    assert [dict(found) for found in outputs(other, "fetch", ledger=ledger).values()] == [{"params": {"x": 1}}]


def test_partitions_that_were_made_with_others_are_counted_once(ledger, url):
    """The run that counts does, of partitions that are selected; a damaged context hides none of the others."""
    flow = Workflow("counted", partitions=PartitionScheme(n=list("123456")), params={"x": 0})
    flow.step("load")(lambda ctx: None)

    def ask(selection, x):
        batch = Backfill(flow, f"n={selection}", "b", params={"x": x}, ledger=ledger)
        ledger.batches.put(batch.reconcile(extend=True))

    def made(partitions, x):
        for n in partitions:
            run(flow, partition=n, batch_id="b", params={"x": x}, ledger=ledger, on_captured="recapture")

    ask("1|2|3|4", 1)
    made("1234", 1)
    ask("5", 2)
    made("51", 2)
    made("2", 3)
    made("6", 7)
    found = BatchStatus.of(ledger, "b", flow)
    assert (found.counts, found.outside, found.other_params) == ({"ok": 5}, {"ok": 1}, 3)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        in_3 = "run_key = (SELECT run_key FROM flowctx_run WHERE partition = 'n=3')"
        raw.execute(f"UPDATE flowctx_attempt SET context = substr(context, 1, 50) WHERE {in_3}")
        raw.execute('UPDATE flowctx_attempt SET context = replace(context, \'"x":7\', \'"x":{"$date":[]}\')')
    found = BatchStatus.of(ledger, "b", flow)
    assert (found.counts, found.other_params) == ({"ok": 5}, 2)
