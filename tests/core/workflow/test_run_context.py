"""Who a run is: the same rules everywhere."""

from datetime import UTC, date, datetime

import pytest

from flowctx import (
    AsOf,
    BusinessCalendar,
    ContextError,
    Daily,
    PartitionKey,
    PartitionScheme,
    UnknownPartition,
    Weekly,
    Workflow,
    WorkflowError,
    run,
)
from flowctx.core.workflow.business_date import RunTiming
from flowctx.core.workflow.run_context import begin, capture_id_of, idempotency_key_of
from flowctx.testing import make_context

SCHEME = PartitionScheme(tier=["A", "B"], date=Daily(start="2012-10-01", calendar="XNYS"))
KEY = PartitionKey(date="2012-10-26", tier="A")


def test_what_the_caller_does_not_give_is_derived():
    """Trace, capture, idempotency key and business date come from the run and the partition."""
    ctx = begin("flow", run_id="r1", scheme=SCHEME, partition=KEY)
    assert ctx.as_of_date == date(2012, 10, 26)
    assert ctx.capture_id == "A|2012-10-26|r1"
    assert len(ctx.idempotency_key) == len(ctx.trace_id) == 32
    assert ctx.trace_id == begin("other", run_id="r1").trace_id != begin("flow", run_id="r2").trace_id


@pytest.mark.parametrize("name", ["run_id", "capture_id"])
def test_an_id_that_is_too_long_is_refused(name):
    """On any ledger, as no index of PostgreSQL takes it; the message says how long it may be."""
    ids = {"run_id": "r1", name: "x" * 500}
    assert getattr(begin("flow", **ids), name) == "x" * 500
    with pytest.raises(ContextError, match=rf"{name}='x+'… has 501 characters, and at most 500 fit; shorten it"):
        begin("flow", **ids | {name: "x" * 501})


def test_what_the_caller_gives_stays():
    """Ids of the caller's are not replaced."""
    ids = {"trace_id": "t", "batch_id": "b", "capture_id": "c", "idempotency_key": "i"}
    ctx = begin("flow", run_id="r1", scheme=SCHEME, partition=KEY, **ids)
    assert {name: getattr(ctx, name) for name in ids} == ids


def test_a_batch_names_the_capture():
    """A re-run within a batch writes the same capture; a new batch, or no batch, makes a new one."""
    one, again = (begin("flow", run_id=r, scheme=SCHEME, partition=KEY, batch_id="b") for r in ("r1", "r2"))
    assert one.capture_id == again.capture_id == "A|2012-10-26|b"
    assert begin("flow", run_id="r2", scheme=SCHEME, partition=KEY).capture_id == "A|2012-10-26|r2"


def test_the_idempotency_key_is_the_same_for_the_same_thing():
    """It depends on the workflow, the partition and the date, not on the run."""
    day = date(2012, 10, 26)
    assert idempotency_key_of("flow", KEY, day) == "e07505b3e004be0327f7001630dfc142"
    keys = {idempotency_key_of(*what) for what in [("flow", KEY, day), ("other", KEY, day), ("flow", None, day)]}
    assert len(keys) == 3


def test_runs_about_different_things_never_share_a_capture():
    """Without a partition, the date, else the time, else the run is part of the capture's id."""
    days = [begin("flow", run_id=f"r{day}", as_of_date=date(2026, 1, day), batch_id="b") for day in (8, 9)]
    assert [ctx.capture_id for ctx in days] == ["2026-01-08|b", "2026-01-09|b"]
    hours = [
        RunTiming(
            window_start=datetime(2026, 1, 9, hour, tzinfo=UTC), window_end=datetime(2026, 1, 9, hour + 1, tzinfo=UTC)
        )
        for hour in (8, 9)
    ]
    found = {begin("flow", run_id="r", time=time, batch_id="b").capture_id for time in hours}
    assert found == {"2026-01-09T08:00:00Z|b", "2026-01-09T09:00:00Z|b"}
    runs = [begin("flow", run_id=run_id, batch_id="b").capture_id for run_id in ("r1", "r2")]
    assert runs == ["r1|b", "r2|b"]
    assert begin("flow", run_id="r1").capture_id == "r1"
    assert begin("flow", run_id="r1", as_of_date=date(2026, 1, 9)).capture_id == "2026-01-09|r1"
    assert begin("flow", run_id="r2", first_run_id="r1", batch_id="b").capture_id == "r1|b"


