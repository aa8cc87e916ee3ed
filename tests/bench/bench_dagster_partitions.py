"""What a scheme adds to Dagster's own partitions, and what Dagster takes for the same keys."""

from __future__ import annotations

from datetime import date

import dagster as dg
from report import compare

from flowctx import Daily, PartitionScheme, Weekly
from flowctx.dagster.mappings import partition_mapping
from flowctx.dagster.partitions import from_dagster_key, partitions_def, to_dagster_key
from flowctx.dagster.schedules import workflow_schedule

ZONE = "America/New_York"
SESSIONS = Daily(start="2000-03-01", end="2013-03-01", calendar="XNYS", timezone=ZONE)
PRICES = PartitionScheme(date=SESSIONS, symbol=["AAPL", "FB", "GOOG", "IBM", "MSFT"])
DAYS = PartitionScheme(date=SESSIONS)
WEEKS = PartitionScheme(week=Weekly(start="2000-03-03", end="2013-03-01", timezone=ZONE))


def main() -> None:
    """Print the tables."""
    definitions()
    keys()
    ticks()
    mappings()


def definitions() -> None:
    """Make the definition of a scheme: once for each process that loads it."""

    def plain() -> object:
        return dg.DailyPartitionsDefinition(start_date="2000-03-01", end_date="2013-03-02", timezone=ZONE)

    # A scheme of its own each time, since definitions of equal schemes are kept.
    ends = iter(range(10**6))

    def ours() -> object:
        last = date.fromordinal(SESSIONS.end.toordinal() + next(ends))
        cadence = Daily(start="2000-03-01", end=last, calendar="XNYS", timezone=ZONE)
        return partitions_def(PartitionScheme(date=cadence))

    compare("Definition of 13 years of sessions", {"partitions_def(scheme)": ours, "plain days": plain}, repeat=5)


def keys() -> None:
    """List 16,350 keys, and turn one into the other form and back."""
    definition = partitions_def(PRICES)
    compare(
        "16,350 keys, XNYS by five symbols",
        {
            "scheme: list": lambda: list(PRICES),
            "scheme: list, as Dagster's keys": lambda: [to_dagster_key(key, PRICES) for key in PRICES],
            "Dagster: get_partition_keys": lambda: fresh(definition),
        },
        rounds=3,
    )
    key = PRICES.parse("2012-10-26|IBM")
    compare(
        "One key",
        {
            "to_dagster_key": lambda: to_dagster_key(key, PRICES),
            "from_dagster_key": lambda: from_dagster_key("2012-10-26|IBM", PRICES),
            "Dagster: has_partition_key": lambda: definition.has_partition_key("2012-10-26|IBM"),
        },
        repeat=50,
    )


def fresh(definition: dg.PartitionsDefinition) -> object:
    """List the keys anew: Dagster keeps the last list that it made."""
    definition._get_partition_keys.cache_clear()
    return definition.get_partition_keys()


def ticks() -> None:
    """Evaluate a schedule at a due time."""
    graph = dg.GraphDefinition(name="daily", node_defs=[dg.OpDefinition(lambda _: None, name="work")])
    job = graph.to_job(partitions_def=partitions_def(DAYS))
    ours = workflow_schedule(job, DAYS, name="ours")
    theirs = dg.build_schedule_from_partitioned_job(job, name="theirs")
    repository = dg.Definitions(jobs=[job], schedules=[ours, theirs]).get_repository_def()
    at = SESSIONS.due(date(2012, 10, 26))

    def tick(schedule: dg.ScheduleDefinition) -> object:
        with dg.build_schedule_context(scheduled_execution_time=at, repository_def=repository) as context:
            return schedule.evaluate_tick(context)

    compare("A tick of a schedule", {"ours": lambda: tick(ours), "Dagster's": lambda: tick(theirs)}, repeat=5)


def mappings() -> None:
    """Find what a week takes in."""
    up, down = partitions_def(DAYS), partitions_def(WEEKS)
    week = down.empty_subset().with_partition_keys(["2012-10-27"])

    def of(mapping: dg.PartitionMapping) -> object:
        return mapping.get_upstream_mapped_partitions_result_for_partitions(week, down, up)

    ours, theirs = partition_mapping(DAYS, WEEKS), dg.TimeWindowPartitionMapping()
    compare("Sessions of a week", {"ours": lambda: of(ours), "Dagster's": lambda: of(theirs)}, repeat=5)


if __name__ == "__main__":
    main()
