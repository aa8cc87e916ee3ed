"""What one selection means for several workflows, and what hangs on it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backfill.desk import alone, desk, month, nav
from flowctx import BusinessCalendar, Daily, Hourly, Monthly, PartitionError, PartitionScheme, Workflow
from flowctx.backfill.selecting import downstream, selections_of

NOW = datetime(2026, 1, 9, tzinfo=UTC)
#: Reads the five dates before, of the same fund; its dates go on for ever.
risk = Workflow(
    "risk", partitions=PartitionScheme(date=Daily(start="2013-01-02", calendar="WEEKDAYS"), fund=["A", "B"])
)
risk.step(name="value", inputs={"window": nav.output("value").previous(5)})(lambda ctx, *, window: None)


def texts(workflows: list[Workflow], text: str | None, now: datetime = NOW) -> list[str]:
    """What each workflow takes of a selection."""
    return [str(some) for some in selections_of(workflows, text, now=now)]


def test_who_has_the_dimensions_takes_a_selection_as_it_is_and_others_what_hangs_on_it():
    """Whatever the order in which the workflows stand."""
    month_of_january, day = "month=2013-01-31", "date=2013-01-03..2013-01-07"
    assert texts([month, desk, nav], day) == [month_of_january, day, day]
    assert texts([nav, desk], "date=2013-01-03,fund=B") == ["date=2013-01-03,fund=B", "date=2013-01-03"]
    assert texts([nav, risk], "date=2013-01-03,fund=B")[1] == "date=2013-01-03,fund=B"


def test_what_is_not_due_yet_is_left_out_where_nobody_named_it():
    """A month that is not over does not run, although days of it do."""
    now = datetime(2013, 2, 15, tzinfo=UTC)
    assert texts([desk, month], "date=2013-01-30..2013-02-05", now)[1] == "month=2013-01-31"


def test_until_is_the_last_date_of_each_workflow():
    """Also of what hangs on the selection; a workflow without dates has none."""
    some = selections_of([nav, desk, month], "date=2013-01-30..2013-02-05", now=NOW, until="2013-02-01")
    assert [str(one) for one in some][1:] == ["date=2013-01-30..2013-02-01", "month=2013-01-31"]
    assert [len(one) for one in selections_of([nav, alone], None, now=NOW, until="2013-01-02")] == [2, 1]
    hanging = downstream([(nav, nav.partitions.select("date=2013-03-26,fund=A"))], [month], NOW, "2013-03-27")
    assert [str(one) for one in hanging] == ["date=2013-03-26|2013-03-27,fund=A", "(nothing)"]


def test_a_selection_that_a_workflow_cannot_take_names_it():
    """One that has not the dimensions and reads none of the others has nothing to go by."""
    with pytest.raises(PartitionError, match="workflow 'alone': 'date=2013-01-03' names 'date'"):
        selections_of([nav, alone], "date=2013-01-03", now=NOW)


def test_all_that_hangs_on_a_date_of_a_chain_runs_with_it():
    """Each later date of the fund, each sum and month, and what reads five dates back; nothing of another fund."""
    some = nav.partitions.select("date=2013-03-26,fund=A")
    found = downstream([(nav, some)], [desk, month, risk, alone], NOW)
    assert dict(zip(["nav", "desk", "month", "risk", "alone"], map(str, found), strict=True)) == {
        "nav": "date=2013-03-26..2013-03-29,fund=A",
        "desk": "date=2013-03-26..2013-03-29",
        "month": "month=2013-03-31",
        "risk": "date=2013-03-27..2013-04-05,fund=A",
        "alone": "(nothing)",
    }


def test_a_chain_through_two_workflows_is_followed_to_its_end():
    """One reads the other's date before, and that one the first's same date."""
    days = PartitionScheme(date=Daily(start="2013-01-01", end="2013-01-10"))
    one, other = Workflow("one", partitions=days), Workflow("other", partitions=days)
    one.step(name="s", inputs={"i": other.output("s").previous()})(lambda ctx, *, i: None)
    other.step(name="s", inputs={"i": one.output("s")})(lambda ctx, *, i: None)
    found = downstream([(one, days.select("date=2013-01-04"))], [other], NOW)
    assert [str(some) for some in found] == ["date=2013-01-04..2013-01-10"] * 2


def test_what_a_calendar_does_not_reach_is_left_out_and_told(caplog):
    """It is not known whether it hangs on the selection; what is after the last date is left out anyway."""
    known = BusinessCalendar.from_holidays("DESK", [], first="2013-01-01", last="2013-03-13")
    days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2013-01-01", calendar=known)))
    days.step(name="value")(lambda ctx: None)
    months = Workflow("months", partitions=PartitionScheme(month=Monthly(start="2013-01-31")))
    months.step(name="total", inputs={"all": days.output("value")})(lambda ctx, *, all: None)
    text, now = "date=2013-02-27..2013-03-13", datetime(2013, 6, 1, tzinfo=UTC)
    chosen = [(days, days.partitions.select(text))]
    months.step(name="again", inputs={"all": days.output("value")})(lambda ctx, *, all: None)
    assert str(downstream(chosen, [months], now, "2013-03-13")[1]) == "month=2013-02-28"
    before = days.partitions.select("date=2013-01-01..2013-02-28")
    assert str(downstream([(days, before)], [months], now)[1]) == "month=2013-01-31|2013-02-28"
    assert not caplog.messages
    assert str(downstream(chosen, [months], now)[1]) == "month=2013-02-28"
    assert str(selections_of([days, months], text, now=now)[1]) == "month=2013-02-28"
    assert caplog.messages == 2 * [
        "2013-03-31 of 'months' and later dates are left out: the calendar of 'days', which they read, does not reach "
        "that far"
    ]


@pytest.mark.parametrize(("day", "told"), [("2013-03-08", False), ("2013-03-12", True)])
def test_what_reads_dates_back_is_told_where_it_may_read_what_is_selected(day, told, caplog):
    """The hours after the last known day read the two days before them, and no earlier one."""
    known = BusinessCalendar.from_holidays("DESK", [], first="2013-01-01", last="2013-03-13")
    days = Workflow("days", partitions=PartitionScheme(date=Daily(start="2013-01-01", calendar=known)))
    days.step(name="value")(lambda ctx: None)
    hours = Workflow("hours", partitions=PartitionScheme(date=Hourly(start="2013-03-01")))
    hours.step(name="total", inputs={"all": days.output("value").previous(2)})(lambda ctx, *, all: None)
    chosen, now = [(days, days.partitions.select(f"date={day}"))], datetime(2013, 6, 1, tzinfo=UTC)
    downstream(chosen, [hours], now, "2013-03-14")
    assert not caplog.messages
    downstream(chosen, [hours], now, "2013-03-15")
    assert bool(caplog.messages) is told
