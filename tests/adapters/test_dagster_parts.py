"""Runs of a part of a workflow on Dagster: they are told from whole ones, and can be completed."""

import os
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, Bench, persistent_instance
from flowctx import (
    Backfill,
    BatchStatus,
    Daily,
    PartitionKey,
    PartitionScheme,
    QualityMetrics,
    StepResult,
    Workflow,
    resume,
    run,
)
from flowctx.backfill import LocalLauncher
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.workflow.run_context import begin
from flowctx.dagster import workflow_definitions

pytestmark = pytest.mark.usefixtures("jobs_by_name")
DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
DAY = "2012-10-26"
FLAG = "FLOWCTX_TEST_FAILS"

flow = Workflow("four", partitions=DAYS)


@flow.step()
def one(ctx):
    """Say who ran it."""
    return StepResult.ok({"run": ctx.run_id}, quality=QualityMetrics(counts={"rows": 1}))


@flow.step()
def two(ctx):
    """Fail while the flag is set."""
    if os.environ.get(FLAG):
        raise ValueError("not yet")
    return {"one": ctx.get_output("one", "run")}


@flow.step()
def three(ctx):
    """Hand on."""
    return {"one": ctx.get_output("one", "run")}


@flow.step()
def four(ctx):
    """Hand on."""
    return {"one": ctx.get_output("one", "run")}


def job() -> dg.JobDefinition:
    """Return the workflow's job."""
    defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    return defs.resolve_job_def("four_job")


@pytest.fixture
def bench(tmp_path):
    return Bench(flow, tmp_path)


def assets(*steps):
    return [dg.AssetKey(["four", step]) for step in steps]


def states(ledger):
    return [(capture.key.capture_id, str(capture.state)) for capture in ledger.captures(workflow="four")]


def test_some_assets_complete_no_capture(bench, ledger):
    """Materialising the first of four assets is a part: nothing is captured, and the batch is not done."""
    done = bench.run(DAY, tags={"flowctx/batch_id": "sub"}, selection=assets("one"))
    found = ledger.get_run(done.run_id)
    assert (found.status, found.selected, found.steps) == (RunStatus.PARTIAL, ("one",), tuple(flow.steps))
    assert states(ledger) == []
    status = BatchStatus.of(ledger, "sub", flow)
    assert (status.counts, status.complete) == ({"partial": 1}, False)


def test_a_whole_run_is_not_skipped_for_a_part(bench, ledger):
    """With ``on_captured=skip``, a run after one of a part runs every step."""
    bench.run(DAY, selection=assets("one"))
    whole = bench.run(DAY, tags={"flowctx/on_captured": "skip"})
    assert len(bench.materializations(whole)) == 4
    assert ledger.get_run(whole.run_id).status is RunStatus.OK


def test_the_rest_completes_the_capture(bench, ledger):
    """What a part did counts once the rest of the same batch is done."""
    first = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=assets("one"))
    rest = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=assets("two", "three", "four"))
    assert states(ledger) == [(f"{DAY}|b", "complete")]
    assert ledger.captures(workflow="four")[0].run_id == rest.run_id
    assert BatchStatus.of(ledger, "b", flow).counts == {"ok": 1}
    steps = {record.step: record.output for record in ledger.steps(ledger.get_run(rest.run_id).key)}
    assert (set(steps), steps["one"]) == (set(flow.steps), {"run": first.run_id})


def test_a_part_leaves_a_good_capture_current(bench, ledger):
    """One step alone, outside any batch, supersedes nothing."""
    whole = bench.run(DAY, tags={"flowctx/batch_id": "b"})
    bench.run(DAY, selection=assets("one"))
    assert states(ledger) == [(f"{DAY}|b", "complete")]
    assert ledger.captures(workflow="four")[0].run_id == whole.run_id


def test_a_failed_part_leaves_a_good_capture_complete(bench, ledger, monkeypatch):
    """A step that is materialised again in the same batch and fails does not undo what is there."""
    bench.run(DAY, tags={"flowctx/batch_id": "b"})
    monkeypatch.setenv(FLAG, "1")
    again = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=assets("two"))
    assert ledger.get_run(again.run_id).status is RunStatus.FAILED
    assert states(ledger) == [(f"{DAY}|b", "complete")]
    assert BatchStatus.of(ledger, "b", flow).counts == {"ok": 1}


