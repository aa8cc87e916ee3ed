"""Tables of sessions from a weekly pattern."""

from datetime import date

from flowctx.core.dates.weekly_pattern import table_of_pattern


def test_holidays_are_taken_out_and_extra_sessions_put_in():
    """In order, within the bounds, with the weekdays that are usually open."""
    found = table_of_pattern(
        "D", ["2024-04-29"], weekmask="MON-FRI", first="2024-04-26", last="2024-04-30", extra=["2024-04-27"]
    )
    assert [date.fromordinal(day).day for day in found.table] == [26, 27, 30]
    assert [date.fromordinal(day).day for day in found.bounds] == [26, 30]
    assert found.open_days == {0, 1, 2, 3, 4}
