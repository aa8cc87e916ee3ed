"""Airflow's runs in the ledger: what is recorded of them, and what happens when it cannot be."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import clear_task_instances
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from adapters.airflow_names import DagSerialization
from flowctx import (
    BatchStatus,
    ContextError,
    ErrorCategory,
    LedgerUnavailable,
    PartitionScheme,
    RetryPolicy,
    StepResult,
    Workflow,
    resume,
    run,
)
from flowctx.airflow import StepOperator, _compat, recording, workflow_dag
from flowctx.airflow.running import _to_the_end, run_dag
from flowctx.core.durability.records import CaptureKey, RunKey, RunStatus
from flowctx.ledger import open_ledger

SYMBOLS = PartitionScheme(symbol=["AAPL", "IBM"])


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url, monkeypatch):
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def heard():
    """What flowctx logs; run_dag keeps it from the handlers of the root logger."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("flowctx").addHandler(handler)
    yield messages
    logging.getLogger("flowctx").removeHandler(handler)


def two_steps(name, calls, **how):
    """Return a workflow of two steps."""
    flow = Workflow(name, **how)

    @flow.step()
    def fetch(ctx):
        calls.append("fetch")
        return StepResult.ok({"run": ctx.run_id}, context_updates={"cursor": 7})

    @flow.step(retries=1)
    def load(ctx):
        calls.append("load")
        return {"cursor": ctx.params["cursor"], "limit": ctx.params.get("limit")}

    return flow


def clear(dag, run_id, *task_ids, conf=None):
    """Clear tasks as Airflow does, perhaps with another conf as a backfill that reprocesses a run, and run them."""
    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        dag_run.conf = conf if conf is not None else dag_run.conf
        dag_run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        chosen = [ti for ti in dag_run.get_task_instances(session=session) if ti.task_id in task_ids]
        clear_task_instances(chosen, session)
        dag_run.state = "running"
        session.commit()
        _to_the_end(dag, dag_run, session)


def test_each_task_is_recorded(ledger):
    """The run is there with its steps, its engine's own ids, and what it handed on."""
    done = run_dag(workflow_dag(two_steps("recorded", [])), batch_id="b").raise_for_failure()
    found = ledger.get_run(done.run_id)
    fetch, load = ledger.steps(found.key)
    assert (found.status, found.engine, found.steps) == (RunStatus.OK, "airflow", ("fetch", "load"))
    assert (fetch.updates, load.output, load.after) == ({"cursor": 7}, {"cursor": 7, "limit": None}, ("fetch",))
    assert found.context.metadata["engine"]["dag_id"] == "recorded"
    assert done.context.checkpoint is None


def test_the_tries_of_a_task_are_one_record(ledger):
    """A step that fails and is tried again keeps when it began; the run is not over before its last try."""
    flow, seen = Workflow("tries"), []

    @flow.step(retries=RetryPolicy(retries=2, delay=timedelta(milliseconds=10)))
    def fetch(ctx):
        seen.extend((record.status, record.attempts, found.status) for found, record in recorded(ctx))
        if len(seen) < 2:
            raise ConnectionError("the line is down")

    def recorded(ctx):
        found = ledger.get_run(ctx.run_id)
        return [(found, record) for record in ledger.steps(found.key)]

    done = run_dag(workflow_dag(flow))
    assert seen == [("failed", 1, RunStatus.RUNNING), ("failed", 2, RunStatus.RUNNING)]
    found = ledger.get_run(done.run_id)
    assert (found.status, ledger.steps(found.key)[0].attempts) == (RunStatus.OK, 3)


def test_a_failed_run_says_why(ledger):
    """The run's error names the step and what it said."""
    flow = Workflow("fails")
    flow.step("gate")(lambda ctx: StepResult.fail("40% in a day", category="DATA_QUALITY"))
    flow.step("later")(lambda ctx: None)
    found = ledger.get_run(run_dag(workflow_dag(flow)).run_id)
    assert (found.status, found.error) == (RunStatus.FAILED, "step 'gate': 40% in a day")


