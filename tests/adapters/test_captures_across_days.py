"""Runs whose partition says no date, or that have none: each business date of a batch is a capture and a file."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest
from airflow.sdk import CronTriggerTimetable
from dagster._core.definitions.reconstruct import ReconstructableRepository

from adapters.dagster_support import QUIET, Bench
from flowctx import BatchStatus, PartitionScheme, StepResult, Workflow, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.core.durability.recorded import recorded_envelope
from flowctx.dagster import workflow_job

DAYS = ["2026-01-08", "2026-01-09", "2026-01-10"]


def daily(name):
    """Return a workflow whose second day is bad."""
    flow = Workflow(name)

    @flow.step()
    def load(ctx):
        if ctx.as_of_date.day == 9:
            return StepResult.fail("a bad day", category="DATA_QUALITY")
        return {"day": ctx.as_of_date.isoformat()}

    return flow


def on_airflow(flow, folder):
    dag = workflow_dag(flow, schedule="@daily")
    for day in DAYS:
        run_dag(dag, batch_id="restate", logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC))


def on_dagster(flow, folder):
    bench = Bench(flow, folder)
    for day in DAYS:
        bench.run(tags={"flowctx/batch_id": "restate", "flowctx/as_of_date": day})


def here(flow, folder):
    for day in DAYS:
        run(flow, batch_id="restate", as_of_date=datetime.fromisoformat(day).date())


@pytest.mark.parametrize("engine", [on_airflow, on_dagster, here])
def test_each_day_is_its_own(engine, tmp_path, ledger):
    """Three days under one batch id are three captures and three rows, of which one has failed."""
    flow = daily(f"daily_{engine.__name__}")
    engine(flow, tmp_path / "files")
    captures = {capture.key.capture_id: str(capture.state) for capture in ledger.captures(workflow=flow.name)}
    assert captures == {
        "2026-01-08|restate": "complete",
        "2026-01-09|restate": "released",
        "2026-01-10|restate": "complete",
    }
    status = BatchStatus.of(ledger, "restate", flow)
    assert (status.counts, status.total) == ({"ok": 2, "failed": 1}, 3)
    assert [failure.label for failure in status.failures] == ["2026-01-09"]
    assert (status.grid.rows, status.grid.cells) == (DAYS, b"ofo")


def test_files_of_dagster_keep_each_day(tmp_path, ledger):
    """The output of the day before is still there, and an asset of one's own reads that of its own run."""
    flow, seen = daily("filed"), []

    @dg.asset(io_manager_key="workflow_io_manager", ins={"load": dg.AssetIn(dg.AssetKey(["filed", "load"]))})
    def report(load):
        seen.append(load["day"])
        return load

    bench = Bench(flow, tmp_path, report)
    for day in (DAYS[0], DAYS[2]):
        assert bench.run(tags={"flowctx/batch_id": "b", "flowctx/as_of_date": day}).success
    assert seen == [DAYS[0], DAYS[2]]
    assert bench.outputs.captures("filed/load") == [f"{DAYS[0]}|b", f"{DAYS[2]}|b"]
    assert bench.outputs.output("filed/load", capture_id=f"{DAYS[0]}|b") == {"day": DAYS[0]}


def regional(name):
    """Return a workflow by region, whose runs are told the date."""
    flow = Workflow(name, partitions=PartitionScheme(region=["EMEA", "AMER"]))
    flow.step("load")(lambda ctx: {"day": ctx.as_of_date.isoformat()})
    flow.step("tell")(lambda ctx: {"of": ctx.get_output("load", "day"), "capture": ctx.capture_id})
    return flow


def region_on_airflow(flow, folder):
    for day in DAYS:
        run_dag(workflow_dag(flow), partition="EMEA", batch_id="restate", as_of_date=day).raise_for_failure()


def mapped_on_airflow(flow, folder):
    dag = workflow_dag(flow, map_over=["region"], schedule="@daily")
    for day in DAYS:
        run_dag(dag, batch_id="restate", logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC))


