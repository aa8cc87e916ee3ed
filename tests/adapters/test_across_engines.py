"""A run that failed on one engine goes on on another: nothing complete runs again, and what comes out is the same."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import itertools
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from flowctx import (
    Backfill,
    BatchError,
    Daily,
    NotDue,
    PartitionError,
    PartitionScheme,
    StepResult,
    Workflow,
    replay,
    resume,
    run,
)
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.backfill import JointBackfill
from flowctx.backfill.local import LocalLauncher
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.dagster.running import run_assets
from flowctx.examples.prices import prices

APPLE = "2000-09-29|AAPL"
ORDER = ["fetch", "validate", "returns", "volatility", "summarise"]


def on_airflow(workflow, **how):
    """Run or resume on Airflow."""
    return run_dag(workflow_dag(workflow), **how)


def on_dagster(workflow, **how):
    """Run or resume on Dagster."""
    return run_assets(workflow, **how)


def here(workflow, *, resume_from=None, batch_id=None, partition=None, **how):
    """Run or resume in this process; a run that is resumed here keeps its id."""
    if resume_from is not None:
        return resume(resume_from, workflow, partition=partition, **how)
    return run(workflow, partition=partition, batch_id=batch_id, **how)


ENGINES = {"airflow": on_airflow, "dagster": on_dagster, "local": here}
PAIRS = [pytest.param(*pair, id="-".join(pair)) for pair in itertools.permutations(ENGINES, 2)]


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_the_example_goes_on_elsewhere(first, then, ledger):
    """Real prices: stopped by a strict gate on one engine, continued with a wider one on another."""
    undisturbed = run(prices, partition=APPLE, batch_id="b", ledger="memory://").raise_for_failure()
    failed = ENGINES[first](prices, partition=APPLE, batch_id="b", params={"max_move": 0.25})
    done = ENGINES[then](prices, partition=APPLE, resume_from=failed.run_id, params={"max_move": 0.6})
    assert (failed["validate"].status, done.status) == ("failed", "ok"), done.steps
    assert done.outputs_digest == undisturbed.outputs_digest
    assert done.context.capture_id == undisturbed.context.capture_id == "2000-09-29|AAPL|b"
    assert done.context.params == undisturbed.context.params
    checkpoint = done.context.checkpoint
    assert (checkpoint.completed, checkpoint.failed, checkpoint.attempt) == (("fetch",), "validate", 2)
    assert (checkpoint.resumed_from, checkpoint.error) == (failed.run_id, failed["validate"].error)
    found = ledger.get_run(done.run_id)
    assert (found.status, found.attempt, found.engine) == (RunStatus.OK, 2, then)
    assert {r.step: r.run_attempt for r in ledger.steps(found.key)} == dict.fromkeys(ORDER, 2) | {"fetch": 1}
    assert [c.state for c in ledger.captures(workflow="daily_prices")] == [CaptureState.COMPLETE]


def counted(name, calls):
    """Two branches that join; the join fails unless it is told not to. Calls are counted, updates and a skip travel."""
    flow = Workflow(name, partitions=PartitionScheme(symbol=["IBM"], date=Daily(start="2012-10-01")), params={"fix": 0})

    @flow.step()
    def fetch(ctx):
        calls.append("fetch")
        return StepResult.ok({"rows": [1, 2]}, context_updates={"cursor": 7})

    @flow.step()
    def aside(ctx):
        calls.append("aside")
        return StepResult.skip("nothing to do")

    @flow.step()
    def after_aside(ctx):
        calls.append("after_aside")

    @flow.step(after=[fetch], config={"factor": 2})
    def load(ctx, config):
        calls.append("load")
        if not ctx.params["fix"]:
            return StepResult.fail("not yet", category="DATA_QUALITY")
        return {"n": len(ctx.get_output("fetch", "rows")) * config["factor"], "cursor": ctx.params["cursor"]}

    @flow.step()
    def report(ctx):
        calls.append("report")
        return {"seen": sorted(ctx.step_outputs), "n": ctx.get_output("load", "n"), "fix": ctx.params["fix"]}

    return flow


KEY = {"symbol": "IBM", "date": "2012-10-26"}


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_nothing_complete_runs_again(first, then, ledger):
    """Complete and skipped steps do not run again, and without a batch the capture is the first run's."""
    calls = []
    flow = counted("counted", calls)
    failed = ENGINES[first](flow, partition=KEY)
    assert sorted(calls) == ["aside", "fetch", "load"]
    calls.clear()
    done = ENGINES[then](flow, partition=KEY, resume_from=failed.run_id, params={"fix": 1}).raise_for_failure()
    assert calls == ["load", "report"]
    assert done.context.capture_id == f"IBM|2012-10-26|{failed.run_id}"
    assert (done["aside"].status, done["after_aside"].status) == ("skipped", "skipped")
    assert done.context.get_output("report") == {"seen": ["fetch", "load"], "n": 4, "fix": 1}
    assert done.context.params == {"fix": 1, "cursor": 7}


