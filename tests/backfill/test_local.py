"""Batches in processes of this machine."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from backfill.flows import flow, numbered
from flowctx import Backfill, BatchError, BatchStatus, ContextError, LedgerUnavailable, Workflow
from flowctx.backfill import LaunchListener, LaunchProgress, LocalLauncher
from flowctx.backfill.leading import LEASE, LeadLaunch
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import open_ledger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock

SOME = "date=2012-01-02..2012-01-06"  # 15 partitions
BAD = "date=2012-01-03|tier=T2"


def fill(ledger: Ledger, selection: str = SOME, workers: int = 1, **how: Any) -> LaunchProgress:
    params = how.pop("params", {})
    return Backfill(flow, selection, "b", params=params, ledger=ledger).launch(LocalLauncher(ledger, workers), **how)


def called(notes: Path) -> Counter[str]:
    return Counter(notes.read_text().splitlines()) if notes.exists() else Counter()


def states(ledger: Ledger) -> Counter[str]:
    return Counter(str(run.state) for run in ledger.batches.iter_outcomes("b"))


def failures(ledger: Ledger) -> dict[str, str | None]:
    failed = PartitionState.FAILED
    return {run.partition: run.error for run in ledger.batches.iter_outcomes("b") if run.state is failed}


def test_a_ledger_may_be_given_by_its_url(tmp_path: Path) -> None:
    """The launcher and the status of a batch take the URL that everything else takes; a path is no URL."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    batch = Backfill(flow, "date=2012-01-02", "b", ledger=url)
    assert batch.launch(LocalLauncher(url, 1)).complete
    assert BatchStatus.of(url, "b", flow).counts == {"ok": 3}
    words = r"is no ledger; pass its URL, such as 'sqlite:///ledger.db'"
    with pytest.raises(ContextError, match=words):
        Backfill(flow, None, "b", ledger=tmp_path / "ledger.db")  # type: ignore[arg-type]
    with pytest.raises(ContextError, match=words):
        BatchStatus.of(tmp_path / "ledger.db", "b")  # type: ignore[arg-type]
    with pytest.raises(BatchError, match="workers='2' runs nothing; use 1 or more"):
        LocalLauncher(url, "2")  # type: ignore[arg-type]


def test_each_partition_runs_once(ledger: Ledger, notes: Path) -> None:
    """Every partition has one run and one capture, and launching again runs nothing."""
    params = {"notes": str(notes), "skip": [BAD]}
    first = fill(ledger, workers=2, params=params)
    assert first.complete
    assert first.ended == {PartitionState.OK: 14, PartitionState.SKIPPED: 1}
    again = fill(ledger, params=params)
    assert (again.ended, again.before) == ({}, first.ended)
    assert set(called(notes).values()) == {1}
    assert len(ledger.captures(workflow="filled")) == 15


def test_parameters_reach_each_run(ledger: Ledger) -> None:
    """The parameters that a function makes are those of the run."""
    fill(ledger, "date=2012-01-02", params=numbered)
    assert sorted(run.context.params["number"] for run in ledger.list_runs(batch_id="b")) == [1, 2, 3]


def test_a_failure_is_retried_from_its_step(ledger: Ledger, notes: Path) -> None:
    """A failed partition stays failed until its retry, which does not repeat the step before."""
    params = {"notes": str(notes), "fail": [BAD]}
    assert fill(ledger, params=params).failed == 1
    assert fill(ledger, params=params).ended == {}
    Path(f"{notes}.mended").touch()
    assert fill(ledger, params=params, retry_failed=True).ended == {PartitionState.OK: 1}
    assert set(called(notes).values()) == {1}
    assert len(ledger.list_runs(batch_id="b")) == 15


def test_failures_are_told_as_they_happen(ledger: Ledger) -> None:
    """Whoever follows hears of each failure with its partition, step and message."""
    heard: list[PartitionRun] = []

    class Listener(LaunchListener):
        def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
            heard.append(run)

    fill(ledger, params={"fail": [BAD]}, listener=Listener())
    failed = [(run.partition, run.step, run.error) for run in heard if run.state is PartitionState.FAILED]
    assert failed == [(BAD, "check", "12 rows are missing")]
    assert len(heard) == 15


