"""What an engine says of a run, and what the ledger has of it, where the two differ."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from adapters.engine_servers import Airflow, Server
from adapters.recorded_parts import record_skip
from backfill.flows import flow
from flowctx import Backfill, BatchError
from flowctx.backfill import LaunchListener, LaunchProgress
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.settling import settle_run
from flowctx.backfill.status import BatchStatus
from flowctx.cli import cli
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_context import begin
from flowctx.examples.prices import prices
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # as the server here

ONE = "date=2012-01-02,tier=T1"
KEY = flow.partition_key("2012-01-02|T1")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["airflow", "dagster"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


def fill(server: Server, ledger: Ledger, **how: Any) -> LaunchProgress:
    launcher = AirflowLauncher(server.url) if isinstance(server, Airflow) else DagsterLauncher(server.url)
    return Backfill(flow, ONE, "b", ledger=ledger).launch(launcher, **how)


def status(server: Server, url: str) -> str:
    """Return what the command prints that asks the engine first."""
    name = "airflow" if isinstance(server, Airflow) else "dagster"
    asked = ["status", "b", "--on", name, "--url", server.url, "--workflow", "backfill.flows:flow", "--ledger", url]
    done = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def begin_late(ledger: Ledger, server: Server) -> RunRecord:
    """Begin the run that has ended on its engine long ago, as a task does that was started before."""
    name = "airflow" if isinstance(server, Airflow) else "dagster"
    ids = {"batch_id": "b", "partition": KEY, "scheme": flow.partitions, "metadata": {"engine": {"name": name}}}
    ctx = begin("filled", run_id=next(iter(server.runs)), **ids)
    return ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)), lease=timedelta(hours=6))


@pytest.mark.parametrize("options", [(), ("--on", "airflow")])
def test_of_a_batch_that_nobody_planned_the_engine_tells_too(url: str, airflow: Airflow, options: tuple[str]) -> None:
    """Where the workflow is named, runs that recorded nothing count, as its own; another one's stay another one's."""
    airflow.most = 100
    engine = {"metadata": {"engine": {"name": "airflow"}}, "batch_id": "b", "scheme": flow.partitions}
    with closing(open_ledger(url)) as ledger:
        for name in ("before", "filled"):
            ctx = begin(name, run_id="r1", partition=KEY, **engine)
            run = ledger.begin(RunRecord(workflow=name, context=ctx, steps=("load",)))
            ledger.finish(run, RunStatus.OK)
        for number in (1, 2):
            text = f"2012-01-02|T{number}"
            common = {"dag_run_id": f"r{number}", "partition_key": text, "conf": {"batch_id": "b"}}
            ended = {"start_date": "2026-01-09T12:00:00Z", "end_date": "2026-01-09T12:00:01Z"}
            airflow.runs[f"r{number}"] = {**common, **ended, "state": "success" if number == 1 else "failed"}
        words = ["--ledger", url, "--json"]
        env = {"FLOWCTX_AIRFLOW_URL": airflow.url}
        asked = CliRunner().invoke(cli, ["status", "b", "--workflow", "backfill.flows:flow", *options, *words], env=env)
        assert json.loads(asked.stdout)["counts"] == {"ok": 1, "failed": 1}, asked.output
        assert ledger.batches.count_outcomes("b", "filled") == {"ok": 1, "failed": 1}
        assert ledger.batches.count_outcomes("b", "before") == {"ok": 1}


@pytest.mark.parametrize("options", [(), ("--on", "airflow")])
def test_of_a_planned_batch_no_other_workflow_is_asked_for(url: str, airflow: Airflow, options: tuple[str]) -> None:
    """A workflow that the batch was not planned for is refused; its runs are no outcomes of the batch."""
    airflow.most = 100
    with closing(open_ledger(url)) as ledger:
        ledger.batches.put(replace(Backfill(flow, ONE, "b", ledger=ledger).record(), engine="airflow"))
        conf = {"dag_run_id": "r1", "partition_key": "2012-01-02|T1", "conf": {"batch_id": "b"}}
        airflow.runs["r1"] = {**conf, "state": "success", "start_date": "2026-01-09T12:00:00Z", "end_date": None}
        words = ["status", "b", "--workflow", "flowctx.examples.prices:prices", *options, "--ledger", url]
        asked = CliRunner().invoke(cli, words, env={"FLOWCTX_AIRFLOW_URL": airflow.url})
        assert "was planned for workflow filled, not for daily_prices; name one that it was planned" in asked.stderr
        assert ledger.batches.count_outcomes("b", "filled") == {}
        with pytest.raises(BatchError, match="was planned for workflow filled"):
            BatchStatus.of(ledger, "b", prices)


@pytest.mark.parametrize("ask", ["status", "launch"])
def test_what_began_after_its_engine_ended_it_is_over(server: Server, url: str, ask: str) -> None:
    """Whoever asks the engine ends it, whatever came first: its capture is not held for the hours of its lease."""
    server.state, server.status, server.most = "failed", "FAILURE", 100
    ledger = open_ledger(url)
    fill(server, ledger)
    run = begin_late(ledger, server)
    if ask == "status":
        assert "running" not in status(server, url)
    else:
        fill(server, ledger)
    assert ledger.get_run(run.run_id).status is RunStatus.FAILED
    assert [capture.state for capture in ledger.captures()] == ["released"]


def test_what_ends_in_a_launch_is_over_by_the_clock_of_the_ledger(server: Server, url: str) -> None:
    """The engine's own clock may be behind: whoever follows the run asks it after the run was heard of, and ends it."""
    server.state, server.status, server.most = "failed", "FAILURE", 100
    with closing(open_ledger(url)) as ledger:

        class Begins(LaunchListener):
            def tick(self, progress: LaunchProgress) -> None:
                if not ledger.list_runs() and server.runs:
                    begin_late(ledger, server)

        fill(server, ledger, listener=Begins())
        (run,) = ledger.list_runs()
        assert run.status is RunStatus.FAILED


