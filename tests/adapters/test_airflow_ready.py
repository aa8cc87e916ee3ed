"""Runs begin when their inputs are there, each once; what is declared wrongly is refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType, TaskDeferred
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.timetables.base import TimeRestriction

from flowctx import (
    Daily,
    EngineError,
    Hourly,
    Monthly,
    PartitionScheme,
    StepResult,
    Weekly,
    Workflow,
    WorkflowError,
    run,
)
from flowctx.airflow import PartitionTimetable, _compat, ready, workflow_dag
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.dag import _by_inputs
from flowctx.airflow.planned_runs import DagRuns
from flowctx.airflow.ready import ReadyTrigger, add_starter, inputs_schedule
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.readiness import Readiness
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
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


def start_what_is_ready(month, dag, on_restatement="ignore"):
    """Start in a real task what the trigger would find; in one process, triggers of old Airflows cannot ask it."""
    schedule = inputs_schedule(month, SINCE, on_restatement)
    operator = add_starter(dag, schedule).get_task("start")
    since = SINCE.date().isoformat()
    trigger = ReadyTrigger(dag.dag_id, schedule.readiness.to_dict(), since, on_restatement, 0.0)
    started = []
    with DAG(f"{dag.dag_id}_starts") as starts:

        @task
        def start():
            ti = get_current_context()["ti"]
            runs = trigger._new(trigger._ready(schedule.readiness, ledger_from_env()), ti.get_dr_count)
            started.extend(operator.start({"ti": ti}, {"runs": runs}))
            assert operator.start({"ti": ti}, {"runs": runs}) == []  # Airflow has them by now

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
        assert found[run_id] == {"partition": key, "on_captured": "skip"}
        before.add(run_id)


@pytest.mark.parametrize("at", ["2026-01-05T00:00:00+09:00", "2026-01-05T00:00:00", "2026-01-05T06:30:00-05:00"])
def test_it_begins_with_the_date_that_start_date_shows(at):
    """Midnight in its own zone is that date; another time is the day of the cadence's zone."""
    schedule = inputs_schedule(read_by(Daily)[1], datetime.fromisoformat(at), "ignore")
    assert (schedule.since, type(schedule.since)) == (date(2026, 1, 5), date)


def read_by(cadence, timezone="America/New_York", **how):
    """Return a workflow, and one that reads it."""
    scheme = PartitionScheme(at=cadence(start="2026-01-01", timezone=timezone, **how))
    values, flow = Workflow("values", partitions=scheme), Workflow("begun", partitions=scheme)
    values.step(name="value")(_value)
    flow.step(name="report", inputs={"days": values.output("value")})(_report)
    return values, flow


@pytest.mark.parametrize(
    ("bounds", "hours"),
    [
        (("2026-01-05T06:30:00-05:00", "2026-01-05T13:00:00+00:00"), ["06", "07", "08"]),
        (("2026-01-05T00:00:00+09:00", "2026-01-05T02:59:00-05:00"), ["00", "01", "02"]),
        (("2026-01-05T22:00:00-05:00", "2026-01-05T00:00:00+09:00"), ["22", "23"]),
    ],
)
def test_hours_are_bounded_as_by_the_schedule(bounds, hours, ledger):
    """A time is the hour in which it lies, and midnight in its own zone the day, as where time starts the runs."""
    values, flow = read_by(Hourly, end="2026-01-05")
    for hour in values.partitions.select("at=2026-01-05T00:00-05:00..2026-01-05T23:00-05:00"):
        run(values, partition=hour).raise_for_failure()
    first, last = map(datetime.fromisoformat, bounds)
    schedule = inputs_schedule(flow, first, "ignore", last)
    with pytest.raises(TaskDeferred) as deferred:
        add_starter(DAG("hours"), schedule).get_task("start").execute({})
    trigger = ReadyTrigger(**deferred.value.trigger.serialize()[1])
    found = list(trigger._ready(schedule.readiness, ledger).values())
    assert found == [f"2026-01-05T{hour}:00-05:00" for hour in hours]
    by_time = workflow_dag(flow, start_date=first, end_date=last, catchup=True).timetable
    dates = TimeRestriction(pendulum.instance(first), pendulum.instance(last), catchup=True)
    infos = [by_time.next_dagrun_info_v2(last_dagrun_info=None, restriction=dates)]
    while (info := by_time.next_dagrun_info_v2(last_dagrun_info=infos[-1], restriction=dates)) is not None:
        infos.append(info)
    if AIRFLOW.able("partitioned runs"):
        assert [info.partition_key for info in infos] == found


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_no_run_is_started_at_an_instant_outside_of_its_dates(zone, monkeypatch):
    """Before Airflow 3.2 such a run would have no task; it has no logical date, and its partition in conf."""
    _, flow = read_by(Daily, timezone=zone)
    first, last = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
    operator = add_starter(DAG(f"dates_{zone[:4]}"), inputs_schedule(flow, first, "ignore", last)).get_task("start")
    monkeypatch.setattr(ready, "AIRFLOW", SimpleNamespace(able=lambda ability: False))
    context = {"ti": SimpleNamespace(get_dr_count=lambda **which: 0)}
    outside = {"America/New_York": "2026-01-07", "Asia/Tokyo": "2026-01-05"}[zone]
    found = {f"2026-01-0{day}": operator._logical_date(context, f"2026-01-0{day}") for day in (5, 6, 7)}
    assert [text for text, instant in found.items() if instant is None] == [outside]


