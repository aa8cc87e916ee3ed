"""Batches near the end of what is known of a calendar."""

import os
from datetime import UTC, date, datetime, timedelta

import pytest

from flowctx import (
    Backfill,
    BusinessCalendar,
    CalendarError,
    Daily,
    Monthly,
    PartitionScheme,
    UnknownPartition,
    Workflow,
    run,
)
from flowctx.backfill import JointBackfill, LocalLauncher
from flowctx.ledger import open_ledger

#: Workers import this module too, and may do so after midnight.
TODAY = date.fromisoformat(os.environ.setdefault("TODAY", str(datetime.now(UTC).date())))


def note(ctx):
    """Hand on the date."""
    return {"day": ctx.as_of_date}


def desk(left):
    """Return a workflow by days until so many from now, and its days."""
    first, last = TODAY - timedelta(days=20), TODAY + timedelta(days=left)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    calendar = BusinessCalendar.from_sessions("DESK", days, version="7")
    flow = Workflow(
        f"desk_{'past' if left < 0 else left}", partitions=PartitionScheme(date=Daily(start=first, calendar=calendar))
    )
    flow.step()(note)
    return flow, days


in_forty_days, in_five_days, yesterday = (desk(left)[0] for left in (40, 5, -1))  # workers import them


@pytest.mark.parametrize(("flow", "left"), [(in_forty_days, 40), (in_five_days, 5), (yesterday, -1)])
def test_known_dates_are_launched_before_the_end_and_after_it(flow, left, tmp_path):
    """All days that are due run in a batch; one beyond what is known is refused, and the message names the end."""
    last = TODAY + timedelta(days=left)
    due = [TODAY - timedelta(days=n) for n in range(20, 0, -1)]
    beyond = last + timedelta(days=1)
    known = rf"outside what is known of the calendar DESK \(7\) here: .* to {last}"
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    progress = Backfill(flow, f"date={due[0]}..{due[-1]}", "all", ledger=ledger).launch(LocalLauncher(ledger, 1))
    assert progress.ended == {"ok": len(due)}
    assert sorted(found.context.as_of_date for found in ledger.list_runs(batch_id="all")) == due
    for selection, error in ((f"date={beyond}", UnknownPartition), (f"date={due[-1]}..{beyond}", CalendarError)):
        with pytest.raises(error, match=known):
            Backfill(flow, selection, "beyond", ledger=ledger).launch(LocalLauncher(ledger, 1))
    with pytest.raises(UnknownPartition, match=known):
        run(flow, partition=f"date={beyond}")
    ledger.close()


FEW = BusinessCalendar.from_sessions("FEW", ["2012-01-03", "2012-01-04", "2012-02-01"])
few = Workflow("few", partitions=PartitionScheme(date=Daily(start="2012-01-03", calendar=FEW)))
few.step()(note)
month = Workflow("month", partitions=PartitionScheme(month=Monthly(start="2012-01-01")))


@month.step(inputs={"days": few.output(note).optional(), "before": month.output("count").previous()})
def count(ctx, *, days, before):
    """Return how many days there are."""
    return {"days": len(days)}


def test_a_partition_that_the_calendar_does_not_reach_fails_alone(tmp_path):
    """It fails as it would by itself, with what waits for it; all others of the batch run."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    days = Backfill(few, "date=2012-01-03..2012-02-01", "all", ledger=ledger)
    months = Backfill(month, "month=2012-01-31..2012-03-31", "all", ledger=ledger)
    progress = JointBackfill([days, months]).launch(LocalLauncher(ledger, 1))
    assert (progress.ended, progress.waiting) == ({"ok": 4, "failed": 1}, 1)
    outcomes = {one.partition: one.error for one in ledger.batches.iter_outcomes("all", workflow="month")}
    known = "CalendarError: {} is outside what is known of the calendar FEW"
    assert outcomes["month=2012-02-29"].startswith(known.format("2012-02-29"))
    assert outcomes["month=2012-03-31"].startswith("waits for month=2012-02-29 of month, which failed")
    ledger.close()


ended = Workflow("ended", partitions=PartitionScheme(date=Daily(start="2012-01-03", calendar=FEW)))
ended.step()(note)
weekdays = Workflow("weekdays", partitions=PartitionScheme(date=Daily(start="2012-02-27", calendar="WEEKDAYS")))
both = Workflow("both", partitions=PartitionScheme(month=Monthly(start="2012-02-01")))


@weekdays.step()
def fail(ctx):
    """Fail, as what reads it must not begin."""
    raise ValueError("no data")


both.step(name="days", inputs={"days": weekdays.output(fail).optional()})(lambda ctx, *, days: None)
both.step(name="more", optional=True, inputs={"days": ended.output(note).optional()})(lambda ctx, *, days: None)


def test_a_partition_waits_for_the_sources_that_calendars_do_reach(tmp_path):
    """The calendar of one source has ended; what the month reads of another is waited for as ever."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    chosen = {ended: "date=2012-02-01", weekdays: "date=2012-02-27", both: "month=2012-02-29"}
    plan = JointBackfill([Backfill(flow, some, "all", ledger=ledger) for flow, some in chosen.items()])
    progress = plan.launch(LocalLauncher(ledger, 1))
    assert (progress.ended, progress.waiting) == ({"ok": 1, "failed": 1}, 1)
    ledger.close()
