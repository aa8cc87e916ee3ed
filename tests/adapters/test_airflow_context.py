"""What workflow_context() makes of each kind of Airflow run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    get_current_context,
    task,
)
from airflow.sdk.api.datamodels._generated import DagRun

from adapters.abilities import require
from adapters.airflow_names import (
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
)
from flowctx import (
    AsOf,
    ContextError,
    Daily,
    MissingKey,
    PartitionError,
    PartitionScheme,
    UnknownPartition,
    Workflow,
    WorkflowContext,
)
from flowctx.airflow import workflow_context
from flowctx.airflow.context import run_context
from flowctx.airflow.macros import context_value
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.testing import run_dag

NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
TRACE = "a" * 32
NEW_YORK = "America/New_York"
SCHEME = PartitionScheme(date=Daily(start="2012-10-01", calendar="WEEKDAYS"), symbol=["FB", "IBM"])


def instant(text: str | None) -> datetime | None:
    """Read an instant of UTC."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def context(schedule=None, *, conf=None, run_type="manual", events=None, params=None, **run) -> WorkflowContext:
    """Return the context of a run as Airflow's workers get it."""
    times = ("logical_date", "data_interval_start", "data_interval_end", "partition_date")
    given = {**dict.fromkeys((*times, "end_date", "partition_key")), **run}
    of_run = {name: instant(given.pop(name)) for name in times} | given
    as_of, workflow = of_run.pop("as_of", None), of_run.pop("workflow", None)
    required, strict = of_run.pop("required", False), of_run.pop("strict", False)
    if of_run["partition_key"] is not None:
        require("airflow", "partitioned runs")
    of_run = {name: value for name, value in of_run.items() if name in DagRun.model_fields or value is not None}
    dag_run = DagRun(
        dag_id="d",
        run_id="r1",
        run_after=NOW,
        start_date=NOW,
        run_type=run_type,
        state="running",
        conf=conf,
        consumed_asset_events=[],
        **of_run,
    )
    ti = SimpleNamespace(
        task_id="t", try_number=2, map_index=-1, context_carrier={"traceparent": f"00-{TRACE}-{'b' * 16}-00"}
    )
    airflow = {"dag": DAG("d", schedule=schedule), "dag_run": dag_run, "ti": ti, "params": params or {}}
    if events is not None:
        airflow["triggering_asset_events"] = {"asset": [SimpleNamespace(extra=extra) for extra in events]}
    return run_context(airflow, as_of, required=required, workflow=workflow, strict=strict)


SIX = "2026-11-22T06:00"
#: A partition that a producer in Tokyo made: Airflow carries its midnight along.
OF_AN_ASSET = {
    "schedule": PartitionedAssetTimetable and PartitionedAssetTimetable(assets=Asset("closes")),
    "run_type": "asset_triggered",
    "partition_key": "2026-07-01|IBM",
    "partition_date": "2026-06-30T15:00",
}
CASES = {
    "cron trigger": ({"schedule": "0 6 * * *", "logical_date": SIX}, "2026-11-22", "fired_at"),
    "cron trigger, late in New York": (
        {"schedule": CronTriggerTimetable("30 20 * * *", timezone=NEW_YORK), "logical_date": "2026-11-23T01:30"},
        "2026-11-22",
        "fired_at",
    ),
    "data interval": (
        {
            "schedule": CronDataIntervalTimetable("0 6 * * *", timezone=NEW_YORK),
            "logical_date": "2026-11-21T11:00",
            "data_interval_start": "2026-11-21T11:00",
            "data_interval_end": "2026-11-22T11:00",
        },
        "2026-11-21",
        "window_start",
    ),
    "manual without a date": ({}, None, "none"),
    "manual with a date": ({"logical_date": SIX}, "2026-11-22", "fired_at"),
    "manual with as_of_date": (
        {"conf": {"as_of_date": "2012-10-26"}, "logical_date": SIX},
        "2012-10-26",
        "caller",
    ),
    "cron partition": (
        {
            "schedule": CronPartitionTimetable
            and CronPartitionTimetable("0 0 * * *", timezone=NEW_YORK, key_format="%Y-%m-%d"),
            "partition_key": "2026-11-22",
            "partition_date": "2026-11-22T05:00",
        },
        "2026-11-22",
        "fired_at",
    ),
    "our partitions": (
        {"schedule": PartitionTimetable(SCHEME), "partition_key": "2012-10-26|IBM", "run_type": "backfill"},
        "2012-10-26",
        "partition.date",
    ),
    "asset triggered": ({"run_type": "asset_triggered", "events": []}, None, "none"),
    "events that agree": ({"events": [{"as_of_date": "2012-10-26"}] * 2}, "2012-10-26", "asset_events"),
    "partitioned asset": ({**OF_AN_ASSET, "events": [{}]}, None, "none"),
    "partitioned asset whose event says it": (
        {**OF_AN_ASSET, "events": [{"as_of_date": "2026-07-01"}]},
        "2026-07-01",
        "asset_events",
    ),
    "operator triggered": ({"run_type": "operator_triggered", "conf": {"x": 1}}, None, "none"),
    "runs on T about T-1": (
        {"schedule": "0 6 * * *", "logical_date": "2012-10-29T06:00", "as_of": AsOf.previous_session("WEEKDAYS")},
        "2012-10-26",
        "fired_at+previous_session:WEEKDAYS",
    ),
}


