"""One workflow gives the same results here and on Airflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.api_fastapi.execution_api.versions import bundle
from airflow.jobs.job import Job
from airflow.models.dag import DagModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, task
from airflow.sdk.api.datamodels._generated import API_VERSION
from airflow.sdk.execution_time import supervisor
from airflow.utils.session import create_session

from flowctx import (
    AsOf,
    ContextError,
    Daily,
    EngineError,
    PartitionScheme,
    RunResult,
    StepResult,
    Workflow,
    run,
)
from flowctx.airflow import _compat, own_database, workflow_context, workflow_dag
from flowctx.airflow._compat import dag_serialization
from flowctx.testing import assert_parity, run_dag
from flowctx.testing.engines import EngineContract


class TestAirflow(EngineContract):
    """Whatever it runs, the outcome is that of a run in this process."""

    def run_on_engine(self, workflow: Workflow, **about: Any) -> RunResult:
        """Run a workflow as a DAG."""
        return run_dag(workflow_dag(workflow), **about)


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
    assert run_dag(workflow_dag(flow)).outputs_digest == run(flow).outputs_digest


def test_a_failure_keeps_its_words_when_its_output_is_too_large() -> None:
    """What a failed step found is left out if it cannot be kept; why it failed is not."""
    flow = Workflow("large_failure")

    @flow.step()
    def gate(ctx):
        return StepResult.fail("40% in a day", category="DATA_QUALITY", output={"rows": ["x" * 1000] * 100})

    assert run_dag(workflow_dag(flow))["gate"].error == "40% in a day"


def test_another_dag_of_the_same_id_runs_at_once() -> None:
    """A DAG takes the place of one of its id that has just run, in the database too, as where two tests have a "d"."""
    flows = [Workflow("replaced"), Workflow("replaced")]
    for number, flow in enumerate(flows):
        flow.step(f"look_{number}")(lambda ctx, number=number: {"n": number})
    for flow in flows:
        run_dag(workflow_dag(flow)).raise_for_failure()
    with create_session() as session:
        stored = session.query(SerializedDagModel).filter_by(dag_id="replaced")
        latest = stored.order_by(SerializedDagModel.created_at.desc()).first()
        assert [task.task_id for task in latest.dag.tasks] == ["look_1"]


def test_the_api_of_tasks_is_made_for_its_one_client() -> None:
    """Its version answers; of the older ones, which nobody here speaks, none is made that is not needed."""
    flow = Workflow("one_client")
    flow.step("only")(lambda ctx: {"n": 1})
    assert run_dag(workflow_dag(flow))["only"].status == "ok"
    app = supervisor.in_process_api_server().app
    made = [version for version, router in app.router.versioned_routers.items() if router.routes]
    assert API_VERSION in made
    assert made == list(bundle.version_values)[: len(made)]
    assert len(made) <= 2


def test_a_dag_is_written_down_once_for_all_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of three steps writes its DAG down as often as a run of one."""
    serialization, written = dag_serialization(), Counter[str]()
    write = serialization.to_dict.__func__

    def counted(cls: type, dag: Any) -> Any:
        written[dag.dag_id] += 1
        return write(cls, dag)

    monkeypatch.setattr(serialization, "to_dict", classmethod(counted))
    for steps in (1, 3):
        flow = Workflow(f"of_{steps}")
        for number in range(steps):
            flow.step(f"look_{number}")(lambda ctx: {})
        run_dag(workflow_dag(flow)).raise_for_failure()
    assert written["of_1"] == written["of_3"] > 0


