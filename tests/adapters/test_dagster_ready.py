"""A roll-up in Dagster runs when its inputs are there: by the ledger, or by Dagster's own condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg
import pytest

from flowctx import Daily, Monthly, PartitionScheme, StepResult, Workflow, WorkflowError, run
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
from flowctx.dagster import WorkflowIOManager, inputs_sensor, run_assets, workflow_assets

SESSIONS = [f"2026-01-{day}" for day in range(26, 31)]


def workflows(name):
    """Five sessions, of which one may be skipped, and their month for each desk."""
    days = Workflow(
        f"{name}_days", partitions=PartitionScheme(date=Daily(start=SESSIONS[0], end=SESSIONS[-1], calendar="WEEKDAYS"))
    )
    months = PartitionScheme(month=Monthly(start="2026-01-01", end="2026-01-31"), desk=["EQ", "FX"])
    month = Workflow(f"{name}_month", partitions=months)
    days.step(name="value")(_value)
    month.step(name="report", inputs={"days": days.output("value")})(_report)
    month.step(name="publish")(_value)
    return days, month


def _value(ctx):
    return StepResult.skip("closed") if str(ctx.as_of_date) == "2026-01-28" else {"n": 1}


def _report(ctx, *, days):
    return {"days": len(days)}


def tick(sensor, month, days, tmp_path):
    """Evaluate the sensor as the daemon does, and return the requests by their run keys."""
    resources = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    defs = dg.Definitions(
        assets=[*workflow_assets(days), *workflow_assets(month)], sensors=[sensor], resources=resources
    )
    repository = defs.get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, repository_def=repository)
        found = repository.get_sensor_def(sensor.name).evaluate_tick(context)
    return {request.run_key: request for request in found.run_requests or []}


def test_each_partition_is_requested_once_when_its_sessions_are_there(ledger, tmp_path):
    """A skipped session counts; a request has a key that Dagster takes once; what is captured is not requested."""
    days, month = workflows("sensed")
    sensor = inputs_sensor(month, start="2026-01-01")
    for session in SESSIONS[:-1]:
        run(days, partition=session)
    assert tick(sensor, month, days, tmp_path) == {}
    run(days, partition=SESSIONS[-1])
    first = tick(sensor, month, days, tmp_path)
    assert list(first) == list(tick(sensor, month, days, tmp_path))
    assert {str(request.partition_key) for request in first.values()} == {
        "EQ|2026-01-01",
        "FX|2026-01-01",
    }  # which Dagster calls by its start
    assert set(first) == {f"desk={desk}|month=2026-01-31@first" for desk in ("EQ", "FX")}
    run_assets(month, partition="2026-01-31|EQ").raise_for_failure()
    assert list(tick(sensor, month, days, tmp_path)) == ["desk=FX|month=2026-01-31@first"]
    assert tick(inputs_sensor(month, start="2026-02-01"), month, days, tmp_path) == {}


def test_a_restatement_is_requested_only_if_asked(ledger, tmp_path):
    """Under a run key of its own."""
    days, month = workflows("restated")
    for session in SESSIONS:
        run(days, partition=session)
    for desk in ("EQ", "FX"):
        run(month, partition=f"2026-01-31|{desk}").raise_for_failure()
    before = datetime.now(UTC).isoformat()
    run(days, partition=SESSIONS[0])
    assert tick(inputs_sensor(month, start="2026-01-01"), month, days, tmp_path) == {}
    again = tick(inputs_sensor(month, start="2026-01-01", on_restatement="run"), month, days, tmp_path)
    assert len(again) == 2
    assert all(key.partition("@")[2] > before for key in again)
    assert not any("flowctx/on_captured" in request.tags for request in again.values())


def test_what_is_captured_while_a_requested_run_waits_stays(ledger, tmp_path):
    """A batch may have restated it meanwhile: the run that was in the queue is skipped, and its number stays."""
    days, month = workflows("queued")
    for session in SESSIONS:
        run(days, partition=session)
    request = tick(inputs_sensor(month, start="2026-01-01"), month, days, tmp_path)["desk=EQ|month=2026-01-31@first"]
    run(month, partition="2026-01-31|EQ", batch_id="restate").raise_for_failure()
    resources = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    with dg.DagsterInstance.ephemeral() as instance:
        assets = workflow_assets(month)
        queued = dg.materialize(
            assets,
            instance=instance,
            resources=resources,
            partition_key=request.partition_key,
            tags=request.tags,
            selection=assets,
        )
    assert queued.success
    captured = [run.context.batch_id for run in ledger.list_runs(workflow=month.name, status=RunStatus.OK)]
    assert captured == ["restate"]


def at_it(ledger, month, key, run_id):
    """Begin a run of a partition, and return how it is ended."""
    ids = {"batch_id": run_id, "partition": month.partitions.parse(key), "scheme": month.partitions}
    ctx = begin(month.name, run_id=run_id, **ids)
    held = ledger.begin(RunRecord(workflow=month.name, context=ctx, steps=tuple(month.steps)), lease=timedelta(hours=1))
    return partial(end_run, ledger, held, RunStatus.FAILED, "no rows")


def test_what_was_skipped_for_a_run_that_fails_then_is_requested_again(ledger, tmp_path):
    """Once for each such run; what has failed itself is run again by whoever sees to it, as ever."""
    days, month = workflows("elsewhere")
    for session in SESSIONS:
        run(days, partition=session)
    sensor = inputs_sensor(month, start="2026-01-01")
    assets, resources = workflow_assets(month), {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    with dg.DagsterInstance.ephemeral() as instance:

        def requests():
            found = [one for one in sensor(dg.build_sensor_context(instance)) if isinstance(one, dg.RunRequest)]
            return [one for one in found if "desk=EQ" in one.run_key]

        def made(request):
            tags = {**request.tags, "dagster/run_key": request.run_key, "dagster/sensor_name": sensor.name}
            how = {"instance": instance, "resources": resources, "selection": assets, "raise_on_error": False}
            return dg.materialize(assets, partition_key=request.partition_key, tags=tags, **how)

        (first,) = requests()
        fail = at_it(ledger, month, "2026-01-31|EQ", "other")
        assert made(first).success
        assert requests() == []
        fail()
        (again,) = requests()
        assert (again.run_key, again.tags) == (f"{first.run_key}, after other", first.tags)
        fail = at_it(ledger, month, "2026-01-31|EQ", "third")
        assert made(again).success
        fail()
        (last,) = requests()
        last_run = made(last)
        assert ledger.get_run(last_run.run_id).status is RunStatus.OK
        assert requests() == []


def test_what_was_requested_is_not_in_the_way_of_the_rest(ledger, monkeypatch):
    """However many partitions fail, each tick requests the next ones, and none twice."""
    monkeypatch.setattr("flowctx.dagster.ready._AT_ONCE", 2)
    name, scheme = "many", PartitionScheme(date=Daily(start="2026-01-01", end="2026-01-05"))
    days, after = Workflow("many_days", partitions=scheme), Workflow(name, partitions=scheme)
    days.step(name="value")(lambda ctx: {"n": 1})
    after.step(name="report", inputs={"day": days.output("value")})(lambda ctx, *, day: {})
    for day in scheme:
        run(days, partition=day)
    sensor, requested = inputs_sensor(after, start="2026-01-01"), []
    with dg.DagsterInstance.ephemeral() as instance:

        def launch(run_key, sensor_name, number):
            tags = {"dagster/run_key": run_key, "dagster/sensor_name": sensor_name}
            instance.add_run(dg.DagsterRun(name, run_id=f"{number}", tags=tags, status=dg.DagsterRunStatus.FAILURE))

        launch("date=2026-01-05@first", "another", "theirs")
        for _ in range(4):
            found = list(sensor(dg.build_sensor_context(instance)))
            keys = [request.run_key for request in found if isinstance(request, dg.RunRequest)]
            for key in keys:
                launch(key, sensor.name, f"{len(requested)}/{key}")
            requested.append([key[len("date=") : -len("@first")] for key in keys])
    days_of = [str(day.date) for day in scheme]
    assert requested == [days_of[:2], days_of[2:4], days_of[4:], []]


def test_without_a_ledger_and_in_vain_it_says_why(tmp_path):
    """The tick is skipped with a reason; what cannot be is refused."""
    days, month = workflows("vain")
    sensor = inputs_sensor(month, start="2026-01-01")
    (skip,) = sensor(dg.build_sensor_context())
    assert skip.skip_message == "no ledger is named; set FLOWCTX_LEDGER_URL"
    sensor = inputs_sensor(month, start="2026-01-01", ledger_url=f"sqlite:///{tmp_path}/ledger.db")
    (skip,) = sensor(dg.build_sensor_context())
    assert skip.skip_message == "no partition is ready that has not been captured or requested"
    with pytest.raises(WorkflowError, match=r"inputs_sensor\(\) of workflow 'vain_days' waits for its inputs"):
        inputs_sensor(days, start="2026-01-01")
    with pytest.raises(WorkflowError, match="must be 'ignore' or 'run'"):
        inputs_sensor(month, start="2026-01-01", on_restatement="rerun")


def test_dagsters_own_condition_waits_for_all_sessions(tmp_path):
    """With ``AutomationCondition.eager()`` the month is requested after its last session, once, and not before."""
    days, month = workflows("eager")
    alone = Workflow("eager_alone", partitions=month.partitions.without("desk"))
    alone.step(name="report", inputs={"days": days.output("value")})(_report)
    eager = dg.AutomationCondition.eager()
    resources = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    assets = [*workflow_assets(days), *workflow_assets(alone, automation_condition=eager)]
    defs = dg.Definitions(assets=assets, resources=resources)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.evaluate_automation_conditions(defs, instance=instance)
        requested = []
        for session in [*SESSIONS, None]:
            if session is not None:
                made = dg.AssetMaterialization(asset_key=[days.name, "value"], partition=session)
                instance.report_runless_asset_event(made)
            result = dg.evaluate_automation_conditions(defs, instance=instance, cursor=result.cursor)
            requested.append(result.total_requested)
    assert requested == [0, 0, 0, 0, 1, 0]
