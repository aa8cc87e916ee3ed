"""What readers see of steps that Dagster does not start, since the step before them was skipped."""

import dagster as dg
import pytest

from adapters.dagster_support import Bench
from flowctx import ArtifactError, Daily, PartitionScheme, StepResult, Weekly, Workflow
from flowctx.dagster import asset_key, partition_mapping, partitions_def

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31", calendar="WEEKDAYS"))
WEEKS = PartitionScheme(week=Weekly(start="2012-10-05", end="2012-10-26"))


def flow_of(closed: set[str]) -> Workflow:
    """Return a workflow whose first step is skipped on some dates, with a step after it and one after that."""
    made = Workflow("flow", partitions=DAYS)

    @made.step()
    def load(ctx):
        return StepResult.skip("closed") if str(ctx.as_of_date) in closed else {"n": 1}

    made.step("double")(lambda ctx: {"n": 2})
    made.step("last")(lambda ctx: {"n": 3})
    return made


@pytest.mark.parametrize("span", [None, ("2012-10-15", "2012-10-19")])
def test_readers_of_a_later_step_are_told_of_the_skip(tmp_path, span):
    """A week of the last step is that of its other days; a reader of the day alone is told why there is nothing."""
    days = [f"2012-10-{day}" for day in range(15, 20)]
    flow, seen = flow_of({days[0]} if span else {days[0], days[3]}), []
    mapping = partition_mapping(DAYS, WEEKS)

    @dg.asset(
        ins={"found": dg.AssetIn(asset_key(flow, "last"), partition_mapping=mapping)},
        partitions_def=partitions_def(WEEKS),
    )
    def weekly(found) -> None:
        seen.extend(key.date for key in found)

    @dg.asset(ins={"found": dg.AssetIn(asset_key(flow, "last"))}, partitions_def=partitions_def(DAYS))
    def daily(found) -> None:
        raise AssertionError("there is nothing to read")

    bench = Bench(flow, tmp_path, weekly, daily, backfill_policy=dg.BackfillPolicy.single_run())
    steps = [f"flow/{name}" for name in flow.steps]
    for run in [{"span": span}] if span else [{"key": day} for day in days]:
        assert bench.run(**run, selection=steps).success
    if span:
        assert bench.run(span=(days[0], days[0]), selection=steps).success
    assert bench.run("2012-10-13", selection=["weekly"]).success
    assert seen == [day for day in days if day != days[0] and (span or day != days[3])]
    failed = bench.run(days[0], selection=["daily"])
    assert "partition '2012-10-15' of asset flow/last was skipped: closed; it has no output to load" in str(
        failed.events_for_node("daily")
    )


def test_a_step_that_is_no_part_of_the_run_keeps_its_output(tmp_path):
    """A skip of the first step alone says nothing of steps that were not to run, nor of those that they lead to."""
    closed: set[str] = set()
    bench = Bench(flow_of(closed), tmp_path)
    bench.run("2012-10-15")
    closed.add("2012-10-15")
    assert bench.run("2012-10-15", selection=["flow/load"]).success
    assert bench.outputs.output("flow/last", "2012-10-15") == {"n": 3}
    assert bench.run("2012-10-15", selection=["flow/load", "flow/double"]).success
    assert bench.outputs.output("flow/last", "2012-10-15") == {"n": 3}
    with pytest.raises(ArtifactError, match="flow/double was skipped: closed"):
        bench.outputs.output("flow/double", "2012-10-15")


def test_a_step_that_runs_after_all_makes_its_own_output(tmp_path):
    """Where a step runs after a skip, too, the one between is skipped and that one is not."""
    flow = flow_of({"2012-10-15"})
    flow.step("tell", run_if="not_failed")(lambda ctx: {"told": True})
    bench = Bench(flow, tmp_path)
    assert bench.run("2012-10-15").success
    assert bench.outputs.output("flow/tell", "2012-10-15") == {"told": True}
    with pytest.raises(ArtifactError, match="flow/last was skipped: closed"):
        bench.outputs.output("flow/last", "2012-10-15")


@pytest.mark.parametrize("span", [None, ("2012-10-15", "2012-10-16")])
def test_an_output_that_stands_for_a_skip_says_so(tmp_path, span):
    """Dagster has it for the step that runs after a skip: whoever looks at the run takes it for none."""
    flow = flow_of({"2012-10-15", "2012-10-16"})
    flow.step("tell", run_if="not_failed")(lambda ctx: {"told": True})
    bench = Bench(flow, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    done = bench.run(span=span) if span else bench.run("2012-10-15")
    events = bench.events(done, dg.DagsterEventType.STEP_OUTPUT)
    marks = {event.step_key: "flowctx/skipped" in event.step_output_data.metadata for event in events}
    assert marks == {"flow__load": True, "flow__double": True, "flow__last": True, "flow__tell": False}
