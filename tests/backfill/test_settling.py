"""What was under way in a batch, and cannot say any more how it ended."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from backfill.flows import flow
from flowctx import Backfill, EngineError
from flowctx.backfill.settling import SettledRun, Settling, settle_run
from flowctx.cli import cli
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger


def flowctx(url: str, *args: str) -> str:
    return CliRunner().invoke(cli, list(args), env={"FLOWCTX_LEDGER_URL": url}, catch_exceptions=False).output


def test_what_a_killed_worker_left_of_a_canceled_batch_is_canceled(url: str, ledger: Ledger) -> None:
    """Nobody is left to say so: `cancel` and `status` do once its lease has run out, and say when that is."""
    ledger.batches.put(Backfill(flow, "date=2012-01-03", "b", ledger=ledger).record())
    for tier, lease in (("T1", timedelta(0)), ("T2", timedelta(hours=1))):
        ids = {"batch_id": "b", "partition": flow.partition_key(f"2012-01-03|{tier}"), "scheme": flow.partitions}
        ctx = begin("filled", run_id=f"killed-{tier}", **ids)
        ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)), lease=lease)
    printed = flowctx(url, "cancel", "b")
    alive = ledger.get_run("killed-T2")
    assert ledger.get_run("killed-T1").status is RunStatus.CANCELED
    assert "batch b is canceled; of workers that have died: 1 run" in printed
    assert "1 run of workers may be under way" in printed
    assert f"from {alive.lease_until:%Y-%m-%d %H:%M:%S} UTC on: flowctx status b" in printed
    assert "running" in flowctx(url, "status", "b")
    ledger.renew(alive, timedelta(0))
    assert "running" not in flowctx(url, "status", "b")
    assert ledger.get_run("killed-T2").status is RunStatus.CANCELED


def test_what_a_killed_worker_left_of_another_batch_goes_on(url: str, ledger: Ledger) -> None:
    """A batch that nobody canceled is launched again, and goes on from there."""
    ledger.batches.put(Backfill(flow, "date=2012-01-03", "b", ledger=ledger).record())
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-03|T1"), "scheme": flow.partitions}
    ledger.begin(RunRecord(workflow="filled", context=begin("filled", run_id="killed", **ids)), lease=timedelta(0))
    assert "running" in flowctx(url, "status", "b")
    assert ledger.get_run("killed").status is RunStatus.RUNNING


HOUR = timedelta(hours=1)
ME, ANOTHER = "a worker of batch 'b' (process 7 on here)", "a worker of batch 'b' (process 7 on there)"


@pytest.mark.parametrize(
    ("owner", "at", "said", "status"),
    [
        (ME, "local", {"engine": "local", "worker": ME}, RunStatus.FAILED),
        (ANOTHER, "local", {"engine": "local", "worker": ME}, RunStatus.RUNNING),
        ("a person", "local", {"engine": "airflow"}, RunStatus.RUNNING),
        ("a person", "local", {"engine": "dagster"}, RunStatus.RUNNING),
        ("a task", "airflow", {"engine": "airflow"}, RunStatus.FAILED),
        ("a person", "local", {"engine": "an engine of one's own"}, RunStatus.FAILED),
    ],
)
def test_a_run_is_ended_by_what_it_is_on(
    url: str, owner: str, at: str, said: dict[str, str], status: RunStatus
) -> None:
    """A worker ends its own runs alone, and an engine those on it: whoever else goes on with one is left alone."""
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-03|T1"), "scheme": flow.partitions}
    ctx = begin("filled", run_id="r", metadata={"engine": {"name": at}}, **ids)
    with closing(SqlLedger(url, owner=owner)) as ledger:
        ledger.begin(RunRecord(workflow="filled", context=ctx, steps=tuple(flow.steps)))
        # Of what a worker died, this machine's clock tells, by which it may have died before it began.
        heard_at = ledger.now() - HOUR if "worker" in said else ledger.now() + HOUR
        how = {"partition": str(ctx.partition), "run_id": "r", "last_seen_at": heard_at, "error": "by signal SIGKILL"}
        settled = settle_run(ledger, "filled", PartitionRun(state=PartitionState.FAILED, **how, **said))
        assert ledger.get_run("r").status is status
        if "worker" in said:
            left = "; step 'load' had not ended" if status is RunStatus.FAILED else ""
            assert settled.noted.error == f"by signal SIGKILL{left}"
            assert settled.noted.last_seen_at > heard_at + HOUR / 2


def test_what_a_worker_went_on_with_is_over_with_it(url: str) -> None:
    """The run of its partition may have gone on as another one before, which is the one that it was at."""
    ids = {"batch_id": "b", "partition": flow.partition_key("2012-01-03|T1"), "scheme": flow.partitions}
    with closing(SqlLedger(url, owner=ME)) as ledger:
        first = ledger.begin(RunRecord(workflow="filled", context=begin("filled", run_id="r", **ids)))
        following = RunRecord(workflow="filled", context=begin("filled", run_id="resume__r", **ids), attempt=2)
        ledger.begin(following, resumes=first)
        how = {"partition": "date=2012-01-03|tier=T1", "run_id": "r", "engine": "local", "last_seen_at": ledger.now()}
        settle_run(ledger, "filled", PartitionRun(state=PartitionState.FAILED, worker=ME, error="killed", **how))
        assert ledger.get_run("resume__r").status is RunStatus.FAILED
        assert [capture.state for capture in ledger.captures()] == ["released"]


class _Forbidden:
    def had_ledger(self, run: PartitionRun) -> bool:
        """Be refused."""
        raise EngineError("Airflow does not allow it")


@pytest.mark.parametrize(("launcher", "words"), [(object(), []), (_Forbidden(), ["Airflow does not allow it"])])
def test_where_nobody_can_say_the_word_of_the_engine_counts(
    caplog: pytest.LogCaptureFixture, launcher: object, words: list[str]
) -> None:
    """A launcher of one's own that is older than the question, and a user who may not see what steps hand on."""
    outcome = PartitionRun(
        partition="p=1",
        state=PartitionState.OK,
        run_id="r",
        engine="airflow",
        last_seen_at=datetime(2026, 1, 9, tzinfo=UTC),
    )
    settled = Settling(open_ledger("memory://"), "b", launcher, "flow").settle(outcome)
    assert settled == SettledRun(outcome, outcome)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == words