def test_dag_test_takes_a_partition_in_conf() -> None:
    """Airflow's own dag.test() runs a partition that conf names."""
    flow = Workflow("tested", partitions=PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS")))
    flow.step("look")(lambda ctx: {"day": ctx.as_of_date, "capture": ctx.capture_id})
    dag = workflow_dag(flow)
    run_dag(dag, partition="2012-10-26")
    dag_run = dag.test(logical_date=None, run_conf={"partition": "date=2012-10-25", "batch_id": "b"})
    assert dag_run.state == "success"
    with create_session() as session:
        (looked,) = session.query(XComModel).filter_by(run_id=dag_run.run_id).all()
    assert looked.value["output"] == {"day": {"$date": "2012-10-25"}, "capture": "2012-10-25|b"}


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


def test_who_the_run_is_goes_by_arguments() -> None:
    """Keys that say who the run is are no parameters."""
    flow = Workflow("reserved")
    flow.step("only")(lambda ctx: None)
    with pytest.raises(ContextError, match="batch_id, which say who the run is; pass them as arguments"):
        run_dag(workflow_dag(flow), params={"batch_id": "b"})


def test_callbacks_of_a_dag_are_called_and_may_ask_for_the_context() -> None:
    """A DAG's own callbacks run when it ends, well or not, and find who the run is in the context that they get."""
    seen: list[tuple[str, Any, Any]] = []

    def note(context: Any) -> None:
        ctx = workflow_context(AsOf.previous_session("WEEKDAYS"), context=context)
        seen.append((context["reason"], ctx.as_of_date, ctx.batch_id))

    flow = Workflow("calling", params={"broken": False})

    @flow.step()
    def load(ctx):
        return StepResult.fail("no rows", category="DATA_QUALITY") if ctx.params["broken"] else None

    dag = workflow_dag(flow, schedule="0 6 * * *", on_failure_callback=note, on_success_callback=[note])
    monday = datetime(2026, 1, 12, 6, tzinfo=UTC)
    run_dag(dag, logical_date=monday, batch_id="b1", params={"broken": True})
    run_dag(dag, logical_date=monday + timedelta(days=1), batch_id="b2")
    assert seen == [("task_failure", date(2026, 1, 9), "b1"), ("success", date(2026, 1, 12), "b2")]


def test_a_context_that_names_no_run_is_refused() -> None:
    """What Airflow gives where it knows of no task does not say which run is meant."""
    with pytest.raises(ContextError, match="has no dag_run, so it does not say which run is meant"):
        workflow_context(context={"dag": DAG("adopted"), "run_id": "r1"})


def test_a_run_takes_no_parameters_of_the_one_before() -> None:
    """What one run is given is gone with it: the next one sees the DAG's own parameters, in its tasks as in its end."""
    flow = Workflow("twice", params={"limit": 3})

    @flow.step()
    def load(ctx):
        return {"limit": ctx.params["limit"]}

    dag = workflow_dag(flow)
    first, second = run_dag(dag, params={"limit": 5}), run_dag(dag)
    assert first.context.get_output("load", "limit") == 5
    assert second.context.get_output("load", "limit") == 3
    assert second.context.params["limit"] == 3


def test_a_run_has_its_parameters_also_where_conf_overrides_none(ledger, monkeypatch) -> None:
    """Airflow's `dag_run_conf_overrides_params = False` takes no parameters from a run, nor from one that goes on."""
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    flow = Workflow("kept", params={"limit": 3})

    @flow.step()
    def load(ctx):
        return {"limit": ctx.params["limit"]}

    @flow.step()
    def check(ctx):
        if ctx.params["limit"] < 6:
            raise ValueError("too few")

    dag = workflow_dag(flow)
    first = run_dag(dag, params={"limit": 5}, run_id="kept_5")
    assert first.context.get_output("load", "limit") == 5
    assert ledger.get_run("kept_5").context.params == {"limit": 5}
    again = run_dag(dag, params={"limit": 7}, resume_from="kept_5")
    assert again.status == "ok"
    assert again.context.params["limit"] == 7


def test_templates_have_the_parameters_of_a_run_also_where_conf_overrides_none(monkeypatch) -> None:
    """What a plain task of a workflow's DAG asks for, in a template or as it runs, is what its steps have."""
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    flow, limits = Workflow("kept_beside", params={"limit": 3}), []
    flow.step("load")(lambda ctx: limits.append(ctx.params["limit"]))
    with workflow_dag(flow) as dag:

        @task
        def beside(text):
            limits.extend([int(text), workflow_context().params["limit"]])

        dag.get_task("load") >> beside("{{ macros.flowctx.params.limit }}")
    run_dag(dag, params={"limit": 5}).raise_for_failure()
    assert limits == [5, 5, 5]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Workflow("flow"), r"workflow 'flow' is no DAG yet; write run_dag\(workflow_dag"),
        (test_who_the_run_is_goes_by_arguments, r"if it is a function with @dag, call it: run_dag\(test_who_"),
    ],
)
def test_what_is_no_dag_is_refused(what, words: str) -> None:
    """Only a DAG can be run; the error says how to get one."""
    with pytest.raises(ContextError, match=words):
        run_dag(what)