#: The kinds of run of which older versions of Airflow do not say all.
NEEDS = {
    "cron partition": "partition dates for tasks",
    "partitioned asset": "partition dates for tasks",
    "partitioned asset whose event says it": "partition dates for tasks",
    "operator triggered": "operator_triggered runs",
}


@pytest.mark.parametrize(
    ("run", "day", "source"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.needs("airflow", NEEDS[name]) if name in NEEDS else ())
        for name, case in CASES.items()
    ],
)
def test_each_kind_of_run_has_its_business_date(run: dict, day: str | None, source: str) -> None:
    """The date is that of the fact that determines it, in the schedule's own zone, and says which that is."""
    ctx = context(**run)
    assert (str(ctx.as_of_date), ctx.metadata["as_of_source"]) == (str(day), source)


def test_conf_says_who_the_run_is_and_the_rest_is_parameters() -> None:
    """The caller's keys become fields; everything else, and the DAG's params, are ctx.params."""
    conf = {
        "batch_id": "b",
        "trace_id": "t",
        "partition": {"tier": "T1"},
        "as_of_date": "2026-01-09",
        "idempotency_key": "i",
        "capture_id": "c",
        "limit": 5,
    }
    ctx = context(conf=conf, params={"limit": 5, "mode": "x", "batch_id": "b"})
    assert (ctx.batch_id, ctx.trace_id, ctx.capture_id, ctx.idempotency_key) == ("b", "t", "c", "i")
    assert str(ctx.partition) == "tier=T1"
    assert ctx.params == {"limit": 5, "mode": "x"}


def test_what_airflow_writes_into_conf_is_no_parameter() -> None:
    """Lineage of TriggerDagRunOperator and Airflow's own keys are left out, unless the workflow declares them."""
    conf = {"limit": 5, "openlineage": {"parentRunId": "r"}, "airflow/task_span_detail_level": 2}
    flow = Workflow("d", params={"limit": 1})
    for workflow in (None, flow):
        assert context(conf=conf, params=conf, workflow=workflow, strict=workflow is not None).params == {"limit": 5}
    ours = Workflow("d", params={"openlineage": {}})
    assert context(conf={"openlineage": {"on": True}}, workflow=ours).params == {"openlineage": {"on": True}}


def test_the_trace_is_airflows_unless_the_caller_says() -> None:
    """The trace id is that of the run's traceparent."""
    assert context().trace_id == TRACE
    assert context(conf={"trace_id": "mine"}).trace_id == "mine"


