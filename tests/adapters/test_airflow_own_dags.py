"""A DAG of one's own with single steps in it: what they take, what is recorded, and who is in the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.utils.session import create_session

from adapters.airflow_names import CronTriggerTimetable
from flowctx import AsOf, CaptureHeld, ContextError, Daily, PartitionScheme, Workflow, WorkflowError, resume
from flowctx.airflow import _compat, step_task, workflow_context, workflow_dag
from flowctx.airflow.context import run_context
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.testing import run_dag


def test_the_results_of_a_mapped_task_are_a_list_in_the_config(ledger) -> None:
    """What Airflow reads late is a list to the step, wherever it stands in its config, and is recorded so."""
    with DAG("rows_of_all") as dag:

        @task
        def fetch(symbol: str) -> dict:
            return {"symbol": symbol}

        @step_task
        def publish(ctx, config):
            return {"n": len(config["rows"]), "first": config["nested"]["rows"][0]}

        rows = fetch.expand(symbol=["AAPL", "IBM"])
        publish(config={"rows": rows, "nested": {"rows": rows}})
    done = run_dag(dag).raise_for_failure()
    assert done.context.get_output("publish") == {"n": 2, "first": {"symbol": "AAPL"}}
    (record,) = ledger.steps(ledger.get_run(done.run_id).key)
    assert record.config["rows"] == [{"symbol": "AAPL"}, {"symbol": "IBM"}]


def test_a_config_that_cannot_be_is_a_recorded_failure(ledger) -> None:
    """A step whose config holds what is no plain data fails, is recorded without it, and its run is over."""
    with DAG("odd_config") as dag:

        @task
        def symbols():
            return {"IBM"}

        @step_task
        def publish(ctx, config):
            return None

        publish(config={"symbols": symbols()})
    found = ledger.get_run(run_dag(dag).run_id)
    (record,) = ledger.steps(found.key)
    assert found.status is RunStatus.FAILED
    assert "config['symbols'] is a" in record.error


def one_step(dag_id: str) -> DAG:
    """Return a DAG of one step."""
    with DAG(dag_id) as dag:

        @step_task
        def load(ctx):
            return {"rows": 3}

        load()
    return dag


def hold(ledger, dag: DAG) -> RunRecord:
    """Return a run of the DAG that holds the capture of batch b, and that Airflow does not have: it was deleted."""
    ctx = ledger.get_run(run_dag(dag, batch_id="b", as_of_date="2026-01-12").run_id).context
    return ledger.begin(RunRecord(workflow=dag.dag_id, context=replace(ctx, run_id="gone"), steps=("load",)))


def test_a_deleted_run_holds_nothing(ledger) -> None:
    """A run that Airflow no longer has is over: the next one of the batch takes its capture."""
    dag = one_step("deleted")
    gone = hold(ledger, dag)
    run_dag(dag, batch_id="b", as_of_date="2026-01-12").raise_for_failure()
    assert ledger.get_run("gone").status is RunStatus.FAILED
    assert gone.status is RunStatus.RUNNING


@pytest.mark.parametrize(("code", "state"), [(404, _compat.DELETED), (500, None), (None, None)])
def test_a_worker_tells_a_deleted_run_from_a_trouble(code, state) -> None:
    """Only the answer that there is no such run is one; a server in trouble has not said it."""

    class Asked:
        def get_dagrun_state(self, dag_id, run_id):
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": code}))

    assert _compat.dag_run_state(Asked(), "dag", "run") == state


def test_what_holds_a_capture_can_be_freed(ledger) -> None:
    """The refusals name what frees the capture of a dead run of a DAG of one's own: Airflow itself."""
    hold(ledger, one_step("held"))
    with pytest.raises(WorkflowError, match="clear the tasks of the run in Airflow, or mark it as failed there"):
        resume("gone", ledger=ledger, take_over=True)
    held = ledger.get_run("gone").context
    with pytest.raises(CaptureHeld, match="if it is dead and its engine still calls it running, mark it as failed"):
        ledger.begin(RunRecord(workflow="held", context=replace(held, run_id="other")))