def test_sigterm_ends_the_process_after_a_run() -> None:
    """What a task of Airflow's does on SIGTERM ends with the task."""
    flow = Workflow("terminated")
    flow.step("look")(lambda ctx: {})
    before = signal.getsignal(signal.SIGTERM)
    assert run_dag(workflow_dag(flow)).status == "ok"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_airflow_of_a_deployment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server of Airflow's has ever run nothing is migrated and nothing stored; what to set is said."""
    flow = Workflow("of_a_deployment")
    flow.step("look")(lambda ctx: {})
    dag = workflow_dag(flow)
    own_database.prepare()
    with create_session() as session:
        session.add(server := Job(job_type="DagProcessorJob", state="success"))
    monkeypatch.setattr(_compat, "migrate", lambda: pytest.fail("it was migrated"))
    words = r"airflow.db: servers .*DagProcessorJob.*; unset AIRFLOW__DATABASE__SQL_ALCHEMY_CONN, and set AIRFLOW_HOME"
    try:
        for _ in ("after other runs", "as the first run"):
            with pytest.raises(EngineError, match=words) as caught:
                run_dag(dag)
            assert not any(note.endswith("before:") for note in getattr(caught.value, "__notes__", ()))
            with pytest.raises(EngineError, match=words):
                assert_parity(flow, on=["airflow"])
            own_database._make_once.cache_clear()
    finally:
        with create_session() as session:
            session.delete(server)
    with create_session() as session:
        assert session.get(DagModel, dag.dag_id) is None
    monkeypatch.undo()
    assert run_dag(dag).status == "ok"


QUIET = """
from airflow.sdk import task
from flowctx import Workflow
from flowctx.airflow import workflow_context, workflow_dag
from flowctx.airflow.running import run_dag

flow = Workflow("quiet")

@flow.step(retries=1)
def look(ctx):
    if ctx.metadata["engine"]["try_number"] == 1:
        raise ConnectionError("not yet")
    return {}

def fail(ctx):
    raise ConnectionError("never")

for name, how in (("nothing", {}), ("never", {"retries": 0})):
    flow.step(name, after=[], **how)(fail)
with workflow_dag(flow) as dag:
    task.step(fail, task_id="mine")()
    task.step(fail, task_id="mine_never", retries=0)()

print({step.name: step.attempts for step in run_dag(dag).steps})
"""


def test_it_makes_an_airflow_of_its_own_and_is_quiet(tmp_path) -> None:
    """Where no Airflow is configured it uses none, leaves nothing behind, and prints nothing.

    Tasks of the user's own are tried as often as ``[core] default_task_retries`` says, as by a scheduler; steps of a
    workflow as often as they say.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0"}
    env["AIRFLOW__CORE__DEFAULT_TASK_RETRIES"] = "2"
    done = subprocess.run([sys.executable, "-c", QUIET], env=env, capture_output=True, text=True, timeout=120)
    attempts = {"look": 2, "nothing": 1, "never": 1, "mine": 3, "mine_never": 1}
    # Airflow 3.0 and 3.1 log the first two themselves, at its import and for @task; before 3.3 it prints the last.
    own = ("[alembic.runtime.plugins]", "{providers_manager.py:", "[] []")
    printed = [line for line in (done.stdout + done.stderr).splitlines() if not any(text in line for text in own)]
    assert printed == [str(attempts)]
    assert not (tmp_path / "airflow" / "airflow.db").exists()
    assert not list(tmp_path.glob("flowctx-airflow-*"))


@pytest.mark.e2e
def test_several_processes_make_one_airflow(tmp_path) -> None:
    """Each waits until the database is made, as workers of pytest do that have one new ``AIRFLOW_HOME``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    env["AIRFLOW_HOME"] = str(tmp_path / "airflow")
    command = [sys.executable, "-c", QUIET]
    made = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
    ends = [(one.communicate()[0], one.returncode) for one in made]
    assert [code for _, code in ends] == [0, 0, 0, 0], ends