def test_each_mapped_instance_is_a_run(ledger):
    """Instances of a mapped group are recorded each under its own partition, and the reduce step beside them."""
    dag = workflow_dag(two_steps("mapped", [], partitions=SYMBOLS), map_over=["symbol"], reduce=lambda_free)
    done = run_dag(dag, batch_id="b").raise_for_failure()
    status = BatchStatus.of(ledger, "b")
    assert (status.counts, status.outside) == ({"ok": 2}, {"ok": 1})
    found = {str(run.context.partition): run for run in ledger.list_runs(workflow="mapped")}
    assert {key: (run.status, run.steps) for key, run in found.items()} == {
        "None": (RunStatus.OK, ("lambda_free",)),
        "symbol=AAPL": (RunStatus.OK, ("fetch", "load")),
        "symbol=IBM": (RunStatus.OK, ("fetch", "load")),
    }
    assert {run.run_id for run in found.values()} == {done.run_id}


def test_a_mapped_run_goes_on_with_what_each_instance_completed(ledger):
    """In the run that continues it, only what failed runs, and the reduce step sees all."""
    calls, flow = [], Workflow("fanned", partitions=SYMBOLS, params={"fix": 0})

    @flow.step()
    def fetch(ctx):
        calls.append(f"fetch {ctx.partition.symbol}")

    @flow.step()
    def load(ctx):
        calls.append(f"load {ctx.partition.symbol}")
        if ctx.partition.symbol == "IBM" and not ctx.params["fix"]:
            return StepResult.fail("not yet", category="DATA_QUALITY")
        return {"symbol": ctx.partition.symbol}

    dag = workflow_dag(flow, map_over=["symbol"], reduce=lambda_free)
    failed = run_dag(dag)
    calls.clear()
    done = run_dag(dag, resume_from=failed.run_id, params={"fix": 1}).raise_for_failure()
    assert (calls, done.context.get_output("lambda_free")) == (["load IBM"], {"loaded": ["AAPL", "IBM"]})


@pytest.mark.parametrize("kind", ["AirflowFailException", "AirflowSensorTimeout"])
def test_a_step_that_says_it_failed_for_good_is_recorded(kind, ledger):
    """By Airflow's own exceptions: the failure is in the ledger with its words, and there is no other try."""
    flow = Workflow("for_good")

    @flow.step(retries=RetryPolicy(retries=2, delay=timedelta(milliseconds=10)))
    def fetch(ctx):
        raise getattr(_compat.exceptions, kind)("the vendor has closed")

    flow.step("load")(lambda ctx: None)
    failed = run_dag(workflow_dag(flow), batch_id="b")
    assert (failed["fetch"].attempts, failed["fetch"].error) == (1, f"{kind}: the vendor has closed")
    found = ledger.get_run(failed.run_id)
    assert (found.status, found.error) == (RunStatus.FAILED, f"step 'fetch': {kind}: the vendor has closed")
    [record] = ledger.steps(found.key)
    assert (record.step, record.status, record.attempts) == ("fetch", "failed", 1)


def lambda_free(ctx):
    """Reduce."""
    return {"loaded": sorted(ctx.get_output("load"))}


