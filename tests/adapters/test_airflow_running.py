"""One workflow gives the same results here and on Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

from flowctx import (
    ContextError,
    Daily,
    PartitionScheme,
    QualityMetrics,
    RetryPolicy,
    RunResult,
    StepResult,
    StepStatus,
    UnknownPartition,
    Workflow,
    run,
)
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag

SCHEME = PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS"), symbol=["FB", "IBM"])
KEY = "2012-10-26|IBM"


def ordinary(name: str) -> Workflow:
    """Plain data of every kind, updates, two branches and a join."""
    flow = Workflow(name, partitions=SCHEME, params={"limit": 3, "rate": Decimal("0.10")})

    @flow.step()
    def fetch(ctx, config):
        if ctx.partition.symbol == "FB":
            return StepResult.skip("FB did not trade")
        return {"rows": [1.5, None, "é"], "day": ctx.as_of_date, "rate": ctx.params["rate"], "$odd": b"\0"}

    @flow.step(config={"factor": 2})
    def left(ctx, config):
        return StepResult.ok({"n": len(ctx.get_output("fetch")["rows"]) * config["factor"]}, {"left": True})

    @flow.step(after="fetch")
    def right(ctx):
        return StepResult.ok(quality=QualityMetrics(counts={"rows": 3}), context_updates={"right": ctx.as_of_date})

    @flow.step(after=["left", "right"])
    def join(ctx):
        return {"params": ctx.params, "seen": list(ctx.step_outputs), "far": ctx.get_output("fetch", "rate")}

    return flow


def flaky(name: str) -> Workflow:
    """A step that fails once and is then well."""
    flow, tries = Workflow(name), []

    @flow.step(retries=RetryPolicy(retries=2, delay=timedelta(milliseconds=10)))
    def fetch(ctx):
        tries.append(ctx.run_id)
        if tries.count(ctx.run_id) == 1:
            raise ConnectionError("the line is down")
        return {"rows": 1}

    @flow.step()
    def use(ctx):
        return ctx.get_output("fetch")

    return flow


def failing(name: str) -> Workflow:
    """A gate that says no; what comes after it is not run, what stands beside it is."""
    flow = Workflow(name)

    @flow.step(retries=3)
    def gate(ctx):
        quality = QualityMetrics(passed=False, reasons=("40% in a day",))
        return StepResult.fail("40% in a day", category="DATA_QUALITY", output={"move": 0.4}, quality=quality)

    @flow.step()
    def after(ctx):
        return {}

    @flow.step(after=[])
    def beside(ctx):
        return {"x": 1}

    return flow


def exhausted(name: str) -> Workflow:
    """A step that fails each time it is tried."""
    flow = Workflow(name)

    @flow.step(retries=1)
    def fetch(ctx):
        raise TimeoutError("no answer in 30 s")

    return flow


def raising(name: str) -> Workflow:
    """A bug."""
    flow = Workflow(name)

    @flow.step()
    def bug(ctx):
        return {"x": {}["missing"]}

    return flow


def set_returned(name: str) -> Workflow:
    """A step that returns what is no plain data."""
    flow = Workflow(name)

    @flow.step(retries=2)
    def tally(ctx):
        return {"symbols": {"IBM"}}

    return flow


def conflict(name: str) -> Workflow:
    """Two branches that write one parameter differently."""
    flow = Workflow(name)

    @flow.step(after=[])
    def one(ctx):
        return StepResult.ok(context_updates={"mode": "a"})

    @flow.step(after=[])
    def other(ctx):
        return StepResult.ok(context_updates={"mode": "b"})

    @flow.step(after=["one", "other"], retries=2)
    def join(ctx):
        return {"mode": ctx.params["mode"]}

    return flow


def conditional(name: str) -> Workflow:
    """A step whose condition does not hold, and a join after it."""
    flow = Workflow(name, params={"full": False})

    @flow.step()
    def fetch(ctx):
        return {"x": 1}

    @flow.step(when=lambda ctx: ctx.params["full"])
    def enrich(ctx):
        return {"y": 2}

    @flow.step(after="fetch")
    def report(ctx):
        return {"x": ctx.get_output("fetch", "x")}

    @flow.step(after=["enrich", "report"])
    def join(ctx):
        return {}

    return flow


def facts(result: RunResult) -> list[tuple[object, ...]]:
    """All that must not depend on the engine."""
    return [(s.name, s.status, s.attempts, s.error, s.category, s.quality) for s in result.steps]


def compare(flow: Workflow, **arguments: object) -> tuple[RunResult, RunResult]:
    """Run a workflow here and on Airflow; assert that they agree and return both results."""
    here = run(flow, batch_id="batch-1", trace_id="trace-1", **arguments)
    there = run_dag(workflow_dag(flow), batch_id="batch-1", trace_id="trace-1", **arguments)
    assert facts(there) == facts(here)
    assert there.status == here.status
    assert there.outputs_digest == here.outputs_digest
    for name in ("params", "partition", "as_of_date", "capture_id", "idempotency_key", "batch_id", "trace_id"):
        assert getattr(there.context, name) == getattr(here.context, name)
    return here, there


@pytest.mark.parametrize(
    ("build", "arguments"),
    [
        (ordinary, {"partition": KEY}),
        (ordinary, {"partition": {"symbol": "IBM", "date": date(2012, 10, 26)}, "params": {"limit": 4}}),
        (ordinary, {"partition": "date=2012-10-26,symbol=FB"}),
        (flaky, {}),
        (failing, {}),
        (exhausted, {}),
        (raising, {}),
        (set_returned, {}),
        (conflict, {}),
        (conditional, {}),
        (conditional, {"params": {"full": True}, "as_of_date": date(2026, 1, 9)}),
    ],
)
def test_airflow_equals_here(build: Callable[[str], Workflow], arguments: dict[str, object]) -> None:
    """Status, attempts, errors, outputs, parameters, dates and ids are the same."""
    compare(build(f"same_{build.__name__}"), **arguments)


def test_a_skip_cascades_with_its_reason() -> None:
    """What follows a skipped step is skipped for the same reason."""
    _, there = compare(ordinary("skips"), partition="2012-10-26|FB")
    assert there.status is StepStatus.SKIPPED
    assert {step.error for step in there.steps} == {"FB did not trade"}
    assert there["join"].attempts == 0


def test_a_failure_that_no_retry_mends_is_not_retried() -> None:
    """DATA_QUALITY fails at the first of four tries, with the step's own words."""
    _, there = compare(failing("gate"))
    assert (there["gate"].attempts, there["gate"].error) == (1, "40% in a day")
    assert there["after"].status is StepStatus.NOT_RUN
    assert there["beside"].status is StepStatus.OK


