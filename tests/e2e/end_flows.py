"""Workflows by the days of calendars that end in 40 days, in 5, have ended yesterday, and the day before that."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from flowctx import BusinessCalendar, Daily, PartitionScheme, Workflow


def _told(name):
    return datetime.fromisoformat(os.environ[name]) if name in os.environ else None


#: When Dagster's schedules tick, and when Airflow's runs are due, which engines are told as they start.
TICK, DUE = _told("TICK"), _told("DUE")
#: On an engine the day on which it started, however long its tests take; a command outside looks at the clock.
TODAY = (TICK or DUE or datetime.now(UTC)).date()
#: On Dagster, days are due at the tick.
DELAY = timedelta(hours=TICK.hour, minutes=TICK.minute) if TICK else timedelta(0)


def ending(left):
    """Return a workflow by the days of a calendar that ends in so many days."""
    known = [TODAY + timedelta(days=n) for n in range(-9, left + 1)]
    calendar = BusinessCalendar.from_sessions("ENDING", known, version="7")
    scheme = PartitionScheme(date=Daily(start=known[0], calendar=calendar, delay=DELAY))
    flow = Workflow(f"ends_{left}".replace("-", "ago_"), partitions=scheme)

    @flow.step()
    def load(ctx):
        """Hand on the date."""
        return {"day": ctx.as_of_date}

    return flow


ends_40, ends_5, ends_ago_1, ends_ago_2 = flows = [ending(left) for left in (40, 5, -1, -2)]
