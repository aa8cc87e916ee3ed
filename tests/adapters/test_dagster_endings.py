"""Runs that Dagster calls over: the sensor ends them in the ledger, where nobody asks for a status."""

from __future__ import annotations

import gc
import re
import weakref
from datetime import timedelta

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import PartitionScheme, Workflow
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
from flowctx.dagster import endings_sensor, workflow_context, workflow_definitions
from flowctx.dagster._compat import instance_id
from flowctx.dagster.endings import end_runs

flow = Workflow("dying", partitions=PartitionScheme(tier=["T1", "T2"]))
flow.step("load")(lambda ctx: None)
flow.step("check")(lambda ctx: None)


def running(ledger, instance, status, *, engine="dagster", workflow="dying", facts=None):
    """Leave a run that the ledger takes for running, with two partitions, and of which Dagster says something else."""
    run_id = dg.materialize([dg.asset(name="other")(lambda: None)], instance=instance).run_id
    if status is not None:
        instance.report_dagster_event(_event(status), run_id)
    for key in flow.partitions:
        ctx = begin(
            workflow,
            run_id=run_id,
            scheme=flow.partitions,
            partition=key,
            metadata={"engine": {"name": engine, **(facts or {})}},
        )
        ledger.begin(RunRecord(workflow=workflow, context=ctx, steps=("load", "check")), lease=timedelta(hours=6))
    return run_id


def _event(kind):
    return dg.DagsterEvent(event_type_value=kind.value, job_name="other")


def tick(instance, sensor=None):
    """Let the daemon's next tick happen."""
    return (sensor or endings_sensor(flow))(dg.build_sensor_context(instance)).skip_message


@pytest.mark.parametrize(
    ("event", "status", "why"),
    [
        (dg.DagsterEventType.RUN_FAILURE, RunStatus.FAILED, "Dagster calls it failed; step 'load' had not ended"),
        (dg.DagsterEventType.RUN_CANCELED, RunStatus.CANCELED, "it was canceled in Dagster"),
        (
            None,
            RunStatus.PARTIAL,
            "steps 'load' and 'check' are not recorded: they have not run, or not since a step before them, "
            "or the ledger was away; run them again",
        ),
    ],
)
def test_a_run_that_died_is_over(ledger, event, status, why):
    """Every partition of it stands as Dagster says, and holds no capture; steps that never ran leave a part."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = running(ledger, instance, event)
        assert tick(instance) == "ended in the ledger: 2 runs"
        assert tick(instance) == "no run was over"
    found = [run for run in ledger.list_runs() if run.run_id == run_id]
    assert {(run.status, run.error) for run in found} == {(status, why)}
    assert {capture.state for capture in ledger.captures()} == {CaptureState.RELEASED}


@pytest.mark.parametrize(
    ("later", "status", "why"),
    [
        (dg.DagsterEventType.RUN_FAILURE, RunStatus.FAILED, "Dagster calls it failed: {}; step 'load' had not ended"),
        (dg.DagsterEventType.RUN_CANCELED, RunStatus.CANCELED, "it was canceled in Dagster: {}"),
    ],
)
def test_a_run_that_the_monitor_ended_has_its_reason(ledger, later, status, why):
    """Of a run that took too long, or whose worker is gone, it says so; the process has another word as it ends."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = running(ledger, instance, None)
        instance.report_run_failed(instance.get_run_by_id(run_id), "Exceeded maximum\nruntime of 3 seconds.")
        instance.report_dagster_event(_event(later), run_id)
        assert tick(instance) == "ended in the ledger: 2 runs"
    found = {(run.status, run.error) for run in ledger.list_runs()}
    assert found == {(status, why.format("Exceeded maximum runtime of 3 seconds"))}


def test_what_dagster_says_is_kept_without_secrets(ledger):
    """The end of a worker's log may be in it, with the URL of a database and colours."""
    message = f"Run worker failed: postgresql://me:hunter2@db is \x1b[31maway {'x' * 1000}"
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_run_failed(instance.get_run_by_id(running(ledger, instance, None)), message)
        tick(instance)
    (error,) = {run.error for run in ledger.list_runs()}
    assert "postgresql://me:***@db is \\x1b[31maway xxx" in error
    assert len(error) < 600


