"""Schemes for tests of the Dagster adapter, as hypothesis strategies."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import strategies as st

from flowctx import Daily, Hourly, Monthly, PartitionScheme, Quarterly, Weekly, Yearly
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
    (Yearly, {"as_of": "period_end", "ends_in": "JUN"}),
    (Yearly, {"as_of": "last_session"}),
    (Hourly, {}),
)
VALUES = st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=1, max_size=3, unique=True)


@st.composite
def cadences(draw, delays=(timedelta(0),)):
    """Any kind of cadence, over some months from 1995 (or when the calendar is first known) to 2026."""
    kind, options = draw(st.sampled_from(KINDS))
    calendar = draw(st.sampled_from(CALENDARS))
    start = draw(st.dates(max(date(1995, 1, 1), get_calendar(calendar).first), date(2025, 12, 31)))
    end = start + timedelta(days=draw(st.integers(0, {Daily: 90, Hourly: 4, Yearly: 900}.get(kind, 400))))
    end = min(end, date(2026, 6, 30))
    zone, delay = draw(st.sampled_from(ZONES)), draw(st.sampled_from(delays))
    rules = [] if kind is Hourly else ["02:30", "17:00"]
    if kind is not Hourly and calendar != "WEEKDAYS" and options.get("as_of") != "period_end":
        rules += ["close", "close + 30min"]
    due = draw(st.none() | st.sampled_from(rules)) if rules else None
    when = {"delay": delay} if due is None else {"due": due}
    return kind(start=start, end=end, calendar=calendar, timezone=zone, **when, **options)


@st.composite
def schemes(draw, delays=(timedelta(0),)):
    """A scheme with a cadence and up to three static dimensions, in any order."""
    names = draw(st.permutations(["date", "tier", "venue", "desk"]))[draw(st.integers(0, 3)) :]
    names = names if "date" in names else [*names, "date"]
    parts = {name: draw(cadences(delays)) if name == "date" else draw(VALUES) for name in names}
    static = [name for name in names if name != "date"]
    if static and len(delays) > 1 and parts["date"].due_at is None and draw(st.booleans()):
        differing = {value: draw(st.sampled_from(delays)) for value in parts[static[0]]}
        parts["date"] = replace(parts["date"], delay={static[0]: differing})
    return PartitionScheme(**parts)
