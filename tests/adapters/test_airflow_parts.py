"""Runs of a part of a workflow on Airflow: cleared, marked, or with steps that the DAG does not have."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version

import pytest
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed, set_dag_run_state_to_success
from airflow.api_fastapi.core_api.datamodels.tasks import TaskResponse
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.sdk import DAG, TaskGroup, task
from airflow.utils.session import create_session

from adapters.airflow_names import DagSerialization
from flowctx import PartitionKey, PartitionScheme, StepResult, Workflow
from flowctx.airflow import StepOperator, _compat, endings, task_states, workflow_dag
from flowctx.airflow.endings import end_of_dag_run, record_end
from flowctx.airflow.outputs import instance_states
from flowctx.airflow.running import _to_the_end, run_dag
from flowctx.backfill.airflow_tasks import never_ran, tasks_by_id
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.engine_versions import numbers
from flowctx.core.workflow.run_context import begin


def three_steps(name, broken):
    """Return a workflow whose first step fails while ``broken`` has something in it."""
    flow = Workflow(name)

    @flow.step()
    def first(ctx):
        return StepResult.fail("no file", category="DATA_QUALITY") if broken else {"n": 1}

    flow.step("second")(lambda ctx: {"n": ctx.get_output("first", "n")})
    flow.step("third")(lambda ctx: {"n": 3})
    return flow


def change(dag, run_id, *, clear=(), mark=()):
    """Clear tasks and mark tasks, by default as successful, as people do in the UI, and let the run go on."""
    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        dag_run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        instances = {ti.task_id: ti for ti in dag_run.get_task_instances(session=session)}
        for task_id in mark:
            instances[task_id].state = mark[task_id] if isinstance(mark, dict) else "success"
        clear_task_instances([instances[task_id] for task_id in clear], session)
        dag_run.state = "running"
        session.commit()
        _to_the_end(dag, dag_run, session)


def test_a_step_that_was_marked_has_not_run(ledger):
    """A failed step that somebody marks as successful leaves a part, whatever follows it."""
    flow = three_steps("marked", broken=[1])
    flow.step("beside", after=[])(lambda ctx: None)
    dag = workflow_dag(flow)
    failed = run_dag(dag, batch_id="b")
    ledger_key = ledger.get_run(failed.run_id).key
    change(dag, failed.run_id, mark=["first"], clear=["second", "third"])
    found = ledger.get_run(failed.run_id)
    assert (found.status, ledger.statuses(ledger_key)["first"]) == (RunStatus.FAILED, "failed")
    assert CaptureState.COMPLETE not in {capture.state for capture in ledger.captures()}


@pytest.mark.parametrize("state", ["scheduled", "running", "up_for_retry"])
def test_a_run_of_which_several_tasks_are_cleared_ends_once(ledger, monkeypatch, state):
    """While one of them has not begun, or has recorded nothing yet, what it was before makes no run complete."""
    flow, ends = Workflow(f"cleared_together_{state}"), []
    flow.step("first")(lambda ctx: {"n": 1})
    flow.step("second", after=[])(lambda ctx: {"n": 2})
    dag = workflow_dag(flow)
    done = run_dag(dag)
    kind = type(ledger)
    finish = kind.finish

    def noted(self, run, status, error=None):
        ends.append((status, sorted(self.statuses(run.key))))
        finish(self, run, status, error)

    def seen(ti, task_ids):
        return {at: state if now == "scheduled" else now for at, now in instance_states(ti, task_ids).items()}

    monkeypatch.setattr(kind, "finish", noted)
    monkeypatch.setattr(task_states, "instance_states", seen)
    change(dag, done.run_id, clear=["first", "second"])
    assert ends == [(RunStatus.OK, ["first", "second"])]


def test_a_task_that_died_before_a_clean_up_fails_its_run(ledger):
    """Airflow says that it failed, and nobody has recorded it: the last step to end says so, and which it was."""
    flow = Workflow("killed")
    flow.step("fetch")(lambda ctx: None)
    flow.step("publish")(lambda ctx: {"n": 1})
    flow.step("clean", run_if="always")(lambda ctx: None)
    dag = workflow_dag(flow)
    dag.get_task("fetch").config = {"day": "{{ nothing.of_this_name }}"}  # which fails before the step can run
    found = ledger.get_run(run_dag(dag).run_id)
    why = "its task failed and has recorded nothing: its process died, or its engine was told so"
    assert (found.status, found.error) == (RunStatus.FAILED, f"step 'fetch': {why}")


def test_a_step_that_could_not_run_fails_its_run(ledger):
    """An ordinary task before it fails, and a clean-up makes the run a success of Airflow's: the ledger says failed."""
    flow = Workflow("cut")
    flow.step("publish")(lambda ctx: {"n": 1})
    flow.step("clean", run_if="always")(lambda ctx: None)

    @task
    def fetch():
        raise ValueError("the vendor is down")

    with DAG("cut_dag") as dag:
        publish, clean = (StepOperator(step=step, workflow=flow) for step in flow.steps.values())
        fetch() >> publish >> clean
    found = ledger.get_run(run_dag(dag).run_id)
    why = "step 'publish': it did not run, because a task before it failed"
    assert (found.status, found.error) == (RunStatus.FAILED, why)


