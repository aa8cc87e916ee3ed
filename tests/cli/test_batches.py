"""``flowctx batches`` and ``status``: batches stand as their own runs do, in every state that there is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backfill.flows import flow as filled
from flowctx import Backfill, PartitionScheme, Workflow, run
from flowctx.backfill import LaunchProgress, LocalLauncher
from flowctx.backfill.superseding import MOST, superseded_text
from flowctx.cli.following import listener, show_tally
from flowctx.core.batches.records import BatchRecord, BatchWorkflow, PartitionRun, PartitionState
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.errors import EngineError
from flowctx.ledger import open_ledger
from flowctx.testing import make_context

extra = Workflow("extra", partitions=PartitionScheme(tier=["T1", "T2", "T3"]), extra_params=True)
extra.step(name="load")(lambda ctx: {})
NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_each_batch_is_counted_for_itself(shell, number):
    """They are counted on two connections, and each has its own numbers all the same."""
    ledger = open_ledger(os.environ["FLOWCTX_LEDGER_URL"])
    for batch in range(1, number + 1):
        for each in range(batch):
            ctx = make_context(workflow="w", run_id=f"r{batch}-{each}", partition={"n": each}, batch_id=f"b{batch}")
            ledger.finish(ledger.begin(RunRecord(workflow="w", context=ctx, steps=("a",))), RunStatus.OK)
    ledger.close()
    counted = {one["batch_id"]: one["counts"] for one in shell("batches", "--json")}
    assert counted == {f"b{batch}": {"ok": batch} for batch in range(1, number + 1)}


@pytest.mark.parametrize("canceled", [False, True])
def test_status_shows_every_state_there_is(shell, canceled):
    """Counts add up in the text as they do in JSON, whether the whole batch was canceled or not."""
    states = list(PartitionState)
    scheme = PartitionScheme(tier=[str(state) for state in states] + ["none"])
    flow = Workflow("every", partitions=scheme)
    flow.step("load")(lambda ctx: None)
    ledger = open_ledger(os.environ["FLOWCTX_LEDGER_URL"])
    batch = Backfill(flow, scheme.select(), "b", ledger=ledger).record()
    ledger.batches.put(replace(batch, import_path="flows:every", canceled_at=NOW if canceled else None))
    ledger.batches.record_outcomes(
        "b",
        [
            PartitionRun(partition=f"tier={state}", state=state, run_id=state, engine="local", last_seen_at=NOW)
            for state in states
        ],
    )
    ledger.close()
    text = shell("status", "b")
    for state in [*map(str, states), "missing"]:
        assert re.search(rf"^{state} +1 \(10\.0%\)$", text, re.MULTILINE), text
    assert ("canceled at" in text) == canceled
    assert "1 canceled, 1 partial: to go on: flowctx backfill flows:every --batch b\n" in text
    assert shell("status", "b", "--json")["counts"] == dict.fromkeys([*map(str, states), "missing"], 1)


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ({PartitionState.OK: 2, PartitionState.CANCELED: 1}, "1 canceled: the same command goes on with them"),
        ({PartitionState.OK: 2}, "\nthe same command goes on\n"),
        ({PartitionState.OK: 2, PartitionState.SKIPPED: 1}, "batch"),
    ],
)
def test_a_launch_says_that_the_same_command_goes_on(ended, words, capsys):
    """Where nothing failed, and partitions were canceled in an engine's page or have not ended."""
    progress = LaunchProgress(total=3, ended=ended)
    show_tally(progress, "b", as_json=False)
    printed = capsys.readouterr().out
    assert words in printed
    assert progress.complete != ("the same command" in printed)