@pytest.mark.parametrize("where", ["here", "airflow"])
def test_what_instances_have_made_elsewhere_since_is_gathered(ledger, where):
    """One that was complete was made again here, or by another run; the step after all is cleared, and reads that."""
    flow = Workflow(f"gathered_{where}", partitions=SYMBOLS, params={"n": 1})
    flow.step("load")(lambda ctx: {"n": ctx.params["n"]})

    def total(ctx):
        return {symbol: output["n"] for symbol, output in ctx.get_output("load").items()}

    dag = workflow_dag(flow, map_over=["symbol"], reduce=total)
    done = run_dag(dag)
    assert done.context.get_output("total") == {"AAPL": 1, "IBM": 1}
    again = {"partition": "IBM", "from_step": "load", "params": {"n": 2}}
    if where == "here":
        resume(done.run_id, flow, **again).raise_for_failure()
    else:
        run_dag(workflow_dag(flow, dag_id="one_by_one"), resume_from=done.run_id, **again).raise_for_failure()
    clear(dag, done.run_id, "total")
    [record] = ledger.steps(RunKey(workflow=flow.name, run_id=done.run_id))
    assert record.output == {"AAPL": 1, "IBM": 2}


def test_loose_steps_end_their_run(ledger):
    """Steps of no workflow are recorded under the DAG's name, with what they follow through ordinary tasks."""
    with DAG("loose") as dag:

        @task.step
        def one(ctx):
            return {"n": 1}

        @task
        def between(): ...

        @task.step(config={"factor": 3})
        def two(ctx, config):
            return {"n": ctx.get_output("one", "n") * config["factor"]}

        one() >> between() >> two()
    found = ledger.get_run(run_dag(dag).raise_for_failure().run_id)
    assert (found.workflow, found.status) == ("loose", RunStatus.OK)
    last = ledger.steps(found.key)[-1]
    assert (last.step, last.after, last.config, last.output) == ("two", ("one",), {"factor": 3}, {"n": 3})


def test_loose_steps_cannot_be_continued(ledger):
    """Without a workflow nobody knows the steps: asked to continue a run, they say what to do instead."""
    with DAG("cannot") as dag:
        StepOperator(step=lambda_each)
    result = run_dag(dag, resume_from="run-1")
    assert "clear the failed tasks of that run instead" in result["lambda_each"].error


def test_instances_that_are_no_partitions_are_not_recorded(ledger):
    """They would overwrite each other's records."""
    with DAG("over_config") as dag:
        StepOperator.partial(task_id="each", step=lambda_each).expand(config=[{"n": 1}, {"n": 2}])
    done = run_dag(dag).raise_for_failure()
    assert (len(done.steps), ledger.list_runs()) == (2, [])


def lambda_each(ctx, config):
    """Return what it was given."""
    return dict(config)


def test_a_cleared_task_runs_again_in_the_same_run(ledger):
    """A clear is no resumption: the task runs, and its record is replaced; the time until then is none of its."""
    calls = []
    dag = workflow_dag(two_steps("cleared", calls))
    done = run_dag(dag)
    before = ledger.now()
    clear(dag, done.run_id, "load")
    found = ledger.get_run(done.run_id)
    assert [record.started_at > before for record in ledger.steps(found.key)] == [False, True]
    assert calls == ["fetch", "load", "load"]
    assert (found.status, found.attempt) == (RunStatus.OK, 1)
    assert [record.attempts for record in ledger.steps(found.key)] == [1, 2]


def test_a_cleared_step_of_which_airflow_has_not_heard_is_handed_on(ledger, monkeypatch):
    """A task that dies after the record is complete since the clear: its next try does not run the step again."""
    calls, tries = [], []
    flow = Workflow("unheard")
    policy = RetryPolicy(retries=1, delay=timedelta(milliseconds=10))
    flow.step("load", retries=policy)(lambda ctx: calls.append("load"))
    dag = workflow_dag(flow)
    done = run_dag(dag)

    def tell_assets(operator, context, ctx):
        tries.append(context["ti"].try_number)
        if len(tries) == 1:
            raise ConnectionError("as of a process that ends before Airflow hears of it")

    monkeypatch.setattr(StepOperator, "tell_assets", tell_assets)
    clear(dag, done.run_id, "load")
    found = ledger.get_run(done.run_id)
    assert (calls, tries, found.status) == (["load", "load"], [2, 3], RunStatus.OK)


