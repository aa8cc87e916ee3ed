"""Retrying partitions after the world has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowctx import Backfill, BatchError, PartitionScheme, StepResult, Workflow, WorkflowError, resume
from flowctx.backfill.advice import advice
from flowctx.backfill.again import RunsAgain
from flowctx.backfill.worker import _Runs
from flowctx.core.batches.partition_params import PARAMS_AGAIN
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.ledger.memory import MemoryLedger
from flowctx.local import plan_new_run, run_begun
from flowctx.testing.clock import NOON
from flowctx.versions.mending import ParamsAgain


class World:
    """What the steps read, and which of them were called."""

    def __init__(self) -> None:
        self.file: int | None = -1
        self.calls: list[str] = []

    def workflow(self, *, refresh: bool = False) -> Workflow:
        flow = Workflow("retried", partitions=PartitionScheme(tier=["T1"]))

        @flow.step(refresh=refresh)
        def read(ctx: Any) -> StepResult:
            self.calls.append("read")
            return StepResult.skip("no file yet") if self.file is None else StepResult.ok({"n": self.file})

        @flow.step()
        def check(ctx: Any) -> StepResult:
            self.calls.append("check")
            n = ctx.get_output("read", "n")
            return StepResult.fail("negative", category="DATA_QUALITY") if n < 0 else StepResult.ok({"n": n})

        return flow

    def outcome(self, flow: Workflow, ledger: MemoryLedger, **task: Any) -> Any:
        """Run or retry the partition as a worker of a batch does."""
        runs = _Runs(resume, plan_new_run, run_begun, [flow], ledger, "b")
        return runs.outcome({"partition": "tier=T1", "run_id": "r", "known": True, **task})["state"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


def test_from_step_reads_a_corrected_file(world: World, ledger: MemoryLedger) -> None:
    """A retry repeats what failed; from the step that reads, it sees the corrected file."""
    flow = world.workflow()
    assert world.outcome(flow, ledger) == "failed"
    world.file = 5
    assert world.outcome(flow, ledger) == "failed"
    assert world.calls == ["read", "check", "check"]
    assert world.outcome(flow, ledger, from_step="read") == "ok"
    assert world.calls == ["read", "check", "check", "read", "check"]


def test_a_step_may_always_run_again(world: World, ledger: MemoryLedger) -> None:
    """A step that says refresh=True is read anew by every retry, and not by a run that is complete."""
    flow = world.workflow(refresh=True)
    assert world.outcome(flow, ledger) == "failed"
    world.file = 5
    assert world.outcome(flow, ledger) == "ok"
    assert world.outcome(flow, ledger) == "ok"
    assert world.calls == ["read", "check", "read", "check"]


def test_a_late_file_mends_a_skip(world: World, ledger: MemoryLedger) -> None:
    """What was skipped runs again when that is asked for."""
    flow = world.workflow()
    world.file = None
    assert world.outcome(flow, ledger) == "skipped"
    world.file = 5
    assert world.outcome(flow, ledger) == "ok"
    assert world.calls == ["read", "read", "check"]


def test_skips_run_again_on_request_only(world: World, ledger: MemoryLedger) -> None:
    """A launch leaves what was skipped, unless it is to retry that; the job knows from which step on."""
    skipped = PartitionRun(
        partition="tier=T1", state=PartitionState.SKIPPED, run_id="r", engine="local", last_seen_at=NOON
    )
    ledger.batches.record_outcomes("b", [skipped])
    backfill = Backfill(world.workflow(), None, "b", ledger=ledger)
    assert list(backfill.iter_work("local", RunsAgain(retry_failed=True))) == [skipped]
    (job,) = backfill.iter_work("local", RunsAgain(retry_skipped=True, from_step="check"))
    assert isinstance(job, Job)
    assert (job.before, job.from_step) == (skipped, "check")
    assert backfill.plan(retry_skipped=True).would_run == 1


def test_a_step_that_is_not_there_is_refused(world: World, ledger: MemoryLedger) -> None:
    """Nothing is launched from a step that the workflow has not."""
    with pytest.raises((WorkflowError, KeyError), match="reed"):
        Backfill(world.workflow(), None, "b", ledger=ledger).launch(_Nothing(), from_step="reed")  # type: ignore[arg-type]


def test_new_parameters_win_in_a_retry(ledger: MemoryLedger) -> None:
    """A retry has the parameters of the batch as they are now; what a step wrote over an equal one stands."""
    flow = Workflow("gated", partitions=PartitionScheme(tier=["T1"]), params={"most": 1, "mode": "a"})

    @flow.step()
    def read(ctx: Any) -> StepResult:
        return StepResult.ok({"n": 5}, context_updates={"mode": "b"})

    @flow.step()
    def check(ctx: Any) -> StepResult:
        if ctx.get_output("read", "n") > ctx.params["most"]:
            return StepResult.fail("too many", category="DATA_QUALITY")
        return StepResult.ok({"mode": ctx.params["mode"]})

    runs = _Runs(resume, plan_new_run, run_begun, [flow], ledger, "b")
    task = {"partition": "tier=T1", "run_id": "r", "params": {"most": 2, "mode": "a"}}
    assert runs.outcome({**task, "known": False})["state"] == "failed"
    assert runs.outcome({**task, "known": True, "params": {"most": 9, "mode": "a"}})["state"] == "ok"
    assert ledger.steps(ledger.get_run("r").key)[1].output == {"mode": "b"}


def test_a_batch_is_not_added_to_without_its_parameters(world: World, ledger: MemoryLedger) -> None:
    """Parameters that are left out would silently be the defaults again."""
    flow = Workflow("named", partitions=PartitionScheme(tier=["T1", "T2"]), params={"most": 1})
    flow.step("only")(lambda ctx: None)
    before = Backfill(flow, "tier=T1", "b", params={"most": 2}, ledger=ledger)
    ledger.batches.put(before.record())
    with pytest.raises(BatchError, match="has the parameters {'most': 2}, of which this says nothing; name them too"):
        Backfill(flow, "tier=T2", "b", ledger=ledger).plan(extend=True)
    assert Backfill(flow, "tier=T2", "b", params={"most": 3}, ledger=ledger).plan(extend=True).total == 2


@pytest.mark.parametrize(("again", "option"), [(False, "--params-from "), (True, "--stale")])
def test_a_batch_is_not_added_to_without_the_function_of_its_parameters(
    ledger: MemoryLedger, again: bool, option: str
) -> None:
    """New partitions would have the defaults in silence; another function, or the same, is said."""
    flow = Workflow("made", partitions=PartitionScheme(tier=["T1", "T2"]), params={"most": 1})
    flow.step("only")(lambda ctx: None)

    def limits(key: Any) -> dict[str, Any]:
        return {"most": 2}

    made = ParamsAgain(flow, ledger, {}) if again else limits
    ledger.batches.put(Backfill(flow, "tier=T1", "b", params=made, ledger=ledger).record())
    for params in (None, {"most": 3}):
        with pytest.raises(BatchError, match=f"of which this says nothing; name that too \\({option}"):
            Backfill(flow, "tier=T2", "b", params=params, ledger=ledger).plan(extend=True)
    assert Backfill(flow, "tier=T2", "b", params=made, ledger=ledger).plan(extend=True).total == 2


PLANNED = BatchRecord(batch_id="b", workflow="w", import_path="flows:w", selection="p=1", created_at=NOON)


class _Nothing:
    engine, writes_ledger = "local", True

    def check(self, workflow: Workflow) -> None:
        """Take any."""


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("DATA_QUALITY", "--from-step"),
        ("TIMEOUT", "it may pass"),
        ("CONFIGURATION", "-p NAME=VALUE"),
        (None, "--traceback"),
    ],
)
def test_advice_fits_the_category(category: str | None, words: str) -> None:
    """What to do about a failure depends on what kind it is."""
    failed = PartitionRun(
        partition="p",
        state=PartitionState.FAILED,
        run_id="r",
        engine="airflow",
        last_seen_at=NOON,
        category=category,
        step="load",
    )
    batch = replace(PLANNED, batch_id="a batch", engine="airflow")
    (line,) = advice([replace(failed, recorded=True)], batch)
    assert "flowctx backfill flows:w --batch 'a batch' --on airflow --retry-failed" in line
    assert words in line
    assert "flowctx show" not in advice([failed], batch)[0]


def test_no_code_is_wrong_where_nothing_says_so() -> None:
    """What was started before it was due runs when it is; of a failure without a category only its error tells."""
    ids = {"run_id": "r", "engine": "dagster", "last_seen_at": NOON, "step": "load"}
    failed = PartitionRun(partition="p=1", state=PartitionState.FAILED, error="KeyError: 'x'", **ids)
    early = replace(failed, category="CONFIGURATION", error="NotDue: p=1 is not due until 2026-11-30T17:30")
    lines = advice([failed, early], replace(PLANNED, selection=None))
    again = "re-execute these runs from their failure in Dagster"
    assert lines == [
        f"1 not due: once they are due: {again}",
        f"1 without category: once what their errors say is corrected: {again}",
    ]


def test_a_source_of_what_was_stale_goes_on_by_itself() -> None:
    """It does not get the parameters of the workflow that is mended."""
    ids = {"run_id": "r", "engine": "local", "last_seen_at": NOON, "category": "CONFIGURATION", "step": "load"}
    failed = PartitionRun(partition="p=1", state=PartitionState.FAILED, recorded=True, workflow="source", **ids)
    mend = replace(PLANNED, params_from=ParamsAgain.name)
    assert advice([failed], mend) == ["1 CONFIGURATION: with other parameters: flowctx resume RUN -p NAME=VALUE"]
    (line,) = advice([replace(failed, workflow="w")], mend)
    assert "flowctx backfill flows:w --stale --batch b --retry-failed --extend -p NAME=VALUE" in line


def test_advice_asks_for_parameters_that_are_not_kept() -> None:
    """Where one of a batch is hidden, all have to be typed again; else they are those of the batch."""
    ids = {"run_id": "r", "engine": "local", "last_seen_at": NOON}
    failed = PartitionRun(partition="p=1", state=PartitionState.FAILED, recorded=True, **ids)
    (line,) = advice([failed], replace(PLANNED, params={"api_token": "***", "limit": 3}))
    assert "--batch b -p api_token=VALUE -p limit=VALUE --retry-failed" in line
    (line,) = advice([failed], replace(PLANNED, params={"limit": 3}))
    assert " -p " not in line
    (line,) = advice([replace(failed, category="CONFIGURATION")], replace(PLANNED, params={"limit": 3, "rate": 1}))
    assert line.endswith("--batch b --retry-failed --extend -p limit=VALUE -p rate=VALUE")


@pytest.mark.parametrize("engine", ["local", "airflow", "dagster"])
def test_what_died_is_run_again(engine: str) -> None:
    """Where no step failed, nothing is wrong with the code, and no source or parameter helps."""
    died = PartitionRun(
        partition="p", state=PartitionState.FAILED, run_id="r", engine=engine, last_seen_at=NOON, recorded=True
    )
    (line,) = advice([died], replace(PLANNED, engine=engine))
    assert line.startswith("1: no step failed, so look at its machine or at why it could not begin, and run it again: ")
    assert "--retry-failed" in line
    assert "code" not in line


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"params_from": "flows:limits@1a2b"}, "flowctx backfill flows:w --params-from flows:limits --batch b"),
        ({"params_from": "flows:<lambda>@1a2b"}, "flowctx backfill flows:w --params-from MODULE:FUNCTION --batch b"),
        ({"params_from": f"{PARAMS_AGAIN}@1a2b"}, "flowctx backfill flows:w --stale --batch b"),
        ({"engine": "dagster"}, "--batch b --on dagster --retry-failed (and --bulk, if it ran so)"),
    ],
)
def test_advice_says_what_has_to_be_typed_again(fields: dict[str, str], command: str) -> None:
    """A function that makes parameters is not run because a ledger names it, so that the command names it."""
    failed = PartitionRun(partition="p", state=PartitionState.FAILED, run_id="r", engine="local", last_seen_at=NOON)
    (line,) = advice([failed], replace(PLANNED, **fields))  # type: ignore[arg-type]
    assert command in line


@pytest.mark.parametrize(
    ("engine", "category", "words"),
    [
        ("airflow", "TIMEOUT", "it may pass: clear the steps that are not complete, and what follows them"),
        ("airflow", "CONFIGURATION", '{"resume_from": "RUN", "NAME": VALUE} in their conf'),
        ("dagster", "INTERNAL", "re-execute these runs from their failure in Dagster (see where: flowctx show RUN"),
        ("local", "CONFIGURATION", "flowctx resume RUN -p NAME=VALUE"),
    ],
)
def test_advice_for_what_nobody_planned_launches_nothing(engine: str, category: str, words: str) -> None:
    """A batch that an engine started has no selection: a launch would be one of all partitions, or is refused."""
    failed = PartitionRun(
        partition="p", state=PartitionState.FAILED, run_id="r", engine=engine, last_seen_at=NOON, category=category
    )
    (line,) = advice([replace(failed, recorded=True)], replace(PLANNED, selection=None, engine=engine))
    assert words in line
    assert "flowctx backfill" not in line
