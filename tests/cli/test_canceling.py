"""A batch that is stopped on engines that know some of its workflows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flowctx import EngineError
from flowctx.core.batches.records import BatchRecord, BatchWorkflow, PartitionRun, PartitionState
from flowctx.core.workflow.definition import Workflow
from flowctx.ledger import open_ledger

NOW = datetime(2026, 1, 9, tzinfo=UTC)
SECOND = "from cli_flows import *\ndesk = Workflow('desk', partitions=prices.partitions)\ndesk.step('load')(print)\n"


@pytest.fixture
def second(shell):
    """Write a second workflow beside the first one, and forget its module afterwards."""
    shell.file.with_name("second.py").write_text(SECOND)
    yield
    sys.modules.pop("second", None)


class Knowing:
    """An engine that has one of two workflows, and a run of it."""

    def __init__(self, engine: str, *others: object) -> None:
        self.engine = engine

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        if workflow.name == "prices":
            raise EngineError("no DAG 'prices'")
        yield PartitionRun(
            partition="symbol=IBM", state=PartitionState.RUNNING, run_id="r", engine=self.engine, last_seen_at=NOW
        )

    def cancel(self, batch: BatchRecord, runs: list[PartitionRun]) -> Iterator[PartitionRun]:
        for run in runs:
            yield replace(run, state=PartitionState.CANCELED, ended_at=NOW)


@pytest.mark.parametrize("typed", [("cli_flows:prices", "second.py:desk"), ("second.py:desk", "cli_flows:prices"), ()])
def test_an_engine_that_is_named_is_asked_about_each_workflow(shell, second, monkeypatch, typed):
    """It refuses one that it does not have, and the runs of the other are found and stopped, in any order."""
    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Knowing)
    place = "second:desk" if not typed else "second.py:desk"
    desk = BatchWorkflow(
        workflow="desk", import_path=place, selection="symbol=IBM", digest="d", total=1, params={}, params_from=None
    )
    batch = BatchRecord(
        batch_id="b",
        workflow="prices",
        import_path="cli_flows:prices",
        selection="symbol=IBM",
        engine="dagster",
        created_at=NOW,
        others=(desk,),
    )
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(batch)
    named = [word for place in typed for word in ("--workflow", place)]
    printed = shell("cancel", "b", "--on", "airflow", *named, exit_code=1)
    assert printed == (
        "batch b is canceled; stopped 1 run; what runs of it on airflow may go on: say it again\n"
        "Error: no DAG 'prices'\n"
    )


def test_a_workflow_that_cannot_be_imported_keeps_no_other_from_being_stopped(shell, second, monkeypatch):
    """The file of one is not here, which is said; the other is asked about."""
    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Knowing)
    desk = BatchWorkflow(
        workflow="desk", import_path="second:desk", selection="n=1", digest="d", total=1, params={}, params_from=None
    )
    batch = BatchRecord(batch_id="b", workflow="w", selection="n=1", import_path="w.py:w", created_at=NOW)
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(replace(batch, engine="airflow", others=(desk,)))
    printed = shell("cancel", "b", "--on", "airflow")
    assert "airflow was not asked anew of w: there is no file 'w.py' here" in printed
    assert printed.endswith("batch b is canceled; stopped 1 run\n")


def test_the_url_of_an_engine_is_that_of_no_other(shell, monkeypatch):
    """Of another one that has runs of the batch, the environment says where it is."""
    asked = []

    class Noting(Knowing):
        def __init__(self, engine: str, url: str | None, *others: object) -> None:
            super().__init__(engine)
            asked.append((engine, url))

    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Noting)
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(BatchRecord(batch_id="b", workflow="prices", selection="symbol=IBM|AAPL", created_at=NOW))
        for symbol, engine in (("IBM", "airflow"), ("AAPL", "dagster")):
            live = {"state": PartitionState.RUNNING, "last_seen_at": NOW, "workflow": "prices"}
            run = PartitionRun(partition=f"symbol={symbol}", run_id=engine, engine=engine, **live)
            ledger.batches.record_outcomes("b", [run])
    assert "stopped 2 runs" in shell("cancel", "b", "--on", "airflow", "--url", "http://127.0.0.1:1")
    assert asked == [("airflow", "http://127.0.0.1:1"), ("dagster", None)]


def test_what_is_named_of_a_batch_that_nobody_planned_is_stopped(shell, second, monkeypatch):
    """The ledger knows the batch by a run of another workflow, and the engine has a run of this one."""
    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Knowing)
    shell("run", "cli_flows:prices", "--partition", "symbol=IBM", "--batch", "b", exit_code=1)
    printed = shell("cancel", "b", "--on", "airflow", "--workflow", "second.py:desk")
    assert printed.startswith("batch b is canceled; stopped 1 run\n")
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        assert ledger.batches.count_outcomes("b", "desk") == {"canceled": 1}


@pytest.mark.parametrize("command", ["status", "cancel"])
@pytest.mark.parametrize("on", [(), ("--on", "airflow")])
def test_the_engine_of_a_batch_that_nobody_planned_is_asked_about_each_workflow(
    shell, second, monkeypatch, command, on
):
    """Each that is named, whether or not the engine is."""
    asked = []

    class Noting(Knowing):
        def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
            asked.append((batch.workflow, workflow.name))
            return iter(())

    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Noting)
    batch = BatchRecord(batch_id="b", workflow="prices", import_path="cli_flows:prices", created_at=NOW)
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(replace(batch, engine="airflow"))
    shell(command, "b", *on, "--workflow", "second.py:desk", "--workflow", "cli_flows:prices")
    assert asked == [("desk", "desk"), ("prices", "prices")]


def test_a_run_that_had_ended_meanwhile_is_not_called_stopped(shell, second, monkeypatch):
    """Nobody knows by then how it ended: said again, the engine is asked anew."""

    class Ending(Knowing):
        def cancel(self, batch: BatchRecord, runs: list[PartitionRun]) -> Iterator[PartitionRun]:
            return iter(())

    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Ending)
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(BatchRecord(batch_id="b", workflow="desk", created_at=NOW))
    printed = shell("cancel", "b", "--on", "airflow", "--workflow", "second.py:desk")
    assert printed.startswith("1 run on airflow had ended meanwhile, or did not stop; say it again, or look there\n")
    assert "stopped 1" not in printed