def test_a_partition_that_says_no_date_has_a_capture_of_each():
    """The date of the run is in the id, unless the partition says it: by a cadence, a dimension or a window."""
    days = [date(2026, 1, 9), date(2026, 1, 12)]
    region, traded = PartitionKey(region="EMEA"), PartitionKey(traded="2026-01-09", region="EMEA")

    found = [begin("f", run_id="r", batch_id="b", partition=region, as_of_date=day) for day in days]
    assert [ctx.capture_id for ctx in found] == ["EMEA|2026-01-09|b", "EMEA|2026-01-12|b"]
    assert len({ctx.idempotency_key for ctx in found}) == 2
    assert begin("f", run_id="r", batch_id="b", partition=region).capture_id == "EMEA|b"
    rule = AsOf.key("traded")
    assert begin("f", run_id="r", batch_id="b", partition=traded, as_of=rule).capture_id == "EMEA|2026-01-09|b"
    friday = PartitionKey(date="2026-01-10")
    session = begin("f", run_id="r", batch_id="b", partition=friday, as_of=AsOf.last_session("WEEKDAYS"))
    assert (session.as_of_date, session.capture_id) == (days[0], "2026-01-10|b")


def test_a_separator_in_a_value_cannot_fake_a_capture():
    """Values are escaped, so that different partitions have different captures."""
    assert capture_id_of(PartitionKey(a="x|y"), None, "b") == "x%7Cy|b"
    assert capture_id_of(None, None, "b") == "b"


def test_the_calendar_and_the_source_of_the_date_are_in_the_metadata():
    """A reader can tell which calendar, in which version, and which fact made the date."""
    about = begin("flow", run_id="r", scheme=SCHEME, partition=KEY, metadata={"engine": {"name": "x"}}).metadata
    assert about["calendar"]["name"] == "XNYS"
    assert about["calendar"]["version"]
    assert about["as_of_source"] == "partition.date"
    assert (about["engine"], about["workflow"]) == ({"name": "x"}, "flow")


def test_a_date_dimension_is_the_business_date_without_a_scheme():
    """A key that names its date needs no scheme to have a business date."""
    assert begin("flow", run_id="r", partition=PartitionKey(date="2012-10-26")).as_of_date == date(2012, 10, 26)
    assert begin("flow", run_id="r", partition=PartitionKey(tier="A")).as_of_date is None


def test_two_business_dates_are_refused():
    """A caller's date that contradicts the partition is an error, not a choice."""
    with pytest.raises(ContextError, match="is not the business date of partition .* which is 2012-10-26; pass one"):
        begin("flow", run_id="r", scheme=SCHEME, partition=KEY, as_of_date=date(2012, 10, 25))


def test_an_unknown_partition_is_refused():
    """A weekly key on a Thursday is no key."""
    weeks = PartitionScheme(week_ending=Weekly(start="2012-10-05"))
    with pytest.raises(UnknownPartition, match="2012-10-26"):
        begin("flow", run_id="r", scheme=weeks, partition=PartitionKey(week_ending="2012-10-25"))


def test_a_rule_gives_the_business_date_and_names_its_calendar():
    """The metadata of a run without a partition has the calendar of its rule and what that went by."""
    tick = RunTiming(fired_at=datetime(2012, 10, 29, 6, tzinfo=UTC))
    ctx = begin("flow", run_id="r", time=tick, as_of=AsOf.previous_session("WEEKDAYS"))
    assert ctx.as_of_date == date(2012, 10, 26)
    assert ctx.metadata["calendar"]["name"] == "WEEKDAYS"
    assert ctx.metadata["as_of_source"] == "fired_at+previous_session:WEEKDAYS"