def test_what_is_stopped_is_over_by_the_clock_of_the_ledger(
    airflow: Airflow, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that clock is ahead of this machine's, a run that is canceled is over all the same.

    So is one of which a step begins while it is being stopped, which may take a minute.
    """
    ahead = FakeClock(datetime.now(UTC) + timedelta(minutes=5))
    ids = {"batch_id": "b", "partition": KEY, "scheme": flow.partitions, "metadata": {"engine": {"name": "airflow"}}}
    with closing(SqlLedger(url, clock=ahead)) as ledger:
        ledger.batches.put(replace(Backfill(flow, ONE, "b", ledger=ledger).record(), engine="airflow"))
        run = ledger.begin(RunRecord(workflow="filled", context=begin("filled", run_id="r0", **ids)))
        monkeypatch.setattr(SqlLedger, "now", lambda self: ahead.now())
        airflow.runs["r0"] = {"dag_run_id": "r0", "dag_id": "filled", "state": "queued", "end_date": None}
        answer = airflow.answer

        def late(method: str, path: str, body: Any) -> tuple[int, Any]:
            if method == "PATCH":
                ahead.advance(timedelta(seconds=10))
                ledger.renew(run, timedelta(hours=6))
            return answer(method, path, body)

        monkeypatch.setattr(airflow, "answer", late)
        done = CliRunner().invoke(cli, ["cancel", "b", "--url", airflow.url, "--ledger", url])
        assert "batch b is canceled; stopped 1 run" in done.output
        assert ledger.get_run("r0").status is RunStatus.CANCELED


def test_the_clock_is_read_once_for_many_runs_that_are_stopped(
    airflow: Airflow, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is asked no more often, however many runs of a batch are canceled."""
    asked = []
    now = SqlLedger.now
    monkeypatch.setattr(SqlLedger, "now", lambda self: asked.append(batch_id) or now(self))
    keys = list(flow.partitions or ())
    for batch_id, some in (("one", keys[:1]), ("many", keys[:6])):
        with closing(SqlLedger(url)) as ledger:
            ledger.batches.put(replace(Backfill(flow, ONE, batch_id, ledger=ledger).record(), engine="airflow"))
            for key in some:
                ids = {"batch_id": batch_id, "partition": key, "scheme": flow.partitions}
                ctx = begin("filled", run_id=f"{batch_id} {key}", metadata={"engine": {"name": "airflow"}}, **ids)
                ledger.begin(RunRecord(workflow="filled", context=ctx))
        done = CliRunner().invoke(cli, ["cancel", batch_id, "--url", airflow.url, "--ledger", url])
        assert f"batch {batch_id} is canceled; stopped {len(some)} run" in done.output
    assert asked.count("many") == asked.count("one")


def test_what_begins_after_its_engine_was_asked_goes_on(url: str, airflow: Airflow) -> None:
    """A run that was cleared since has begun again: what was said of it before is no news."""
    ledger = open_ledger(url)
    fill(airflow, ledger)
    asked_at = ledger.now()
    run = begin_late(ledger, airflow)
    outcome = PartitionRun(
        partition=str(KEY),
        state=PartitionState.FAILED,
        run_id=run.run_id,
        engine="airflow",
        last_seen_at=datetime(2026, 1, 9, tzinfo=UTC),
    )
    assert settle_run(ledger, "filled", outcome, asked_at).known == outcome
    assert ledger.get_run(run.run_id).status is RunStatus.RUNNING


def test_a_success_that_the_ledger_does_not_know_is_cleared_and_told(url: str, airflow: Airflow) -> None:
    """Somebody marked a run as successful while its first step ran: the next launch clears that, and tells what is."""
    ledger = open_ledger(url)
    airflow.tasks = [{"task_id": "load", "state": "success", "try_number": 1}]
    airflow.tasks = [*airflow.tasks, {"task_id": "check", "state": "success", "try_number": 1}]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 1}
    run = begin_late(ledger, airflow)
    ledger.record(run, [StepRecord(step="check", status=StepStatus.OK, started_at=ledger.now())])
    ledger.finish(run, RunStatus.PARTIAL)
    progress = fill(airflow, ledger)
    assert ["load" in body["task_ids"] for body in airflow.cleared] == [True]
    assert (progress.ended, progress.complete) == ({PartitionState.PARTIAL: 1}, False)


