"""A restatement of real prices on each engine: what differs, what is stale, what mends it, what was known before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowctx import VersionChoice, diff, outputs, run, stale
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster.running import run_assets
from versions.real_chain import SYMBOLS, adjusted, market, moves, quotes

DAYS = ("2012-10-01", "2012-10-02")
CORRECTED, FACTOR = "2012-10-02|IBM", 1.5


def on_airflow(flow, **how):
    """Run a workflow with real Airflow tasks."""
    return run_dag(workflow_dag(flow), **how)


@pytest.mark.parametrize("engine", [on_airflow, run_assets])
def test_a_restatement_is_followed_on_every_engine(engine, ledger):
    """Exactly what reads the corrected close differs, is stale until it is run again, and was known before."""
    for symbol in SYMBOLS:
        for day in DAYS:
            run(quotes, partition=f"{day}|{symbol}", batch_id="first")
        engine(moves, partition=f"{DAYS[1]}|{symbol}", batch_id="first").raise_for_failure()
    engine(market, partition=DAYS[1], batch_id="first").raise_for_failure()
    before = datetime.now(UTC)
    params = {"corrections": {CORRECTED: FACTOR}}
    engine(quotes, partition=CORRECTED, batch_id="restate", params=params).raise_for_failure()

    assert [moves.partitions.text(one.partition) for one in stale(moves, ledger=ledger)] == [CORRECTED]
    [found] = stale(market, ledger=ledger)
    assert [link.read.workflow for link in found.chain] == ["moves", "quotes"]
    assert found.partition.date == DAYS[1]
    engine(moves, partition=CORRECTED, batch_id="refresh").raise_for_failure()
    engine(market, partition=DAYS[1], batch_id="refresh").raise_for_failure()
    assert stale(moves, ledger=ledger) == stale(market, ledger=ledger) == []

    [step] = diff(quotes, VersionChoice(batch_id="first"), key=["symbol"], ledger=ledger).steps
    close = adjusted("IBM", quotes.partitions.as_of_date(step.partition))
    assert [change.old for change in step.changes if change.path == "close"] == [close]
    assert [change.table.largest[0].new for change in step.changes if change.table] == [close * FACTOR]
    changed = {one.partition.date for one in diff(market, VersionChoice(batch_id="first"), ledger=ledger).steps}
    assert changed == {DAYS[1]}
    old, new = (outputs(quotes, "close", ledger=ledger, known_at=time) for time in (before, datetime.now(UTC)))
    assert (old.last["close"], new.last["close"]) == (close, close * FACTOR)
