"""A partition can run when all that it reads has been captured or skipped, and once."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from flowctx import BusinessCalendar, Daily, Monthly, PartitionScheme, StepResult, Weekly, Workflow, resume, run
from flowctx.core.durability.readiness import FIRST, Readiness
from flowctx.core.durability.records import RunRecord
from flowctx.ledger import open_ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock, make_context

NOW, SINCE = datetime(2026, 5, 1, tzinfo=UTC), date(2026, 1, 1)
MONTHS = PartitionScheme(month=Monthly(start="2026-01-01"))


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    """A ledger in memory, and one in a file."""
    return open_ledger("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def days():
    """A value for each session and fund; Friday the 9th of January is skipped, and what is bad fails."""
    flow = Workflow(
        "days", partitions=PartitionScheme(date=Daily(start="2026-01-05", calendar="WEEKDAYS"), fund=["A", "B"])
    )
    flow.bad = set()

    @flow.step()
    def value(ctx):
        if str(ctx.partition) in flow.bad:
            return StepResult.fail("no prices", category="DATA_QUALITY")
        return StepResult.skip("closed") if ctx.as_of_date == date(2026, 1, 9) else {"n": 1}

    return flow


def roll_up(item, name="month"):
    """A workflow of months that reads an input."""
    flow = Workflow(name, partitions=MONTHS)
    flow.step(name="report", inputs={"days": item})(_report)
    return flow


def _report(ctx, *, days):
    return {"days": len(days)}


def ready(flow, ledger, *, restated=False, since=SINCE, now=NOW):
    """Return what can run, as text, from what another process is told."""
    told = Readiness.from_dict(json.loads(json.dumps(Readiness.of(flow).to_dict())))
    return {str(one.key): one.occasion for one in told.ready(ledger, now, since, restated=restated)}


def capture(flow, ledger, select):
    """Run some partitions."""
    for key in flow.partitions.select(select):
        run(flow, partition=key, ledger=ledger)


def test_a_month_is_ready_after_its_last_session_and_once(days, ledger):
    """Sessions count, not days; what was skipped counts, what failed does not; a captured month is ready no more."""
    month = roll_up(days.output("value"))
    days.bad.add("date=2026-01-07|fund=B")
    capture(days, ledger, "date=2026-01-05..2026-01-29")
    assert ready(month, ledger) == {}
    capture(days, ledger, "date=2026-01-30")
    assert ready(month, ledger) == {}
    days.bad.clear()
    capture(days, ledger, "date=2026-01-07,fund=B")
    assert ready(month, ledger) == {"month=2026-01-31": FIRST}
    assert ready(month, ledger, now=datetime(2026, 1, 31, 12, tzinfo=UTC)) == {}  # it is not due
    assert ready(month, ledger, since=date(2026, 2, 1)) == {}
    run(month, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(month, ledger) == ready(month, ledger, restated=True) == {}


def test_a_restatement_makes_it_ready_again_only_if_asked(days, ledger):
    """Each restatement is an occasion of its own, until the month has been captured after it."""
    month = roll_up(days.output("value"))
    capture(days, ledger, "date=2026-01-05..2026-01-30")
    run(month, partition="2026-01-31", ledger=ledger).raise_for_failure()
    capture(days, ledger, "date=2026-01-14,fund=A")
    assert ready(month, ledger) == {}
    first = ready(month, ledger, restated=True)
    assert list(first) == ["month=2026-01-31"]
    assert first["month=2026-01-31"] != FIRST
    assert ready(month, ledger, restated=True) == first
    capture(days, ledger, "date=2026-01-15,fund=B")
    assert ready(month, ledger, restated=True) != first
    run(month, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(month, ledger, restated=True) == {}


@pytest.mark.parametrize("which", ["own", "previous", "window"])
def test_a_value_that_is_not_there_is_never_ready(days, ledger, which):
    """Its run could not read anything; on the first date of a value that is there, there is nothing to wait for."""
    capture(days, ledger, "date=2026-01-05")
    item = days.output("value")
    item = {"previous": item.previous(), "window": item.previous(2)}.get(which, item)
    flow = Workflow("use", partitions=PartitionScheme(date=Daily(start="2026-01-05"), fund=["A", "C"]))
    flow.step(name="copy", inputs={"value": item})(lambda ctx, *, value: {})
    found = ready(flow, ledger, now=datetime(2026, 1, 7, tzinfo=UTC))
    assert list(found) == [f"date=2026-01-0{day}|fund=A" for day in ((5,) if which == "own" else (5, 6))]


def test_a_value_whose_current_version_was_pruned_is_not_ready(days, ledger):
    """Its reader would fail, since nothing older stands in, until it is made again."""
    month = roll_up(days.output("value"))
    capture(days, ledger, "date=2026-01-05..2026-01-30")
    key = days.partition_key("2026-01-14|A")
    for batch_id in ("first", "second", "third"):
        run(days, partition=key, batch_id=batch_id, ledger=ledger).raise_for_failure()
    ledger.batches.keep("first")
    ledger.prune(ledger.now() + timedelta(days=1))
    assert ready(month, ledger) == {"month=2026-01-31": FIRST}
    days.bad.add(str(key))
    run(days, partition=key, batch_id="third", ledger=ledger)
    assert ready(month, ledger) == {}
    days.bad.clear()
    run(days, partition=key, batch_id="fourth", ledger=ledger)
    assert ready(month, ledger) == {"month=2026-01-31": FIRST}


@pytest.mark.parametrize("batches", [("first", "second", "third"), ("third",)])
def test_a_month_of_which_no_version_is_current_any_more_is_ready(days, ledger, batches):
    """An older one does not stand in for it; what comes after a restatement is an occasion of its own."""
    month, failing = Workflow("month", partitions=MONTHS), []
    capture(days, ledger, "date=2026-01-05..2026-01-30")

    @month.step(inputs={"days": days.output("value")})
    def report(ctx, *, days):
        return StepResult.fail("no disk") if failing else {}

    for batch_id in batches:
        run(month, partition="2026-01-31", batch_id=batch_id, ledger=ledger).raise_for_failure()
    ledger.batches.keep("first") if "first" in batches else None
    ledger.prune(ledger.now() + timedelta(days=1))
    assert ready(month, ledger) == ready(month, ledger, restated=True) == {}
    failing.append("yes")
    run(month, partition="2026-01-31", batch_id="third", ledger=ledger)
    assert ready(month, ledger) == {"month=2026-01-31": FIRST}
    (again,) = ready(month, ledger, restated=True).values()
    assert again not in ("", FIRST)
    failing.clear()
    run(month, partition="2026-01-31", batch_id="fourth", ledger=ledger).raise_for_failure()
    assert ready(month, ledger) == ready(month, ledger, restated=True) == {}


def test_a_month_that_a_run_is_at_is_not_ready_until_that_has_failed(days, ledger):
    """A batch makes it right now, for the first time or once more: nothing is started beside it, unless it is dead."""
    month, found, failing = Workflow("month", partitions=MONTHS), [], [True, False, False]
    capture(days, ledger, "date=2026-01-05..2026-01-30")

    @month.step(inputs={"days": days.output("value")})
    def report(ctx, *, days):
        found.append(ready(month, ledger, restated=True))
        return StepResult.fail("no disk") if failing.pop(0) else {}

    run(month, partition="2026-01-31", batch_id="b", ledger=ledger)
    assert (found, ready(month, ledger)) == ([{}], {"month=2026-01-31": FIRST})
    run(month, partition="2026-01-31", batch_id="b", ledger=ledger)
    capture(days, ledger, "date=2026-01-14,fund=A")
    assert list(ready(month, ledger, restated=True)) == ["month=2026-01-31"]
    run(month, partition="2026-01-31", batch_id="c", ledger=ledger)
    assert found == [{}, {}, {}]


def test_a_month_whose_run_has_died_is_ready(days):
    """When its lease has run out; nobody is at it then."""
    clock, month = FakeClock(), roll_up(days.output("value"))
    ledger = MemoryLedger(clock)
    capture(days, ledger, "date=2026-01-05..2026-01-30")
    context = make_context(workflow="month", run_id="r1", partition={"month": "2026-01-31"}, batch_id="b")
    ledger.begin(RunRecord(workflow="month", context=context, steps=("report",)))
    assert ready(month, ledger) == {}
    clock.advance(timedelta(minutes=2))
    assert ready(month, ledger) == {"month=2026-01-31": FIRST}


@pytest.mark.parametrize("which", ["own", "previous", "window"])
def test_a_date_after_the_end_is_never_ready(ledger, which):
    """Its run could not read anything; what was there before the end is waited for."""
    ended = Workflow("ended", partitions=PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-05")))
    ended.step(name="value")(lambda ctx: {})
    capture(ended, ledger, "date=2026-01-05")
    item = ended.output("value")
    item = {"previous": item.previous(), "window": item.previous(2)}.get(which, item)
    flow = Workflow("use", partitions=PartitionScheme(date=Daily(start="2026-01-05")))
    flow.step(name="copy", inputs={"value": item})(lambda ctx, *, value: {})
    found = ready(flow, ledger, now=datetime(2026, 1, 9, tzinfo=UTC))
    assert list(found) == [f"date=2026-01-0{day}" for day in ((5,) if which == "own" else (5, 6))]


@pytest.mark.parametrize("which", ["window", "previous"])
def test_a_date_that_the_calendar_does_not_reach_is_not_ready(ledger, which, caplog):
    """What it reads is not known, which is logged once; what is known is ready."""
    desk = BusinessCalendar.from_holidays("DESK", [], first="2026-01-01", last="2026-03-13")
    days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2026-02-02", calendar=desk)))
    days.step(name="value")(_report_nothing)
    capture(days, ledger, "date=2026-02-02..2026-03-13")
    item = days.output("value")
    month = roll_up(item if which == "window" else item.previous(2))
    readiness = Readiness.of(month)
    for now in (NOW, datetime(2026, 6, 1, tzinfo=UTC)):
        found = [one.key.month for one in readiness.ready(ledger, now, date(2026, 2, 1), restated=False)]
        assert found == ["2026-02-28"] + ["2026-03-31"] * (which == "previous")
    (line,) = (one.message for one in caplog.records if one.levelname == "WARNING")
    first, day = ("2026-03-31", "2026-03-31") if which == "window" else ("2026-04-30", "2026-03-31")
    assert f"month={first} and later dates are not ready: workflow 'days': {day} is outside what is known" in line


FEBRUARY = datetime(2026, 2, 2, tzinfo=UTC)


def value_of(partitions):
    """Return a workflow that makes a value of its parameter, and a function that makes it of January."""
    source = Workflow("source", partitions=partitions, params={"n": 0})
    source.step(name="value")(lambda ctx: {"n": ctx.params["n"]})

    def make(ledger, n, batch_id=None):
        key = None if partitions is None else "2026-01-31"
        run(source, partition=key, params={"n": n}, batch_id=batch_id, ledger=ledger).raise_for_failure()

    return source, make


@pytest.mark.parametrize("partitions", [MONTHS, None])
@pytest.mark.parametrize("batch_id", [None, "b"])
def test_a_restatement_while_the_reader_runs_is_an_occasion(ledger, partitions, batch_id):
    """Also in place, and where the reader goes on later with what it had read; once it has read it, it is none."""
    source, make = value_of(partitions)
    reader = Workflow("reader", partitions=MONTHS)
    reader.step(name="copy", inputs={"one": source.output("value")})(lambda ctx, one: dict(one))

    @reader.step()
    def slow(ctx):
        if ctx.checkpoint is None and ctx.get_output("copy", "n") == 1:
            make(ledger, 2, batch_id)
            return StepResult.fail("no disk")
        return {}

    make(ledger, 1, batch_id)
    first = run(reader, partition="2026-01-31", ledger=ledger)
    done = resume(first.context.run_id, reader, ledger=ledger)
    assert (done.status, done.context.get_output("copy", "n")) == ("ok", 1)
    (occasion,) = ready(reader, ledger, restated=True, now=FEBRUARY).values()
    assert occasion != FIRST
    run(reader, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(reader, ledger, restated=True, now=FEBRUARY) == {}


def of_desks(*desks, item=lambda value: value):
    """Return workflows as some version of the code declares them, of some desks; of desk S nothing has a value."""
    days = Workflow("desk_days", partitions=PartitionScheme(date=Daily(start="2026-01-30"), desk=list(desks)))
    days.step(name="value")(lambda ctx: StepResult.skip("none") if ctx.partition.desk == "S" else {"n": 1})
    return days, roll_up(item(days.output("value")))


JANUARY = {"restated": True, "now": datetime(2026, 2, 5, tzinfo=UTC)}


def test_a_desk_that_joins_or_leaves_is_an_occasion_of_its_own(ledger):
    """Also where it was captured before the reader was; once read, it is none. What is skipped adds none."""
    days, _ = of_desks("A", "B", "S")
    capture(days, ledger, "date=2026-01-30|2026-01-31")
    _, one = of_desks("A")
    run(one, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(one, ledger, **JANUARY) == ready(of_desks("A", "S")[1], ledger, **JANUARY) == {}
    _, both = of_desks("A", "B", "S")
    assert ready(both, ledger, **JANUARY | {"restated": False}) == {}
    joined = ready(both, ledger, **JANUARY)
    assert list(joined) == ["month=2026-01-31"]
    assert ready(both, ledger, **JANUARY) == joined
    run(both, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(both, ledger, **JANUARY) == {}
    left = ready(one, ledger, **JANUARY)
    assert (list(left), left != joined) == (["month=2026-01-31"], True)
    assert len(ready(of_desks("A", "B", item=lambda value: value.where(desk="A"))[1], ledger, **JANUARY)) == 1
    then = ledger.now()
    run(both, partition="2026-01-31", known_at=then, ledger=ledger).raise_for_failure()
    assert ready(one, ledger, **JANUARY) == {}


def test_what_an_older_version_has_told_knows_no_names_of_inputs(ledger):
    """A trigger that waits since before goes on as it began."""
    days, month = of_desks("A", "B")
    capture(days, ledger, "date=2026-01-30|2026-01-31")
    run(month, partition="2026-01-31", ledger=ledger).raise_for_failure()
    payload = Readiness.of(of_desks("A")[1]).to_dict()
    assert [one.occasion for one in Readiness.from_dict(payload).ready(ledger, JANUARY["now"], SINCE, restated=True)]
    for need in payload["needs"]:
        del need["reader"], need["name"]
    assert not list(Readiness.from_dict(payload).ready(ledger, JANUARY["now"], SINCE, restated=True))


def test_what_was_read_as_of_a_time_is_no_restatement(ledger):
    """A run that was told to read what was known then has read an older version, and stays."""
    source, make = value_of(MONTHS)
    reader = Workflow("reader", partitions=MONTHS)
    reader.step(name="copy", inputs={"one": source.output("value")})(lambda ctx, one: dict(one))
    make(ledger, 1)
    then = ledger.now()
    make(ledger, 2)
    done = run(reader, partition="2026-01-31", known_at=then, ledger=ledger)
    assert done.context.get_output("copy", "n") == 1
    assert ready(reader, ledger, restated=True, now=FEBRUARY) == {}
    make(ledger, 3)
    assert len(ready(reader, ledger, restated=True, now=FEBRUARY)) == 1


def test_an_extended_scheme_and_a_chain(days, ledger):
    """A later end drops nothing; a month that reads the one before waits for it; optional inputs are not waited for."""
    chain = Workflow("chain", partitions=MONTHS)
    inputs = {"days": days.output("value").where(fund="A"), "last": chain.output("report").previous()}
    chain.step(name="report", inputs=inputs)(_chained)
    capture(days, ledger, "date=2026-01-05..2026-02-27,fund=A")
    assert ready(chain, ledger) == {"month=2026-01-31": FIRST}
    run(chain, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert ready(chain, ledger) == {"month=2026-02-28": FIRST}
    optional = roll_up(days.output("value").optional(), "optional")
    assert len(Readiness.of(optional).needs) == 0


def _chained(ctx, *, days, last):
    return {"months": 1 + (last["months"] if last is not None else 0)}


def test_a_workflow_without_partitions_is_waited_for(ledger):
    """Its last capture is what is read."""
    settings = Workflow("settings")
    settings.step(name="limits")(lambda ctx: {"limit": 1})
    month = Workflow("limited", partitions=PartitionScheme(month=Monthly(start="2026-04-01")))
    month.step(name="report", inputs={"limits": settings.output("limits")})(_limited)
    assert ready(month, ledger) == {}
    run(settings, ledger=ledger).raise_for_failure()
    assert ready(month, ledger) == {"month=2026-04-30": FIRST}


def _limited(ctx, *, limits):
    return dict(limits)


def test_a_week_without_sessions_is_ready_and_one_without_data_is_not(ledger):
    """A closed week reads nothing and runs; before the first and after the last date there is nothing to run for."""
    closed = BusinessCalendar.from_holidays("closed", [f"2026-01-{day}" for day in range(12, 17)])
    days = Workflow(
        "days", partitions=PartitionScheme(date=Daily(start="2026-01-12", end="2026-01-21", calendar=closed))
    )
    days.step(name="value")(_report_nothing)
    week = Workflow("week", partitions=PartitionScheme(week=Weekly(start="2026-01-01")))
    week.step(name="report", inputs={"days": days.output("value")})(_report)
    assert ready(week, ledger) == {"week=2026-01-16": FIRST}
    capture(days, ledger, "date=2026-01-19..2026-01-21")
    assert ready(week, ledger) == {"week=2026-01-16": FIRST, "week=2026-01-23": FIRST}
    fund = Workflow("fund", partitions=PartitionScheme(week=Weekly(start="2026-01-12"), fund=["C"]))
    funds = Workflow("funds", partitions=PartitionScheme(date=Daily(start="2026-01-12"), fund=["A"]))
    funds.step(name="value")(_report_nothing)
    fund.step(name="report", inputs={"days": funds.output("value")})(_report)
    assert ready(fund, ledger) == {}


def _report_nothing(ctx):
    return None
