"""What a selection means that counts from the latest date that is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from flowctx import BusinessCalendar, Daily, PartitionScheme
from flowctx.core.errors import NotDue, PartitionError
from flowctx.core.partitions.due_selection import selected


@pytest.mark.parametrize("end", [None, "2026-12-31"])
def test_the_last_dates_of_a_calendar_that_has_ended_are_those_that_are_known(end: str | None) -> None:
    """``last:2`` counts from the last one, whether or not the cadence goes on."""
    known = BusinessCalendar.from_holidays("OLD", ["2012-01-02"], first="2012-01-01", last="2012-03-30")
    scheme = PartitionScheme(date=Daily(start="2012-01-03", end=end, calendar=known))
    some = selected(scheme, "date=last:2", None)
    assert [key.date for key in some] == ["2012-03-29", "2012-03-30"]
    assert str(selected(scheme, some, "2012-03-29")) == "date=2012-03-29"


def test_the_last_dates_of_a_cadence_that_begins_later_are_not_due() -> None:
    """``last:3`` has no date to count from yet; a retry may succeed, and an until says from where."""
    start = datetime.now(UTC).date() + timedelta(days=9)
    scheme = PartitionScheme(date=Daily(start=start))
    with pytest.raises(NotDue, match=f"date=last:3 counts from the latest date that is due.*the first is {start}"):
        selected(scheme, "date=last:3", None)
    assert len(selected(scheme, "date=last:3", start + timedelta(days=4))) == 3


def test_what_names_no_end_ends_with_the_latest_date_where_there_is_one() -> None:
    """Single dates and ranges with an end stay as they are; a cadence with an end of its own has that."""
    days = PartitionScheme(date=Daily(start="2012-01-02"), tier=["T1", "T2"])

    def text(selection: str, scheme: PartitionScheme = days) -> str:
        return str(selected(scheme, selection, None, lambda: date(2012, 1, 5)))

    assert text("tier=T1") == "date=2012-01-02..2012-01-05,tier=T1"
    assert text("date=2012-01-04..") == "date=2012-01-04|2012-01-05"
    assert text("date=2012-01-09..") == "(nothing)"
    assert text("date=2012-01-09") == "date=2012-01-09"
    assert text("tier=T1;date=2012-01-09") == "date=2012-01-02..2012-01-05,tier=T1;date=2012-01-09"
    with_end = PartitionScheme(date=Daily(start="2012-01-02", end="2012-01-09"))
    assert text("date=2012-01-04..", with_end) == "date=2012-01-04..2012-01-09"
    with pytest.raises(PartitionError, match="pass until="):
        selected(days, "tier=T1", None)


def test_a_value_that_reads_as_the_last_ones_is_a_value() -> None:
    """Only the dates count from what is due."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    dates = Daily(start=tomorrow, end=tomorrow + timedelta(days=2))
    scheme = PartitionScheme(date=dates, kind=["blast:1", "x"])
    assert [len(selected(scheme, text, None)) for text in ("kind=blast:1", "kind=last:1")] == [3, 3]
    with pytest.raises(NotDue):
        selected(scheme, "kind=x;kind=blast:1,date=last:1", None)


def test_an_open_range_ends_at_what_is_due_of_each_delay() -> None:
    """A date that is due for the tier with the short delay is selected for it, although none of the other is."""
    today = datetime.now(UTC).date()
    delays = {"tier": {"T1": timedelta(days=1), "OTC": timedelta(days=30)}}
    scheme = PartitionScheme(date=Daily(start=today - timedelta(days=60), delay=delays), tier=["T1", "OTC"])
    some = selected(scheme, f"date={today - timedelta(days=5)}..|last:1", None)
    tiers = [key.tier for key in some]
    assert (tiers.count("OTC"), tiers.count("T1") > 1) == (1, True)
