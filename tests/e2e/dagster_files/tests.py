"""Schedules, backfills and runs that fail, as a code location without a ledger."""

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import end_flows
from restated import flow as restated

from flowctx import BusinessCalendar, Daily, Hourly, PartitionScheme, Workflow, Yearly
from flowctx.dagster import partitions_def, workflow_context, workflow_definitions, workflow_schedule

flag = Path(os.environ["FLAG"])
seen = Path(os.environ["SEEN"])
tick = datetime.fromisoformat(os.environ["TICK"])
today = tick.date()
delay = timedelta(hours=tick.hour, minutes=tick.minute)
venues = ["NYSE", "N|Y"]

again = Workflow("again", partitions=PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31")))


@again.step()
def fetch(ctx):
    """Say who ran."""
    return {"run": ctx.run_id, "trace": ctx.trace_id}


@again.step()
def load(ctx):
    """Fail while there is a flag."""
    if flag.exists():
        if flag.read_text() == "once":
            flag.unlink()
        raise ValueError("not yet")
    return {"fetched_by": ctx.get_output("fetch", "run"), "trace": ctx.trace_id, "capture": ctx.capture_id}


ranged = Workflow("ranged", partitions=PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31")))


@ranged.step()
def only(ctx):
    """Say which day it is about."""
    return {"day": ctx.as_of_date.day, "run": ctx.run_id}


live = Workflow(
    "live", partitions=PartitionScheme(date=Daily(start=today - timedelta(days=5), delay=delay), venue=venues)
)


@live.step()
def watch(ctx):
    """Say what it is about."""
    return {"as_of": ctx.as_of_date, "partition": ctx.partition}


desk = BusinessCalendar.from_holidays(
    "DESK",
    [today - timedelta(days=2)],
    weekmask="1111111",
    first=today - timedelta(days=30),
    last=today + timedelta(days=30),
)
static = {"tier": ["T1", "T2"], "venue": venues}
storm = PartitionScheme(
    date=Daily(start="2012-10-01", end="2012-12-31", calendar="XNYS", timezone="America/New_York"), **static
)
caught_up = PartitionScheme(date=Daily(start=today - timedelta(days=20), calendar=desk, delay=delay), **static)

# Due on the day itself, at the tick: by the clock, and half an hour after a session that ends early. No other is
# due within the hour.
lead = min(30, tick.hour * 60 + tick.minute)
short = BusinessCalendar.from_sessions(
    "SHORT",
    [today + timedelta(days=n) for n in range(-3, 200)],
    close="23:59" if tick.hour >= 12 else "20:00",
    timezone="UTC",
    special_closes={today: f"{tick - timedelta(minutes=lead):%H:%M}"},
)
evening = PartitionScheme(date=Daily(start=today - timedelta(days=3), due=f"{tick:%H:%M}"))
half_day = PartitionScheme(
    date=Daily(start=today - timedelta(days=3), calendar=short, due=f"close + {lead}min" if lead else "close")
)
# Due at the tick as well: the hour before it, the year that ended in June, and two tiers of different days.
hours = PartitionScheme(hour=Hourly(start=today - timedelta(days=1), delay=timedelta(minutes=tick.minute)))
july = date(today.year if today.month >= 7 else today.year - 1, 7, 1)
fiscal = PartitionScheme(year=Yearly(start="2020-07-01", ends_in="JUN", delay=(today - july) + delay))
delays = {"tier": {"T1": delay, "OTC": delay + timedelta(days=2)}}
tiers = PartitionScheme(date=Daily(start=today - timedelta(days=9), delay=delays), tier=["T1", "OTC"])
changes = PartitionScheme(hour=Hourly(start="2025-11-01", end="2026-03-09", timezone="America/New_York"))


def asset(name, scheme):
    """Return an asset that writes down what it saw."""

    def body(context):
        ctx = workflow_context(context, scheme=scheme)
        facts = {"run_id": ctx.run_id, "partition": dict(ctx.partition), "as_of_date": str(ctx.as_of_date)}
        facts["window"] = [moment.astimezone(UTC).isoformat() for moment in scheme.window(ctx.partition)]
        facts["batch_id"] = ctx.batch_id
        (seen / f"{name} {ctx.run_id}.json").write_text(json.dumps(facts))

    return dg.asset(name=name, partitions_def=partitions_def(scheme))(body)


assets = [asset("storm", storm), asset("caught_up", caught_up), asset("changes", changes)]
schedules = []
own_times = {"evening": evening, "half_day": half_day, "hours": hours, "fiscal": fiscal, "tiers": tiers}
for name, scheme in own_times.items():
    assets.append(asset(name, scheme))
    own = dg.define_asset_job(f"{name}_job", [name], partitions_def=partitions_def(scheme))
    schedules.append(workflow_schedule(own, scheme, default_status=dg.DefaultScheduleStatus.RUNNING))
job = dg.define_asset_job("caught_up_job", ["caught_up"], partitions_def=partitions_def(caught_up))
schedule = workflow_schedule(job, caught_up, catch_up=1, default_status=dg.DefaultScheduleStatus.RUNNING)

defs = dg.Definitions.merge(
    *(workflow_definitions(workflow) for workflow in (again, live, restated, *end_flows.flows)),
    workflow_definitions(ranged, backfill_policy=dg.BackfillPolicy.single_run()),
    dg.Definitions(assets, jobs=[job], schedules=[schedule, *schedules], executor=dg.in_process_executor),
)