def test_a_cleared_run_goes_on_until_all_that_failed_has_run_again(ledger):
    """Of two branches that failed, one is well again: the run is not failed until the other has begun, too."""
    begun = []
    flow = Workflow("branches")

    def branch(ctx):
        begun.append(ledger.get_run(ctx.run_id).begun_at)
        return StepResult.fail("no answer") if len(begun) <= 2 else None

    for name in ("left", "right"):
        flow.step(name, after=[])(branch)
    dag = workflow_dag(flow)
    failed = run_dag(dag)
    assert ledger.get_run(failed.run_id).status is RunStatus.FAILED
    clear(dag, failed.run_id, "left", "right")
    found = ledger.get_run(failed.run_id)
    assert (found.status, len(begun)) == (RunStatus.OK, 4)
    assert begun[2] == begun[3] == found.begun_at > begun[1]


def test_of_a_run_that_is_marked_no_step_begins_any_more(ledger, monkeypatch):
    """Nor does one that joins what another one, which started with it, has begun already: the run is canceled."""
    calls = []
    flow = Workflow("marked_meanwhile")
    for name in ("left", "right"):
        flow.step(name, after=[])(lambda ctx: calls.append("called"))
    monkeypatch.setattr(recording, "dag_run_state", lambda *of: "failed" if calls else "running")
    done = run_dag(workflow_dag(flow))
    found = ledger.get_run(done.run_id)
    assert (calls, found.status) == (["called"], RunStatus.CANCELED)
    assert found.error == "it was marked as failed in Airflow"


def test_a_reprocessed_run_is_what_its_new_conf_says(ledger):
    """A run that is cleared with other parameters in another batch is a new attempt, with another capture."""
    dag = workflow_dag(two_steps("reprocessed", []))
    done = run_dag(dag, batch_id="one", params={"limit": 1})
    clear(dag, done.run_id, "fetch", "load", conf={"batch_id": "two", "limit": 2})
    found = ledger.get_run(done.run_id)
    assert (found.status, found.attempt, found.context.capture_id) == (RunStatus.OK, 2, f"{done.run_id}|two")
    assert (found.context.params, ledger.steps(found.key)[-1].output["limit"]) == ({"limit": 2}, 2)
    assert [c.key.capture_id for c in ledger.captures(workflow="reprocessed")] == [
        f"{done.run_id}|one",
        f"{done.run_id}|two",
    ]


def test_a_run_that_is_taken_over_stops(ledger):
    """A task whose run is resumed elsewhere meanwhile fails at once, whatever its retries, and what it did is void."""
    flow, calls = Workflow("taken"), []

    @flow.step(retries=2)
    def slow(ctx):
        calls.append(ctx.metadata["engine"]["name"])
        if calls == ["airflow"]:
            resume(ctx.run_id, flow, take_over=True)
        return {"by": ctx.metadata["engine"]["name"]}

    result = run_dag(workflow_dag(flow))
    assert calls == ["airflow", "local"]
    assert "taken over elsewhere" in result["slow"].error
    found = ledger.get_run(result.run_id)
    assert (found.status, ledger.steps(found.key)[0].output) == (RunStatus.OK, {"by": "local"})


def test_a_captured_partition_may_be_left_alone(ledger):
    """With ``skip``, a run whose partition is captured already is skipped, and says by which capture."""
    flow = two_steps("skips", [], partitions=SYMBOLS)
    run(flow, partition="IBM", batch_id="b").raise_for_failure()
    result = run_dag(workflow_dag(flow), partition="IBM", on_captured="skip")
    assert [entry.status for entry in result.steps] == ["skipped", "skipped"]
    assert "IBM|b" in result["fetch"].error


