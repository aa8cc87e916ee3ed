"""What Airflow may still be to make is not read from an older version."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adapters.test_inputs_on_engines import workflows
from flowctx.airflow import _compat, workflow_dag
from flowctx.airflow.ordering import unordered
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.versions import Version
from flowctx.ledger.memory import MemoryLedger

NAV, DESK = workflows("native_airflow")
OWN, OTHER = NAV["value"].inputs["yesterday"], DESK["report"].inputs["funds"]


def asked(workflow, item, batch_id=None, run_type="backfill", runs=0, dag_id=NAV.name, ledger=None):
    """Ask on behalf of a run of batch ``b``."""
    version = batch_id and Version(
        partition=None, capture_id="c", revision=1, run_key="k", run_id="r", batch_id=batch_id, status=RunStatus.OK
    )
    operator = SimpleNamespace(workflow=workflow, context_of=lambda context: SimpleNamespace(batch_id="b"))
    busy = dag_id
    ti = SimpleNamespace(get_dr_count=lambda dag_id, states: runs if dag_id == busy else 0)
    context = {"dag_run": SimpleNamespace(run_type=run_type), "ti": ti}
    return unordered(operator, context, item, version, ledger or MemoryLedger())


def written_down(dag):
    """Write a DAG down as the dag-processor does before Airflow knows it."""
    _compat.dag_serialization().to_dict(dag)


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


@pytest.mark.parametrize(("map_over", "dimensions"), [([], ("date", "fund")), (["fund"], ("date",))])
def test_runs_of_a_dag_with_another_name_are_to_come_too(ledger, map_over, dimensions):
    """A DAG that is written down is known to make its workflow, whatever its id is, before any of its runs begins."""
    nav, desk = workflows(f"named_{len(map_over)}")
    dag_id = f"funds_{len(map_over)}"
    written_down(workflow_dag(nav, dag_id=dag_id, map_over=map_over))
    assert ledger.engine_names("airflow", nav.name) == {dag_id: dimensions}
    why = asked(desk, desk["report"].inputs["funds"], "older", runs=2, dag_id=dag_id, ledger=ledger)
    assert f"DAG {dag_id!r} has runs that are queued or running" in why


def test_a_dag_that_is_called_like_its_workflow_needs_no_note(ledger):
    """Parsing it opens no ledger."""
    nav, _ = workflows("own_name")
    written_down(workflow_dag(nav))
    assert ledger.engine_names("airflow", nav.name) == {}


def test_a_ledger_that_cannot_be_reached_does_not_keep_a_dag_from_being_stored(monkeypatch, caplog):
    """The log of the dag-processor says what that means."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", "postgresql://nobody@127.0.0.1:1/none")
    nav, _ = workflows("unreachable")
    written_down(workflow_dag(nav, dag_id="unreachable_funds"))
    assert "does not know that DAG unreachable_funds makes workflow unreachable_nav" in caplog.text