def test_it_ends_with_the_date_that_end_date_shows(ledger):
    """Partitions of later as-of dates are not started, though their inputs are there."""
    days, month = workflows("ended")
    for session in days.partitions:
        run(days, partition=session).raise_for_failure()
    last = datetime(2026, 1, 31, tzinfo=ZoneInfo("Asia/Tokyo"))
    dag = workflow_dag(month, schedule="inputs", start_date=SINCE, end_date=last)
    for end_date, keys in ((None, ["2026-01-31", "2026-02-28"]), (last, ["2026-01-31"])):
        schedule = inputs_schedule(month, SINCE, "ignore", end_date)
        with pytest.raises(TaskDeferred) as deferred:
            add_starter(dag, schedule).get_task("start").execute({})
        trigger = deferred.value.trigger
        again = ReadyTrigger(**trigger.serialize()[1])
        assert list(again._ready(schedule.readiness, ledger).values()) == keys


def test_its_dates_may_be_default_args():
    """Airflow takes the dates of a DAG from there, too."""
    _, month = workflows("by_default")
    dates = {"start_date": SINCE, "end_date": "2026-01-31T00:00:00+09:00"}
    schedule = _by_inputs(month, [], {"schedule": "inputs", "default_args": dates}, None)
    assert (schedule.since, schedule.until) == (SINCE.date(), date(2026, 1, 31))


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
    assert new == {"inputs__149__0": "149"}
    assert asked[:4] == [100, 50, 25, 25]
    assert len(asked) < 15
    assert trigger._new(runs, lambda dag_id, states, run_ids: len(run_ids)) == {}
    path, arguments = trigger.serialize()
    assert path == "flowctx.airflow.ready.ReadyTrigger"
    assert ReadyTrigger(**arguments).serialize() == (path, arguments)


def at_it(ledger, month, text, run_id):
    """Begin a run of a month, and return how it is ended."""
    ids = {"batch_id": run_id, "partition": month.partitions.parse(text), "scheme": month.partitions}
    ctx = begin(month.name, run_id=run_id, **ids)
    held = ledger.begin(RunRecord(workflow=month.name, context=ctx, steps=tuple(month.steps)), lease=timedelta(hours=1))
    return partial(end_run, ledger, held, RunStatus.FAILED, "no rows")


def test_what_was_skipped_for_a_run_that_fails_then_is_started_again(ledger):
    """Once for each such run; what has failed itself is cleared, as ever."""
    days, month = workflows("elsewhere")
    for session in days.partitions.select("date=2026-01-26..2026-01-30"):
        run(days, partition=session).raise_for_failure()
    schedule, there = inputs_schedule(month, SINCE, "ignore"), {}
    operator = add_starter(DAG("elsewhere"), schedule).get_task("start")
    trigger = ReadyTrigger("elsewhere", schedule.readiness.to_dict(), "2026-01-01", "ignore", 0.0)

    def count(dag_id, states, run_ids):
        return sum(one in there and (not states or there[one] in states) for one in run_ids)

    def new():
        return list(trigger._new(trigger._ready(schedule.readiness, ledger), count))

    (first,) = new()
    fail = at_it(ledger, month, "2026-01-31", "other")
    dag = workflow_dag(month)
    result = run_dag(dag, partition="2026-01-31", run_id=first, on_captured="skip")
    assert [step.status for step in result.steps] == ["skipped"]
    assert "is being written by run other" in result.steps[0].error
    with _compat.open_session() as session:
        there[first] = str(session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=first).one().state)
    assert (there[first], new()) == ("success", [])
    fail()
    (again,) = new()
    assert operator._conf(again, "2026-01-31") == {"partition": "2026-01-31", "on_captured": "skip"}
    there[again] = "success"
    assert new() == []
    at_it(ledger, month, "2026-01-31", "third")()
    (last,) = new()
    assert last not in there
    at_it(ledger, month, "2026-01-31", last)()
    there[last] = "failed"
    assert new() == []