def test_a_launch_says_apart_what_is_under_way_and_what_has_not_begun(capsys):
    """The numbers add up to the partitions there are."""
    progress = LaunchProgress(total=20, ended={PartitionState.OK: 6}, under_way=6, stopped="canceled")
    show_tally(progress, "b", as_json=False)
    text = capsys.readouterr().out
    for line in ("now +6 ok", "under way +6, when this ended", "left +8"):
        assert re.search(rf"^{line}$", text, re.MULTILINE), text
    show_tally(progress, "b", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ended"], printed["under_way"], printed["left"]) == ({"ok": 6}, 6, 8)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"under_way": 2, "stopped": "interrupted"}, "nothing ended"),
        ({"stopped": "interrupted"}, "nothing ended"),
        ({"before": {PartitionState.OK: 20}}, "nothing was left to run"),
        ({"before": {PartitionState.FAILED: 1, PartitionState.WAITING: 19}}, "nothing was left to run"),
    ],
)
def test_a_launch_in_which_nothing_ended_says_whether_anything_is_left(how, words, capsys):
    """One that was stopped as it began has left everything."""
    show_tally(LaunchProgress(total=20, **how), "b", as_json=False)
    assert re.search(rf"^now +{words}$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (["failed"], "1, for what failed"),
        (["running"], "1, for what is under way elsewhere"),
        (["failed", "running"], "1, for what failed or is under way elsewhere"),
        (["canceled"], "1, for what has not ended well"),
    ],
)
def test_a_launch_says_what_waiting_partitions_wait_for(others, words, capsys):
    """Nothing is said to have failed that runs on another engine, or was canceled."""
    progress = LaunchProgress(total=len(others) + 1)
    for number, state in enumerate([*others, "waiting"]):
        run = {"partition": f"n={number}", "run_id": "r", "engine": "dagster", "last_seen_at": NOW}
        progress.pass_over(PartitionRun(state=PartitionState(state), **run))
    show_tally(progress, "b", as_json=False)
    assert re.search(rf"^waiting +{words}$", capsys.readouterr().out, re.MULTILINE)


def test_what_could_not_go_on_is_told_apart_from_what_failed(capsys):
    """Its failure in the ledger is the one before: the command that status names would be refused again."""
    shown = listener("b")
    changed = PartitionRun(
        partition="tier=T1",
        state=PartitionState.FAILED,
        run_id="r",
        engine="local",
        last_seen_at=NOW,
        error="WorkflowChanged: workflow 'w' has changed since",
    )
    progress = LaunchProgress(total=2, ended={PartitionState.FAILED: 2})
    shown.news(changed, progress)
    show_tally(progress, "b", as_json=False, refused=shown.refused)
    hints = capsys.readouterr().out
    assert "1 partition could not go on, since the workflow has changed: flowctx status b tells what has" in hints
    assert "see why: flowctx status b" in hints
    shown.news(changed, progress)
    show_tally(progress, "b", as_json=False, refused=shown.refused)
    assert "see why" not in capsys.readouterr().out


def test_status_tells_what_could_not_go_on_and_how_it_does(shell):
    """Its own failure is the one before: what is advised of that would be refused again."""
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        begun = ledger.begin(
            RunRecord(workflow="w", context=make_context(run_id="r", partition={"t": "1"}, batch_id="b"))
        )
        ledger.finish(begun, RunStatus.FAILED, "step 'a': no file")
        later = ledger.now() + timedelta(minutes=1)
        how = {"state": PartitionState.FAILED, "run_id": "r", "engine": "local", "attempt": 0, "last_seen_at": later}
        changed = PartitionRun(partition="t=1", error="WorkflowChanged: since run r ran", **how)
        ledger.batches.record_outcomes("b", [changed])
    shown = shell("status", "b")
    assert re.search(r"^could not go on\npartitions  why\n1           WorkflowChanged: since run RUN ran$", shown, re.M)
    assert shown.splitlines()[-1] == (
        "1 workflow changed: flowctx resume RUN --from-step STEP (the first that has changed); "
        "or flowctx resume RUN --accept-changes keeps what they have"
    )


