"""What a workflow's context says in every kind of Dagster context."""

import re
import warnings
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from flowctx import (
    AsOf,
    CalendarError,
    ContextError,
    Daily,
    MissingKey,
    PartitionKey,
    PartitionScheme,
    Weekly,
    Workflow,
)
from flowctx.dagster import WorkflowContextResource, partitions_def, workflow_context, workflow_contexts

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAILY = dg.DailyPartitionsDefinition("2026-02-01", timezone="America/New_York")
VENUES = dg.StaticPartitionsDefinition(["NYSE", "LSE"])
MULTI = dg.MultiPartitionsDefinition({"venue": VENUES, "date": DAILY})
WEEKS = PartitionScheme(week_ending=Weekly(start="2026-01-02"), tier=["T1", "T2"], venue=["NYSE", "L|SE"])


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def contexts_in(instance, definition=None, *, key=None, span=None, **about):
    """Return the contexts that an asset sees: `key` is a partition's, `span` the two ends of a range."""
    seen = []

    @dg.asset(partitions_def=definition, backfill_policy=dg.BackfillPolicy.single_run() if definition else None)
    def prices(context: dg.AssetExecutionContext) -> None:
        seen.extend(workflow_contexts(context, **about.get("args", {})))

    tags = {**about.get("tags", {})}
    if span:
        tags |= {"dagster/asset_partition_range_start": span[0], "dagster/asset_partition_range_end": span[1]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", dg.BetaWarning)
        config = {**QUIET, **about.get("run_config", {})}
        dg.materialize([prices], partition_key=key, instance=instance, tags=tags, run_config=config)
    return seen


@pytest.mark.parametrize(
    ("definition", "key", "span", "expected"),
    [
        (None, None, None, [(None, None)]),
        (DAILY, "2026-02-03", None, [({"date": "2026-02-03"}, "2026-02-03")]),
        (
            DAILY,
            None,
            ("2026-02-03", "2026-02-04"),
            [({"date": "2026-02-03"}, "2026-02-03"), ({"date": "2026-02-04"}, "2026-02-04")],
        ),
        (DAILY, None, ("2026-02-03", "2026-02-03"), [({"date": "2026-02-03"}, "2026-02-03")]),
        (
            MULTI,
            dg.MultiPartitionKey({"date": "2026-02-03", "venue": "LSE"}),
            None,
            [({"date": "2026-02-03", "venue": "LSE"}, "2026-02-03")],
        ),
        (
            MULTI,
            None,
            ("2026-02-03|NYSE", "2026-02-03|LSE"),
            [({"date": "2026-02-03", "venue": venue}, "2026-02-03") for venue in ("NYSE", "LSE")],
        ),
        (VENUES, None, ("NYSE", "LSE"), [({"partition": "NYSE"}, None), ({"partition": "LSE"}, None)]),
        (VENUES, "LSE", None, [({"partition": "LSE"}, None)]),
        pytest.param(
            *(DAILY, None, None, [(None, None)]),
            marks=pytest.mark.needs("dagster", "partitioned assets in runs without a partition"),
        ),
    ],
    ids=["plain", "key", "range", "one-key range", "multi", "multi range", "static range", "static", "no key"],
)
def test_contexts_by_kind_of_run(instance, definition, key, span, expected):
    """Every kind of run has one context for each of its partitions, with its key and business date."""
    found = contexts_in(instance, definition, key=key, span=span)
    days = [(ctx.partition, ctx.as_of_date.isoformat() if ctx.as_of_date else None) for ctx in found]
    assert days == expected
    assert len({ctx.capture_id for ctx in found}) == len(found)


def test_outputs_are_for_steps(instance):
    """To ask a context beside steps for an output is an error that says where outputs are."""
    for seen in contexts_in(instance, DAILY, span=("2026-02-03", "2026-02-04")):
        with pytest.raises(MissingKey, match="no output of step 'fetch' here: .*; take the step's asset as an input"):
            seen.get_output("fetch")


def test_an_empty_range_is_refused(instance):
    """A range of multi-partition keys given against the order of its values is an error, not a run about nothing."""
    with pytest.raises(ContextError, match="follow the order in which the values"):
        contexts_in(instance, MULTI, span=("2026-02-03|LSE", "2026-02-04|NYSE"))


def test_a_range_that_ends_on_an_excluded_day_is_refused(instance):
    """Of definitions of the user's own, too, both ends of a range are partitions, in one dimension and in two."""
    days = dg.TimeWindowPartitionsDefinition(
        cron_schedule="0 0 * * *", start="2026-02-01", fmt="%Y-%m-%d", exclusions=["0 0 * * 0,6"]
    )
    venues = dg.MultiPartitionsDefinition({"date": days, "venue": VENUES})
    assert len(contexts_in(instance, venues, span=("2026-02-06|LSE", "2026-02-09|LSE"))) == 2
    for definition, end in ((days, ""), (venues, "|LSE")):
        with pytest.raises(ContextError, match="has an end that is no partition, 2026-02-07"):
            contexts_in(instance, definition, span=(f"2026-02-06{end}", f"2026-02-07{end}"))


@pytest.mark.parametrize("end", ["tomorrow|LSE", "2026-02-06", "LSE|2026-02-06"])
def test_a_range_that_ends_on_no_key_is_refused(end):
    """In a unit test of an asset, an end that is no date, or no key of several dimensions, is named."""
    venues = dg.MultiPartitionsDefinition({"date": dg.DailyPartitionsDefinition("2026-02-01"), "venue": VENUES})
    context = dg.build_asset_context(partition_key_range=dg.PartitionKeyRange("2026-02-05|LSE", end))
    asset = dg.asset(name="prices", partitions_def=venues)(lambda context: workflow_contexts(context))
    with pytest.raises(ContextError, match=f"has an end that is no partition, {end.replace('|', '.')}; give"):
        asset(context)


@pytest.mark.parametrize("key", ["tomorrow", "2026-02-06|LSE"])
def test_a_key_of_no_date_is_refused(key):
    """In a unit test of an asset, where Dagster takes any text, a partition that is no date is named."""
    asset = dg.asset(name="prices", partitions_def=DAILY)(lambda context: workflow_context(context))
    with pytest.raises(ContextError, match=f"'{re.escape(key)}' is no key of its definition, .* as %Y-%m-%d; give one"):
        asset(dg.build_asset_context(partition_key=key))


def test_workflow_context_refuses_several_partitions(instance):
    """A run about several partitions has no one context; the error names the function that has them all."""

    @dg.asset(partitions_def=DAILY)
    def prices(context: dg.AssetExecutionContext) -> None:
        workflow_context(context)

    tags = {"dagster/asset_partition_range_start": "2026-02-03", "dagster/asset_partition_range_end": "2026-02-05"}
    with pytest.raises(ContextError, match="3 partitions, 2026-02-03 to 2026-02-05; use workflow_contexts"):
        dg.materialize([prices], instance=instance, tags=tags, run_config=QUIET)


@pytest.mark.parametrize("prefix", ["flowctx/", ""])
def test_the_caller_says_who_the_run_is(instance, prefix):
    """Run tags, with or without our prefix, are the caller's word."""
    requested = {
        "batch_id": "b",
        "trace_id": "t",
        "as_of_date": "2025-12-31",
        "capture_id": "c",
        "idempotency_key": "i",
    }
    (ctx,) = contexts_in(instance, tags={prefix + name: value for name, value in requested.items()})
    assert (ctx.batch_id, ctx.trace_id, ctx.capture_id, ctx.idempotency_key) == ("b", "t", "c", "i")
    assert ctx.as_of_date == date(2025, 12, 31)


def test_a_wrong_date_in_a_tag_is_refused(instance):
    """A tag that is no date says how to write one."""
    with pytest.raises(ContextError, match="write it as YYYY-MM-DD, such as .2012-10-26."):
        contexts_in(instance, tags={"flowctx/as_of_date": "31.12.2025"})


def test_a_partition_may_be_a_tag(instance):
    """A run that Dagster knows no partition for takes the caller's."""
    (ctx,) = contexts_in(instance, tags={"flowctx/partition": "date=2026-01-09|tier=OTC", "batch_id": "b"})
    assert (ctx.partition, ctx.as_of_date) == (PartitionKey(date="2026-01-09", tier="OTC"), date(2026, 1, 9))
    assert ctx.capture_id == "2026-01-09|OTC|b"


def test_a_native_backfill_is_the_batch(instance):
    """Dagster's own backfill names the batch where the caller does not."""
    (ctx,) = contexts_in(instance, tags={"dagster/backfill": "qwerty"})
    assert ctx.batch_id == "qwerty"
    (ctx,) = contexts_in(instance, tags={"dagster/backfill": "qwerty", "flowctx/batch_id": "mine"})
    assert ctx.batch_id == "mine"


def test_attempts_add_up(instance):
    """The number of retries is that of the run and of the step together."""
    seen = []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def flaky(context: dg.OpExecutionContext):
        seen.append(workflow_context(context).metadata["engine"]["retry_number"])
        if len(seen) == 1:
            raise ValueError

    @dg.job
    def job():
        flaky()

    job.execute_in_process(instance=instance, tags={"dagster/retry_number": "2"}, run_config=QUIET)
    assert seen == [2, 3]


def test_an_op_has_its_config_as_parameters(instance):
    """An op's configuration is the context's parameters; the job gives the name."""
    seen = []

    class Limits(dg.Config):
        limit: int = 5
        label: str = "x"

    @dg.op
    def work(context: dg.OpExecutionContext, config: Limits):
        seen.append(workflow_context(context))

    @dg.job
    def nightly():
        work()

    nightly.execute_in_process(instance=instance, run_config={"ops": {"work": {"config": {"limit": 7}}}, **QUIET})
    assert seen[0].params == {"limit": 7, "label": "x"}
    engine = seen[0].metadata["engine"]
    assert (engine["name"], engine["job_name"], engine["step_key"]) == ("dagster", "nightly", "work")
    assert seen[0].started_at <= datetime.now(UTC)


def test_every_asset_of_a_run_agrees(instance):
    """All assets of a run have the same ids, start and capture; each asset has its own idempotency key."""
    seen = []

    def asset(name, *deps):
        @dg.asset(name=name, deps=deps)
        def body(context: dg.AssetExecutionContext) -> None:
            seen.append(workflow_context(context))

        return body

    first = asset("first")
    dg.materialize([first, asset("second", first)], instance=instance, run_config=QUIET)
    one, other = seen
    assert (one.run_id, one.trace_id, one.started_at) == (other.run_id, other.trace_id, other.started_at)
    assert one.capture_id == other.capture_id
    assert one.idempotency_key != other.idempotency_key


def test_an_unpartitioned_asset_sees_the_partition_of_its_run(instance):
    """An unpartitioned asset that runs beside a partitioned one is about the same partition."""
    seen = []

    @dg.asset(partitions_def=DAILY)
    def prices() -> None: ...

    @dg.asset(deps=[prices])
    def report(context: dg.AssetExecutionContext) -> None:
        seen.append(workflow_context(context))

    dg.materialize([prices, report], partition_key="2026-02-03", instance=instance, run_config=QUIET)
    assert seen[0].partition == {"date": "2026-02-03"}


def test_asset_checks_and_multi_assets(instance):
    """Asset checks and multi-assets have the context of their run."""
    seen = []

    @dg.multi_asset(specs=[dg.AssetSpec("a"), dg.AssetSpec("b")], partitions_def=DAILY)
    def both(context: dg.AssetExecutionContext):
        seen.append(workflow_context(context))
        yield dg.MaterializeResult("a")
        yield dg.MaterializeResult("b")

    @dg.asset_check(asset="a")
    def fresh(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        seen.append(workflow_context(context))
        return dg.AssetCheckResult(passed=True)

    defs = dg.Definitions([both], asset_checks=[fresh], jobs=[dg.define_asset_job("job")])
    job = defs.resolve_job_def("job")
    job.execute_in_process(instance=instance, partition_key="2026-02-03", run_config=QUIET)
    assert [ctx.as_of_date for ctx in seen] == [date(2026, 2, 3)] * 2
    assert seen[0].run_id == seen[1].run_id


def test_built_contexts_work_unbound_and_bound():
    """In a unit test the context that Dagster builds is enough: key, tags and config."""

    @dg.asset(partitions_def=MULTI)
    def prices(context: dg.AssetExecutionContext):
        return workflow_context(context)

    key = dg.MultiPartitionKey({"date": "2026-02-03", "venue": "LSE"})
    ctx = prices(dg.build_asset_context(partition_key=key, run_tags={"batch_id": "b"}))
    assert (ctx.partition.venue, ctx.capture_id, ctx.run_id) == ("LSE", "2026-02-03|LSE|b", "EPHEMERAL")
    unbound = workflow_context(dg.build_op_context(op_config={"limit": 1}))
    assert unbound.params == {"limit": 1}
    ranged = dg.build_asset_context(partition_key_range=dg.PartitionKeyRange("2026-02-03", "2026-02-04"))

    @dg.asset(partitions_def=DAILY)
    def days(context: dg.AssetExecutionContext):
        return [ctx.as_of_date.day for ctx in workflow_contexts(context)]

    assert days(ranged) == [3, 4]


def test_schedules_and_sensors_have_a_context():
    """A tick of a schedule is about the local day on which it fires; a sensor's says nothing of time."""
    seen = []

    @dg.schedule(cron_schedule="0 20 * * *", target="*", execution_timezone="America/New_York")
    def nightly(context: dg.ScheduleEvaluationContext):
        seen.append(workflow_context(context, AsOf.last_session("WEEKDAYS")))
        return dg.SkipReason("seen")

    @dg.sensor(target="*")
    def watch(context: dg.SensorEvaluationContext):
        seen.append(workflow_context(context))
        return dg.SkipReason("seen")

    from zoneinfo import ZoneInfo

    tick = datetime(2026, 2, 7, 20, tzinfo=ZoneInfo("America/New_York"))
    nightly(dg.build_schedule_context(scheduled_execution_time=tick))
    watch(dg.build_sensor_context(sensor_name="watch"))
    assert (seen[0].as_of_date, seen[0].metadata["as_of_source"]) == (
        date(2026, 2, 6),
        "fired_at+last_session:WEEKDAYS",
    )
    assert (seen[1].as_of_date, seen[1].metadata["engine"]["tick"]) == (None, "sensor")


def test_a_rule_gives_the_business_date(instance):
    """A rule maps the partition's window to a date in the zone of the partitions."""
    args = {"as_of": AsOf.previous_session("WEEKDAYS")}
    (ctx,) = contexts_in(instance, DAILY, key="2026-02-08", args=args)
    assert ctx.as_of_date == date(2026, 2, 6)
    (ctx,) = contexts_in(instance, MULTI, key=dg.MultiPartitionKey({"date": "2026-02-08", "venue": "LSE"}), args=args)
    assert ctx.as_of_date == date(2026, 2, 6)
    weekly = dg.WeeklyPartitionsDefinition("2026-01-03", day_offset=6)
    (ctx,) = contexts_in(instance, weekly, key="2026-01-10", args={"as_of": AsOf.window_end()})
    assert (ctx.as_of_date, ctx.metadata["as_of_source"]) == (date(2026, 1, 16), "window_end")


def test_a_scheme_names_the_partitions(instance):
    """With a scheme, keys are the scheme's own: three dimensions, and weeks by their end."""
    key = dg.MultiPartitionKey({"week_ending": "2026-01-03", "tier~venue": "T2~L%7CSE"})
    (ctx,) = contexts_in(instance, partitions_def(WEEKS), key=key, args={"scheme": WEEKS})
    assert ctx.partition == {"week_ending": "2026-01-09", "tier": "T2", "venue": "L|SE"}
    assert ctx.as_of_date == date(2026, 1, 9)


def test_a_workflow_names_the_run(instance):
    """With a workflow, name, scheme and default parameters are the workflow's; it cannot be without a partition."""
    flow = Workflow("flow", partitions=PartitionScheme(date=Daily(start="2026-02-01")), params={"limit": 1})
    definition = partitions_def(flow.partitions)
    (ctx,) = contexts_in(instance, definition, key="2026-02-03", args={"workflow": flow})
    assert ctx.params == {"limit": 1}
    with pytest.raises(ContextError, match="workflow 'flow' is partitioned"):
        contexts_in(instance, definition, args={"workflow": flow})


def test_what_is_no_context_is_refused():
    """An object that is no context of Dagster's is named."""
    with pytest.raises(ContextError, match="str is no context of a Dagster op"):
        workflow_context("context")


def test_the_resource_injects_the_context(instance):
    """Assets that take the resource need no context argument; its rule is text, as configuration is."""
    seen = []

    @dg.asset(partitions_def=DAILY)
    def prices(workflow: WorkflowContextResource) -> None:
        seen.extend([workflow.context(), *workflow.contexts()])

    resources = {"workflow": WorkflowContextResource(as_of="previous_session:WEEKDAYS")}
    dg.materialize([prices], partition_key="2026-02-08", resources=resources, instance=instance, run_config=QUIET)
    assert [ctx.as_of_date for ctx in seen] == [date(2026, 2, 6)] * 2


@pytest.mark.parametrize("rule", ["last_session", "window_end:XNYS", "tomorrow", ""])
def test_the_resource_refuses_what_is_no_rule(rule, instance):
    """A rule that is not one lists those there are."""

    @dg.asset
    def prices(workflow: WorkflowContextResource) -> None:
        workflow.context()

    with pytest.raises(ContextError, match="key:<dimension>"):
        dg.materialize(
            [prices], resources={"workflow": WorkflowContextResource(as_of=rule)}, instance=instance, run_config=QUIET
        )


def test_one_of_two_dimensions_of_time_must_be_named(instance):
    """A partition of a day and a week has no business date of its own accord; a rule says which dimension it is."""
    weeks = dg.WeeklyPartitionsDefinition("2026-02-01", timezone="America/New_York")
    two = dg.MultiPartitionsDefinition({"loaded": DAILY, "week": weeks})
    key = dg.MultiPartitionKey({"loaded": "2026-02-03", "week": "2026-02-08"})
    with pytest.raises(ContextError, match=r"2 dimensions of time, loaded and week; .*AsOf.key\('loaded'\)"):
        contexts_in(instance, two, key=key)
    (ctx,) = contexts_in(instance, two, key=key, args={"as_of": AsOf.key("week")})
    assert (ctx.as_of_date, ctx.metadata["as_of_source"]) == (date(2026, 2, 8), "partition.week")
    for day in ("2026-02-03", "2026-02-14"):
        (ctx,) = contexts_in(instance, two, key=key, tags={"flowctx/as_of_date": day})
        assert ctx.as_of_date == date.fromisoformat(day)
    with pytest.raises(ContextError, match="is loaded 2026-02-03 and week 2026-02-08 to 2026-02-14; pass one of it"):
        contexts_in(instance, two, key=key, tags={"flowctx/as_of_date": "2026-02-15"})


@pytest.mark.parametrize("cron", ["0 * * * *", "*/30 * * * *"])
def test_partitions_over_a_clock_change_have_windows(instance, cron):
    """In the hour that clocks show twice, a window ends at an earlier time than it starts, or at the same."""
    hours = dg.TimeWindowPartitionsDefinition(
        cron_schedule=cron, start="2026-11-01T00:00-0400", fmt="%Y-%m-%dT%H:%M%z", timezone="America/New_York"
    )
    keys = hours.get_partition_keys(current_time=datetime(2026, 11, 1, 7, tzinfo=UTC))
    found = contexts_in(instance, hours, span=(keys[0], keys[-1]))
    assert [(ctx.as_of_date, ctx.metadata["as_of_source"]) for ctx in found] == [
        (date(2026, 11, 1), "window_start") for _ in keys
    ]


def test_the_last_day_of_a_partition_is_that_of_its_last_instant(instance):
    """Where a day began at 01:00, the hour before it has none of its instants."""
    days = dg.DailyPartitionsDefinition("2018-11-01", timezone="America/Sao_Paulo")
    hours = dg.HourlyPartitionsDefinition("2018-11-03-00:00", timezone="America/Sao_Paulo")
    key = dg.MultiPartitionKey({"hour": "2018-11-03-23:00", "loaded": "2018-11-02"})
    two = dg.MultiPartitionsDefinition({"hour": hours, "loaded": days})
    with pytest.raises(ContextError, match="is hour 2018-11-03 and loaded 2018-11-02; pass one of it"):
        contexts_in(instance, two, key=key, tags={"flowctx/as_of_date": "2018-11-04"})


def test_a_run_without_a_business_date_is_refused_where_one_is_required(instance):
    """A run of no partition and no tick has no date; where one is required, an error says how to give it."""
    with pytest.raises(ContextError, match="has no business date.*the tag flowctx/as_of_date"):
        contexts_in(instance, args={"required": True})
    (ctx,) = contexts_in(instance, tags={"flowctx/as_of_date": "2026-02-03"}, args={"required": True})
    assert ctx.as_of_date == date(2026, 2, 3)


def test_a_tick_of_a_schedule_that_is_gone_is_not_of_utc(instance):
    """The zone of a schedule that is not found is an error that names the rule, not UTC in its place."""
    gone = {".dagster/scheduled_execution_time": "2026-02-04T01:30:00+00:00", "dagster/schedule_name": "gone"}
    with pytest.raises(CalendarError, match="is not known here, nor its time zone"):
        contexts_in(instance, tags=gone)
    (ctx,) = contexts_in(instance, tags=gone, args={"as_of": AsOf.default(timezone="America/New_York")})
    assert ctx.as_of_date == date(2026, 2, 3)


def test_a_bare_key_is_no_date():
    """A context of a unit test that is bound to no asset says how to get a date, rather than that there is none."""
    bare = dg.build_asset_context(partition_key="2026-01-12")
    for rule in (None, AsOf.last_session("XNYS")):
        with pytest.raises(ContextError, match=r"call the asset with it: loaded\(dg.build_asset_context\("):
            workflow_context(bare, rule)
    assert workflow_context(dg.build_asset_context(partition_key="LSE")).partition == {"partition": "LSE"}
    with_date = dg.build_asset_context(partition_key="2026-01-12", run_tags={"as_of_date": "2026-01-12"})
    assert workflow_context(with_date).as_of_date == date(2026, 1, 12)
