"""Fan-out: the values of a dimension as instances of a mapped task group, and the step that takes them all."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from flowctx import ContextError, Daily, PartitionScheme, StepResult, StepStatus, Workflow, WorkflowError, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.context import run_context
from flowctx.testing import run_dag

SYMBOLS = ["AAPL", "FB", "IBM"]
SCHEME = PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS"), symbol=SYMBOLS)


def fan(name: str, scheme: PartitionScheme = SCHEME) -> Workflow:
    """Two steps; one partition skips."""
    flow = Workflow(name, partitions=scheme)

    @flow.step()
    def fetch(ctx):
        if ctx.partition.symbol == "FB":
            return StepResult.skip("FB did not trade")
        return StepResult.ok({"key": str(ctx.partition), "capture": ctx.capture_id}, {"last": ctx.partition.symbol})

    @flow.step()
    def check(ctx):
        assert ctx.params["last"] == ctx.partition.symbol
        return {"fetched": ctx.get_output("fetch", "key"), "idempotency_key": ctx.idempotency_key}

    return flow


def summary(ctx) -> dict:
    """Take all instances."""
    return {
        "fetch": ctx.get_output("fetch"),
        "checked": [k for k, v in ctx.get_output("check").items() if v],
        "as_of": ctx.as_of_date,
        "partition": str(ctx.partition),
    }


def test_each_value_is_an_instance_with_its_own_partition() -> None:
    """A mapped instance sees the same context and gives the same output as a run of its own."""
    flow = fan("each")
    result = run_dag(workflow_dag(flow, map_over=["symbol"]), partition={"date": "2012-10-26"}, batch_id="b")
    alone = run(flow, partition="2012-10-26|IBM", batch_id="b")
    assert result.context.get_output("fetch", "IBM") == alone.context.get_output("fetch")
    assert result.context.get_output("check", "IBM") == alone.context.get_output("check")
    assert result["fetch[FB]"].error == result["check[FB]"].error == "FB did not trade"
    assert result["check[AAPL]"].status is StepStatus.OK


@pytest.mark.parametrize(
    ("scheme", "stated"),
    [
        (PartitionScheme(symbol=SYMBOLS), {"symbol": "IBM"}),
        (PartitionScheme(symbol=SYMBOLS), "symbol=IBM"),
        (SCHEME, {"date": "2012-10-26", "symbol": "IBM"}),
    ],
)
def test_a_run_that_does_all_values_is_not_told_one(scheme: PartitionScheme, stated: dict[str, str] | str) -> None:
    """A batch or a person that asks for one partition does not get all of them: for each partition, all once."""
    dag = workflow_dag(flow := fan("told", scheme), map_over=["symbol"], schedule=None)
    run_of_person = SimpleNamespace(run_id="r", conf={"partition": stated}, partition_key=None, logical_date=None)
    context = {"dag": dag, "dag_run": run_of_person}
    with pytest.raises(ContextError, match="a run of this DAG does all values of symbol; leave out symbol, or"):
        run_context(context, workflow=flow, map_values={"symbol": "IBM"})


def test_a_schedule_of_ones_own_reads_the_other_values_alone() -> None:
    """Without keys of Airflow's the values that are left are read as with them, and by the reduce step, too."""
    dag = workflow_dag(fan("own"), map_over=["symbol"], reduce=summary, schedule=None)
    report = run_dag(dag, partition="2012-10-26", batch_id="b").raise_for_failure().context.get_output("summary")
    assert report["fetch"]["IBM"]["capture"] == "2012-10-26|IBM|b"
    assert (report["partition"], str(report["as_of"])) == ("date=2012-10-26", "2012-10-26")


@pytest.mark.parametrize("own", [{}, {"schedule": None}])
def test_delays_may_differ_by_what_is_mapped(own) -> None:
    """A run of all values is due after the longest delay, with keys of Airflow's and a schedule of one's own."""
    delays = {"symbol": {symbol: timedelta(days=days) for days, symbol in enumerate(SYMBOLS)}}
    scheme = PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS", delay=delays), symbol=SYMBOLS)
    dag = workflow_dag(fan(f"delays{len(own)}", scheme), map_over=["symbol"], **own)
    result = run_dag(dag, partition="2012-10-26", batch_id="b").raise_for_failure()
    assert result.context.get_output("check", "IBM")["fetched"] == "date=2012-10-26|symbol=IBM"


