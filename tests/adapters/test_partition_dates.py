"""A partition dates its run on every engine: no rule, caller or time of the run says another day."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
from datetime import UTC, datetime

import dagster as dg
import pytest
from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable, task

from adapters.dagster_support import QUIET
from flowctx import AsOf, ContextError, Daily, PartitionScheme, Weekly, Workflow, WorkflowError, run
from flowctx.airflow import StepOperator, workflow_context, workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster import partitions_def
from flowctx.dagster import workflow_context as dagster_context
from flowctx.dagster.running import run_assets

NY = "America/New_York"
LATER = datetime(2026, 1, 14, 1, tzinfo=UTC)  # the evening of the 13th in New York
DAYS = PartitionScheme(date=Daily(start="2026-01-02", calendar="XNYS", timezone=NY))
WEEKS = PartitionScheme(week=Weekly(start="2026-01-02", calendar="XNYS", timezone=NY))
RULES = [
    AsOf.last_session("XNYS"),
    AsOf.previous_session("XNYS"),
    AsOf.window_start(),
    AsOf.window_end(),
    AsOf.key("date"),
]
SCHEDULES = [
    CronTriggerTimetable("0 20 * * MON-FRI", timezone=NY),
    CronDataIntervalTimetable("0 20 * * MON-FRI", timezone=NY),
]


def looking(name, scheme=None):
    """Return a workflow whose step hands on its business date and its capture."""
    flow = Workflow(name, partitions=scheme)
    flow.step("look")(lambda ctx: {"day": str(ctx.as_of_date), "capture": ctx.capture_id})
    return flow


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["tick", "interval"])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rule_of_airflow_does_not_date_a_partition(rule, schedule):
    """A DAG of one's own with a rule for all of its tasks: the logical date says nothing of the partition in conf."""
    flow = looking("looked_at", DAYS)
    seen = []
    with DAG(f"own_{rule.kind}_{type(schedule).__name__}", schedule=schedule, default_args={"as_of": rule}) as dag:
        StepOperator(step=flow["look"], workflow=flow)

        @task
        def call():
            seen.append(workflow_context(scheme=DAYS))

        call()
    for logical_date in (LATER, None):
        done = run_dag(dag, partition="date=2026-01-05", batch_id="b", logical_date=logical_date).raise_for_failure()
        assert done.context.get_output("look") == {"day": "2026-01-05", "capture": "2026-01-05|b"}
    assert [(str(ctx.as_of_date), ctx.metadata["as_of_source"]) for ctx in seen] == [
        ("2026-01-05", "partition.date")
    ] * 2


def test_a_rule_of_a_workflow_s_dag_does_not_date_a_partition():
    """A schedule in the place of the partitions' own changes nothing of that."""
    dag = workflow_dag(looking("by_cron", DAYS), schedule="0 6 * * *", as_of=AsOf.last_session("XNYS"))
    done = run_dag(dag, partition="2026-01-05", logical_date=LATER).raise_for_failure()
    assert done.context.get_output("look", "day") == "2026-01-05"


def in_airflow(rule, **conf):
    """Return the date of a run of a DAG without a scheme, by a rule for all of its tasks."""
    seen = []
    with DAG(f"unpartitioned_{rule.kind}", schedule=SCHEDULES[0], default_args={"as_of": rule}) as dag:

        @task
        def call():
            seen.append(workflow_context())

        call()
    run_dag(dag, logical_date=LATER, **conf).raise_for_failure()
    return str(seen[0].as_of_date), seen[0].metadata["as_of_source"]


def test_the_logical_date_does_not_date_a_partition_without_a_scheme():
    """A session rule is asked of the date in the key, a rule for a window takes it, and both say so."""
    key = {"date": "2026-01-10"}
    assert in_airflow(AsOf.last_session("XNYS"), partition=key) == ("2026-01-09", "partition.date+last_session:XNYS")
    assert in_airflow(AsOf.window_start(), partition=key) == ("2026-01-10", "partition.date")
    assert in_airflow(AsOf.last_session("XNYS"), partition={"tier": "T1"})[1] == "fired_at+last_session:XNYS"


