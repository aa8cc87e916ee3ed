"""The window that a run is about, and when it was due, as its context says."""

from datetime import UTC, datetime, timedelta

import pytest

from flowctx import ContextError, Daily, Hourly, Monthly, PartitionScheme, WorkflowContext, Yearly
from flowctx.core.workflow.business_date import RunTiming
from flowctx.core.workflow.run_context import begin

NEW_YORK = {"timezone": "America/New_York"}
SCHEMES = [
    PartitionScheme(
        date=Daily(start="2012-01-03", end="2012-12-31", calendar="XNYS", due="close + 30min", **NEW_YORK), tier=["T1"]
    ),
    PartitionScheme(month=Monthly(start="2012-01-01", end="2012-12-31", delay=timedelta(days=3), **NEW_YORK)),
    PartitionScheme(year=Yearly(start="2020-07-01", end="2026-06-30", ends_in="JUN")),
    PartitionScheme(hour=Hourly(start="2025-11-01", end="2025-11-03", **NEW_YORK)),
]


def begun(scheme: PartitionScheme, key) -> WorkflowContext:
    """Return the context of a run, after it was sent from one task to the next."""
    ctx = begin("flow", run_id="r", scheme=scheme, partition=key, started_at=datetime(2030, 1, 1, tzinfo=UTC))
    return WorkflowContext.from_dict(ctx.to_dict())


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: next(iter(scheme.dimensions)))
def test_they_are_those_of_the_scheme(scheme) -> None:
    """Of every key, the hours that come twice among them, they are the scheme's, to the instant and in its zone."""
    for key in scheme.select()[-60:]:
        ctx = begun(scheme, key)
        assert (ctx.window, ctx.due) == (scheme.window(key), scheme.due(key))
        assert [end.utcoffset() for end in ctx.window] == [end.utcoffset() for end in scheme.window(key)]
        assert str(ctx.window.start.tzinfo) == str(scheme.cadence.zone)


def test_of_a_schedule_they_are_what_its_engine_says() -> None:
    """A run without a partition has the interval of its schedule, in the schedule's zone, and no due time."""
    start = datetime(2012, 10, 26, 4, tzinfo=UTC)
    time = RunTiming(window_start=start, window_end=start + timedelta(days=1), **NEW_YORK)
    ctx = begin("flow", run_id="r", time=time)
    assert [str(end) for end in ctx.window] == ["2012-10-26 00:00:00-04:00", "2012-10-27 00:00:00-04:00"]
    with pytest.raises(ContextError, match="no due, and something in it asked for ctx.due"):
        _ = ctx.due


@pytest.mark.parametrize("time", [None, RunTiming(), RunTiming(fired_at=datetime(2012, 10, 26, tzinfo=UTC))])
def test_a_run_without_any_says_what_to_do(time) -> None:
    """Without a cadence and without an interval both are an error with the remedy, and never None."""
    tiers = PartitionScheme(tier=["T1"])
    ctx = begin("flow", run_id="r", scheme=tiers, partition=tiers.key(tier="T1"), time=time)
    for name in ("window", "due"):
        with pytest.raises(ContextError, match=r"give workflow_context\(scheme=\.\.\.\)"):
            getattr(ctx, name)
        assert name not in ctx.metadata


def test_of_another_partition_they_are_not_told() -> None:
    """A context that was moved to another partition does not have the window of the one that it began with."""
    scheme = SCHEMES[0]
    ctx = begun(scheme, scheme.key(date="2012-01-03", tier="T1")).with_partition(date="2012-01-04", tier="T1")
    with pytest.raises(ContextError, match="has no window"):
        _ = ctx.window