def test_a_step_reads_its_run_once_before_it_begins(ledger, monkeypatch):
    """All that is checked of it then is checked on one record."""
    calls, kind = [], type(ledger)

    def counted(name, call):
        monkeypatch.setattr(kind, name, lambda *args, **how: (calls.append(name), call(*args, **how))[1])

    counted("get_run", kind.get_run)
    counted("runs_of", kind.runs_of)
    counted("begin", kind.begin)
    run_dag(workflow_dag(two_steps("once", []))).raise_for_failure()
    assert calls[: calls.index("begin") + 1] == ["runs_of", "begin"]


def test_a_capture_that_another_run_writes_is_refused(ledger):
    """Two runs of one batch do not write the same capture at once."""
    flow = two_steps("held", [], partitions=SYMBOLS)
    done = run(flow, partition="IBM", batch_id="b")
    key = CaptureKey(idempotency_key=done.context.idempotency_key, capture_id="IBM|b")
    ledger.claim(key, holder="somebody", lease=timedelta(hours=1))
    assert run_dag(workflow_dag(flow), partition="IBM", batch_id="b")["fetch"].error.startswith("CaptureHeld: ")


def test_a_run_id_is_of_one_dag(ledger):
    """A second DAG of the workflow would replace what the first has made under the same id: it is refused."""
    flow = two_steps("twice", [])
    first, second = (workflow_dag(flow, dag_id=name) for name in ("twice", "twice_again"))
    run_dag(first, run_id="eod", params={"limit": 1}).raise_for_failure()
    refused = run_dag(second, run_id="eod", params={"limit": 2})["fetch"]
    assert refused.error.startswith(
        "ContextError: run 'eod' of workflow 'twice' is one of DAG 'twice' already, and DAG"
    )
    assert refused.error.endswith("'twice_again' would replace what that made; start its run with another run id")
    known = ledger.get_run("eod")
    assert (known.status, known.context.params["limit"]) == (RunStatus.OK, 1)


@pytest.mark.parametrize("where", ["airflow", "here"])
def test_a_run_id_is_of_one_dag_whoever_went_on_with_it(ledger, where):
    """One that would replace a step of the first is refused, also where a second one, or a resume here, came since."""
    flow = Workflow(f"shared_{where}")
    flow.step("fetch")(lambda ctx: {"n": 1})
    flow.step("load", after=[])(lambda ctx: {"n": 2})

    def made(dag_id, step):
        with DAG(f"{flow.name}_{dag_id}") as dag:
            StepOperator(step=flow[step], workflow=flow)
        return run_dag(dag, run_id="eod")

    made("one", "fetch").raise_for_failure()
    if where == "airflow":
        made("two", "load").raise_for_failure()
    else:
        resume("eod", flow, ledger=ledger).raise_for_failure()
    refused = made("three", "fetch")["fetch"]
    assert f"is one of DAG '{flow.name}_one' already" in refused.error
    known = ledger.get_run("eod")
    assert (known.status, sorted(ledger.statuses(known.key))) == (RunStatus.OK, ["fetch", "load"])


def test_a_schedule_names_runs_of_two_dags_alike(ledger, heard):
    """Nobody could name them otherwise, so that the second is warned of, and runs."""
    flow = two_steps("daily", [])
    for dag_id in ("daily", "daily_again"):
        dag = workflow_dag(flow, dag_id=dag_id)
        run_dag(dag)  # makes the database
        with create_session() as session:
            how = {"conf": {}, "logical_date": None, "partition_key": None, "session": session, "run_type": "scheduled"}
            _to_the_end(dag, _compat.start_run(dag, run_id="scheduled__1", **how), session)
    assert any("is one of DAG 'daily' already, and DAG 'daily_again' replaces what that made" in text for text in heard)


def test_two_dags_may_make_one_run(ledger):
    """A workflow whose steps two DAGs have is one run where those have the same id."""
    flow = two_steps("split", [])
    for name in flow.steps:
        with DAG(f"split_{name}") as dag:
            StepOperator(step=flow[name], workflow=flow)
        run_dag(dag, run_id="one", params={"cursor": 1})
    assert ledger.get_run("one").status is RunStatus.OK


