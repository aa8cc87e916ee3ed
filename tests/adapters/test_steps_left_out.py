"""Steps that may be left out, may fail, or always run, in the engines' own words."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import dagster as dg
import pytest
from airflow.sdk import DAG, Asset

from flowctx import ErrorCategory, StepStatus, Workflow, WorkflowError, run
from flowctx.airflow import _compat, step_task, workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.airflow.steps import StepOperator
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_job
from flowctx.dagster.running import run_assets
from flowctx.ledger import open_ledger
from flowctx.testing.engine_flows import hidden, notified


def cleaned():
    """A clean-up after a failure, and a step after that."""
    flow = Workflow("cleaned", params={"broken": True})

    @flow.step()
    def stage(ctx):
        return {"table": "t1"}

    @flow.step()
    def load(ctx):
        return 1 / 0 if ctx.params["broken"] else {"rows": 3}

    flow.step("publish")(lambda ctx: {"rows": ctx.get_output("load", "rows")})

    @flow.step(run_if="always")
    def clean_up(ctx):
        return {"dropped": ctx.get_output("stage", "table"), "seen": sorted(ctx.step_outputs)}

    return flow


@pytest.mark.parametrize("broken", [True, False])
def test_a_clean_up_on_airflow_is_that_of_a_run_here(broken):
    """It runs whatever happened, sees what there was, and the result is the same."""
    here = run(cleaned(), params={"broken": broken})
    there = run_dag(workflow_dag(cleaned()), params={"broken": broken})
    assert [(step.name, step.status) for step in there.steps] == [(step.name, step.status) for step in here.steps]
    assert (there.status, there.error_step) == (here.status, here.error_step)
    assert there.context.get_output("clean_up") == here.context.get_output("clean_up")
    assert here.context.get_output("clean_up", "dropped") == "t1"


@pytest.mark.parametrize(("broken", "state"), [(True, "failed"), (False, "success")])
def test_a_clean_up_does_not_make_a_failed_dag_run_a_success(broken, state):
    """Airflow takes the state of a run from its last tasks; a task after all of them says what failed before."""
    dag = workflow_dag(cleaned(), dag_id=f"cleaned_{state}")
    _compat.register(dag)
    done = dag.test(run_conf={"broken": broken})
    assert str(done.state) == state


@pytest.mark.parametrize(("broken", "state"), [(True, "failed"), (False, "success")])
def test_an_early_skip_does_not_hide_a_late_failure(broken, state, ledger):
    """Airflow skips a task as soon as one before it is skipped; a step that follows several waits for all of them."""
    dag = workflow_dag(hidden(), dag_id=f"hidden_{state}")
    _compat.register(dag)
    done = dag.test(run_conf={"broken": broken})
    assert str(done.state) == state
    found = ledger.get_run(done.run_id)
    ends = {"news": "skipped", "fetch": "ok", "check": "failed"}
    assert (found.status, ledger.statuses(found.key)) == (
        ("failed", ends) if broken else ("ok", ends | {"check": "ok", "publish": "ok"})
    )


def test_trigger_rules_are_those_of_the_steps():
    """A step's rule is the task's trigger rule, also in a DAG of one's own, unless that says another."""
    assert workflow_dag(notified()).get_task("store").trigger_rule == "none_failed"
    with DAG("own_rules") as dag:

        @step_task(run_if="always")
        def clean_up(ctx):
            return None

        clean_up()
        StepOperator(step=notified()["store"], trigger_rule="all_done")
    assert [task.trigger_rule for task in dag.tasks] == ["all_done", "all_done"]


def test_an_optional_step_with_outlets_is_refused():
    """Airflow would call the asset updated although the step failed."""
    with pytest.raises(WorkflowError, match="step 'notify' is optional and has outlets"), DAG("outlets"):
        StepOperator(step=notified()["notify"], outlets=[Asset("mail")])


def test_instances_that_are_mapped_have_no_clean_up():
    """The state of the one run would hide which instance failed, so it is refused when it is converted."""
    with pytest.raises(WorkflowError, match="step 'clean_up' runs whatever happened"):
        workflow_dag(cleaned(), map_over=["symbol"])


@pytest.mark.parametrize("convert", [workflow_assets, workflow_job])
def test_dagster_refuses_a_step_that_always_runs(convert):
    """Dagster starts no step after one that failed, and says so when the workflow is converted."""
    with pytest.raises(WorkflowError, match="Dagster starts no step after one that failed; use a hook"):
        convert(cleaned())


def test_dagster_calls_nothing_materialised_that_is_not(tmp_path):
    """Skipped and failed steps have an observation that says why, and no materialisation; steps after them have one."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            workflow_assets(notified()),
            resources={"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))},
            instance=instance,
        )
        made = {event.asset_key.path[-1] for event in done.get_asset_materialization_events()}
        seen = instance.fetch_observations(dg.AssetKey(["notified", "notify"]), limit=5).records
    assert (done.success, made) == (True, {"fetch", "store", "report"})
    (observed,) = [record.event_log_entry.dagster_event.event_specific_data.asset_observation for record in seen]
    assert observed.metadata["flowctx/status"].value == StepStatus.TOLERATED
    assert "the mail server does not answer" in observed.metadata["flowctx/reason"].value


def test_a_job_of_ops_goes_on_after_an_optional_failure(tmp_path):
    """Ops go on as assets do."""
    io = WorkflowIOManager(base_path=str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        job = workflow_job(notified(), resource_defs={"workflow_io_manager": io})
        done = job.execute_in_process(instance=instance)
    assert done.success
    assert io.output(["jobs", "notified", "report"]) == {"sent": False, "stored": [3, 0]}


def test_a_step_whose_time_is_up_has_failed(monkeypatch, tmp_path):
    """Airflow's timeout of a task is a failure of its step: recorded, and tolerated of a step that is optional."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    flow = Workflow("timed")

    @flow.step(optional=True)
    def notify(ctx):
        raise _compat.exceptions.AirflowTaskTimeout("Timeout, PID: 7")

    @flow.step(after=[])
    def store(ctx):
        raise _compat.exceptions.AirflowTaskTimeout("Timeout, PID: 7")

    done = run_dag(workflow_dag(flow))
    assert [(step.status, step.category) for step in done.steps] == [
        (StepStatus.TOLERATED, ErrorCategory.TIMEOUT),
        (StepStatus.FAILED, ErrorCategory.TIMEOUT),
    ]
    statuses = open_ledger(url).statuses(open_ledger(url).get_run(done.run_id).key)
    assert statuses == {"notify": StepStatus.TOLERATED, "store": StepStatus.FAILED}


@pytest.mark.parametrize(
    "run_there", [lambda flow: run_dag(workflow_dag(flow)), run_assets], ids=["airflow", "dagster"]
)
def test_the_ledger_knows_it_from_every_engine(run_there, monkeypatch, tmp_path):
    """The run is ok and captured, and names the optional step that failed; the failed step is recorded."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    run_there(notified())
    ledger = open_ledger(url)
    (known,) = ledger.list_runs(workflow="notified")
    assert (str(known.status), str(known.error)) == (
        "ok",
        "optional step 'notify': ConnectionError: the mail server does not answer",
    )
    assert ledger.statuses(known.key)["notify"] is StepStatus.TOLERATED
    assert [str(capture.state) for capture in ledger.captures(workflow="notified")] == ["complete"]
    ledger.close()