def test_a_launch_lease_that_cannot_be_renewed_is_one_warning(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The launch goes on, and the next sign of life is given."""
    still: list[bool] = []

    def away(*args: object) -> str:
        raise LedgerUnavailable("the ledger is busy")

    def follow(launch: LeadLaunch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(launch.batches, "acquire_launch_lease", away)
            still.append(launch.renew())
        still.append(launch.renew())

    monkeypatch.setattr(LeadLaunch, "_follow_from_engine", follow)
    fill(ledger)
    assert still == [True, True]
    [record] = caplog.records
    assert record.getMessage() == "batch b: its launch lease could not be renewed: the ledger is busy"
    assert record.exc_info is None


@pytest.mark.parametrize("workers", [1, 2])
def test_where_a_step_failed_is_known(ledger: Ledger, workers: int) -> None:
    """The traceback of a step is kept, with any number of worker processes."""
    fill(ledger, "date=2012-01-03", workers, params={"break": [BAD]})
    (failure,) = BatchStatus.of(ledger, "b").failures
    assert (failure.partition, failure.step, failure.error) == (BAD, "check", "LookupError: row 12")
    assert 'raise LookupError("row 12")' in (failure.traceback or "")


def test_too_many_failures_stop_the_batch(ledger: Ledger) -> None:
    """After so many failures no more partitions are begun."""
    keys = [str(key) for key in Backfill(flow, SOME, "b", ledger=ledger).selection]
    progress = fill(ledger, params={"fail": keys}, max_failures=2)
    assert progress.stopped == "2 partitions failed"
    assert progress.passed < 6


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_failures_that_stops_nothing_is_refused(ledger: Ledger, number: int) -> None:
    """It is not taken for no limit, and nothing is begun."""
    with pytest.raises(BatchError, match=f"max_failures={number} stops nothing; use 1 or more, or leave it out"):
        fill(ledger, max_failures=number)
    assert ledger.find_batch("b") is None


def test_what_is_done_is_not_left_where_a_launch_stops(ledger: Ledger) -> None:
    """Also what is later than the partition at which it has stopped."""
    keys = [str(key) for key in Backfill(flow, SOME, "b", ledger=ledger).selection]
    fill(ledger, params={"fail": keys[:9]})
    stopped = fill(ledger, params={"fail": keys[:9]}, retry_failed=True, max_failures=1)
    assert stopped.before == {PartitionState.OK: 6}
    assert stopped.left == 9 - stopped.failed


def test_a_worker_that_dies_takes_only_its_partition(ledger: Ledger) -> None:
    """A partition that kills its process is a failure that says so; the others run."""
    progress = fill(ledger, workers=2, params={"die": [BAD]})
    assert progress.ended == {PartitionState.OK: 14, PartitionState.FAILED: 1}
    words = "its worker process ended by signal SIGKILL; was the memory full?; step 'load' had not ended"
    assert failures(ledger) == {BAD: words}


def test_what_died_with_its_worker_can_be_retried(ledger: Ledger, notes: Path) -> None:
    """A retry goes on with the run that nobody could end."""
    params = {"notes": str(notes), "die": [BAD]}
    assert fill(ledger, params=params).failed == 1
    Path(f"{notes}.mended").touch()
    assert fill(ledger, params=params, retry_failed=True).ended == {PartitionState.OK: 1}
    assert len(ledger.list_runs(batch_id="b")) == 15
    assert BatchStatus.of(ledger, "b", flow).tolerated == {}


def test_a_step_that_exits_is_a_failure(ledger: Ledger) -> None:
    """A step that ends its process as if all were well is found out, and is not tried over and over."""
    assert fill(ledger, params={"leave": [BAD]}).ended == {PartitionState.OK: 14, PartitionState.FAILED: 1}
    assert failures(ledger) == {BAD: "a step has ended the process (sys.exit); return a StepResult instead"}


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        ("raise RuntimeError('no mount at\\n/data of postgresql://me:hunter2@db/x')", "'{module}' cannot be imported: "
         "RuntimeError: no mount at /data of postgresql://me:***@db/x (line 6 of {file}); the same command goes on"),
        ("os._exit(7)", "their processes end with exit code 7; the same command"),
        ("os.kill(os.getpid(), 9)", "their processes end by signal SIGKILL; was the memory full?; the same command"),
        ("raise SystemExit", "'{module}' cannot be imported: "),
        ("from flowctx import Backfill; Backfill(w, None, 'b', ledger='memory://').launch(None)",
         "'{module}' begins a batch when it is imported, and each worker process imports it; put what begins batches "
         'under if __name__ == "__main__"; the same command goes on'),
    ],
)  # fmt: skip
def test_nothing_has_failed_where_no_worker_can_begin(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, breaks: str, why: str
) -> None:
    """What breaks in workers alone ends the launch with its reason, in a line; when it is mended, all runs."""
    module = f"breaks_{abs(hash(breaks))}"
    code = "import os, sys\nfrom flowctx import PartitionScheme, Workflow\n"
    code += "w = Workflow('w', partitions=PartitionScheme(tier=list('abcdefgh')))\nw.step('a')(lambda ctx: None)\n"
    file = tmp_path / f"{module}.py"
    file.write_text(f"{code}if os.getpid() != {os.getpid()}:\n    {breaks}\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = Backfill(importlib.import_module(module).w, None, "b", ledger=ledger)
    with pytest.raises(BatchError, match=re.escape(why.format(module=module, file=file))) as ended:
        plan.launch(LocalLauncher(ledger, 2))
    assert "\n" not in str(ended.value)
    assert "Traceback" not in capfd.readouterr().err
    assert (list(ledger.batches.iter_outcomes("b")), ledger.list_runs()) == ([], [])
    file.write_text(code)
    assert plan.launch(LocalLauncher(ledger, 2)).ended == {PartitionState.OK: 8}


def test_a_worker_that_is_killed_before_it_begins_is_replaced(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was given has not run, and has not failed: another worker runs it."""
    code = "import os, pathlib, sys\nfrom flowctx import PartitionScheme, Workflow\n"
    code += "w = Workflow('w', partitions=PartitionScheme(tier=list('abcdefgh')))\nw.step('a')(lambda ctx: None)\n"
    code += f"mark = pathlib.Path(__file__ + '.killed')\nif os.getpid() != {os.getpid()} and not mark.exists():\n"
    (tmp_path / "killed_once.py").write_text(f"{code}    mark.touch()\n    os.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = Backfill(importlib.import_module("killed_once").w, None, "b", ledger=ledger)
    assert plan.launch(LocalLauncher(ledger, 1)).ended == {PartitionState.OK: 8}


def test_what_a_step_forks_is_no_second_worker(ledger: Ledger, notes: Path, capfd: Any) -> None:
    """A copy that comes out of its step ends; one that stays in it keeps nobody waiting; neither records anything."""
    keys = [f"date=2012-01-03|tier=T{n}" for n in (1, 2, 3)]
    done = fill(ledger, "date=2012-01-02..2012-01-04", params={"notes": str(notes), "fork": keys})
    psutil.Process(int(Path(f"{notes}.copy").read_text())).kill()
    assert done.ended == {PartitionState.OK: 9}
    assert set(called(notes).values()) == {1}
    for run in ledger.list_runs(batch_id="b"):
        outputs = {step.step: dict(step.output) for step in ledger.steps(run.key)}  # type: ignore[arg-type]
        assert outputs["load"] == {"tier": run.context.key.tier}
    errors = capfd.readouterr().err
    assert "step 'load' forked" in errors
    assert "LookupError: in the copy" in errors


def test_listeners_hear_of_the_end_whatever_it_is(ledger: Ledger) -> None:
    """A launch that breaks off is over, too: a bar gives the terminal back."""
    heard: list[str] = []

    class Listener(LaunchListener):
        def tick(self, progress: LaunchProgress) -> None:
            raise KeyboardInterrupt

        def over(self, progress: LaunchProgress) -> None:
            heard.append("over")

    with pytest.raises(KeyboardInterrupt):
        fill(ledger, listener=Listener())
    assert heard == ["over"]


def test_a_batch_that_is_being_launched_is_not_launched_twice(ledger: Ledger) -> None:
    """A second launcher is told who the first one is."""
    ledger.batches.put(Backfill(flow, SOME, "b", ledger=ledger).record())
    ledger.batches.acquire_launch_lease("b", f"elsewhere:{os.getpid()}:x", timedelta(minutes=1))
    with pytest.raises(BatchError, match=f"is being launched by process {os.getpid()} on elsewhere"):
        fill(ledger)


def test_each_step_of_a_batch_may_wait_for_its_commit(ledger: Ledger, notes: Path) -> None:
    """With the durability of a step, every partition has its one run as well; no other word is taken for one."""
    launcher = LocalLauncher(ledger, 1, durability="step")
    assert Backfill(flow, "date=2012-01-02", "b", params={"notes": str(notes)}, ledger=ledger).launch(launcher).complete
    assert set(called(notes).values()) == {1}
    with pytest.raises(BatchError, match="durability='none' must be 'group' or 'step'"):
        LocalLauncher(ledger, 1, durability="none")  # type: ignore[arg-type]


def test_a_ledger_in_memory_is_refused() -> None:
    """Processes cannot share memory; the message says what to use."""
    with pytest.raises(BatchError, match="use sqlite:////folder/ledger.db"):
        LocalLauncher(open_ledger("memory://"))


def test_a_workflow_that_cannot_be_imported_is_refused(ledger: Ledger) -> None:
    """A workflow without a name in a module is refused before anything is remembered."""
    nameless = Workflow("nameless", partitions=flow.partitions)
    nameless.step("one")(lambda ctx: None)
    with pytest.raises(BatchError, match=r"bind it to a name in a module"):
        Backfill(nameless, SOME, "b", ledger=ledger).launch(LocalLauncher(ledger, 1))
    assert ledger.batches.all() == []


def test_a_launch_leads_while_it_asks_its_engine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the engine takes to answer: signs of life go on, so that nobody else begins the same partitions."""
    monkeypatch.setattr("flowctx.backfill.leading._RENEW_SECONDS", 0.01)
    ledger = SqlLedger(url, clock=(clock := FakeClock(datetime.now(UTC))))
    plan = Backfill(flow, SOME, "b", ledger=ledger)

    class Slow(LocalLauncher):
        def check(self, workflow: Workflow) -> None:
            """It can run any."""

        def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
            for _ in range(3):
                first = self.led_until()
                clock.advance(LEASE / 2)
                end = time.monotonic() + 30
                while self.led_until() == first and time.monotonic() < end:
                    time.sleep(0.01)
            return iter(())

        def launch(self, batch: BatchRecord, jobs: Iterator[Job | None]) -> Iterator[PartitionRun | None]:
            return iter(())

        def led_until(self) -> datetime:
            lease = ledger.batches.lead("b", "another", LEASE, lambda known: plan.record())
            assert lease.launcher != "another"
            return lease.until

    assert plan.launch(Slow(ledger, 1)).left == 15


# -- cut off --------------------------------------------------------------------------------------------------------


def launch(url: str, notes: Path, pause: float = 0.05) -> subprocess.Popen[str]:
    """Start the batch in a process of its own."""
    flows = "backfill.flows:flow"
    options = ["-p", f"notes={notes}", "-p", f"pause={pause}", "--workers", "2"]
    command = [sys.executable, "-m", "flowctx.cli", "backfill", flows, "--batch", "b", "--select", SOME, *options]
    env = {**os.environ, "FLOWCTX_LEDGER_URL": url, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=env, **pipes)


def wait_for(notes: Path, calls: int) -> None:
    while called(notes).total() < calls:
        time.sleep(0.02)


def recorded(ledger: Ledger) -> set[str]:
    """Return the calls of steps that the ledger has, as they are noted."""
    runs = ledger.list_runs(batch_id="b")
    return {
        f"{step} {run.context.partition} {run.context.capture_id}" for run in runs for step in ledger.statuses(run.key)
    }


@pytest.mark.e2e  # twice it waits half a minute for a sign of life of the launch that was killed
def test_a_launch_that_is_killed_goes_on(url: str, ledger: Ledger, notes: Path) -> None:
    """Killed twice and launched again, each partition is captured once, and recorded steps are not repeated."""
    calls_at_kill: dict[str, int] = {}
    for calls in (4, 12):
        process = launch(url, notes, pause=0.2)
        wait_for(notes, calls)
        process.kill()
        process.communicate()
        calls_at_kill |= {call: called(notes)[call] for call in recorded(ledger)}
    process = launch(url, notes, pause=0.2)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert states(ledger) == {"ok": 15}
    assert len(ledger.list_runs(batch_id="b")) == 15
    assert calls_at_kill
    assert {call: called(notes)[call] for call in calls_at_kill} == calls_at_kill
    assert recorded(ledger) == set(called(notes))


def test_ctrl_c_finishes_what_is_under_way(url: str, ledger: Ledger, notes: Path) -> None:
    """After Ctrl-C nothing is left half done, the exit code is 1, and the same command goes on."""
    process = launch(url, notes, pause=0.2)
    wait_for(notes, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "interrupted: no more partitions are begun" in err
    assert "the same command goes on" in out
    assert set(states(ledger)) == {"ok"}
    assert 0 < states(ledger)["ok"] < 15
    again = launch(url, notes, pause=0.2)
    again.communicate()
    assert again.returncode == 0
    assert set(called(notes).values()) == {1}


def test_sigterm_to_all_processes_finishes_what_is_under_way(url: str, ledger: Ledger, notes: Path) -> None:
    """So does a machine that shuts down, and a service that is stopped: no partition has failed of it."""
    process = launch(url, notes, pause=0.5)
    wait_for(notes, 3)
    for one in (*psutil.Process(process.pid).children(), process):
        one.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "the same command goes on" in out
    assert set(states(ledger)) == {"ok"}
    assert 0 < states(ledger)["ok"] < 15
    assert set(called(notes).values()) == {1}


def test_what_a_worker_was_at_that_is_ended_by_sigterm_goes_on(ledger: Ledger, notes: Path) -> None:
    """A step may have given the signal back its meaning: the partition has not failed, and the same command goes on."""
    params = {"notes": str(notes), "end": [BAD]}
    ended = fill(ledger, "date=2012-01-03", params=params).ended
    assert ended == {PartitionState.OK: 2, PartitionState.CANCELED: 1}
    Path(f"{notes}.mended").touch()
    again = fill(ledger, "date=2012-01-03", params=params)
    assert (again.complete, again.ended) == (True, {PartitionState.OK: 1})


@pytest.mark.parametrize("begin", ["os.fork() or time.sleep(60)", "subprocess.Popen(['sleep', '60']).pid"])
def test_processes_of_a_step_end_by_sigterm(begin: str) -> None:
    """Those that it forks, as pools of processes do, and those that are other programs; the worker does not."""
    code = f"""
import os, signal, subprocess, time
from flowctx.backfill.worker_process import outlive_signals
outlive_signals()
os.kill(os.getpid(), signal.SIGTERM)
pid = {begin}
os.kill(pid, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{int(signal.SIGTERM)}\n"), done.stderr


def test_a_worker_that_is_left_alone_ends_by_sigterm() -> None:
    """It hangs before it can see that its launch has died: SIGTERM, which it outlived before, ends it."""
    code = """
import os, signal, time
from flowctx.backfill.worker_process import outlive_signals
if os.fork():
    signal.pause()
outlive_signals()
os.kill(os.getpid(), signal.SIGTERM)
print(os.getpid(), flush=True)
time.sleep(30)
print("alive")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        worker = int(launcher.stdout.readline())
        launcher.kill()
        launcher.wait()
        os.kill(worker, signal.SIGTERM)
        assert launcher.stdout.read() == ""


def test_a_worker_begins_where_no_process_is_copied() -> None:
    """Windows has neither forks nor masks of signals."""
    code = """
import os, signal
from flowctx.backfill.worker_process import outlive_signals
del os.register_at_fork, signal.pthread_sigmask
outlive_signals()
signal.raise_signal(signal.SIGTERM)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_under_way_is_counted(ledger: Ledger) -> None:
    """While it stops, no more partitions are under way than there are workers, and none is once it has."""
    counted: list[int] = []

    class Interrupts(LaunchListener):
        def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
            os.kill(os.getpid(), signal.SIGINT) if not progress.stopped else None

        def stopping(self, why: str, progress: LaunchProgress) -> None:
            counted.append(progress.under_way)

    progress = fill(ledger, workers=2, params={"pause": 0.2}, listener=Interrupts())
    assert (progress.stopped, counted, progress.under_way) == ("interrupted", [2], 0)
    assert progress.passed < progress.total


@pytest.mark.parametrize(("second", "ends"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_second_signal_ends_at_once(url: str, ledger: Ledger, notes: Path, second: int, ends: int) -> None:
    """It waits for no step: what was under way stays so, for the same command to go on with."""
    process = launch(url, notes, pause=60)
    wait_for(notes, 2)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while "interrupted" not in process.stderr.readline():
        pass
    process.send_signal(second)
    process.communicate()
    assert process.returncode == ends
    assert set(states(ledger)) == {"running"}
    assert not any(worker.is_running() for worker in workers)


def test_a_second_signal_ends_a_script_as_it_would_have() -> None:
    """Python leaves SIGTERM to the system, which ends the process by it."""
    launch: Any = SimpleNamespace(interrupted=False)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(BaseException), LeadLaunch.signals(launch):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM


def test_signals_that_are_ignored_stop_nothing(ledger: Ledger) -> None:
    """As under nohup, or in the background of a script."""

    class Interrupts(LaunchListener):
        def begun(self, progress: LaunchProgress) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fill(ledger, listener=Interrupts()).stopped is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_canceled_batch_stops(url: str, ledger: Ledger, notes: Path) -> None:
    """A batch that is canceled while it is launched begins no more partitions."""
    process = launch(url, notes, pause=2)
    wait_for(notes, 1)
    env = {**os.environ, "FLOWCTX_LEDGER_URL": url}
    subprocess.run([sys.executable, "-m", "flowctx.cli", "cancel", "b"], env=env, check=True)
    begun = sum(called(notes).values())
    _, err = process.communicate()
    assert sum(called(notes).values()) == begun
    assert "canceled: no more partitions are begun" in err
    assert states(ledger)["ok"] < 15


def test_a_cancel_is_heard_within_a_second(ledger: Ledger) -> None:
    """After a cancel, partitions begin until the launch looks again, which is long before the whole batch is done."""

    class Cancels(LaunchListener):
        def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
            if progress.passed == 1:
                ledger.batches.cancel("b")

    progress = fill(ledger, params={"pause": 0.3}, listener=Cancels())
    assert (progress.stopped, progress.passed < progress.total) == ("canceled", True)


def test_a_run_that_died_with_its_worker_is_over(ledger: Ledger) -> None:
    """What was killed in the middle is failed in the list of runs too, with how it ended."""
    fill(ledger, "date=2012-01-03", params={"die": [BAD]})
    (run,) = ledger.list_runs(status=RunStatus.FAILED)
    assert (str(run.context.partition), run.error) == (BAD, failures(ledger)[BAD])
    assert ledger.list_runs(status=RunStatus.RUNNING) == []


def test_a_run_that_somebody_is_at_is_left_alone(ledger: Ledger) -> None:
    """A launch is refused the partition, and says so; whoever is at it keeps the run and its capture."""
    fill(ledger, "date=2012-01-03", params={"fail": [BAD]})
    (failed,) = ledger.list_runs(status=RunStatus.FAILED)
    theirs = ledger.begin(replace(failed, attempt=2, status=RunStatus.RUNNING, error=None), resumes=failed)
    assert fill(ledger, "date=2012-01-03", params={"fail": [BAD]}).ended == {PartitionState.FAILED: 1}
    assert ledger.get_run(failed.run_id).status is RunStatus.RUNNING
    assert states(ledger) == {"ok": 2, "running": 1}
    ledger.finish(theirs, RunStatus.OK)
    assert states(ledger) == {"ok": 3}


def test_the_first_worker_may_be_started_before_its_batch(ledger: Ledger) -> None:
    """It runs the batch that it was started for; for another one, or for nothing, it ends."""
    launcher, others = LocalLauncher(ledger, 1), set(psutil.Process().children())
    for prepared, launched in [("b", "b"), ("b", "other")]:
        launcher.prepare([flow], prepared)
        (worker,) = set(psutil.Process().children()) - others
        assert Backfill(flow, "date=2012-01-02", launched, ledger=ledger).launch(launcher).complete
        owners = {run.owner or "" for run in ledger.list_runs(batch_id=launched)}
        assert len(owners) == 1
        assert (f"(process {worker.pid} on" in owners.pop()) == (prepared == launched)
        assert set(psutil.Process().children()) <= others
    launcher.prepare([flow], "never")
    launcher.close()
    assert set(psutil.Process().children()) <= others