def test_a_step_that_could_not_run_fails_its_run_with_an_ordinary_clean_up(ledger):
    """No step ends the run, and Airflow calls it a success: it is what its steps are, of each instance alone."""
    flow = Workflow("cut_short", partitions=PartitionScheme(tier=["T1", "T2"]))
    flow.step("load")(lambda ctx: None)
    flow.step("publish")(lambda ctx: None)
    dag = workflow_dag(flow, map_over=["tier"])
    with dag:

        @task
        def check():
            raise ValueError("the vendor is down")

        @task(trigger_rule="all_done")
        def clean(): ...

        dag.get_task("load") >> check() >> dag.get_task("publish") >> clean()
    done = run_dag(dag, batch_id="b")
    with create_session() as session:
        assert session.query(DagRun).filter_by(run_id=done.run_id).one().state == "success"
    why = "step 'publish': it did not run, because a task before it failed"
    found = ledger.list_runs(workflow="cut_short")
    assert [(run.status, run.error) for run in found] == [(RunStatus.FAILED, why)] * 2


@pytest.mark.parametrize("by_step", [True, False])
def test_a_cleared_step_that_could_not_run_again_fails_its_run(ledger, by_step):
    """What it made before the clear is not what the others made since, whether a step or an ordinary task cleans up."""
    flow, broken = Workflow(f"cut_again_{by_step}"), []
    flow.step("load")(lambda ctx: None)
    flow.step("publish", after=[])(lambda ctx: None)
    if by_step:
        flow.step("clean", after=["load", "publish"], run_if="always")(lambda ctx: None)
    dag = workflow_dag(flow)
    with dag:

        @task
        def check():
            if broken:
                raise ValueError("the vendor is down")

        if not by_step:

            @task(trigger_rule="all_done")
            def clean(): ...

            [dag.get_task("load"), dag.get_task("publish")] >> clean()
        check() >> dag.get_task("publish")
    done = run_dag(dag, batch_id="b")
    assert ledger.get_run(done.run_id).status is RunStatus.OK
    broken.append(True)
    change(dag, done.run_id, clear=["load", "check", "publish", "clean"])
    record_end(end_of_dag_run(dag.dag_id, done.run_id, "success"))
    found = ledger.get_run(done.run_id)
    why = "step 'publish': it did not run, because a task before it failed"
    assert (found.status, found.error) == (RunStatus.FAILED, why)


def test_an_ordinary_task_that_is_named_as_a_step_does_not_fail_its_run(ledger):
    """It is in a group; the step itself is left out by a branch."""
    flow = Workflow("named_twice")
    flow.step("load")(lambda ctx: None)
    flow.step("publish")(lambda ctx: None)
    dag = workflow_dag(flow)
    with dag:

        @task.branch
        def choose():
            return None

        @task(trigger_rule="all_done")
        def clean(): ...

        with TaskGroup("archive"):

            @task
            def publish():
                raise ValueError("the archive is full")

            archived = publish()
        dag.get_task("load") >> choose() >> dag.get_task("publish") >> clean()
        archived >> dag.get_task("clean")
    found = ledger.get_run(run_dag(dag).run_id)
    assert found.status is RunStatus.PARTIAL


def test_the_end_of_a_run_leaves_alone_the_session_of_whoever_tells(ledger):
    """``run_dag`` tells in the middle of its own."""
    flow = Workflow("in_between")
    flow.step("load")(lambda ctx: None)
    done = run_dag(workflow_dag(flow))
    with create_session() as session:
        dag_run = session.query(DagRun).filter_by(run_id=done.run_id).one()
        assert endings._undone(ledger.get_run(done.run_id)) == {}
        assert dag_run in session


def mapped_over_nothing(name):
    """Return a DAG of a workflow with a watcher, and of a task of one's own that is mapped over no values."""
    flow = Workflow(name)
    flow.step("load")(lambda ctx: {"n": 1})
    flow.step("tidy", run_if="always")(lambda ctx: None)
    dag = workflow_dag(flow)

    @task
    def nothing():
        return []

    @task
    def each(value):
        return value

    with dag:
        each.expand(value=nothing())
    return dag