def test_a_launch_tells_what_the_ledger_has(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's success is none of a run whose steps failed, or are not all recorded, by the ledger's account."""
    ledger = open_ledger(url)
    news = type(server).answer

    def answer(self, method, path, body):
        found = news(self, method, path, body)
        if self.runs and not ledger.list_runs():
            ledger.finish(begin_late(ledger, self), RunStatus.PARTIAL)
        return found

    monkeypatch.setattr(type(server), "answer", answer)
    progress = fill(server, ledger)
    assert (progress.ended, progress.complete) == ({PartitionState.PARTIAL: 1}, False)


@pytest.mark.parametrize(
    ("there", "here", "recorded"),
    [("ok", RunStatus.FAILED, StepStatus.FAILED), ("failed", RunStatus.OK, StepStatus.OK)],
)
def test_what_an_engine_has_otherwise_is_said(
    server: Server, url: str, there: str, here: RunStatus, recorded: StepStatus
) -> None:
    """Somebody marked a run: the ledger's account counts, and who asks the engine hears that the two differ."""
    server.most = 100
    if there == "failed":
        server.state, server.status = "failed", "FAILURE"
    ledger = open_ledger(url)
    fill(server, ledger)
    assert "which counts" not in status(server, url)  # of a run that the ledger does not know
    run = begin_late(ledger, server)
    ledger.record(run, [StepRecord(step=name, status=recorded, started_at=ledger.now()) for name in ("load", "check")])
    ledger.finish(run, here)
    printed = status(server, url)
    assert f"has 1 run as {there}, and by the steps that are recorded {here}, which counts" in printed
    assert ledger.get_run(run.run_id).status is here


@pytest.mark.parametrize("params", [{}, {"number": 2}])
def test_what_was_skipped_runs_anew(server: Server, url: str, params: dict[str, int]) -> None:
    """Its steps are complete as they are, so that a run which went on with them would be skipped for ever."""
    with closing(open_ledger(url)) as ledger:
        ledger.batches.put(Backfill(flow, ONE, "b", ledger=ledger).record())
        record_skip(ledger, "airflow" if isinstance(server, Airflow) else "dagster", "skipped")
        launcher = AirflowLauncher(server.url) if isinstance(server, Airflow) else DagsterLauncher(server.url)
        batch = Backfill(flow, ONE, "b", ledger=ledger, params=params)
        assert batch.launch(launcher, retry_skipped=True, extend=True).ended == {PartitionState.OK: 1}
        (run,) = server.runs.values()
        assert "resume_from" not in json.dumps(run)