@pytest.mark.parametrize(
    ("run", "key"),
    [
        ({"conf": {"partition": "date=2012-10-26,symbol=IBM"}}, "date=2012-10-26|symbol=IBM"),
        ({"partition_key": "2026-03-05|t1|XNYS"}, "partition=2026-03-05%7Ct1%7CXNYS"),
        ({"partition_key": "tier=T1"}, "tier=T1"),
        ({"schedule": PartitionTimetable(SCHEME), "partition_key": "2012-10-26|IBM"}, "date=2012-10-26|symbol=IBM"),
        (
            {"schedule": PartitionTimetable(SCHEME), "conf": {"partition": "2012-10-26|IBM"}},
            "date=2012-10-26|symbol=IBM",
        ),
        ({"conf": {"partition": {"tier": "T1"}}, "partition_key": "tier=T1"}, "tier=T1"),
        ({"events": [{"partition": {"tier": "T1"}}] * 2}, "tier=T1"),
    ],
)
def test_partitions_are_read_as_they_come(run: dict, key: str) -> None:
    """As an object or text in conf, as Airflow's own key with or without a scheme, or from the events of assets."""
    assert str(context(**run).partition) == key


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        ({"conf": {"partition": ["IBM"]}}, ContextError, "must be an object of dimensions"),
        ({"events": [{"partition": ["IBM"]}]}, ContextError, r"event's extra\['partition'\] is \['IBM'\]; it must be"),
        ({"conf": {"as_of_date": "26/10/2012"}}, ContextError, "YYYY-MM-DD"),
        ({"conf": {"batch_id": 7}}, ContextError, "must be text"),
        ({"conf": {"batch_id": ""}}, ContextError, "leave it out"),
        ({"conf": {"partition": "2026-01-09"}}, PartitionError, "'2026-01-09' in '2026-01-09' has no '='"),
        ({"conf": {"partition": "2026-01-09"}, "partition_key": "2026-01-09"}, PartitionError, "has no '='"),
        ({"conf": {"partition": "tier=T1"}, "partition_key": "tier=T2"}, ContextError, "pass one"),
        ({"schedule": PartitionTimetable(SCHEME), "partition_key": "2012-10-27|IBM"}, UnknownPartition, "2012-10-26"),
        (
            {"workflow": Workflow("d", partitions=SCHEME)},
            ContextError,
            "no partition was given.*or in conf: .'partition'",
        ),
        (
            {"workflow": Workflow("d", partitions=SCHEME), "conf": {"resume_from": "r1"}},
            ContextError,
            "one that continues another says its partition, too",
        ),
        (
            {
                "schedule": PartitionTimetable(SCHEME),
                "partition_key": "2012-10-26|IBM",
                "conf": {"as_of_date": "2012-10-25"},
            },
            ContextError,
            "not the business date",
        ),
    ],
)
def test_what_cannot_be_is_a_clear_error(run: dict, error: type[Exception], words: str) -> None:
    """A conf that says something impossible names the value and what to write instead."""
    with pytest.raises(error, match=words):
        context(**run)


def test_events_that_disagree_give_no_arbitrary_batch() -> None:
    """Source runs of several batches leave batch_id None and list them in metadata."""
    ctx = context(events=[{"batch_id": "b2", "trace_id": "t"}, {"batch_id": "b1", "trace_id": "t"}])
    assert (ctx.batch_id, ctx.trace_id, ctx.metadata["batch_ids"]) == (None, "t", ["b1", "b2"])


def test_a_conf_wins_over_events() -> None:
    """What the run itself says is not asked of the assets that triggered it."""
    ctx = context(conf={"batch_id": "own"}, events=[{"batch_id": "b1"}, {"batch_id": "b2"}])
    assert (ctx.batch_id, "batch_ids" in ctx.metadata) == ("own", False)


@pytest.mark.parametrize(
    ("partition", "day", "source"),
    [({"date": "2026-01-12"}, date(2026, 1, 12), "partition.date"), ({"tier": "A"}, date(2026, 1, 9), "asset_events")],
)
def test_a_partition_in_conf_is_not_dated_by_events(partition: dict, day: date, source: str) -> None:
    """A date of the assets that triggered a run counts where the run's own partition says none."""
    ctx = context(conf={"partition": partition}, events=[{"as_of_date": "2026-01-09"}])
    assert (ctx.as_of_date, ctx.metadata["as_of_source"]) == (day, source)


def test_tagged_parameters_are_read_back() -> None:
    """A parameter in flowctx's JSON form is its value; an object of somebody else's with a $ stays as it is."""
    ctx = context(params={"day": {"$date": "2026-01-09"}, "schema": {"$ref": "#/x"}})
    assert ctx.params == {"day": date(2026, 1, 9), "schema": {"$ref": "#/x"}}


