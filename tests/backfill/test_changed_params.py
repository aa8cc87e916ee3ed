"""Batches that go on with a workflow that declares other parameters by then."""

import pytest

from backfill.changing import new, old, other
from flowctx import Backfill, BatchStatus, outputs, resume
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