@pytest.mark.parametrize("steps", [["four__one"], ["four__two"], ["four__two", "four__three"]])
def test_one_step_of_a_failed_run_is_not_all(steps, tmp_path, ledger, monkeypatch):
    """Re-executing some steps of a failed run does not turn the batch to ok."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        tags = {"dagster/partition": DAY, "flowctx/batch_id": "b"}
        first = dg.execute_job(dg.reconstructable(job), instance, run_config=QUIET, tags=tags)
        monkeypatch.delenv(FLAG)
        again = dg.ReexecutionOptions(first.run_id, step_selection=steps)
        second = dg.execute_job(
            dg.reconstructable(job), instance, run_config=QUIET, tags=tags, reexecution_options=again
        )
        assert (first.success, second.success) == (False, True)
    assert BatchStatus.of(ledger, "b", flow).complete is False
    assert CaptureState.COMPLETE not in {capture.state for capture in ledger.captures()}


def test_a_part_goes_on_here(bench, ledger):
    """Resuming a run of a part runs what is missing, and captures the whole."""
    first = bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=assets("one"))
    done = resume(first.run_id, flow, ledger=ledger)
    assert done.context.get_output("four", "one") == first.run_id
    assert states(ledger) == [(f"{DAY}|b", "complete")]


def test_a_batch_here_does_the_rest_of_parts(bench, ledger):
    """A batch that is launched here goes on with what runs of one asset each have done of it."""
    parts = [bench.run(DAY, tags={"flowctx/batch_id": "b"}, selection=assets(step)) for step in ("one", "two")]
    before = {step.step: step.started_at for part in parts for step in ledger.steps(ledger.get_run(part.run_id).key)}
    Backfill(flow, f"date={DAY}", "b", ledger=ledger).launch(LocalLauncher(ledger, 1))
    complete = ledger.get_run(ledger.captures(workflow="four")[0].run_id)
    after = {step.step: step.started_at for step in ledger.steps(complete.key)}
    assert (states(ledger), set(after)) == ([(f"{DAY}|b", "complete")], set(flow.steps))
    assert {step: after[step] for step in ("one", "two")} == before
    assert BatchStatus.of(ledger, "b", flow).counts == {"ok": 1}


def test_a_check_alone_captures_nothing(bench, ledger):
    """A run of a check leaves the batch as it is."""
    done = run(flow, partition=DAY, batch_id="b")
    tags = {"flowctx/batch_id": "b", "flowctx/partition": DAY}
    bench.run(tags=tags, selection=dg.AssetSelection.checks_for_assets(*assets("one")))
    assert [(c.run_id, c.state) for c in ledger.captures()] == [(done.run_id, CaptureState.COMPLETE)]


def test_the_rest_of_a_failed_range_is_over(tmp_path, ledger):
    """A partition whose step was fine in a range that failed does not stay running, and its capture is free."""
    ranged = Workflow("ranged", partitions=DAYS)

    @ranged.step()
    def check(ctx):
        return StepResult.fail("bad", category="DATA_QUALITY") if ctx.as_of_date.day == 25 else {}

    ranged.step("load")(lambda ctx: None)
    bench = Bench(ranged, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    bench.run(span=("2012-10-25", "2012-10-26"), tags={"flowctx/batch_id": "b"})
    found = {str(run.context.partition): run for run in ledger.list_runs(batch_id="b")}
    assert {key: str(run.status) for key, run in found.items()} == {
        "date=2012-10-25": "failed",
        "date=2012-10-26": "partial",
    }
    assert "failed for other partitions of the range: date=2012-10-25" in found["date=2012-10-26"].error
    assert {capture.state for capture in ledger.captures()} == {CaptureState.RELEASED}


def test_a_skipped_partition_of_a_range_is_not_materialised(tmp_path, ledger):
    """What was skipped in a range has no materialisation, nor have the steps after it; the others have theirs once."""
    ranged = Workflow("holes", partitions=DAYS)

    @ranged.step()
    def fetch(ctx):
        return StepResult.skip("a holiday") if ctx.as_of_date.day == 25 else {"day": ctx.as_of_date.day}

    ranged.step("load")(lambda ctx: {"day": ctx.get_output("fetch", "day")})
    bench = Bench(ranged, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    done = bench.run(span=("2012-10-24", "2012-10-26"), tags={"flowctx/batch_id": "b"})
    events = bench.events(done, dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert sorted((event.asset_key.path[-1], event.partition) for event in events) == [
        ("fetch", "2012-10-24"),
        ("fetch", "2012-10-26"),
        ("load", "2012-10-24"),
        ("load", "2012-10-26"),
    ]
    status = BatchStatus.of(ledger, "b", ranged)
    assert (status.counts, status.skips) == ({"ok": 2, "skipped": 1}, {"a holiday": 1})


def test_a_run_that_dagster_calls_over_holds_nothing(bench, ledger):
    """A capture held by a run that died, long before its lease ends, is taken over at once; that run has failed."""
    other = Workflow("other", partitions=DAYS)
    other.step("only")(lambda ctx: None)
    over = Bench(other, Path(bench.outputs.base_path), instance=bench.instance).run(DAY)
    day = PartitionKey(date=DAY)
    ids = {"run_id": over.run_id, "partition": day, "batch_id": "b", "scheme": DAYS}
    ctx = begin("four", metadata={"engine": {"name": "dagster"}}, **ids)
    ledger.begin(RunRecord(workflow="four", context=ctx, steps=tuple(flow.steps)), lease=timedelta(hours=6))
    done = bench.run(DAY, tags={"flowctx/batch_id": "b"})
    assert (done.success, ledger.get_run(done.run_id).status) == (True, RunStatus.OK)
    died = ledger.get_run(over.run_id, workflow="four")
    assert died.status is not RunStatus.RUNNING
    assert "its engine says that it is over" in died.error