def test_a_run_of_dag_test_starts_now(ledger) -> None:
    """``DAG.test`` calls the logical date the start; what is due since is due, and the ledger has the time."""
    flow = Workflow("tried", partitions=PartitionScheme(date=Daily(start="2026-01-02")))
    flow.step("only")(lambda ctx: {"started": ctx.started_at})
    dag = workflow_dag(flow)
    run_dag(dag, partition="2026-01-09")  # makes the database, and stores the DAG
    before = datetime.now(UTC)
    done = dag.test(logical_date=datetime(2026, 1, 12, tzinfo=UTC), run_conf={"partition": "2026-01-12"})
    assert str(done.state) == "success"
    assert ledger.list_runs(partition=flow.partition_key("2026-01-12"))[0].context.started_at >= before


def test_a_logical_date_may_be_tried_again(ledger) -> None:
    """A second run_dag of one logical date takes the place of the first; a run that was no try is left alone."""
    dag, monday = one_step("tried_again"), datetime(2026, 1, 12, tzinfo=UTC)
    first, second = (run_dag(dag, logical_date=monday).raise_for_failure() for _ in range(2))
    assert first.run_id != second.run_id
    with pytest.raises(ContextError, match=f"has a run '{second.run_id}' already; pass another run_id="):
        run_dag(dag, run_id=second.run_id)
    with create_session() as session:
        session.query(DagRun).filter_by(run_id=second.run_id).update({"triggered_by": "TIMETABLE"})
    words = "has a run of the logical date 2026-01-12 00:00:00.00:00 already, 'flowctx__"
    with pytest.raises(ContextError, match=words):
        run_dag(dag, logical_date=monday)


def test_the_context_of_a_run_is_what_its_steps_saw() -> None:
    """A task's own rule for the business date is that of the context that run_dag returns."""
    with DAG("own_rule", schedule="0 6 * * *") as dag:

        @step_task(as_of=AsOf.previous_session("XNYS"))
        def load(ctx):
            return {"as_of": ctx.as_of_date, "capture": ctx.capture_id}

        load()
    done = run_dag(dag, logical_date=datetime(2026, 1, 12, 6, tzinfo=UTC), batch_id="b").raise_for_failure()
    assert done.context.as_of_date == done.context.get_output("load", "as_of") == date(2026, 1, 9)
    assert done.context.capture_id == done.context.get_output("load", "capture") == "2026-01-09|b"


HOLIDAY = datetime(2026, 1, 19, 11, tzinfo=UTC)  # six in the morning in New York
MORNINGS = CronTriggerTimetable("0 6 * * MON-FRI", timezone="America/New_York")


def disagreeing(dag_id: str, **of_dag) -> DAG:
    """Return a DAG of two steps, of which only the first has a rule of its own."""
    with DAG(dag_id, schedule=MORNINGS, **of_dag) as dag:

        @step_task(as_of=AsOf.last_session("XNYS"))
        def load(ctx):
            return {"day": ctx.as_of_date}

        @step_task
        def report(ctx):
            return {"day": ctx.as_of_date}

        report(load())
    return dag


def test_the_steps_of_a_run_have_one_business_date(ledger) -> None:
    """A step that would be about another date than its run is recorded with is refused, with both dates."""
    done = run_dag(disagreeing("two_dates"), logical_date=HOLIDAY)
    assert done["load"].status == "ok"
    for words in ("as of 2026-01-16", "is as of 2026-01-19", "DAG(default_args={'as_of': AsOf...})"):
        assert words in done["report"].error
    assert ledger.get_run(done.run_id).context.as_of_date == date(2026, 1, 16)


def test_the_steps_of_a_partition_without_a_scheme_have_one_business_date(ledger) -> None:
    """One step takes the date of the key, and one by its rule the session before: the second is refused."""
    done = run_dag(disagreeing("two_dates_of_a_key"), partition={"date": "2026-01-19"})
    for words in ("as of 2026-01-16 (from partition.date+last_session:XNYS)", "is as of 2026-01-19"):
        assert words in done["report"].error


