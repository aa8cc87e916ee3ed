"""A monthly roll-up on a real daemon: it runs once, after its last session, and not for a restatement."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home
from e2e.ready_flow import days, month
from flowctx import run

pytestmark = pytest.mark.e2e

#: After so many seconds the sensor has asked the ledger again, and a run that it requested would be there.
SOME_TICKS = 15


def test_a_month_is_requested_once_after_its_last_session(dagster: DagsterStack, session: Path) -> None:
    """Four of five sessions are not enough, a skipped one counts, and a restated one is left alone."""
    ledger = Home(session / "moved", {}).ledger
    tags = {"dagster/sensor_name": "ready_month_inputs"}
    for day in range(26, 30):
        run(days, partition=f"2026-01-{day}", ledger=ledger)
    with dagster.sensor_on("ready_month_inputs", "moved"):
        time.sleep(SOME_TICKS)
        assert dagster.runs(tags) == []
        run(days, partition="2026-01-30", ledger=ledger)
        (started,) = dagster.wait_for_runs(1, tags)
        assert started["status"] == "SUCCESS"
        (found,) = ledger.list_runs(workflow=month.name)
        assert (found.run_id, str(found.context.partition)) == (started["runId"], "month=2026-01-31")
        assert ledger.steps(found.key)[0].output == {"days": [26, 27, 29, 30]}
        run(days, partition="2026-01-27", batch_id="restated", ledger=ledger)
        time.sleep(SOME_TICKS)
        assert [one["runId"] for one in dagster.runs(tags)] == [started["runId"]]
