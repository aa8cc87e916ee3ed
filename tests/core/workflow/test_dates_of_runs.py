"""Calls of one run that do not agree on its business date are noticed once."""

from datetime import date

from flowctx.core.workflow.dates_of_runs import DatesOfRuns

FRIDAY, MONDAY = date(2026, 1, 16), date(2026, 1, 19)


def test_each_other_date_of_a_run_is_told_once() -> None:
    """The first date is that of the run; another is told with both sources, once, and other runs are not touched."""
    dates = DatesOfRuns()
    assert dates.differing("r1", FRIDAY, "session") is None
    assert dates.differing("r1", MONDAY, "fired_at") == "2026-01-16 (from session) and 2026-01-19 (from fired_at)"
    assert dates.differing("r1", MONDAY, "fired_at") is None
    assert dates.differing("r2", MONDAY, "fired_at") is None


def test_no_date_is_not_another_date() -> None:
    """A step whose rule finds none, first or later, leaves the run with the date that others have."""
    dates = DatesOfRuns()
    found = [dates.differing("r1", day, "a rule") for day in (None, FRIDAY, None, FRIDAY)]
    assert found == [None] * 4


def test_old_runs_are_forgotten() -> None:
    """A process that lives for long keeps no more than it needs."""
    dates = DatesOfRuns()
    for number in range(1000):
        dates.differing(number, FRIDAY, "session")
    assert dates.differing(0, MONDAY, "fired_at") is None