def test_a_rule_does_not_date_a_run_that_its_partition_dates():
    """Of a partition with a cadence the metadata has the scheme's calendar and dimension, whatever the rule is."""
    tick = RunTiming(fired_at=datetime(2026, 11, 27, tzinfo=UTC), partition=KEY, scheme=SCHEME)
    ctx = begin("flow", run_id="r", scheme=SCHEME, partition=KEY, time=tick, as_of=AsOf.last_session("WEEKDAYS"))
    assert ctx.as_of_date == date(2012, 10, 26)
    assert ctx.metadata["calendar"]["name"] == "XNYS"
    assert ctx.metadata["as_of_source"] == "partition.date"


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"as_of": "2012-10-26"}, r"as_of='2012-10-26' is no rule; pass one such as AsOf\.previous_session"),
        ({"as_of_date": "2012-10-26"}, r"as_of_date='2012-10-26' is no date; pass a datetime\.date"),
        ({"as_of_date": datetime(2012, 10, 26, tzinfo=UTC)}, r"is no date; pass a datetime\.date"),
        ({"batch_id": 3}, r"batch_id=3 must be text of 1 to 100 printable"),
    ],
)
def test_what_is_of_the_wrong_type_is_told_so(about, words):
    """A rule, a date and an id are told apart, and the error says what to pass."""
    with pytest.raises(ContextError, match=words):
        begin("flow", run_id="r", scheme=SCHEME, partition=KEY, **about)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 1, 19), "2026-01-19 is a holiday in DESK: sessions around it are 2026-01-16 and 2026-01-20"),
        (date(2026, 1, 17), "2026-01-17 is a Saturday, a weekend day in DESK"),
        (date(2062, 1, 17), "2062-01-17 is outside the calendar DESK"),
    ],
)
def test_a_callers_date_must_be_a_session_of_the_rule(day, words) -> None:
    """A session rule refuses a date that it could never give, as a scheme does, and names the sessions around it."""
    desk = BusinessCalendar.from_holidays("DESK", ["2026-01-19"])
    with pytest.raises(ContextError, match=words):
        begin("flow", run_id="r", as_of_date=day, as_of=AsOf.last_session(desk))
    fine = begin("flow", run_id="r", as_of_date=date(2026, 1, 16), as_of=AsOf.last_session(desk))
    assert (fine.as_of_date, fine.metadata["calendar"]["name"]) == (date(2026, 1, 16), "DESK")


@pytest.mark.parametrize(
    "partition", ["A|2026-01-09", {"tier": "A", "date": "2026-01-09"}, PartitionKey(tier="A", date="2026-01-09")]
)
def test_a_context_for_tests_is_that_of_a_run_of_the_workflow(partition) -> None:
    """Of a workflow, ids, dates and parameters are those of its run; its own keys and parameters count."""
    flow = Workflow("flow", partitions=SCHEME, params={"limit": 3})
    flow.step("load")(lambda ctx: None)
    made = make_context(workflow=flow, run_id="r1", batch_id="b", partition=partition, params={"limit": "4"})
    ran = run(flow, run_id="r1", batch_id="b", partition=partition, params={"limit": "4"}, ledger=None).context
    same = ("partition", "as_of_date", "capture_id", "idempotency_key", "trace_id", "params", "window", "due")
    assert {name: getattr(made, name) for name in same} == {name: getattr(ran, name) for name in same}
    assert made.capture_id == "A|2026-01-09|b"
    assert made.started_at == made.due
    with pytest.raises(UnknownPartition):
        make_context(workflow=flow, partition="C|2026-01-09")
    with pytest.raises(ContextError, match="workflow 'flow' is partitioned"):
        make_context(workflow=flow)
    with pytest.raises(ContextError, match="has no parameter 'limmit'"):
        make_context(workflow=flow, partition=partition, params={"limmit": 4})
    with pytest.raises(WorkflowError, match="workflow 'flow' has no step 'laod'; it has load"):
        make_context(workflow=flow, partition=partition, step_outputs={"laod": {"rows": 3}})