@pytest.mark.parametrize(
    ("engine", "how"),
    [("airflow", "clear these runs in Airflow"), ("dagster", "re-execute all of these runs in Dagster")],
)
def test_what_a_batch_that_nobody_planned_has_lost_runs_again_on_its_engine(shell, engine, how):
    """The ledger has no run to resume of what the engine alone knows."""
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(BatchRecord(batch_id="b", workflow="w", engine=engine, created_at=NOW))
        lost = {"state": PartitionState.PARTIAL, "engine": engine, "last_seen_at": NOW, "error": "nothing of it"}
        ledger.batches.record_outcomes("b", [PartitionRun(partition="t=1", run_id="r1", **lost)])
        assert shell("status", "b").splitlines()[-1] == f"1 partial: to go on: 1 of which the ledger has nothing: {how}"
        where = {"metadata": {"engine": {"name": engine}}}
        part = make_context(workflow="w", run_id="r2", partition={"t": "2"}, batch_id="b", **where)
        ledger.finish(ledger.begin(RunRecord(workflow="w", context=part, steps=("a",))), RunStatus.PARTIAL)
    assert shell("status", "b").splitlines()[-1] == (
        f"2 partial: to go on: flowctx resume RUN --on {engine} (which: flowctx runs --batch b --status partial); "
        f"1 of which the ledger has nothing: {how}"
    )


def test_status_tells_what_was_made_with_other_parameters(shell):
    """A batch has those of its last launch; what was done before keeps its own, and runs that failed are not made."""
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        others = {"pause": 0.0, "number": 7, "desk": "Köln", "note_token": "hunter2"}
        for tiers, params in (("T1|T2", {"pause": 0.0}), ("T3", others)):
            plan = Backfill(extra, f"tier={tiers}", "b", params=params, ledger=ledger)
            ledger.batches.put(plan.reconcile(extend=True))
            for tier in tiers.split("|"):
                run(extra, partition=tier, batch_id="b", params=params, ledger=ledger)
    shown = shell("status", "b")
    assert '"number": 7, "desk": "Köln"' in shown
    assert re.search(r"^params +\{.*\}; 2 partitions were made with others$", shown, re.MULTILINE)
    assert shell("status", "b", "--json")["other_params"] == 2


def test_whoever_looks_at_or_launches_a_batch_hears_what_is_not_current(shell, caplog):
    """Another batch has captured a partition since: the older one keeps its revision, and the newer one is read."""
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        for batch in ("older", "newer"):
            run(filled, partition="2012-01-02|T1", batch_id=batch, ledger=ledger)
        Backfill(filled, "date=2012-01-02,tier=T1", "older", ledger=ledger).launch(LocalLauncher(ledger))
    line = "1 partition was captured by others since: what this batch has or makes of it is not current"
    assert line in caplog.text
    assert f"\n{line}; see: flowctx captures filled\n" in shell("status", "older")
    caplog.clear()
    shell("backfill", "backfill.flows:flow", "--batch", "older", "--dry-run")
    assert line in caplog.text
    assert [shell("status", name, "--json")["superseded"] for name in ("older", "newer")] == [{"filled": 1}, {}]


def test_of_more_partitions_than_are_looked_at_it_is_so_many_at_least():
    """The line claims no more than was seen."""
    assert str(superseded_text({"nav": 9000}, MOST + 1)).startswith("at least 9,000 partitions were captured")
    assert str(superseded_text({"nav": 9000}, MOST)).startswith("9,000 partitions were captured")


def test_what_more_fails_is_shown_by_a_command(capsys):
    """Of many failures, the first ones are shown, and then what to type, with the batch."""
    shown = listener("the batch")
    failed = PartitionRun(
        partition="tier=T1", state=PartitionState.FAILED, run_id="r", engine="local", last_seen_at=NOW, error="no"
    )
    for _ in range(30):
        shown.news(failed, LaunchProgress(total=30))
    *_, last = lines = capsys.readouterr().err.splitlines()
    assert (len(lines), last) == (21, "more failures are not shown here; see: flowctx status 'the batch'")