def test_every_way_to_write_a_task_can_ask() -> None:
    """TaskFlow, a classic operator, a sensor, a template and a callback see the same context."""
    heard: list[WorkflowContext] = []

    class Classic(BaseOperator):
        template_fields = ("day",)

        def __init__(self, *, day: str, **kwargs) -> None:
            self.day = day
            super().__init__(**kwargs)

        def execute(self, context):
            return {"day": self.day, "batch": workflow_context().batch_id}

    with DAG("asks", schedule=CronTriggerTimetable("0 6 * * *", timezone=NEW_YORK)) as dag:
        Classic(
            task_id="classic",
            day="{{ macros.flowctx.as_of_date }} {{ macros.flowctx.partition.symbol }}",
            on_success_callback=lambda context: heard.append(workflow_context(context=context)),
        )

        @task
        def flow():
            return workflow_context(AsOf.window_end()).to_dict()

        @task.sensor(poke_interval=0.01)
        def wait():
            return workflow_context().batch_id == "b"

        @task
        def read():
            return get_current_context()["ti"].xcom_pull(task_ids=["classic", "flow"])

        flow() >> wait() >> read()
    result = run_dag(dag, partition={"symbol": "IBM"}, batch_id="b", logical_date=datetime(2012, 10, 27, 1, tzinfo=UTC))
    assert {step.status for step in result.steps} == {"ok"}
    assert [ctx.batch_id for ctx in heard] == ["b"]
    with pytest.raises(MissingKey, match="in a callback of a task: load_output"):
        heard[0].get_output("fetch")
    assert result.context.as_of_date == heard[0].as_of_date == date(2012, 10, 26)


@pytest.mark.parametrize(
    ("name", "words"), [("asof_date", "did you mean 'as_of_date'"), ("xyz", "it has run_id, trace_id, batch_id")]
)
def test_a_slip_in_a_macro_says_what_there_is(name, words) -> None:
    """A field that a context has not is an error of ours, which Jinja does not hide, and private names are probes."""
    with pytest.raises(ContextError, match=f"macros.flowctx.{name}: a context has no '{name}'; {words}"):
        context_value(name)
    with pytest.raises(AttributeError):
        context_value("__wrapped__")


def test_outside_a_task_it_says_so() -> None:
    """Called when the DAG is parsed, it says when to call it."""
    with pytest.raises(ContextError, match="call it when the task runs"):
        workflow_context()


def test_a_weekly_dag_takes_the_last_session() -> None:
    """AsOf.last_session on a weekly data interval is the last session within it."""
    schedule = CronDataIntervalTimetable("0 0 * * SAT", timezone="UTC")
    run = {
        "logical_date": "2012-12-22",
        "data_interval_start": "2012-12-22",
        "data_interval_end": "2012-12-29",
        "as_of": AsOf.last_session("XNYS"),
    }
    assert context(schedule, **run).as_of_date == date(2012, 12, 28)


def test_a_run_without_a_business_date_is_refused_where_one_is_required() -> None:
    """The date of a run by hand, or by an event that says none, is None; where it is required, an error says how."""
    assert context().as_of_date is None
    for run in ({}, {"run_type": "asset_triggered", "events": [{}]}):
        with pytest.raises(ContextError, match="has no business date.*start it with as_of_date"):
            context(**run, required=True)
    assert context(conf={"as_of_date": "2012-10-26"}, required=True).as_of_date == date(2012, 10, 26)


@pytest.mark.parametrize("name", ["batch_id", "trace_id", "as_of_date", "partition"])
def test_what_one_of_two_events_says_is_not_said_of_the_run(name: str) -> None:
    """Where one producer has a batch, date or partition and the other has none, the run has none of either."""
    value = {"as_of_date": "2012-10-26", "partition": "tier=T1", "trace_id": "c" * 32}.get(name, "b1")
    both, one = context(events=[{name: value}] * 2), context(events=[{name: value}, {}])
    assert str(getattr(both, name)) == value
    assert getattr(one, name) == (TRACE if name == "trace_id" else None)
    assert one.metadata[{"partition": "partitions"}.get(name, f"{name}s")] == [value]
