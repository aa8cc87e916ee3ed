"""Code that is no step reads an input with the context that it has."""

from datetime import timedelta

import pytest

from flowctx import (
    ContextError,
    Daily,
    Hourly,
    InputMissing,
    Monthly,
    PartitionScheme,
    StepResult,
    Workflow,
    WorkflowError,
    read_input,
    run,
)
from flowctx.core.durability.reading_once import read_once
from flowctx.core.errors import UnknownPartition
from flowctx.ledger import open_ledger
from flowctx.testing import make_context

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07"]
FUNDS = PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS"), fund=["A", "B"])
MONTHS = PartitionScheme(month=Monthly(start="2026-01-01"))


@pytest.fixture(scope="module")
def nav():
    """A value for each day and fund; B is closed on the second day."""
    flow = Workflow("nav", partitions=FUNDS)

    @flow.step()
    def value(ctx):
        if ctx.partition == FUNDS.key(date=DAYS[1], fund="B"):
            return StepResult.skip("closed")
        return {"n": ctx.as_of_date.day, "fund": ctx.partition.fund}

    return flow


@pytest.fixture(scope="module")
def ledger(nav):
    """A ledger that has three days."""
    ledger = open_ledger("memory://")
    for key in nav.partitions.select(f"date={DAYS[0]}..{DAYS[2]}"):
        run(nav, partition=key, ledger=ledger).raise_for_failure()
    return ledger


def names(outputs):
    """Return day and fund of each output."""
    return [(output["n"], output["fund"]) for output in outputs.values()]


def test_a_partition_of_the_same_dimensions_is_one_output(nav, ledger):
    """Its own date, the one before, and nothing before the first one."""
    ctx, item = make_context(partition=f"date={DAYS[1]},fund=A"), nav.output("value")
    assert read_input(ctx, item, ledger=ledger) == {"n": 6, "fund": "A"}
    assert read_input(ctx, item.previous(), ledger=ledger) == {"n": 5, "fund": "A"}
    first = make_context(partition=f"date={DAYS[0]},fund=A")
    assert read_input(first, item.previous(), ledger=ledger) is None


def test_a_business_date_alone_reads_what_else_there_is(nav, ledger):
    """Of a context without partition the date is known, and of one with a fund, too."""
    item = nav.output("value")
    assert names(read_input(make_context(as_of_date=DAYS[0]), item, ledger=ledger)) == [(5, "A"), (5, "B")]
    assert names(read_input(make_context(as_of_date=DAYS[2]), item.previous(2), ledger=ledger)) == [
        (5, "A"),
        (5, "B"),
        (6, "A"),
    ]
    fund = make_context(partition="fund=A", as_of_date=DAYS[0])
    assert read_input(fund, item, ledger=ledger) == {"n": 5, "fund": "A"}
    one = read_input(make_context(as_of_date=DAYS[2]), item.where(fund="B"), ledger=ledger)
    assert one == {"n": 7, "fund": "B"}


def test_a_date_of_which_delays_differ_is_read_for_all_values(ledger):
    """By a business date, or a partition without them; dates are the same whenever they are due."""
    delays = {"tier": {"T1": timedelta(days=1), "OTC": timedelta(days=3)}}
    flow = Workflow("ats", partitions=PartitionScheme(date=Daily(start=DAYS[0], delay=delays), tier=["T1", "OTC"]))
    flow.step(name="load")(lambda ctx: {"tier": ctx.key.tier})
    for tier in ("T1", "OTC"):
        run(flow, partition=f"{DAYS[0]}|{tier}", ledger=ledger).raise_for_failure()
    item, ctx = flow.output("load"), make_context(as_of_date=DAYS[0])
    assert [output["tier"] for output in read_input(ctx, item, ledger=ledger).values()] == ["T1", "OTC"]
    of_date = make_context(partition=f"date={DAYS[0]}")
    assert read_input(of_date, item.where(tier="T1"), ledger=ledger) == {"tier": "T1"}