def test_a_log_has_a_line_only_where_something_has_changed(capsys, monkeypatch):
    """However often a launch looks; the last line comes in any case."""
    monkeypatch.setattr("flowctx.cli.following._EVERY_SECONDS", 0)
    lines, progress = listener("b"), LaunchProgress(total=3)
    for _ in range(3):
        lines.tick(progress)
    progress.ended[PartitionState.OK] = 1
    for _ in range(3):
        lines.tick(progress)
    lines.over(progress)
    printed = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in printed] == ["0/3", "1/3", "1/3"]


def test_a_batch_of_an_engine_is_canceled_with_the_workflow_that_is_typed(shell, monkeypatch):
    """A file is not run on the word of the ledger: an option says which. The backfill of the engine goes on."""
    asked: list[str] = []
    monkeypatch.setattr("flowctx.cli.standing._adopt", lambda ledger, batch, *args: asked.append(batch.workflow))
    ledger = open_ledger(os.environ["FLOWCTX_LEDGER_URL"])
    batch = BatchRecord(
        batch_id="b", workflow="prices", import_path="dags/a.py:prices", engine="dagster", created_at=NOW
    )
    for one in (batch, replace(batch, batch_id="c", selection="symbol=IBM")):
        ledger.batches.put(one)
    ledger.close()
    untyped = shell("cancel", "b")
    assert re.search(r"dagster was not asked anew: .*\(--workflow file.py:name\)", untyped)
    assert asked == []
    shell.file.with_name("other.py").write_text("from flowctx import Workflow\nw = Workflow('w')\nw.step('s')(print)\n")
    assert "not for w" in shell("cancel", "c", "--workflow", "other.py:w", exit_code=2)
    assert shell("status", "c", "--json")["canceled_at"] is None
    typed = shell("cancel", "b", "--workflow", "cli_flows.py:prices")
    assert "if it is a backfill that dagster began, that goes on: cancel it there, too\n" in typed
    assert asked == ["prices"]


def test_status_lists_as_many_failures_as_it_advises(shell):
    """A thousand are read unless more are asked for, and what is said of them says so; without a partition, too."""
    run_of = {"state": PartitionState.FAILED, "run_id": "r", "engine": "local", "last_seen_at": NOW, "workflow": "w"}
    many = [PartitionRun(partition=f"n={n}", **run_of) for n in range(1001)]
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(BatchRecord(batch_id="b", workflow="w", selection="n=..", total=1001, created_at=NOW))
        ledger.batches.record_outcomes("b", many)
        ledger.batches.put(BatchRecord(batch_id="c", workflow="w", created_at=NOW))
        ledger.batches.record_outcomes("c", [many[0], PartitionRun(partition="", occasion="", **run_of)])
    assert re.search(
        r"\nof the first 1,000:\n1,000: no step failed.*\n1,000 more: --failures 1001",
        shell("status", "b", "--failures", "1"),
    )
    listed = shell("status", "b", "--failures", "1001")
    assert (listed.count("n=") > 1001, "\n1,001: no step failed" in listed, "more:" in listed) == (True, True, False)
    assert "\n1 more: --failures 2\n" in shell("status", "c", "--failures", "1")


def test_a_cancel_that_an_engine_refuses_says_what_is_done(shell, monkeypatch):
    """The ledger has it as canceled by then; runs of the engine go on."""

    def refuse(*args: object) -> None:
        raise EngineError("no DAG 'prices'")

    monkeypatch.setattr("flowctx.cli.standing._adopt", refuse)
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(BatchRecord(batch_id="b", workflow="prices", selection="symbol=IBM", created_at=NOW))
    printed = shell("cancel", "b", "--on", "airflow", "--workflow", "cli_flows.py:prices", exit_code=1)
    assert "batch b is canceled; what runs of it on airflow may go on: say it again\nError: no DAG 'prices'" in printed
    assert shell("status", "b", "--json")["canceled_at"] is not None