def test_an_instance_is_let_go(ledger):
    """Also after a run of it was over."""
    with dg.DagsterInstance.ephemeral() as instance:
        running(ledger, instance, dg.DagsterEventType.RUN_FAILURE)
        assert end_runs(ledger, instance) == 2
        held = weakref.ref(instance)
    del instance
    gc.collect()
    assert held() is None


def test_what_is_none_of_its_business_is_left_alone(ledger):
    """Runs that go on, of other engines, of other workflows and of other instances stay as they are."""
    with dg.DagsterInstance.ephemeral() as instance, dg.DagsterInstance.ephemeral() as other:
        running(ledger, instance, dg.DagsterEventType.RUN_FAILURE, engine="airflow")
        running(ledger, instance, dg.DagsterEventType.RUN_FAILURE, workflow="another")
        running(ledger, other, dg.DagsterEventType.RUN_FAILURE)
        assert tick(instance) == "no run was over"
    assert {run.status for run in ledger.list_runs()} == {RunStatus.RUNNING}


def test_a_run_that_was_deleted_is_over(ledger):
    """One of this instance is canceled; one that goes on and one of another instance are left alone."""
    with dg.DagsterInstance.ephemeral() as instance, dg.DagsterInstance.ephemeral() as other:
        deleted = running(ledger, instance, dg.DagsterEventType.RUN_CANCELED, facts={"instance": instance_id(instance)})
        elsewhere = running(ledger, other, None, facts={"instance": instance_id(other)})
        instance.delete_run(deleted)
        assert tick(instance) == "ended in the ledger: 2 runs"
        assert tick(instance) == "no run was over"
    found = {(run.run_id, run.status, run.error) for run in ledger.list_runs()}
    assert found == {
        (deleted, RunStatus.CANCELED, "it was deleted in Dagster"),
        (elsewhere, RunStatus.RUNNING, None),
    }
    assert {capture.state for capture in ledger.captures()} == {CaptureState.RELEASED, CaptureState.HELD}


def test_a_batch_goes_on_where_the_run_before_was_deleted(ledger, tmp_path):
    """A run of the same batch takes over what a deleted run holds, though no sensor has looked meanwhile."""
    with dg.DagsterInstance.ephemeral() as instance:
        engine, key = engine_of(instance), flow.partitions.key(tier="T1")
        ctx = begin(
            "dying", run_id="gone", scheme=flow.partitions, partition=key, batch_id="b", metadata={"engine": engine}
        )
        ledger.begin(RunRecord(workflow="dying", context=ctx, steps=("load", "check")), lease=timedelta(hours=6))
        assert Bench(flow, tmp_path, instance=instance).run("T1", tags={"batch_id": "b"}).success
    assert {run.run_id: run.status for run in ledger.list_runs()}["gone"] is RunStatus.CANCELED


def engine_of(instance):
    """Return what a run says of its engine."""
    contexts = []

    @dg.asset(name="other")
    def other(context):
        contexts.append(workflow_context(context))

    dg.materialize([other], instance=instance)
    return contexts[0].metadata["engine"]


def test_one_sensor_looks_after_all_workflows(ledger):
    """Those of other engines and of other instances are left alone by it, too."""
    with dg.DagsterInstance.ephemeral() as instance, dg.DagsterInstance.ephemeral() as other:
        failed, names = dg.DagsterEventType.RUN_FAILURE, ("dying", "another")
        ids = [running(ledger, instance, failed, workflow=name) for name in names]
        running(ledger, instance, failed, engine="airflow", workflow="third")
        running(ledger, other, failed)
        assert tick(instance, endings_sensor()) == "ended in the ledger: 4 runs"
    assert {run.run_id for run in ledger.list_runs(status=RunStatus.FAILED)} == set(ids)
    assert len(ledger.list_runs(status=RunStatus.RUNNING)) == 4


def test_more_runs_than_are_looked_at_are_told_of(ledger, monkeypatch, caplog):
    """A tick has an end; what it leaves out is said, and the next ticks go on with what is left."""
    monkeypatch.setattr("flowctx.dagster.endings._MOST", 2)
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            running(ledger, instance, dg.DagsterEventType.RUN_FAILURE)
        assert tick(instance) == "ended in the ledger: 2 runs"
        assert "takes 2 runs and more for running" in caplog.text
        caplog.clear()
        assert tick(instance) == "ended in the ledger: 2 runs"
        assert tick(instance) == "no run was over"