@pytest.mark.parametrize("strict", [True, False])
def test_a_ledger_that_goes_away_as_a_run_goes_on_stops_strict_steps_alone(ledger, monkeypatch, strict):
    """Of which DAG the run was in its earlier attempts is not known then."""
    flow = Workflow(f"goes_away_{strict}")
    flow.step("fetch")(lambda ctx: {"n": 1})
    flow.step("load", after=[])(lambda ctx: {"n": 2})
    run_parts = {}
    for step in flow.steps:
        with DAG(f"goes_away_{strict}_{step}") as run_parts[step]:
            StepOperator(step=flow[step], workflow=flow)
    run_dag(run_parts["fetch"], run_id="eod").raise_for_failure()
    resume("eod", flow, ledger=ledger).raise_for_failure()

    def away(*args):
        raise LedgerUnavailable("the ledger is away")

    monkeypatch.setattr(type(ledger), "context", away)
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "strict" if strict else "lenient")
    assert (run_dag(run_parts["load"], run_id="eod")["load"].status == "failed") is strict


def test_a_ledger_that_is_away_stops_a_strict_run(tmp_path, monkeypatch):
    """Strict: the step fails before it runs, and says what is wrong."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")
    calls = []
    result = run_dag(workflow_dag(two_steps("away", calls)))
    assert "LedgerUnavailable: the ledger" in result["fetch"].error
    assert "cannot be opened" in result["fetch"].error
    assert calls == []


def test_a_ledger_that_is_away_is_said_of_a_lenient_run(tmp_path, monkeypatch, heard):
    """Lenient: the run goes on as without a ledger, and the log says so."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    done = run_dag(workflow_dag(two_steps("lenient", []))).raise_for_failure()
    assert done.context.get_output("load", "cursor") == 7
    with create_session() as session:
        pushed = session.query(XComModel).filter_by(run_id=done.run_id, key="return_value").all()
    assert [row.value["ledger"] for row in pushed] == [True, True]  # by which a launch knows what is missing
    # The end of the run before may be heard of now, too: a thread writes it.
    assert any(text.startswith(f"run {done.run_id} is not recorded: the ledger") for text in heard)


def test_a_lenient_step_says_that_the_ledger_of_its_inputs_is_away(tmp_path, monkeypatch):
    """There is no input without it, and a retry may help."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    flow = Workflow("reads_away")
    flow.step("read", inputs={"x": two_steps("read_away", []).output("load")})(lambda ctx, *, x: None)
    failed = run_dag(workflow_dag(flow))["read"]
    assert "LedgerUnavailable: the ledger" in failed.error
    assert failed.category is ErrorCategory.TRANSIENT


@pytest.mark.parametrize("kind", ["uri", "json"])
def test_an_airflow_connection_may_name_the_ledger(url, kind, monkeypatch):
    """``[flowctx] ledger_conn_id`` names the connection, where the environment names no ledger."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    path = url.removeprefix("sqlite:///")
    text = url if kind == "uri" else f'{{"conn_type": "sqlite", "host": "{path}"}}'
    monkeypatch.setenv(f"AIRFLOW_CONN_LEDGER_{kind.upper()}", text)
    monkeypatch.setenv("AIRFLOW__FLOWCTX__LEDGER_CONN_ID", f"ledger_{kind}")
    done = run_dag(workflow_dag(two_steps("connected", []))).raise_for_failure()
    ledger = open_ledger(url)
    assert ledger.get_run(done.run_id).status is RunStatus.OK
    ledger.close()


def test_wrong_requests_are_refused(ledger):
    """What is asked of a run must be what it can be; nothing runs otherwise."""
    calls = []
    with pytest.raises(ContextError, match="from_step='load' is for a run that continues another; add resume_from"):
        run_dag(workflow_dag(two_steps("wrong", calls)), from_step="load")
    assert calls == []
