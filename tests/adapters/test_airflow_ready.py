"""Runs begin when their inputs are there, each once; what is declared wrongly is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, get_current_context, task

from flowctx import Daily, Monthly, PartitionScheme, Workflow, WorkflowError, run
from flowctx.airflow import PartitionTimetable, _compat, workflow_dag
from flowctx.airflow.planned_runs import DagRuns
from flowctx.airflow.ready import ReadyTrigger, add_starter, inputs_schedule
from flowctx.ledger import ledger_from_env
from flowctx.testing import run_dag

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def workflows(name):
    """Sessions of January and February, and their months."""
    days = Workflow(
        f"{name}_days",
        partitions=PartitionScheme(date=Daily(start="2026-01-26", end="2026-02-27", calendar="WEEKDAYS")),
    )
    days.step(name="value")(_value)
    month = Workflow(f"{name}_month", partitions=PartitionScheme(month=Monthly(start="2026-01-01")))
    month.step(name="report", inputs={"days": days.output("value")})(_report)
    return days, month


def _value(ctx):
    return {"n": ctx.as_of_date.day}


def _report(ctx, *, days):
    return {"sum": sum(output["n"] for output in days.values())}


def start_what_is_ready(month, dag):
    """Start in a real task what the trigger would find; in one process, triggers of old Airflows cannot ask it."""
    schedule = inputs_schedule(month, SINCE, "ignore")
    operator = add_starter(dag, schedule).get_task("start")
    trigger = ReadyTrigger(dag.dag_id, schedule.readiness.to_dict(), SINCE.date().isoformat(), "ignore", 0.0)
    started = []
    with DAG(f"{dag.dag_id}_starts") as starts:

        @task
        def start():
            ti = get_current_context()["ti"]
            runs = trigger._new(trigger._ready(schedule.readiness, ledger_from_env()), ti.get_dr_count)
            started.extend(operator.start({}, {"runs": runs}))
            assert operator.start({}, {"runs": runs}) == []  # Airflow has them by now

        start()
    run_dag(starts).raise_for_failure()
    return started


def runs_in_airflow(dag_id):
    """Return the runs that Airflow has, by id."""
    with _compat.open_session() as session:
        return {one.run_id: one.conf for one in session.query(DagRun).filter_by(dag_id=dag_id)}


def test_each_month_is_started_once_when_its_sessions_are_there(ledger):
    """A task in a real Airflow starts the run, whose id tells the partition, and which Airflow takes once."""
    days, month = workflows("started")
    dag = workflow_dag(month, schedule="inputs", start_date=SINCE)
    run_dag(dag, partition="2026-01-31")  # Airflow knows the DAG; the run fails
    before = set(runs_in_airflow(dag.dag_id))
    for last, key in (("2026-01-30", "2026-01-31"), ("2026-02-27", "2026-02-28")):
        for session in days.partitions.select(f"date=2026-01-26..{last}"):
            run(days, partition=session).raise_for_failure()
        started = start_what_is_ready(month, dag)
        found = runs_in_airflow(dag.dag_id)
        (run_id,) = set(found) - before
        assert started == [run_id]
        assert run_id.startswith(f"inputs__{key}__")
        assert found[run_id] == {"partition": key}
        before.add(run_id)


def test_what_is_there_is_not_started_again(ledger):
    """Airflow is asked for the runs that are ready; all of them there are nothing new."""
    _, month = workflows("there")
    schedule = inputs_schedule(month, SINCE, "run")
    trigger = ReadyTrigger("month", schedule.readiness.to_dict(), "2026-01-01", "run", 0.0)
    runs = {f"inputs__{n:03}__0": str(n) for n in range(150)}
    asked = []

    def count(dag_id, states, run_ids):
        asked.append(len(run_ids))
        return sum(run_id != "inputs__149__0" for run_id in run_ids)

    new = trigger._new(runs, count)
    assert "inputs__149__0" in new
    assert len(new) == 50
    assert asked == [100, 50]
    assert trigger._new(runs, lambda dag_id, states, run_ids: len(run_ids)) == {}
    path, arguments = trigger.serialize()
    assert path == "flowctx.airflow.ready.ReadyTrigger"
    assert ReadyTrigger(**arguments).serialize() == (path, arguments)


def test_the_trigger_outlives_a_ledger_that_does_not_answer(monkeypatch, ledger, caplog):
    """It asks again, and logs why as text without secrets."""
    days, month = workflows("outlives")
    for session in days.partitions.select("date=2026-01-26..2026-01-30"):
        run(days, partition=session).raise_for_failure()
    readiness = inputs_schedule(month, SINCE, "ignore").readiness.to_dict()
    trigger = ReadyTrigger("month", readiness, "2026-01-01", "ignore", 0.0)
    answers = iter([ConnectionError("postgresql://me:hunter2@db\x1b]0;own\x07"), 0])

    def count(self, ask, *states):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    monkeypatch.setattr(DagRuns, "count", count)

    async def first():
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(first())
    assert list(event.payload["runs"].values()) == ["2026-01-31"]
    assert "ConnectionError: postgresql://me:***@db\\x1b]0;own\\x07" in caplog.messages[-1]


def test_its_schedule_makes_no_runs_and_says_so():
    """Not by time, also after it was stored; backfills and runs by hand go as ever."""
    _, month = workflows("silent")
    timetable = workflow_dag(month, schedule="inputs", start_date=SINCE).timetable
    stored = PartitionTimetable.deserialize(timetable.serialize())
    for one in (timetable, stored):
        assert not one.can_be_scheduled
        assert one.periodic
        assert one.summary == "monthly EVERY_DAY, when inputs are there"
        assert one.next_dagrun_info_v2(last_dagrun_info=None, restriction=None) is None
    assert "by_inputs" not in PartitionTimetable(month.partitions).serialize()


def test_what_cannot_be_is_refused():
    """No dates, no inputs, no start, two ways at once: one sentence each."""
    days, month = workflows("refused")
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1"]))
    tiers.step(name="value")(_value)
    optional = Workflow("optional", partitions=month.partitions)
    optional.step(name="report", inputs={"days": days.output("value").optional()})(_report)
    for flow, arguments, why in (
        (tiers, {"start_date": SINCE}, "needs partitions with a cadence"),
        (days, {"start_date": SINCE}, "has none that is not optional"),
        (optional, {"start_date": SINCE}, "has none that is not optional"),
        (month, {}, "from start_date= on"),
        (month, {"start_date": SINCE, "on_restatement": "rerun"}, "must be 'ignore' or 'run'"),
        (month, {"start_date": SINCE, "map_over": ["month"]}, "leave out map_over="),
    ):
        with pytest.raises(WorkflowError, match=why):
            workflow_dag(flow, schedule="inputs", **arguments)
    with pytest.raises(WorkflowError, match="goes with schedule='inputs'"):
        workflow_dag(month, on_restatement="run")