def test_workflows_of_a_code_location_share_a_sensor(ledger, tmp_path):
    """However many there are; what is recorded in another ledger has one of its own."""
    second = Workflow("second")
    second.step("load")(lambda ctx: None)
    third = Workflow("third")
    third.step("load")(lambda ctx: None)
    elsewhere = f"sqlite:///{tmp_path / 'other.db'}"
    merged = dg.Definitions.merge(
        workflow_definitions(flow),
        workflow_definitions(second),
        workflow_definitions(third, ledger_url=elsewhere, base_path=str(tmp_path), io_manager_key="other"),
    )
    dg.Definitions.validate_loadable(merged)
    names = sorted(sensor.name for sensor in merged.get_repository_def().sensor_defs)
    assert names[0] == "flowctx_endings"
    assert names[1].startswith("flowctx_endings_")
    assert len(names) == 2


def test_files_of_a_dg_project_share_a_sensor(ledger, tmp_path, monkeypatch):
    """Dagster copies what each file of the folder defines, and the project loads all the same."""
    (tmp_path / "pyproject.toml").write_text('[tool.dg]\ndirectory_type = "project"\nproject.root_module = "shared"\n')
    flows = "from flowctx import Workflow\n" + "".join(
        f"{name} = Workflow('{name}')\n{name}.step('load')(lambda ctx: None)\n" for name in ("one", "two", "three")
    )
    files = {"shared_flows.py": flows, "shared/__init__.py": "", "shared/defs/__init__.py": ""}
    for name in ("one", "two"):
        kind = "type: flowctx.dagster.component.WorkflowComponent"
        files[f"shared/defs/{name}/defs.yaml"] = f"{kind}\nattributes:\n  workflow: shared_flows:{name}\n"
    imports = "from flowctx.dagster import workflow_definitions\nfrom shared_flows import three\n"
    files["shared/defs/third.py"] = f"{imports}defs = workflow_definitions(three)\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = dg.load_from_defs_folder(project_root=tmp_path)
    dg.Definitions.validate_loadable(loaded)
    assert {str(key.path[0]) for key in loaded.resolve_asset_graph().get_all_asset_keys()} == {"one", "two", "three"}
    assert [sensor.name for sensor in loaded.get_repository_def().sensor_defs] == ["flowctx_endings"]


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("NOT_SET", "ledger_url of workflow '.*' is there and has nothing"),
        ("EMPTY", "ledger_url is ''; it must be"),
    ],
)
def test_a_template_of_a_variable_that_says_nothing_is_refused(tmp_path, monkeypatch, variable, words):
    """Its field of the component would pass for one that was left out, and runs would not be recorded."""
    monkeypatch.setenv("EMPTY", "")
    name = f"of_{variable.lower()}"
    files = {
        "pyproject.toml": f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{name}"\n',
        f"{name}/__init__.py": "",
        f"{name}/defs/__init__.py": "",
        f"{name}/defs/one/defs.yaml": "type: flowctx.dagster.component.WorkflowComponent\nattributes:\n"
        f"  workflow: flowctx.examples.prices:prices\n  ledger_url: '{{{{ env.{variable} }}}}'\n",
    }
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Exception, match="Error while building") as caught:
        dg.load_from_defs_folder(project_root=tmp_path)
    assert re.search(words, str(caught.value.__cause__))


def test_definitions_have_the_sensor_where_there_is_a_ledger(ledger, monkeypatch, tmp_path):
    """It is on from the start; without a ledger there is none, and without an environment a tick says so."""
    sensor = workflow_definitions(flow).resolve_sensor_def("flowctx_endings")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    assert not workflow_definitions(flow).sensors
    named = workflow_definitions(flow, ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}", base_path=str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        running(ledger, instance, dg.DagsterEventType.RUN_FAILURE)
        assert tick(instance).startswith("no ledger is named")
        assert tick(instance, named.get_repository_def().sensor_defs[0]).startswith("ended in the ledger: 2 runs")