def test_the_first_step_of_a_partition_without_a_scheme_warns_of_two_dates(caplog) -> None:
    """A worker that sees no other step of the run compares the rules of the DAG."""
    times = dict.fromkeys(("logical_date", "partition_date", "data_interval_start", "data_interval_end", "run_after"))
    facts = {"run_id": "r", "run_type": "manual", "clear_number": 0, "start_date": None, "partition_key": None}
    run = SimpleNamespace(conf={"partition": {"date": "2026-01-19"}}, **facts, **times)
    context = {"dag": disagreeing("two_dates_of_a_first_step"), "dag_run": run}
    assert run_context(context, AsOf.last_session("XNYS")).as_of_date == date(2026, 1, 16)
    assert "two business dates, 2026-01-16 (from partition.date+last_session:XNYS) and 2026-01-19" in caplog.text


def test_without_a_ledger_two_dates_are_warned_of(caplog, monkeypatch) -> None:
    """Nobody remembers the first step's date, so the log of each step says that the rules of the DAG differ."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    run_dag(disagreeing("two_dates_unrecorded"), logical_date=HOLIDAY)
    assert "two business dates, 2026-01-16 (from fired_at+last_session:XNYS) and 2026-01-19" in caplog.text


def test_a_dag_says_the_rule_once() -> None:
    """``default_args`` hold for steps, plain tasks and templates; a step's own rule still wins."""
    seen = {}
    with DAG("one_rule", schedule=MORNINGS, default_args={"as_of": AsOf.previous_session("XNYS")}) as dag:

        @step_task
        def load(ctx):
            return {"day": ctx.as_of_date}

        @task
        def report(shown: str) -> None:
            seen["call"], seen["template"] = workflow_context().as_of_date, shown

        load() >> report("{{ macros.flowctx.as_of_date }}")
    done = run_dag(dag, logical_date=HOLIDAY).raise_for_failure()
    assert seen == {"call": date(2026, 1, 16), "template": "2026-01-16"}
    assert done.context.as_of_date == done.context.get_output("load", "day") == date(2026, 1, 16)


def test_calls_with_rules_of_their_own_are_warned_of(caplog) -> None:
    """Two plain calls of one run that disagree are said once, with both dates and the remedy."""
    with DAG("two_calls", schedule=MORNINGS) as dag:

        @task
        def load() -> None:
            workflow_context(AsOf.previous_session("XNYS"))
            workflow_context()
            workflow_context()

        load()
    run_dag(dag, logical_date=HOLIDAY).raise_for_failure()
    assert caplog.text.count("two business dates, 2026-01-16") == 1
    assert "default_args" in caplog.text


def test_slips_of_whoever_runs_a_dag_are_heard() -> None:
    """run_dag refuses a slip of a reserved name, and shows what a step warns of, in a DAG of one's own too."""
    with DAG("slips") as dag:

        @step_task
        def first(ctx):
            return {"n": 1}

        @step_task
        def second(ctx):
            return {"n": ctx.get_output("frist")}

        second(first())
    with pytest.raises(ContextError, match="DAG 'slips' has no parameter 'bach_id'; did you mean 'batch_id'"):
        run_dag(dag, params={"bach_id": "y"})
    with pytest.warns(UserWarning, match=r"get_output\('frist'\).*did you mean 'first'"):
        run_dag(dag).raise_for_failure()


def test_wrong_arguments_are_told_in_one_sentence() -> None:
    """A logical date without a zone, a partition that cannot be, and a value in the place of a task are refused."""
    dag = one_step("wrong_arguments")
    for wrong in ("2026-01-12", datetime(2026, 1, 12)):  # noqa: DTZ001 - what is refused
        with pytest.raises(ContextError, match="must be a datetime with a time zone"):
            run_dag(dag, logical_date=wrong)
    with pytest.raises(ContextError, match="this DAG has no partitions, and '2026-01-12' no dimension"):
        run_dag(dag, partition="2026-01-12")
    with DAG("no_task"), pytest.raises(WorkflowError, match=r"load\(\) got 1, which is no task"):
        step_task(lambda ctx: None, task_id="load")(1)
