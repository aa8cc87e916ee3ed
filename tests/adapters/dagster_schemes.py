"""Schemes for tests of the Dagster adapter, as hypothesis strategies."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import strategies as st

from flowctx import Daily, Monthly, PartitionScheme, Quarterly, Weekly
from flowctx.core.dates.calendar import get_calendar

CALENDARS = ("XNYS", "XLON", "XTKS", "WEEKDAYS")
ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Tokyo")
KINDS = (
    (Daily, {}),
    (Weekly, {"as_of": "period_end"}),
    (Weekly, {"as_of": "last_session"}),
    (Monthly, {"as_of": "period_end"}),
    (Monthly, {"as_of": "last_session"}),
    (Quarterly, {"as_of": "period_end"}),
    (Quarterly, {"as_of": "last_session"}),
)
VALUES = st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=1, max_size=3, unique=True)


@st.composite
def cadences(draw, delays=(timedelta(0),)):
    """Any kind of cadence, over some months from 1995 (or when the calendar is first known) to 2026."""
    kind, options = draw(st.sampled_from(KINDS))
    calendar = draw(st.sampled_from(CALENDARS))
    start = draw(st.dates(max(date(1995, 1, 1), get_calendar(calendar).first), date(2025, 12, 31)))
    end = start + timedelta(days=draw(st.integers(0, 90 if kind is Daily else 400)))
    end = min(end, date(2026, 6, 30))
    zone, delay = draw(st.sampled_from(ZONES)), draw(st.sampled_from(delays))
    return kind(start=start, end=end, calendar=calendar, timezone=zone, delay=delay, **options)


@st.composite
def schemes(draw, delays=(timedelta(0),)):
    """A scheme with a cadence and up to three static dimensions, in any order."""
    names = draw(st.permutations(["date", "tier", "venue", "desk"]))[draw(st.integers(0, 3)) :]
    names = names if "date" in names else [*names, "date"]
    return PartitionScheme(**{name: draw(cadences(delays)) if name == "date" else draw(VALUES) for name in names})