def test_a_partition_of_another_cadence_needs_its_scheme(nav, ledger):
    """A month's last day is no guess for all of its days."""
    ctx = make_context(partition="month=2026-01-31", as_of_date="2026-01-31")
    with pytest.raises(ContextError, match=r"has month, which workflow 'nav' does not have: .* scheme="):
        read_input(ctx, nav.output("value"), ledger=ledger)
    found = read_input(ctx, nav.output("value").optional(), ledger=ledger, scheme=MONTHS)
    assert names(found) == [(5, "A"), (5, "B"), (6, "A"), (7, "A"), (7, "B")]
    with pytest.raises(ContextError, match="the context has no partition; leave it out"):
        read_input(make_context(as_of_date=DAYS[0]), nav.output("value"), ledger=ledger, scheme=MONTHS)


def test_a_longer_window_of_an_engine_needs_its_scheme_too(nav, ledger):
    """A key that looks like a day and is about a month is refused."""
    ctx = make_context(partition=f"date={DAYS[0]},fund=A")
    for span in (timedelta(hours=23), timedelta(hours=25), None):
        assert read_once(ctx, nav.output("value"), span=span, ledger=ledger, store=None) == {"n": 5, "fund": "A"}
    with pytest.raises(ContextError, match="is about 31 days, .* scheme="):
        read_once(ctx, nav.output("value"), span=timedelta(days=31), ledger=ledger, store=None)


def test_what_is_skipped_or_missing_is_said(nav, ledger):
    """Nothing can be skipped for it, so that it is an error unless it is optional."""
    ctx, item = make_context(partition=f"date={DAYS[1]},fund=B"), nav.output("value")
    with pytest.raises(InputMissing, match=r"was skipped: closed; declare the input \.optional\(\) to read None"):
        read_input(ctx, item, ledger=ledger)
    assert read_input(ctx, item.optional(), ledger=ledger) is None
    later = make_context(partition="date=2026-01-08,fund=B")
    with pytest.raises(InputMissing, match=r"^input <Input: value of nav> needs partition .* nobody has captured"):
        read_input(later, item, ledger=ledger)


def test_what_a_context_does_not_say_is_refused(nav, ledger):
    """No date, a date that is no session, and hours."""
    with pytest.raises(ContextError, match="neither that nor a partition that says it"):
        read_input(make_context(), nav.output("value"), ledger=ledger)
    with pytest.raises(UnknownPartition, match="2026-01-10"):
        read_input(make_context(as_of_date="2026-01-10"), nav.output("value"), ledger=ledger)
    hours = Workflow("hours", partitions=PartitionScheme(hour=Hourly(start="2026-01-05")))
    hours.step(name="value")(_nothing)
    with pytest.raises(ContextError, match="is read by hour"):
        read_input(make_context(as_of_date=DAYS[0]), hours.output("value"), ledger=ledger)


def _nothing(ctx):
    return None


def test_what_is_no_input_is_refused(nav, ledger, monkeypatch):
    """Each in one sentence: no ledger, no step, no common dimension, no input, a context of an engine."""
    ctx = make_context(as_of_date=DAYS[0])
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    with pytest.raises(ContextError, match="there is none; set FLOWCTX_LEDGER_URL"):
        read_input(ctx, nav.output("value"))
    with pytest.raises(WorkflowError, match="has no step 'valeu'; did you mean 'value'"):
        read_input(ctx, nav.output("valeu"), ledger=ledger)
    with pytest.raises(WorkflowError, match="is no input; pass what workflow.output"):
        read_input(ctx, "value", ledger=ledger)
    tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"]))
    tiers.step(name="value")(_nothing)
    with pytest.raises(WorkflowError, match=r"cannot be read: .* \.where\(tier=\.\.\.\)"):
        read_input(ctx, tiers.output("value"), ledger=ledger)
    with pytest.raises(ContextError, match=r"use flowctx\.airflow\.read_input\(\)"):
        read_input(make_context(metadata={"engine": {"name": "airflow"}}), nav.output("value"), ledger=ledger)


def test_a_workflow_without_partitions_is_read_whatever_the_context_is():
    """Its one output."""
    ledger, flow = open_ledger("memory://"), Workflow("settings")

    @flow.step()
    def limits(ctx):
        return {"limit": 3}

    run(flow, ledger=ledger)
    assert read_input(make_context(as_of_date=DAYS[0]), flow.output(limits), ledger=ledger) == {"limit": 3}