def region_on_dagster(flow, folder):
    bench = Bench(flow, folder)
    for day in DAYS:
        bench.run("EMEA", tags={"flowctx/batch_id": "restate", "flowctx/as_of_date": day})
    assert bench.outputs.captures(f"{flow.name}/load", "EMEA") == [f"EMEA|{day}|restate" for day in DAYS]


def region_here(flow, folder):
    for day in DAYS:
        run(flow, partition="EMEA", batch_id="restate", as_of_date=day)


def told_of(ledger, flow):
    """Yield what the step that tells has handed on in each run."""
    for recorded in ledger.list_runs(workflow=flow.name):
        yield recorded_envelope(ledger, recorded, "tell")


@pytest.mark.parametrize("engine", [region_on_airflow, mapped_on_airflow, region_on_dagster, region_here])
def test_each_day_of_a_partition_that_says_none_is_its_own(engine, tmp_path, ledger):
    """Whoever deletes and inserts by the capture id of one day loses no row of another."""
    flow = regional(engine.__name__)
    engine(flow, tmp_path / "files")
    found = {capture.key.capture_id: capture for capture in ledger.captures(workflow=flow.name)}
    assert {id_ for id_ in found if id_.startswith("EMEA")} == {f"EMEA|{day}|restate" for day in DAYS}
    assert {str(capture.state) for capture in found.values()} == {"complete"}
    of_captures = {envelope.output["capture"]: envelope.output["of"] for envelope in told_of(ledger, flow)}
    assert {id_: id_.split("|")[1] for id_ in found} == of_captures


HOURS = ["2026-01-09T14:00:00Z", "2026-01-09T15:00:00Z"]


def counted(name):
    """Return a workflow that says when it was called."""
    flow = Workflow(name)
    flow.step("load")(lambda ctx: {"as_of": ctx.as_of_date})
    return flow


def hourly_on_airflow(flow, hour, **how):
    dag = workflow_dag(flow, schedule=CronTriggerTimetable("0 9,10 * * 1-5", timezone="America/New_York"))
    return run_dag(dag, logical_date=datetime.fromisoformat(hour), **how)


hourly = counted("hourly_on_dagster")


def on_schedule():
    """Return a code location with a schedule that fires twice a day."""
    job = workflow_job(hourly)
    twice = dg.ScheduleDefinition("twice", job=job, cron_schedule="0 9,10 * * *", execution_timezone="America/New_York")
    return dg.Definitions(jobs=[job], schedules=[twice]).get_repository_def()


def hourly_on_dagster(flow, hour, *, batch_id, on_captured):
    recon = ReconstructableRepository.for_file(__file__, "on_schedule").get_reconstructable_job(flow.name)
    tags = {".dagster/scheduled_execution_time": hour, "dagster/schedule_name": "twice"}
    tags |= {"flowctx/batch_id": batch_id, "flowctx/on_captured": on_captured}
    with dg.instance_for_test() as instance:
        return dg.execute_job(
            recon, instance=instance, tags=tags, run_config={**QUIET, "execution": {"config": {"in_process": {}}}}
        )


@pytest.mark.parametrize("run_hour", [hourly_on_airflow, hourly_on_dagster])
def test_each_tick_of_a_day_is_its_own(run_hour, ledger):
    """Two ticks of one business date under one batch id are two captures and two rows; neither stands for the other."""
    flow = hourly if run_hour is hourly_on_dagster else counted("hourly_on_airflow")
    for hour in HOURS:
        run_hour(flow, hour, batch_id="restate", on_captured="skip")
    captures = ledger.captures(workflow=flow.name)
    assert {capture.key.capture_id for capture in captures} == {f"{hour}|restate" for hour in HOURS}
    assert {str(capture.state) for capture in captures} == {"complete"}
    assert {str(run.context.as_of_date) for run in ledger.list_runs()} == {"2026-01-09"}
    status = BatchStatus.of(ledger, "restate", flow)
    assert (status.counts, status.grid.rows) == ({"ok": 2}, HOURS)
