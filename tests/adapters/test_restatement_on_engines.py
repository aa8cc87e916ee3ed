"""A restatement of real prices on each engine: what differs, what is stale, what mends it, what was known before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowctx import VersionChoice, diff, outputs, stale
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster.running import run_assets
from flowctx.versions.mending import stale_chain
from versions.real_chain import backfill, market, month, moves, quotes
from versions.test_restatement import CORRECTED, FACTOR, computed

#: What each workflow makes, by its step and the name of its value.
VALUES = {quotes: ("close", "close"), moves: ("move", "move"), market: ("mean", "mean"), month: ("total", "total")}
FIRST = VersionChoice(batch_id="first")


def on_airflow(flow, **how):
    """Run a workflow with real Airflow tasks."""
    return run_dag(workflow_dag(flow), **how)


def values(workflow, ledger, **which):
    """Return what a workflow has made, by the text of the partition."""
    step, name = VALUES[workflow]
    found = outputs(workflow, step, ledger=ledger, **which)
    return {workflow.partitions.text(key): output[name] for key, output in found.items()}


@pytest.mark.parametrize("engine", [on_airflow, run_assets])
def test_a_restatement_is_followed_on_every_engine(engine, ledger):
    """October, one close corrected: exactly what follows is stale, is mended, differs; before, the old is known."""
    backfill(ledger, "first", {})
    before = datetime.now(UTC)
    params = {"corrections": {CORRECTED: FACTOR}}
    engine(quotes, partition=CORRECTED, batch_id="restate", params=params).raise_for_failure()

    found = stale(month, ledger=ledger)
    assert [link.read.workflow for link in found[0].chain] == ["market", "moves", "quotes"]
    chain = stale_chain(month, found, ledger)
    assert {one.name: [one.partitions.text(key) for key in keys] for one, keys in chain.items()} == {
        "month": ["2012-10-31"],
        "moves": ["2012-10-10|IBM", "2012-10-11|IBM"],
        "market": ["2012-10-10", "2012-10-11"],
    }
    for workflow in (moves, market, month):
        for key in chain[workflow]:
            engine(workflow, partition=key, batch_id="refresh").raise_for_failure()
        assert stale(workflow, ledger=ledger) == []

    old, new = computed({}), computed({CORRECTED: FACTOR})
    for workflow, (step, name) in VALUES.items():
        assert values(workflow, ledger) == pytest.approx(new[workflow.name], rel=1e-12)
        assert values(workflow, ledger, known_at=before) == pytest.approx(old[workflow.name], rel=1e-12)
        differs = diff(workflow, FIRST, key=["symbol"], step=step, ledger=ledger).steps
        assert {workflow.partitions.text(one.partition) for one in differs} == {
            text for text, value in old[workflow.name].items() if value != new[workflow.name][text]
        }
        assert all(name in [change.path for change in one.changes] for one in differs)
    [close] = diff(quotes, FIRST, key=["symbol"], ledger=ledger).steps
    [cell] = [change.table.largest[0] for change in close.changes if change.table]
    assert (cell.old, cell.new) == (old["quotes"][CORRECTED], new["quotes"][CORRECTED])
