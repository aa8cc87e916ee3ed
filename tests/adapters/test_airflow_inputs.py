"""What Airflow may still be to make is not read from an older version."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adapters.test_inputs_on_engines import workflows
from flowctx.airflow.ordering import unordered
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.versions import Version

NAV, DESK = workflows("native_airflow")
OWN, OTHER = NAV["value"].inputs["yesterday"], DESK["report"].inputs["funds"]


def asked(workflow, item, batch_id=None, run_type="backfill", runs=0):
    """Ask on behalf of a run of batch ``b``."""
    version = batch_id and Version(
        partition=None, capture_id="c", revision=1, run_key="k", run_id="r", batch_id=batch_id, status=RunStatus.OK
    )
    operator = SimpleNamespace(workflow=workflow, context_of=lambda context: SimpleNamespace(batch_id="b"))
    ti = SimpleNamespace(get_dr_count=lambda dag_id, states: runs if dag_id == NAV.name else 0)
    return unordered(operator, {"dag_run": SimpleNamespace(run_type=run_type), "ti": ti}, item, version)


@pytest.mark.parametrize("batch_id", [None, "older"])
def test_a_backfill_of_airflows_own_reads_no_older_version_of_itself(batch_id):
    """The message says how to launch it instead; what the batch has made is read."""
    assert "launch it with flowctx backfill --on airflow" in asked(NAV, OWN, batch_id)
    assert asked(NAV, OWN, "b") is None


@pytest.mark.parametrize("batch_id", [None, "older"])
def test_while_the_other_dag_runs_nothing_older_is_read(batch_id):
    """Two backfills of one batch may be under way at once; when the other has ended, the current version is read."""
    assert "has runs that are queued or running" in asked(DESK, OTHER, batch_id, runs=2)
    assert asked(DESK, OTHER, batch_id) is None
    assert asked(DESK, OTHER, "b", runs=2) is None


def test_runs_of_schedules_and_launched_ones_read_what_the_ledger_says():
    """Only Airflow's own backfills are asked about."""
    assert asked(NAV, OWN, "older", run_type="scheduled", runs=2) is None
    assert asked(NAV, OWN, "older", run_type="manual", runs=2) is None