def test_an_output_too_large_needs_a_store(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Over the limit a step fails at once and says what to set; with a store its output is the same as here."""
    flow = Workflow("large")

    @flow.step(retries=2)
    def fetch(ctx):
        return {"rows": ["x" * 1000] * 100}

    @flow.step()
    def count(ctx):
        return {"n": len(ctx.get_output("fetch")["rows"])}

    refused = run_dag(workflow_dag(flow))
    assert refused["fetch"].attempts == 1
    assert "FLOWCTX_ARTIFACTS_URL" in str(refused["fetch"].error)
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", tmp_path.as_uri())
    compare(flow)


def test_a_failure_keeps_its_words_when_its_output_is_too_large() -> None:
    """What a failed step found is left out if it cannot be kept; why it failed is not."""
    flow = Workflow("large_failure")

    @flow.step()
    def gate(ctx):
        return StepResult.fail("40% in a day", category="DATA_QUALITY", output={"rows": ["x" * 1000] * 100})

    assert run_dag(workflow_dag(flow))["gate"].error == "40% in a day"


def test_dag_test_takes_a_partition_in_conf() -> None:
    """Airflow's own dag.test() runs a partition that conf names."""
    dag = workflow_dag(ordinary("tested"))
    run_dag(dag, partition=KEY)
    dag_run = dag.test(logical_date=None, run_conf={"partition": "date=2012-10-25,symbol=IBM", "batch_id": "b"})
    assert dag_run.state == "success"
    with create_session() as session:
        (fetched,) = session.query(XComModel).filter_by(run_id=dag_run.run_id, task_id="fetch").all()
    assert fetched.value["output"]["day"] == {"$date": "2012-10-25"}


def test_the_same_batch_writes_the_same_capture() -> None:
    """Two runs within a batch have one capture id; a run outside it has its own."""
    flow = ordinary("captures")
    dag = workflow_dag(flow)
    first, again = (run_dag(dag, partition=KEY, batch_id="b") for _ in range(2))
    alone = run_dag(dag, partition=KEY)
    assert first.run_id != again.run_id
    assert first.context.capture_id == again.context.capture_id == "2012-10-26|IBM|b"
    assert alone.context.capture_id == f"2012-10-26|IBM|{alone.run_id}"


def test_the_context_says_where_it_ran() -> None:
    """metadata["engine"] has Airflow's name, version and identifiers."""
    flow = Workflow("where")

    @flow.step()
    def look(ctx):
        return {"engine": ctx.metadata["engine"], "trace": ctx.trace_id}

    result = run_dag(workflow_dag(flow), run_id="manual__1")
    engine = result.context.get_output("look", "engine")
    assert engine == {
        "name": "airflow",
        "version": engine["version"],
        "dag_id": "where",
        "task_id": "look",
        "try_number": 1,
        "map_index": -1,
        "run_type": "manual",
    }
    assert result.run_id == "manual__1"
    assert result.context.get_output("look", "trace") == result.context.trace_id


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ContextError, "partitioned; pass partition="),
        ({"partition": "2012-10-27|IBM"}, UnknownPartition, "2012-10-26"),
        ({"partition": KEY, "params": ["x"]}, ContextError, "it must be a dict"),
        ({"partition": KEY, "params": {"batch_id": "b"}}, ContextError, "arguments of their own"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(arguments, error: type[Exception], words: str) -> None:
    """run_dag says what is wrong with a partition or parameters and makes no run."""
    with pytest.raises(error, match=words):
        run_dag(workflow_dag(ordinary("refuses")), **arguments)


QUIET = """
from flowctx import Workflow
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag

flow = Workflow("quiet")

@flow.step(retries=1)
def look(ctx):
    if ctx.metadata["engine"]["try_number"] == 1:
        raise ConnectionError("not yet")
    return {}

print(run_dag(workflow_dag(flow)).status)
"""


def test_it_makes_an_airflow_of_its_own_and_is_quiet(tmp_path) -> None:
    """Where no Airflow is configured it uses none, leaves nothing behind, and prints nothing."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", QUIET], env=env, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert not (tmp_path / "airflow" / "airflow.db").exists()
    assert not list(tmp_path.glob("flowctx-airflow-*"))