def test_a_run_goes_round_all_engines(ledger):
    """Airflow, here, Dagster, Airflow: four attempts at one capture, and each step is complete once."""
    calls = []
    flow = counted("round", calls)
    first = on_airflow(flow, partition=KEY, batch_id="b")
    second = here(flow, resume_from=first.run_id)
    third = on_dagster(flow, partition=KEY, resume_from=second.run_id)
    last = on_airflow(flow, partition=KEY, resume_from=third.run_id, params={"fix": 1}).raise_for_failure()
    assert sorted(calls) == ["aside", "fetch", "load", "load", "load", "load", "report"]
    assert (last.context.checkpoint.attempt, last.context.capture_id) == (4, "IBM|2012-10-26|b")
    assert len(ledger.captures(workflow="round")) == 1


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_from_step_runs_a_complete_step_again(engine, ledger):
    """What follows it runs again as well; what does not is carried."""
    calls = []
    flow = counted("again", calls)
    first = ENGINES[engine](flow, partition=KEY, params={"fix": 1})
    calls.clear()
    done = ENGINES[engine](flow, partition=KEY, resume_from=first.run_id, from_step="load").raise_for_failure()
    assert (calls, done.outputs_digest) == (["load", "report"], first.outputs_digest)


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_a_step_of_an_engine_is_replayed_here(engine, ledger):
    """A step runs again on exactly the context it saw on the engine, with its configuration, and compares equal."""
    flow = counted("replayed", [])
    done = ENGINES[engine](flow, partition=KEY, batch_id="b", params={"fix": 1})
    again = replay(done.run_id, "load", flow)
    assert (again.diff, again.result.output) == ("", done.context.get_output("load"))
    assert (again.context.params, again.context.capture_id) == ({"fix": 1, "cursor": 7}, "IBM|2012-10-26|b")
    assert again.context.metadata["engine"]["name"] == engine
    failed = ENGINES[engine](flow, partition=KEY)
    assert replay(failed.run_id, "load", flow).result.error == "not yet"


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_without_a_ledger_nothing_can_be_continued(engine, monkeypatch):
    """Asked to continue a run, an engine without a ledger says what to set, and runs nothing."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    calls = []
    result = ENGINES[engine](counted("nowhere", calls), partition=KEY, resume_from="run-1")
    assert "set FLOWCTX_LEDGER_URL" in result["fetch"].error
    assert calls == []


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_an_unknown_run_cannot_be_continued(engine, ledger):
    """It fails at once, and says where to look."""
    flow = counted("unknown", [])
    result = ENGINES[engine](flow, partition=KEY, resume_from="run-1")
    assert "remembers no run 'run-1'" in result["fetch"].error


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_a_changed_workflow_is_explained_before_anything_runs(engine, ledger):
    """A complete step that is gone stops the run, with what to do about it."""
    flow, calls = Workflow("changed", params={"fix": 0}), []
    flow.step("one")(lambda ctx: {"n": 1})
    flow.step("two")(lambda ctx: StepResult.fail("no", category="DATA_QUALITY"))
    failed = ENGINES[engine](flow)
    changed = Workflow("changed", params={"fix": 0})
    changed.step("uno", version="2")(lambda ctx: calls.append("uno"))
    result = ENGINES[engine](changed, resume_from=failed.run_id)
    assert "step 'one' was removed" in result["uno"].error
    assert calls == []


@pytest.mark.parametrize(("first", "then"), [("airflow", "dagster"), ("dagster", "airflow")])
def test_a_run_without_partitions_keeps_its_business_date(first, then, ledger):
    """The date that the first run was told is the date of the run that continues it."""
    flow = Workflow("dated", params={"fix": 0})
    flow.step("fetch")(lambda ctx: {"day": ctx.as_of_date})
    flow.step("load")(lambda ctx: {"day": ctx.as_of_date} if ctx.params["fix"] else StepResult.fail("no", "INTERNAL"))
    failed = ENGINES[first](flow, as_of_date=date(2012, 10, 26))
    done = ENGINES[then](flow, resume_from=failed.run_id, params={"fix": 1}).raise_for_failure()
    assert done.context.get_output("load", "day") == done.context.as_of_date == date(2012, 10, 26)
    assert done.context.metadata["as_of_source"] == failed.context.metadata["as_of_source"]


def test_without_a_ledger_no_database_is_imported():
    """Adapters that are not told of a ledger cost what they did before there was one."""
    code = (
        "import sys, flowctx.airflow, flowctx.dagster, flowctx.ledger as ledger\n"
        "assert ledger.ledger_from_env() is None\n"
        "assert not {'flowctx.ledger.sql', 'flowctx.ledger.database'} & sys.modules.keys()"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCTX_LEDGER")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_key_that_is_not_due_is_refused_alike(ledger):
    """Tomorrow's key, and today's before its evening, are the same error here, on both engines and in a batch."""
    now = datetime.now(UTC)
    evening = "23:59" if now.hour < 23 else "00:00"
    today = now.date() if now.hour < 23 else now.date() + timedelta(days=1)
    flow = Workflow("evenings", partitions=PartitionScheme(date=Daily(start="2026-01-01", due=evening)))
    flow.step(name="close")(lambda ctx: {})
    for day in (today, today + timedelta(days=1)):
        for engine in ENGINES.values():
            with pytest.raises(NotDue, match=f"date={day} is not due until {day}T{evening}:00.*run it then"):
                engine(flow, partition=day.isoformat())
    batch = Backfill(flow, f"date={today - timedelta(days=2)}..{today}", "b", ledger=ledger)
    for refused in (batch.plan, lambda: batch.launch(LocalLauncher(ledger, 1)), JointBackfill([batch]).plan):
        with pytest.raises(NotDue, match=f"1 of the 3 partitions are not due yet, date={today} until"):
            refused()
    assert issubclass(NotDue, PartitionError)
    assert issubclass(NotDue, BatchError)
    yesterday = today - timedelta(days=1)
    assert {engine(flow, partition=yesterday.isoformat()).status for engine in ENGINES.values()} == {"ok"}


@pytest.mark.parametrize("on_engine", [on_airflow, on_dagster])
def test_a_lenient_step_makes_no_folder_of_a_ledger_that_is_away(on_engine, tmp_path, monkeypatch):
    """A table is kept where another place is named, and else nowhere: the ledger would be made anew there."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'away' / 'ledger.db'}")
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    flow = Workflow("away_with_tables")
    flow.step("load")(lambda ctx: {"table": pa.table({"n": range(100_000)})})
    flow.step("count")(lambda ctx: {"rows": ctx.get_output("load", "table").to_arrow().num_rows})
    refused = on_engine(flow)["load"].error
    assert (
        f"the folder cannot be made (FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/away')"
        in refused
    )
    assert not (tmp_path / "away").exists()
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(tmp_path / "tables"))
    assert on_engine(flow).context.get_output("count", "rows") == 100_000