def test_a_first_run_that_failed_itself_is_started_once(ledger):
    """Also where another run has failed since."""
    days, month = workflows("itself")
    for session in days.partitions.select("date=2026-01-26..2026-01-30"):
        run(days, partition=session).raise_for_failure()
    readiness = inputs_schedule(month, SINCE, "ignore").readiness
    trigger = ReadyTrigger("itself", readiness.to_dict(), "2026-01-01", "ignore", 0.0)
    (first,) = trigger._ready(readiness, ledger)
    at_it(ledger, month, "2026-01-31", first)()
    at_it(ledger, month, "2026-01-31", "other")()
    assert list(trigger._ready(readiness, ledger)) == [first]


def test_a_month_that_is_restated_runs_a_second_time(ledger):
    """Its first run keeps the logical date that tells the month before Airflow 3.2; the second one has none.

    Only the first one leaves alone what is captured while it waits.
    """
    days, month = workflows("restated")
    dag = workflow_dag(month, schedule="inputs", start_date=SINCE, on_restatement="run")
    run_dag(dag, partition="2026-01-31")  # Airflow knows the DAG; the run fails
    for batch_id, conf in (("first", {"on_captured": "skip"}), ("again", {})):
        for session in days.partitions.select("date=2026-01-26..2026-01-30"):
            run(days, partition=session, batch_id=batch_id).raise_for_failure()
        (run_id,) = start_what_is_ready(month, dag, "run")
        assert runs_in_airflow(dag.dag_id)[run_id] == {"partition": "2026-01-31", **conf}
        run(month, partition="2026-01-31", batch_id=batch_id).raise_for_failure()


def test_a_run_that_airflow_refuses_keeps_no_other_from_running(monkeypatch):
    """The others are started, whatever is before them, and the task fails and says which was not, and why."""
    _, month = workflows("refuses")
    dag = workflow_dag(month, schedule="inputs", start_date=SINCE)
    schedule = inputs_schedule(month, SINCE, "ignore")
    operator = add_starter(dag, schedule).get_task("start")
    trigger = ReadyTrigger(dag.dag_id, schedule.readiness.to_dict(), "2026-01-01", "ignore", 0.0)
    there = set()

    def refuse_one(dag_id, run_id, conf, logical_date):
        if run_id == "r005":
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": "a lock"}))
        there.add(run_id)
        return True

    monkeypatch.setattr(ready, "start_run", refuse_one)
    runs = {f"r{n:03}": "2026-01-31" for n in range(250)}
    ti = SimpleNamespace(get_dr_count=lambda **which: 0)
    with pytest.raises(EngineError, match=r"does not start these runs of DAG refuses_month: r005 \(.*a lock"):
        operator.start({"ti": ti}, {"runs": trigger._new(runs, lambda **which: 0)})
    assert len(there) == 249
    later = {**runs, "r300": "2026-01-31"}
    new = trigger._new(later, lambda dag_id, states, run_ids: len(there & set(run_ids)))
    assert list(new) == ["r005", "r300"]


def test_a_partition_that_is_gone_by_now_keeps_no_other_from_running(monkeypatch):
    """The DAG file was changed while the task waited: what it does not have any more is told, and the rest starts."""
    _, month = workflows("gone")
    operator = add_starter(workflow_dag(month), inputs_schedule(month, SINCE, "ignore")).get_task("start")
    started = []
    monkeypatch.setattr(ready, "start_run", lambda dag_id, run_id, conf, logical_date: started.append(run_id) or True)
    ti = SimpleNamespace(get_dr_count=lambda **which: 0)
    with pytest.raises(EngineError, match=r"these runs of DAG gone_month: r0 \(UnknownPartition: .*r19 \("):
        operator.start({"ti": ti}, {"runs": {**{f"r{n}": "2025-12-31" for n in range(20)}, "there": "2026-01-31"}})
    assert started == ["there"]


def test_an_airflow_that_refuses_all_is_not_asked_for_each(monkeypatch):
    """It is away, or the task may start none: after ten in a row it says so, and how many were not tried."""
    _, month = workflows("refuses_all")
    dag = workflow_dag(month, schedule="inputs", start_date=SINCE)
    operator = add_starter(dag, inputs_schedule(month, SINCE, "ignore")).get_task("start")
    asked = []

    def refuse(dag_id, run_id, conf, logical_date):
        asked.append(run_id)
        if run_id == "r004":
            return True
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": "away"}))

    monkeypatch.setattr(ready, "start_run", refuse)
    ti = SimpleNamespace(get_dr_count=lambda **which: 0)
    with pytest.raises(EngineError, match=r"r003 \(.*away.*r005 \(.*r014 \(.*; not tried: 985 runs"):
        operator.start({"ti": ti}, {"runs": {f"r{n:03}": "2026-01-31" for n in range(1000)}})
    assert asked == [f"r{n:03}" for n in range(15)]


