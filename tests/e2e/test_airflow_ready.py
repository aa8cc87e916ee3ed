"""A monthly roll-up on a real scheduler: it runs once, after its last session, and not for a restatement."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.ready_flow import days, month
from flowctx import run
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.e2e

#: After so many seconds the ledger was asked again, and a run that was started would be there.
SOME_POLLS = 22


def test_a_month_runs_once_after_its_last_session(airflow: AirflowStack, ledger_url: str) -> None:
    """Four of five sessions are not enough, a skipped one counts, and a restated one is left alone."""
    ledger = open_ledger(ledger_url)
    for session in range(26, 30):
        run(days, partition=f"2026-01-{session}", ledger=ledger)
    time.sleep(SOME_POLLS)
    assert airflow.runs("ready_month") == []
    last = run(days, partition="2026-01-30", ledger=ledger)
    airflow.wait_until(lambda: bool(airflow.runs("ready_month")), "the run of the month")
    (started,) = airflow.runs("ready_month")
    assert airflow.wait_for_run("ready_month", started["dag_run_id"])["state"] == "success"
    assert datetime.fromisoformat(started["queued_at"]) > last.context.started_at
    assert started["dag_run_id"].startswith("inputs__2026-01-31__")
    (found,) = ledger.list_runs(workflow=month.name)
    assert str(found.context.partition) == "month=2026-01-31"
    assert ledger.steps(found.key)[0].output == {"days": [26, 27, 29, 30]}
    run(days, partition="2026-01-27", batch_id="restated", ledger=ledger)
    time.sleep(SOME_POLLS)
    assert [one["dag_run_id"] for one in airflow.runs("ready_month")] == [started["dag_run_id"]]