def test_a_cancel_says_what_is_done_where_runs_cannot_be_stopped(shell):
    """The usual call, of a batch with runs under way on an engine that cannot be reached."""
    batch = BatchRecord(
        batch_id="b",
        workflow="prices",
        selection="symbol=IBM",
        engine="dagster",
        import_path="cli_flows:prices",
        created_at=NOW,
    )
    run = PartitionRun(
        partition="symbol=IBM", state=PartitionState.RUNNING, run_id="r", engine="dagster", attempt=1, last_seen_at=NOW
    )
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(batch)
        ledger.batches.record_outcomes("b", [replace(run, workflow="prices")])
    printed = shell("cancel", "b", "--url", "http://127.0.0.1:1", exit_code=1)
    warning = (
        "batch b is canceled; what runs of it on dagster may go on: say it again\nError: Dagster at http://127.0.0.1:1"
    )
    assert warning in printed
    assert printed.count("Dagster at http://127.0.0.1:1") == 1


class Refusing:
    """Stops the first run that it is asked to stop, and refuses the next; Dagster stops all."""

    def __init__(self, engine: str, *others: object) -> None:
        self.engine = engine

    def cancel(self, batch: BatchRecord, runs: list[PartitionRun]) -> Iterator[PartitionRun]:
        for count, under_way in enumerate(runs):
            if count and self.engine == "airflow":
                raise EngineError(f"no PATCH of {batch.workflow}")
            yield replace(under_way, state=PartitionState.CANCELED, ended_at=NOW)


def test_a_cancel_stops_and_notes_all_that_no_engine_refuses(shell, monkeypatch):
    """What was stopped before a refusal counts, and what the next workflow or engine has is stopped too."""
    monkeypatch.setattr("flowctx.backfill.call.launcher_on", Refusing)
    desk = BatchWorkflow(
        workflow="desk", import_path=None, selection="n=1", digest="d", total=1, params={}, params_from=None
    )
    batch = BatchRecord(batch_id="b", workflow="nav", selection="n=1", engine="dagster", created_at=NOW, others=(desk,))
    run = PartitionRun(partition="n=1", state=PartitionState.RUNNING, run_id="r", engine="dagster", last_seen_at=NOW)
    some = [(workflow, engine, n) for workflow in ("nav", "desk") for engine in ("airflow", "dagster") for n in (1, 2)]
    runs = [replace(run, workflow=w, engine=e, partition=f"n={e}{n}", run_id=f"{w}{e}{n}") for w, e, n in some]
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        ledger.batches.put(batch)
        ledger.batches.record_outcomes("b", runs)
        said = "batch b is canceled; stopped 6 runs; what runs of it on airflow may go on: say it again\n"
        assert shell("cancel", "b", exit_code=1) == f"{said}Error: no PATCH of nav\nError: no PATCH of desk\n"
        found = [one for name in ("nav", "desk") for one in ledger.batches.iter_outcomes("b", workflow=name)]
        assert [one.run_id for one in found if not one.state.ended] == ["navairflow2", "deskairflow2"]


def test_a_cancel_that_is_refused_cancels_nothing(shell):
    """The URL of an engine is of no use to a batch that ran here, whatever else is typed."""
    with closing(open_ledger(os.environ["FLOWCTX_LEDGER_URL"])) as ledger:
        batch = BatchRecord(batch_id="b", workflow="prices", selection="symbol=IBM", engine="local", created_at=NOW)
        ledger.batches.put(batch)
    for more in ((), ("--workflow", "cli_flows.py:prices"), ("--on", "local")):
        refused = shell("cancel", "b", "--url", "http://airflow:8080", *more, exit_code=2)
        assert "--url is where another engine is, and batches here need none" in refused
    assert shell("status", "b", "--json")["canceled_at"] is None
