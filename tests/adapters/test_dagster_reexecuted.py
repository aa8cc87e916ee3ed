"""Runs of a batch that Dagster executes again, without a ledger: with which parameters, and which of them counts."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.engine_servers import Dagster
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

DAY = "date=2012-01-02"


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def launch(dagster: Dagster, ledger: Ledger, tiers: str, number: int, **how: Any) -> None:
    """Launch a batch of some partitions of a day."""
    plan = Backfill(flow, f"{DAY},tier={tiers}", "b", params={"number": number}, ledger=ledger)
    plan.launch(DagsterLauncher(dagster.url), **how)


def configured(dagster: Dagster) -> list[int]:
    """Return the parameter of each run."""
    return [run["config"]["resources"]["filled_params"]["config"]["number"] for run in dagster.runs.values()]


def test_a_failure_of_before_the_new_parameters_is_no_run_of_them(dagster: Dagster, ledger: Ledger) -> None:
    """A batch that got others for what it added executes nothing again that has the ones of before."""
    dagster.status, dagster.reexecutes = "FAILURE", True
    launch(dagster, ledger, "T1", 1)
    launch(dagster, ledger, "T1|T2", 2, extend=True)
    launch(dagster, ledger, "T1|T2", 2, retry_failed=True)
    assert configured(dagster) == [1, 2, 2, 2]
    assert [run.get("parentRunId") for run in dagster.runs.values()] == [None, None, None, "run-1"]