def windows(funds, value=_value):
    """Ten weeks of some funds, and their days."""
    dates = Daily(start="2026-01-05", end="2026-03-13", calendar="WEEKDAYS")
    days = Workflow("open_days", partitions=PartitionScheme(date=dates, fund=funds))
    days.step(name="value")(value)
    weeks = Workflow(
        "open_weeks", partitions=PartitionScheme(week=Weekly(start="2026-01-09", end="2026-03-13"), fund=funds)
    )
    weeks.step(name="report", inputs={"days": days.output("value")})(_report)
    return days, weeks


def trigger_of(weeks):
    """The trigger of the weeks, as the triggerer has it: without their code."""
    readiness = inputs_schedule(weeks, SINCE, "ignore").readiness
    return ReadyTrigger("open_weeks", json.loads(json.dumps(readiness.to_dict())), "2026-01-01", "ignore", 0.0)


def test_with_a_thousand_windows_open_each_runs_once(ledger):
    """A day that is skipped counts, one that is restated starts nothing, and values that are added come beside."""
    funds = [f"F{number:03}" for number in range(100)]
    closed = "date=2026-01-07|fund=F000"
    days, weeks = windows(funds, lambda c: StepResult.skip("closed") if str(c.partition) == closed else _value(c))
    assert len(weeks.partitions) == 1000
    there, texts = set(), []

    def start(weeks):
        """Start what the trigger finds; as Airflow does, take each run id once."""
        trigger, found = trigger_of(weeks), ledger_from_env()
        ready = trigger._ready(Readiness.from_dict(trigger.arguments["readiness"]), found)
        new = trigger._new(ready, lambda dag_id, states, run_ids: len(there & set(run_ids)))
        for run_id, text in new.items():
            if run_id not in there:
                there.add(run_id)
                texts.append(text)
                run(weeks, partition=weeks.partitions.parse(text)).raise_for_failure()

    for session in days.partitions.select("date=2026-01-05..2026-01-08,fund=F000|F001;date=2026-01-12,fund=F000"):
        run(days, partition=session)
    start(weeks)
    assert texts == []
    for session in days.partitions.select("date=2026-01-09,fund=F000|F001"):
        run(days, partition=session)
    start(weeks)
    assert texts == ["2026-01-09|F000", "2026-01-09|F001"]
    run(days, partition="2026-01-06|F001", batch_id="restated")
    days, weeks = windows(["A", *funds])  # before the others
    for session in days.partitions.select("date=2026-01-05..2026-01-09,fund=A"):
        run(days, partition=session)
    start(weeks)
    start(weeks)
    assert texts == ["2026-01-09|F000", "2026-01-09|F001", "2026-01-09|A"]


def test_windows_that_are_open_delay_no_other_dag(monkeypatch, ledger):
    """In one triggerer, the trigger of another DAG fires while a thousand windows of this one wait."""
    _, weeks = windows([f"F{number:03}" for number in range(100)])
    days, month = workflows("beside")
    for session in days.partitions.select("date=2026-01-26..2026-01-30"):
        run(days, partition=session).raise_for_failure()
    readiness = inputs_schedule(month, SINCE, "ignore").readiness.to_dict()
    monkeypatch.setattr(DagRuns, "count", lambda self, ask, *states: 0)

    async def first_of(trigger):
        return await anext(trigger.run())

    async def beside():
        waits = asyncio.create_task(first_of(trigger_of(weeks)))
        await asyncio.sleep(0)  # it looks first
        event = await first_of(ReadyTrigger("month", readiness, "2026-01-01", "ignore", 0.0))
        still = not waits.done()
        waits.cancel()
        return event, still

    event, still_waits = asyncio.run(beside())
    assert (list(event.payload["runs"].values()), still_waits) == (["2026-01-31"], True)


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


def test_a_task_that_finds_nothing_ends_for_one_with_the_present_code(monkeypatch, ledger):
    """What it waits for is what the DAG file said when it began, however long ago; it starts nothing then."""
    _, month = workflows("ends")
    schedule = inputs_schedule(month, SINCE, "ignore")
    trigger = ReadyTrigger("month", schedule.readiness.to_dict(), "2026-01-01", "ignore", 0.0)
    monkeypatch.setattr(ready, "TASK_SECONDS", 0.05)

    async def events():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(events())
    operator = add_starter(workflow_dag(month, schedule="inputs", start_date=SINCE), schedule).get_task("start")
    assert (event, operator.start({}, event)) == ({"runs": {}}, [])


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
    for slip in ("input", "Inputs"):
        with pytest.raises(WorkflowError, match="is no cron expression; did you mean 'inputs'"):
            workflow_dag(month, schedule=slip, start_date=SINCE)
    with pytest.raises(WorkflowError, match="goes with schedule='inputs'"):
        workflow_dag(month, on_restatement="run")
