"""A real daemon runs every key of three dimensions exactly once: by the schedule, and in a backfill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.dagster_stack import DagsterStack, dagster_stack
from flowctx import Daily, PartitionScheme
from flowctx.dagster.partitions import from_dagster_key, to_dagster_key

pytestmark = pytest.mark.e2e

DEFINITIONS = """
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from flowctx import BusinessCalendar, Daily, PartitionScheme
from flowctx.dagster import partitions_def, workflow_context, workflow_schedule

tick = datetime.fromisoformat(os.environ["TICK"])
today = tick.date()
desk = BusinessCalendar.from_holidays(
    "DESK",
    [today - timedelta(days=2)],
    weekmask="1111111",
    first=today - timedelta(days=30),
    last=today + timedelta(days=30),
)
static = {"tier": ["T1", "T2"], "venue": ["NYSE", "N|Y"]}
storm = PartitionScheme(
    date=Daily(start="2012-10-01", end="2012-12-31", calendar="XNYS", timezone="America/New_York"), **static
)
live = PartitionScheme(
    date=Daily(start=today - timedelta(days=20), calendar=desk, delay=timedelta(hours=tick.hour, minutes=tick.minute)),
    **static,
)


def asset(name, scheme):
    def body(context):
        ctx = workflow_context(context, scheme=scheme)
        seen = {"run_id": ctx.run_id, "partition": dict(ctx.partition), "as_of_date": str(ctx.as_of_date)}
        seen["batch_id"] = ctx.batch_id
        (Path(os.environ["SEEN"]) / f"{name} {ctx.run_id}.json").write_text(json.dumps(seen))

    return dg.asset(name=name, partitions_def=partitions_def(scheme))(body)


assets = [asset("storm", storm), asset("live", live)]
job = dg.define_asset_job("live_job", ["live"], partitions_def=partitions_def(live))
schedule = workflow_schedule(job, live, catch_up=9, default_status=dg.DefaultScheduleStatus.RUNNING)
defs = dg.Definitions(assets, jobs=[job], schedules=[schedule], executor=dg.in_process_executor)
"""

STORM = PartitionScheme(
    date=Daily(start="2012-10-01", end="2012-12-31", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2"],
    venue=["NYSE", "N|Y"],
)
TEN_SESSIONS = STORM.select("date=2012-10-22..2012-11-06")


@pytest.fixture(scope="module")
def tick() -> datetime:
    """A minute by which the daemon is up, on a slow machine too; the backfill fills the time."""
    later = datetime.now(UTC) + timedelta(minutes=4)
    return later.replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where assets write down what they saw."""
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tick: datetime, seen: Path) -> Iterator[DagsterStack]:
    """A daemon whose schedule ticks soon, and that meanwhile works on a backfill."""
    home = tmp_path_factory.mktemp("dagster") / "home"
    with dagster_stack(home, DEFINITIONS, env={"TICK": tick.isoformat(), "SEEN": str(seen)}) as stack:
        keys = [to_dagster_key(key, STORM) for key in TEN_SESSIONS]
        stack.launch_backfill(keys, "storm", tags={"flowctx/batch_id": "restate-2012"})
        yield stack


def contexts(seen: Path, asset: str) -> dict[str, dict[str, Any]]:
    """Return what each run of an asset saw, by run id."""
    found = [json.loads(path.read_text()) for path in seen.glob(f"{asset} *.json")]
    return {str(one["run_id"]): one for one in found}


def test_a_tick_and_those_missed_run_each_key_once(stack: DagsterStack, tick: datetime, seen: Path) -> None:
    """What is due at the tick and nine sessions before it, around a closed day, run once for each tier and venue."""
    runs = stack.wait_for_runs(40, {"dagster/schedule_name": "live_job_schedule"}, seconds=700)
    assert Counter(run["status"] for run in runs) == {"SUCCESS": 40}
    dates = {(tick - timedelta(days=days)).date().isoformat() for days in (1, *range(3, 12))}
    wanted = Counter((date, tier, venue) for date in dates for tier in ("T1", "T2") for venue in ("NYSE", "N|Y"))
    found = contexts(seen, "live")
    assert (
        Counter(tuple(found[run["runId"]]["partition"][name] for name in ("date", "tier", "venue")) for run in runs)
        == wanted
    )
    assert all(found[run["runId"]]["as_of_date"] == run["tags"]["flowctx/as_of_date"] for run in runs)


def test_a_backfill_runs_each_key_once(stack: DagsterStack, seen: Path) -> None:
    """Over ten sessions around a storm, each key has one successful run, which knows its key, date and batch."""
    runs = stack.wait_for_runs(40, {"flowctx/batch_id": "restate-2012"}, seconds=700)
    assert Counter(run["status"] for run in runs) == {"SUCCESS": 40}
    found = contexts(seen, "storm")
    assert {from_dagster_key(run["tags"]["dagster/partition"], STORM) for run in runs} == set(TEN_SESSIONS)
    for run in runs:
        key = from_dagster_key(run["tags"]["dagster/partition"], STORM)
        assert found[run["runId"]]["partition"] == dict(key)
        assert found[run["runId"]]["as_of_date"] == key.date
        assert found[run["runId"]]["batch_id"] == "restate-2012"