def test_the_reduce_step_sees_all_instances_with_their_holes() -> None:
    """Outputs are keyed by value, None where an instance was skipped; the run's own partition is the rest."""
    dag = workflow_dag(fan("reduced"), map_over=["symbol"], reduce=summary)
    report = run_dag(dag, partition="2012-10-26", batch_id="b").raise_for_failure().context.get_output("summary")
    assert report["fetch"]["FB"] is None
    assert report["fetch"]["IBM"]["capture"] == "2012-10-26|IBM|b"
    assert list(report["fetch"]) == SYMBOLS
    assert report["checked"] == ["AAPL", "IBM"]
    assert (report["partition"], str(report["as_of"])) == ("date=2012-10-26", "2012-10-26")


def test_all_dimensions_may_be_mapped() -> None:
    """Without a dimension left the runs have no partition, and an instance stands for a whole key."""
    scheme = PartitionScheme(tier=["T1", "T2"], symbol=["IBM"])
    dag = workflow_dag(fan("whole", scheme), map_over=["tier", "symbol"], reduce=lambda_free)
    result = run_dag(dag).raise_for_failure()
    assert result.context.get_output("lambda_free") == {"labels": ["T1|IBM", "T2|IBM"]}


def lambda_free(ctx) -> dict:
    """Say which instances there are."""
    return {"labels": list(ctx.get_output("check"))}


def test_a_failed_instance_stops_the_reduce_step() -> None:
    """The reduce step is not run when an instance failed; the others are done."""
    flow = Workflow("one_bad", partitions=PartitionScheme(symbol=SYMBOLS))

    @flow.step()
    def fetch(ctx):
        return StepResult.fail("no", category="DATA_QUALITY") if ctx.partition.symbol == "FB" else {}

    result = run_dag(workflow_dag(flow, map_over=["symbol"], reduce=summary))
    assert [s.status for s in result.steps] == ["ok", "failed", "ok", "not_run"]


def test_instances_skip_and_fail_for_themselves() -> None:
    """A join waits for the steps before it in its own instance, and is what it is in a run of that alone."""
    flow = Workflow("joins", partitions=SCHEME)
    news, check = {"AAPL", "IBM"}, {"FB", "IBM"}

    def skips(ctx):
        return StepResult.skip("nothing new") if ctx.partition.symbol in news else StepResult.ok({"n": 1})

    def fails(ctx):
        return StepResult.fail("wrong", "DATA_QUALITY") if ctx.partition.symbol in check else StepResult.ok({"n": 2})

    flow.step("news", after=[])(skips)
    flow.step("fetch", after=[])(lambda ctx: None)
    flow.step("check", after=["fetch"])(fails)
    flow.step("join", after=["news", "check"])(lambda ctx: None)
    flow.step("publish", run_if="not_failed")(lambda ctx: {"seen": sorted(ctx.step_outputs)})
    there = run_dag(workflow_dag(flow, map_over=["symbol"]), partition="2012-10-26")
    for symbol in SYMBOLS:
        alone = run(flow, partition=f"2012-10-26|{symbol}")
        for step in alone.steps:
            mapped = there[f"{step.name}[{symbol}]"]
            assert (mapped.status, mapped.attempts, mapped.error) == (step.status, step.attempts, step.error)


def test_instances_are_labelled_by_their_partition() -> None:
    """The label that the UI shows is the value, not the index."""
    dag = workflow_dag(fan("labels"), map_over=["symbol"])
    assert {task.map_index_template for task in dag.tasks} == {"{{ ti.task.map_values.values() | join('|') }}"}
    assert {task.labels for task in dag.tasks} == {tuple(SYMBOLS)}


@pytest.mark.parametrize("count", [1024, 1025])
def test_airflows_limit_is_said_when_the_dag_is_made(count: int) -> None:
    """1,024 instances are allowed; one more is refused with the remedy."""
    flow = fan("limit", PartitionScheme(symbol=[f"S{n}" for n in range(count)]))
    if count == 1024:
        assert len(workflow_dag(flow, map_over="symbol").get_task("fetch").labels) == count
    else:
        with pytest.raises(WorkflowError, match=r"1,025 instances, and Airflow allows 1,024 .*max_map_length"):
            workflow_dag(flow, map_over=["symbol"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"map_over": ["venue"]}, "its dimensions are date, symbol"),
        ({"map_over": ["date"]}, "is its cadence"),
        ({"map_over": "fund"}, "cannot be mapped over 'fund'; its dimensions are"),
        ({"reduce": summary}, "name the dimensions"),
    ],
)
def test_wrong_dimensions_are_refused(arguments, words: str) -> None:
    """What cannot be mapped over is an error that names what can."""
    with pytest.raises(WorkflowError, match=words):
        workflow_dag(fan("refused"), **arguments)
