"""Dagster's own backfills: each key of three dimensions once, skips, ranges, and whose batch they are."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from e2e.dagster_stack import DagsterStack, by_status, contexts
from e2e.launch_contract import ENDING
from e2e.test_dagster_reruns import launch
from flowctx import Daily, Hourly, PartitionScheme
from flowctx.backfill import graphql
from flowctx.dagster import WorkflowIOManager
from flowctx.dagster.partitions import from_dagster_key, to_dagster_key

pytestmark = pytest.mark.e2e

STORM = PartitionScheme(
    date=Daily(start="2012-10-01", end="2012-12-31", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["NYSE", "N|Y"],
)
#: Of two sessions, around two closed days, each with both tiers and both venues, in half of the combinations.
SESSIONS = [
    STORM.key(date=date, tier=tier, venue=venue)
    for date, pairs in {
        "2012-10-26": (("T1", "NYSE"), ("T2", "N|Y")),
        "2012-10-31": (("T1", "N|Y"), ("T2", "NYSE")),
    }.items()
    for tier, venue in pairs
]
CHANGES = PartitionScheme(hour=Hourly(start="2025-11-01", end="2026-03-09", timezone="America/New_York"))
#: By night: what hours are called in New York, and when they begin in UTC.
NIGHTS = {
    "2025-11-02": {"01:00-04:00": 5, "01:00-05:00": 6},
    "2026-03-08": {"01:00-05:00": 6, "03:00-04:00": 7},
}
SYMBOLS = ["2012-05-17|FB", "2012-05-17|IBM", "2012-05-18|FB", "2012-05-18|IBM"]
DAYS = ["2012-10-01", "2012-10-02", "2012-10-03"]
STEPS = ("fetch", "validate", "returns", "volatility", "summarise")

BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename ... on PartitionBackfill { status } } }
"""


@pytest.fixture(scope="module")
def backfills(dagster: DagsterStack) -> dict[str, str]:
    """Backfills by name, all begun at once: the daemon looks for new ones every half a minute only."""
    assets = [f"daily_prices/{step}" for step in STEPS]
    return {
        "storm": dagster.launch_backfill(
            [to_dagster_key(key, STORM) for key in SESSIONS], "storm", tags={"flowctx/batch_id": "restate-2012"}
        ),
        "symbols": dagster.launch_backfill(SYMBOLS, *assets, tags={"flowctx/batch_id": "restate-1"}),
        "days": dagster.launch_backfill(DAYS, "ranged/only"),
        "changes": dagster.launch_backfill(
            [
                to_dagster_key(CHANGES.key(hour=f"{day}T{hour}"), CHANGES)
                for day, found in NIGHTS.items()
                for hour in found
            ],
            "changes",
        ),
        **{
            name: dagster.launch_backfill([str(datetime.now(UTC).date() - timedelta(days=4))], f"{name}/load")
            for name, _ in ENDING
        },
    }


@pytest.mark.usefixtures("backfills")
def test_a_backfill_runs_each_key_once(dagster: DagsterStack) -> None:
    """Over two sessions around a storm, each key has one successful run, which knows its key, date and batch."""
    runs = dagster.wait_for_runs(4, {"flowctx/batch_id": "restate-2012"}, seconds=700)
    assert Counter(run["status"] for run in runs) == {"SUCCESS": 4}
    found = contexts(dagster, "storm")
    assert {from_dagster_key(run["tags"]["dagster/partition"], STORM) for run in runs} == set(SESSIONS)
    for run in runs:
        key = from_dagster_key(run["tags"]["dagster/partition"], STORM)
        assert found[run["runId"]]["partition"] == dict(key)
        assert found[run["runId"]]["as_of_date"] == key.date
        assert found[run["runId"]]["batch_id"] == "restate-2012"