def in_dagster(definition=None, *, key=None, tags=(), **arguments):
    """Return the context that an asset of one's own sees."""
    seen = []

    @dg.asset(partitions_def=definition)
    def own(context: dg.AssetExecutionContext) -> None:
        seen.append(dagster_context(context, **arguments))

    dg.materialize([own], partition_key=key, tags=dict(tags), run_config=QUIET)
    return seen[0]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rule_of_dagster_does_not_date_a_partition(rule):
    """The tick of the schedule that launched the run says nothing of its partition."""
    tags = {".dagster/scheduled_execution_time": LATER.isoformat()}
    ctx = in_dagster(partitions_def(DAYS), key="2026-01-05", tags=tags, as_of=rule, scheme=DAYS)
    assert (str(ctx.as_of_date), ctx.metadata["as_of_source"]) == ("2026-01-05", "partition.date")


def test_a_tick_does_not_date_a_partition_without_a_scheme():
    """A session rule of an asset is asked of the date in its key, whenever the run was launched."""
    keys = dg.MultiPartitionsDefinition(
        {"date": dg.StaticPartitionsDefinition(["2026-01-10"]), "tier": dg.StaticPartitionsDefinition(["T1"])}
    )
    key = dg.MultiPartitionKey({"date": "2026-01-10", "tier": "T1"})
    tags = {".dagster/scheduled_execution_time": LATER.isoformat()}
    ctx = in_dagster(keys, key=key, tags=tags, as_of=AsOf.last_session("XNYS"))
    assert (str(ctx.as_of_date), ctx.metadata["as_of_source"]) == ("2026-01-09", "partition.date+last_session:XNYS")


GOOD_FRIDAY = r"the rule AsOf.last_session\('XNYS'\) gives 2026-04-02, .* partition week=2026-04-03: .* is 2026-04-03"


def test_a_rule_that_contradicts_the_scheme_is_refused_on_airflow():
    """The week of Good Friday ends on it by the scheme, and on Thursday by the rule: the run fails with both dates."""
    dag = workflow_dag(looking("weekly", WEEKS), as_of=AsOf.last_session("XNYS"))
    with pytest.raises((ContextError, WorkflowError), match=GOOD_FRIDAY):
        run_dag(dag, partition="2026-04-03").raise_for_failure()
    run_dag(dag, partition="2026-01-09").raise_for_failure()


def test_a_rule_that_contradicts_the_scheme_is_refused_on_dagster():
    """There, too."""
    with pytest.raises(ContextError, match=GOOD_FRIDAY):
        in_dagster(partitions_def(WEEKS), key="2026-03-28", as_of=AsOf.last_session("XNYS"), scheme=WEEKS)


def test_an_as_of_date_that_contradicts_a_key_without_a_scheme_is_refused():
    """The words are the same on every engine, and the date of the key itself is taken."""
    words = (
        r"as_of_date=2026-01-05 is not the business date of partition date=2026-01-09, which is 2026-01-09; pass one"
    )
    flow = looking("unpartitioned")
    engines = {
        "local": lambda **who: run(flow, **who),
        "airflow": lambda **who: run_dag(workflow_dag(flow), **who),
        "dagster": lambda **who: run_assets(flow, **who),
    }
    for start in engines.values():
        who = {"partition": "date=2026-01-09", "batch_id": "b"}
        with pytest.raises((ContextError, WorkflowError), match=words):
            start(**who, as_of_date="2026-01-05").raise_for_failure()
        assert (
            start(**who, as_of_date="2026-01-09").raise_for_failure().context.get_output("look", "day") == "2026-01-09"
        )


def test_a_tag_that_contradicts_a_partition_of_dagster_s_own_is_refused():
    """A day, an hour and a week of Dagster's grids have dates; of a week's days the caller says which."""
    days, weeks = dg.DailyPartitionsDefinition("2026-01-01"), dg.WeeklyPartitionsDefinition("2026-01-03", day_offset=6)
    hours = dg.HourlyPartitionsDefinition("2026-01-12-00:00", timezone=NY)
    other = {"flowctx/as_of_date": "2026-01-08"}
    for definition, key in ((days, "2026-01-12"), (weeks, "2026-01-10"), (hours, "2026-01-12-23:00")):
        with pytest.raises(ContextError, match=r"as_of_date=2026-01-08 is not the business date of partition date="):
            in_dagster(definition, key=key, tags=other)
    ctx = in_dagster(weeks, key="2026-01-03", tags=other)
    assert (str(ctx.as_of_date), ctx.metadata["as_of_source"]) == ("2026-01-08", "caller")
