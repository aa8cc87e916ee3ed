"""What would be read now and was not, and what was read and would not be now, make stale; as they are declared now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from flowctx import BusinessCalendar, Daily, Monthly, PartitionScheme, StepResult, Workflow, run, stale
from flowctx.ledger import open_ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from flowctx.versions.shown import stale_data

WEEK = "2026-01-26..2026-01-30"
TIER = PartitionScheme(tier=["A"])


def project(desks="A", *, closed=(), start="2026-01-26", item=lambda price: price):
    """Return workflows as some version of the code declares them; of desk S nothing has a price."""
    calendar = BusinessCalendar.from_holidays("DESK", closed, first="2026-01-01", last="2026-12-31")
    days = PartitionScheme(date=Daily(start=start, calendar=calendar), desk=list(desks))
    months = PartitionScheme(month=Monthly(start="2026-01-01"))
    price, window = Workflow("price", partitions=days), Workflow("window", partitions=days)
    month, report = Workflow("month", partitions=months), Workflow("report", partitions=months)

    @price.step()
    def value(ctx):
        return StepResult.skip("none") if ctx.partition.desk == "S" else {"n": 1}

    @window.step(inputs={"before": price.output(value).previous(2)})
    def summed(ctx, *, before):
        return {"n": sum(output["n"] for output in before.values())}

    @month.step(inputs={"days": item(price.output(value))})
    def total(ctx, *, days):
        return {"n": sum(output["n"] for output in days.values())}

    @report.step(inputs={"month": month.output(total)})
    def line(ctx, *, month):
        return {"line": str(month["n"])}

    return SimpleNamespace(price=price, window=window, month=month, report=report)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    """A ledger in memory, and one in a file."""
    return open_ledger("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db")


def make(ledger, workflow, select, batch_id="first", **how):
    """Run some partitions."""
    for key in workflow.partitions.select(select):
        run(workflow, partition=key, batch_id=batch_id, ledger=ledger, **how).raise_for_failure()


def reasons(workflow, ledger, **how):
    """Return why each partition is stale that is, by its text."""
    found = stale(workflow, ledger=ledger, **how)
    return {str(one.partition): one.reason for one in found}


def test_a_desk_that_is_new_is_missing_in_what_was_summed(ledger):
    """Once it has been captured; one of which everything was skipped adds nothing."""
    make(ledger, project().price, f"date={WEEK}")
    make(ledger, project().month, "month=2026-01-31")
    now = project("ABS")
    make(ledger, now.price, f"date={WEEK},desk=S")
    assert reasons(now.month, ledger) == {}
    make(ledger, now.price, "date=2026-01-28,desk=B", "second")
    why = "price date=2026-01-28|desk=B was not read, and would be read now, from 2026-01-28|B|second"
    assert reasons(now.month, ledger) == reasons(now.month, ledger, code=True) == {"month=2026-01-31": why}
    [link] = stale_data(stale(now.month, ledger=ledger)[0])["chain"]
    assert (link["added"], link["removed"], link["gone"], link["captured_again"]) == (True, False, False, None)
    make(ledger, now.price, f"date={WEEK},desk=B", "third")
    make(ledger, now.month, "month=2026-01-31", "mended")
    assert reasons(now.month, ledger) == {}
    assert reasons(project().month, ledger) == {
        "month=2026-01-31": "price date=2026-01-26|desk=B was read, from 2026-01-26|B|third, and would not be read now"
    }


def test_a_calendar_that_was_corrected_changes_what_is_read():
    """A day that was none is read no more, and a look-back begins a day earlier; not so of what was as known then."""
    clock = FakeClock(datetime(2026, 2, 2, tzinfo=UTC))
    ledger = MemoryLedger(clock)
    make(ledger, project().price, f"date={WEEK}", clock=clock)
    make(ledger, project().window, f"date={WEEK}", clock=clock)
    make(ledger, project().month, "month=2026-01-31", clock=clock)
    now = project(closed=["2026-01-28"])
    gone = "price date=2026-01-28|desk=A was read, from 2026-01-28|A|first, and would not be read now"
    assert reasons(now.month, ledger) == {"month=2026-01-31": gone}
    assert reasons(now.window, ledger).keys() == {f"date=2026-01-{day}|desk=A" for day in ("29", "30")}
    make(ledger, now.window, "date=2026-01-29", "mended", clock=clock)
    assert reasons(now.window, ledger) == {
        "date=2026-01-30|desk=A": "price date=2026-01-27|desk=A was not read, and would be read now, "
        "from 2026-01-27|A|first"
    }
    before = clock.now()
    clock.advance(timedelta(hours=1))
    make(ledger, project().month, "month=2026-01-31", "then", clock=clock, known_at=before)
    assert reasons(now.month, ledger) == {}


def test_a_scheme_that_begins_earlier_adds_to_the_first_look_backs(ledger):
    """At its beginning fewer dates are read, which makes nothing stale until there are others before."""
    make(ledger, project().price, f"date={WEEK}")
    make(ledger, project().window, f"date={WEEK}")
    assert reasons(project().window, ledger) == {}
    now = project(start="2026-01-22")
    assert reasons(now.window, ledger) == {}
    make(ledger, now.price, "date=2026-01-23")
    assert reasons(now.window, ledger) == {
        f"date=2026-01-{day}|desk=A": "price date=2026-01-23|desk=A was not read, and would be read now, "
        "from 2026-01-23|A|first"
        for day in (26, 27)
    }


def test_what_was_optional_and_not_there_makes_stale_when_it_comes(ledger):
    """One rule for all inputs: what would be read now, and was not."""
    flows = project(item=lambda price: price.optional())
    make(ledger, flows.price, "date=2026-01-26")
    make(ledger, flows.month, "month=2026-01-31")
    assert reasons(flows.month, ledger) == {}
    make(ledger, flows.price, "date=2026-01-27")
    assert list(reasons(flows.month, ledger)) == ["month=2026-01-31"]
    make(ledger, flows.report, "month=2026-01-31")
    [why] = reasons(flows.report, ledger).values()
    assert why.startswith("month month=2026-01-31 is stale: price date=2026-01-27|desk=A was not read")


def test_an_input_that_is_declared_otherwise_asks_for_something_else(ledger):
    """For another desk, say; a name that an input did not have is a change of the code."""
    make(ledger, project("AB").price, f"date={WEEK}")
    make(ledger, project("AB").month, "month=2026-01-31")
    assert reasons(project("AB", item=lambda price: price.where(desk=["A", "B"])).month, ledger) == {}
    [why] = reasons(project("AB", item=lambda price: price.where(desk="A")).month, ledger).values()
    assert "desk=B was read" in why
    renamed = project("AB").month
    again = {"function": lambda ctx, *, sessions: {}, "inputs": {"sessions": renamed["total"].inputs["days"]}}
    renamed._steps["total"] = replace(renamed["total"], **again)
    assert reasons(renamed, ledger) == {}


@pytest.mark.parametrize("made_again", [True, False])
def test_a_step_that_was_only_renamed_makes_nothing_stale(ledger, made_again):
    """Neither before its workflow has run by the new name, nor after that; other content does, and other code."""

    def one(ctx):
        return {"n": 1}

    def two(ctx):
        return {"n": 2}

    def flows(step, reads, number=1):
        price, report, last = (Workflow(name, partitions=TIER) for name in ("price", "report", "last"))
        price.step(name="first")(lambda ctx: {})
        price.step(name=step)(one if number == 1 else two)
        report.step(name="line", inputs={"read": price.output(reads)})(lambda ctx, *, read: {"n": read.get("n")})
        last.step(name="end", inputs={"read": report.output("line")})(lambda ctx, *, read: dict(read))
        return price, report, last

    price, report, last = flows("value", "value")
    for workflow in (price, report, last):
        make(ledger, workflow, "tier=A")
    price, report, last = flows("amount", "amount")
    if made_again:
        make(ledger, price, "tier=A", "second")
    assert reasons(report, ledger) == reasons(last, ledger) == {}
    price, report, last = flows("amount", "amount", number=2)
    if made_again:
        make(ledger, price, "tier=A", "third")
    [why], [after] = reasons(report, ledger).values(), reasons(last, ledger).values()
    assert why.startswith("price tier=A was ")
    assert after == f"report tier=A is stale: {why}"
    assert list(reasons(flows("amount", "first")[1], ledger)) == ["tier=A"]


def test_what_a_renamed_step_has_read_is_followed(ledger):
    """Its readers are stale where it is."""

    def flows(step, number):
        price, middle, last = (Workflow(name, partitions=TIER) for name in ("price", "middle", "last"))
        price.step(name="value")(lambda ctx: {"n": number})
        middle.step(name=step, inputs={"read": price.output("value")})(lambda ctx, *, read: {"n": 1})
        last.step(name="end", inputs={"read": middle.output(step)})(lambda ctx, *, read: {})
        return price, middle, last

    for workflow in flows("copy", 1):
        make(ledger, workflow, "tier=A")
    price, middle, last = flows("amount", 2)
    make(ledger, middle, "tier=A", "second")
    assert reasons(last, ledger) == {}
    make(ledger, price, "tier=A", "third")
    [why] = reasons(last, ledger).values()
    assert why.startswith("middle tier=A is stale: price tier=A was captured again")


def test_a_workflow_without_partitions_reads_what_it_asks_for(ledger):
    """And one that has got partitions since, or has lost them, says nothing of what it was."""
    tiers, plain = PartitionScheme(tier=["A", "B"]), Workflow("plain")
    source = Workflow("source", partitions=tiers)
    source.step(name="value")(lambda ctx: {"n": 1})
    make(ledger, source, None)

    def reader(name, item, partitions=None):
        flow = Workflow(name, partitions=partitions)
        flow.step(name="copy", inputs={"read": item})(lambda ctx, *, read: {"n": 1})
        return flow

    plain.step(name="value")(lambda ctx: {"n": 1})
    run(plain, batch_id="first", ledger=ledger)
    one, both = (reader("reader", source.output("value").where(tier=some)) for some in ("A", ["A", "B"]))
    run(one, batch_id="first", ledger=ledger).raise_for_failure()
    assert reasons(one, ledger) == {}
    assert reasons(both, ledger) == {"None": "source tier=B was not read, and would be read now, from B|first"}
    run(both, batch_id="second", ledger=ledger).raise_for_failure()
    assert reasons(one, ledger) == {"None": "source tier=B was read, from B|first, and would not be read now"}
    last = reader("last", both.output("copy"))
    run(last, batch_id="first", ledger=ledger).raise_for_failure()
    split = reader("last", reader("reader", source.output("value"), tiers).output("copy").where(tier="A"))
    assert "reader was read, from" in reasons(split, ledger)["None"]
    assert reasons(reader("last", source.output("value"), tiers), ledger) == {}


def test_what_was_skipped_for_a_date_that_is_read_no_more_is_stale(ledger):
    """The date that it was skipped for gave nothing, and yet it is why."""
    days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2026-01-05")))
    days.step(name="value")(lambda ctx: StepResult.skip("closed") if ctx.as_of_date.day == 6 else {"n": 1})
    make(ledger, days, "date=2026-01-05..2026-01-07")

    def copies(item):
        flow = Workflow("copies", partitions=days.partitions)
        flow.step(name="copy", inputs={"day": item})(lambda ctx, *, day: {"n": 1})
        return flow

    skipped = copies(days.output("value"))
    run(skipped, partition="2026-01-06", batch_id="first", ledger=ledger)
    assert reasons(skipped, ledger) == {}
    now = copies(days.output("value").previous())
    assert list(reasons(now, ledger)) == ["date=2026-01-06"]
