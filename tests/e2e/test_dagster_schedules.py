"""Schedules on a real daemon, which tick while the other tests run; this file is the last of the daemon's."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.dagster_stack import DagsterStack, by_status, contexts
from flowctx.dagster import WorkflowIOManager

pytestmark = pytest.mark.e2e


def test_a_tick_runs_what_is_due(dagster: DagsterStack, outputs: WorkflowIOManager) -> None:
    """The workflow's own schedule starts a run for each key of the date that is due, and no other."""
    tags = {"dagster/schedule_name": "live_schedule"}
    runs = dagster.wait_for_runs(2, tags, seconds=600)
    assert by_status(runs) == ["SUCCESS", "SUCCESS"]
    for run in runs:
        key = run["tags"]["dagster/partition"]
        found = outputs.output("live/watch", key)
        assert str(found["as_of"]) == run["tags"]["flowctx/as_of_date"] == key.split("|")[0]
        assert found["partition"]["venue"] in ("NYSE", "N|Y")
    assert len({run["tags"]["flowctx/as_of_date"] for run in runs}) == 1


def test_a_tick_and_those_missed_run_each_key_once(dagster: DagsterStack) -> None:
    """What is due at the tick and the session before it, around a closed day, run once for each tier and venue."""
    tick = datetime.fromisoformat(dagster.env["TICK"])
    runs = dagster.wait_for_runs(8, {"dagster/schedule_name": "caught_up_job_schedule"}, seconds=700)
    assert Counter(run["status"] for run in runs) == {"SUCCESS": 8}
    dates = {(tick - timedelta(days=days)).date().isoformat() for days in (1, 3)}
    wanted = Counter((date, tier, venue) for date in dates for tier in ("T1", "T2") for venue in ("NYSE", "N|Y"))
    found = contexts(dagster, "caught_up")
    assert (
        Counter(tuple(found[run["runId"]]["partition"][name] for name in ("date", "tier", "venue")) for run in runs)
        == wanted
    )
    assert all(found[run["runId"]]["as_of_date"] == run["tags"]["flowctx/as_of_date"] for run in runs)


@pytest.mark.parametrize("name", ["evening", "half_day"])
def test_a_day_runs_on_itself(dagster: DagsterStack, name: str) -> None:
    """What is due on its own day, by the clock or half an hour after an early close, has its key and runs that day."""
    today = datetime.fromisoformat(dagster.env["TICK"]).date().isoformat()
    [run] = dagster.wait_for_runs(1, {"dagster/schedule_name": f"{name}_job_schedule"}, seconds=700)
    assert run["status"] == "SUCCESS"
    assert (run["tags"]["dagster/partition"], run["tags"]["flowctx/as_of_date"]) == (today, today)
    assert contexts(dagster, name)[run["runId"]]["as_of_date"] == today


def test_hours_years_and_tiers_run_when_they_are_due(dagster: DagsterStack) -> None:
    """At one tick: the hour before it, the fiscal year that ended in June, and of each tier the day that is due."""
    tick = datetime.fromisoformat(dagster.env["TICK"])

    def keys(name: str, count: int) -> list[str]:
        runs = dagster.wait_for_runs(count, {"dagster/schedule_name": f"{name}_job_schedule"}, seconds=700)
        assert {run["status"] for run in runs} == {"SUCCESS"}
        found = contexts(dagster, name)
        for run in runs:
            assert found[run["runId"]]["as_of_date"] == run["tags"]["flowctx/as_of_date"]
        return sorted("|".join(found[run["runId"]]["partition"].values()) for run in runs)

    hour = tick.replace(minute=0) - timedelta(hours=1)
    assert hour in map(datetime.fromisoformat, keys("hours", 1))  # an hour later there is one more
    assert keys("fiscal", 1) == [f"{tick.year if tick.month >= 7 else tick.year - 1}-06-30"]
    days = [(tick - timedelta(days=days)).date().isoformat() for days in (1, 3)]
    assert keys("tiers", 2) == sorted([f"{days[0]}|T1", f"{days[1]}|OTC"])


SCHEDULE = """
query ($selector: ScheduleSelector!) {
  scheduleOrError(scheduleSelector: $selector) { ... on Schedule {
    description
    scheduleState { ticks {
      status error { errorChain { error { message } } } logEvents { events { message level } } } } } }
}
"""


@pytest.mark.parametrize(("name", "left"), [("ends_40", 40), ("ends_5", 5), ("ends_ago_1", -1), ("ends_ago_2", -2)])
def test_a_calendar_that_ends_is_scheduled_while_it_is_known(dagster: DagsterStack, name: str, left: int) -> None:
    """What is due at the tick runs if it is known; the schedule and its ticks warn, and after the end a tick fails."""
    today = datetime.fromisoformat(dagster.env["TICK"]).date()
    where = {"repositoryName": "__repository__", "repositoryLocationName": "tests", "scheduleName": f"{name}_schedule"}

    def schedule() -> dict[str, Any]:
        return dict(dagster.graphql(SCHEDULE, selector=where)["scheduleOrError"])

    known = f"the calendar ENDING (7) is known until {today + timedelta(days=left)}, "
    known += "which is past: dates after it are not scheduled" if left < 0 else f"{left} days from now"
    assert known in schedule()["description"]
    tags = {"dagster/schedule_name": f"{name}_schedule"}
    if left == -2:
        dagster.wait_until(lambda: schedule()["scheduleState"]["ticks"], f"a tick of {name}")
        [tick] = schedule()["scheduleState"]["ticks"]
        assert (tick["status"], dagster.runs(tags)) == ("FAILURE", [])
        assert known in str(tick["error"]["errorChain"])
        return
    [run] = dagster.wait_for_runs(1, tags, seconds=700)
    assert (run["status"], run["tags"]["dagster/partition"]) == ("SUCCESS", str(today - timedelta(days=1)))
    [tick] = schedule()["scheduleState"]["ticks"]
    assert [event["level"] for event in tick["logEvents"]["events"] if known in event["message"]] == ["WARNING"]


def test_logs_are_clean(dagster: DagsterStack) -> None:
    """Neither the code server nor the daemon complains about definitions of ours."""
    for path in Path(dagster.home).glob("*.log"):
        text = path.read_text(errors="replace")
        assert "Warning: " not in text.replace("SyntaxWarning: ", ""), path