def left_out(dag, run_id):
    """Return which tasks of a run are skipped at their first try, and which of all never ran."""
    names = ("task_id", "state", "try_number", "operator_name", "map_index")
    with create_session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        dag_run = {"state": run.state, "start_date": run.start_date and run.start_date.isoformat()}
        found = [
            {**{name: getattr(ti, name) for name in names}, "end_date": ti.end_date and ti.end_date.isoformat()}
            for ti in session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=run_id)
        ]
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    tasks = tasks_by_id(TaskResponse.model_validate(of_dag).model_dump() for of_dag in stored.tasks)
    skipped = {ti["task_id"] for ti in found if ti["state"] == "skipped" and not ti["try_number"]}
    return skipped, never_ran(dag_run, found, tasks, lambda task: None)


def test_what_airflow_skips_by_a_rule_has_not_been_left(ledger):
    """Of a run that ended well, the watcher and what is mapped over nothing are skipped at try 0, as meant."""
    dag = mapped_over_nothing("tidied")
    run_id = run_dag(dag).raise_for_failure().run_id
    assert left_out(dag, run_id) == ({"watcher", "each"}, set())


@pytest.mark.parametrize("end", [set_dag_run_state_to_failed, set_dag_run_state_to_success])
def test_what_was_not_mapped_when_somebody_marked_the_run_was_left(ledger, end):
    """Airflow skips it as it skips what is mapped over nothing.

    Before 3.3 Airflow called all successful in a run that was marked so, as it does what has nothing to do.
    """
    dag = mapped_over_nothing("marked_unmapped")
    run_dag(dag)  # makes the database
    with create_session() as session:
        how = {"run_id": end.__name__, "conf": {"batch_id": "b"}, "logical_date": None, "partition_key": None}
        dag_run = _compat.start_run(dag, session=session, **how)
        for ti in dag_run.get_task_instances(session=session):
            if ti.task_id != "each":
                ti.state, ti.try_number = ("skipped", 0) if ti.task_id == "watcher" else ("success", 1)
        session.commit()
        stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        end(dag=stored, run_id=end.__name__, commit=True, session=session)
    is_older = numbers(version("apache-airflow-core")) < numbers("3.3")
    none_is_skipped = is_older and end is set_dag_run_state_to_success
    assert left_out(dag, end.__name__) == ((set(), set()) if none_is_skipped else ({"watcher", "each"}, {"each"}))


def run_with_a_mark(dag, run_id, step):
    """Run a DAG of which somebody has marked a step as successful before it could run."""
    run_dag(dag)  # makes the database
    with create_session() as session:
        conf = {"batch_id": "b"}
        dag_run = _compat.start_run(
            dag, run_id=run_id, conf=conf, logical_date=None, partition_key=None, session=session
        )
        next(ti for ti in dag_run.get_task_instances(session=session) if ti.task_id == step).state = "success"
        session.commit()
        _to_the_end(dag, dag_run, session)


def test_a_run_with_a_step_that_never_ran_is_partial(ledger):
    """A step that was marked before it could run leaves the run partial once the others have ended."""
    flow = Workflow("premarked")
    flow.step("first", after=[])(lambda ctx: None)
    flow.step("second", after=[])(lambda ctx: None)
    dag = workflow_dag(flow)
    run_with_a_mark(dag, "r", "first")
    found = ledger.get_run("r")
    assert found.status is RunStatus.PARTIAL
    assert "step 'first' is not recorded: it has not run, " in found.error
    assert [c.state for c in ledger.captures() if c.run_id == "r"] == [CaptureState.RELEASED]


def test_what_follows_a_step_that_was_marked_runs_and_goes_on(ledger):
    """A step that somebody marks as successful is looked through; nothing has changed, and a resume makes it."""
    flow = Workflow("marked_early")
    for name in ("one", "two", "three", "four"):
        flow.step(name)(lambda ctx: {"n": len(ctx.step_outputs)})
    dag = workflow_dag(flow)
    run_with_a_mark(dag, "m", "two")
    found = ledger.get_run("m")
    assert (found.status, set(ledger.statuses(found.key))) == (RunStatus.PARTIAL, {"one", "three", "four"})
    assert "step 'two' is not recorded" in str(found.error)
    done = run_dag(dag, resume_from="m").raise_for_failure()
    assert [done.context.get_output(step, "n") for step in flow.steps] == [0, 1, 2, 3]