def test_a_backfill_of_dates_and_symbols(
    dagster: DagsterStack, outputs: WorkflowIOManager, backfills: dict[str, str]
) -> None:
    """Each partition of a backfill is a run of its own with its own context, found by the batch, skips among them."""
    backfill = backfills["symbols"]
    runs = dagster.wait_for_runs(4, {"flowctx/batch_id": "restate-1"})
    assert by_status(runs) == ["SUCCESS"] * 4
    assert sorted(run["tags"]["dagster/partition"] for run in runs) == SYMBOLS
    for key in SYMBOLS[1:]:
        capture = key + "|restate-1"
        summary = outputs.output("daily_prices/summarise", key, capture_id=capture)
        assert summary["symbol"] == key.split("|")[1]
    # It did not trade: the capture says that the step was skipped with the one before it.
    assert outputs.captures("daily_prices/summarise", "2012-05-17|FB") == ["2012-05-17|FB|restate-1"]
    dagster.wait_until(lambda: _backfill_status(dagster, backfill) not in ("REQUESTED", "COMPLETED"), "the backfill")
    # All runs succeeded, but Dagster 1.13 counts a partition that was skipped as one that failed to materialise.
    assert _backfill_status(dagster, backfill) == "COMPLETED_FAILED"


def _backfill_status(dagster: DagsterStack, backfill: str) -> str:
    return str(dagster.graphql(BACKFILL, id=backfill)["partitionBackfillOrError"]["status"])


def test_a_backfill_without_a_batch_id_is_the_batch(
    dagster: DagsterStack, outputs: WorkflowIOManager, backfills: dict[str, str]
) -> None:
    """Dagster's own backfill names the batch, and its runs are found by our tag as well; one run may hold a range."""
    backfill = backfills["days"]
    (run,) = dagster.wait_for_runs(1, {"dagster/backfill": backfill})
    assert run["status"] == "SUCCESS"
    assert [found["runId"] for found in dagster.runs({"flowctx/batch_id": backfill})] == [run["runId"]]
    for number, day in enumerate(DAYS, 1):
        found = outputs.output("ranged/only", day, capture_id=f"{day}|{backfill}")
        assert found == {"day": number, "run": run["runId"]}


def test_hours_run_over_both_changes_of_the_clocks(dagster: DagsterStack, backfills: dict[str, str]) -> None:
    """The hour that comes twice in autumn is two runs, and the one that is left out in spring is none."""
    runs = dagster.wait_for_runs(4, {"dagster/backfill": backfills["changes"]})
    assert by_status(runs) == ["SUCCESS"] * 4
    found = contexts(dagster, "changes")
    windows = {found[run["runId"]]["partition"]["hour"]: found[run["runId"]]["window"] for run in runs}
    assert windows == {
        f"{day}T{hour}": [f"{day}T{start + more:02}:00:00+00:00" for more in (0, 1)]
        for day, hours in NIGHTS.items()
        for hour, start in hours.items()
    }


@pytest.mark.parametrize("name", [name for name, _ in ENDING])
def test_known_dates_of_a_calendar_that_ends_are_backfilled(
    dagster: DagsterStack, backfills: dict[str, str], name: str
) -> None:
    """A day that is known runs, before the end and after it."""
    (run,) = dagster.wait_for_runs(1, {"dagster/backfill": backfills[name]})
    assert run["status"] == "SUCCESS"


def test_a_day_beyond_a_calendar_fails_and_names_the_end(dagster: DagsterStack) -> None:
    """A run for a day that is not known says until when the calendar is."""
    last = datetime.fromisoformat(dagster.env["TICK"]).date() + timedelta(days=5)
    run_id = launch(dagster, "ends_5_job", str(last + timedelta(days=1)), test="beyond")
    (run,) = dagster.wait_for_runs(1, {"test": "beyond"})
    events = dagster.graphql(graphql.EVENTS, id=run_id)["runOrError"]["eventConnection"]["events"]
    [failure] = [event for event in events if event["__typename"] == "ExecutionStepFailureEvent"]
    known = rf"outside what is known of the calendar ENDING \(7\) here: .* to {last}"
    assert (run["status"], bool(re.search(known, failure["error"]["message"]))) == ("FAILURE", True), failure