def test_a_dag_of_some_steps_is_a_part(ledger):
    """A DAG with two of a workflow's three steps completes no capture."""
    flow = three_steps("some", broken=[])
    with DAG("some_dag") as dag:
        StepOperator(step=flow.steps["first"], workflow=flow) >> StepOperator(step=flow.steps["second"], workflow=flow)
    done = run_dag(dag, batch_id="b").raise_for_failure()
    found = ledger.get_run(done.run_id)
    assert (found.status, found.selected) == (RunStatus.PARTIAL, ("first", "second"))
    assert ledger.captures() == []


def test_what_follows_a_cleared_step_does_not_count(ledger):
    """A step that is cleared alone leaves a part: its capture is let go until what follows it has run again, too."""
    numbers = [1]
    flow = Workflow("cleared")
    flow.step("one", after=[])(lambda ctx: {"n": numbers[0]})
    flow.step("two")(lambda ctx: {"n": 2 * ctx.get_output("one", "n")})
    flow.step("beside", after=[])(lambda ctx: None)
    dag = workflow_dag(flow)
    run_id = run_dag(dag, batch_id="b").raise_for_failure().run_id
    key = ledger.get_run(run_id).key
    numbers[0] = 50
    change(dag, run_id, clear=["one"])
    assert (ledger.get_run(run_id).status, set(ledger.statuses(key))) == (RunStatus.PARTIAL, {"one", "beside"})
    assert [capture.state for capture in ledger.captures()] == [CaptureState.RELEASED]
    assert "step 'two' is not recorded: it has not run, or not since a step before it" in ledger.get_run(run_id).error
    change(dag, run_id, clear=["two"])
    assert ledger.get_run(run_id).status is RunStatus.OK
    assert {record.step: record.output for record in ledger.steps(key)}["two"] == {"n": 100}
    assert [capture.state for capture in ledger.captures()] == [CaptureState.COMPLETE]


def test_a_cleared_step_is_not_complete_with_what_is_cleared_too(ledger):
    """While what follows a cleared step is still to run, the run goes on, and nobody reads the two together."""
    seen = []
    flow = Workflow("chained")
    flow.step("one")(lambda ctx: {"n": len(seen)})
    flow.step("two")(lambda ctx: {})

    @task
    def between():
        seen.append([capture.state for capture in ledger.captures()])

    with DAG("chained_dag") as dag:
        one, two = (StepOperator(step=step, workflow=flow) for step in flow.steps.values())
        one >> between() >> two
    run_id = run_dag(dag, batch_id="b").raise_for_failure().run_id
    change(dag, run_id, clear=["one", "between", "two"])
    assert seen == [[CaptureState.HELD]] * 2
    assert ledger.get_run(run_id).status is RunStatus.OK


def test_a_reduce_step_after_skips_alone_is_skipped(ledger):
    """With every instance skipped there is nothing to reduce; with one left there is."""
    flow = Workflow("all_skip", partitions=PartitionScheme(symbol=["AAPL", "IBM"]), params={"only": "none"})

    @flow.step()
    def load(ctx):
        return {} if ctx.partition.symbol == ctx.params["only"] else StepResult.skip("did not trade")

    def summary(ctx):
        return {"loaded": [name for name, output in ctx.get_output("load").items() if output is not None]}

    dag = workflow_dag(flow, map_over=["symbol"], reduce=summary)
    assert run_dag(dag)["summary"].status == "skipped"
    assert run_dag(dag, params={"only": "IBM"}).context.get_output("summary") == {"loaded": ["IBM"]}


def test_a_run_that_airflow_calls_over_holds_nothing(ledger):
    """A capture held by a run that died, long before its lease ends, is taken over at once; that run has failed."""
    flow = three_steps("dead", broken=[1])
    flow.partitions = PartitionScheme(symbol=["IBM"])
    dag = workflow_dag(flow)
    over = run_dag(dag, partition="IBM")
    engine = {"name": "airflow", "dag_id": "dead"}
    ids = {"run_id": over.run_id, "partition": PartitionKey(symbol="IBM"), "batch_id": "b", "scheme": flow.partitions}
    ctx = begin("died", metadata={"engine": engine}, **ids)
    ctx = replace(ctx, idempotency_key=over.context.idempotency_key)
    ledger.begin(RunRecord(workflow="died", context=ctx, steps=("first",)), lease=timedelta(hours=6))
    again = run_dag(dag, partition="IBM", batch_id="b")
    assert again["first"].error == "no file"  # and no CaptureHeld
    assert ledger.get_run(over.run_id, workflow="died").status is RunStatus.FAILED
