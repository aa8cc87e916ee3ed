"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it has begun is put away first."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SOURCE = """
import os
from flowctx import Workflow

ended = Workflow("ended", params={"by": 15})

@ended.step()
def end(ctx):
    os.kill(os.getpid(), ctx.params["by"])
    return {}
"""
FILE = """
import os, signal, sys
from pathlib import Path
from flowctx.cli.output import new_file
from flowctx.cli.signals import ended_by_signals

with ended_by_signals(), new_file(Path("written.csv")) as file:
    file.write(b"half")
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
"""
HELD = """
import atexit, logging, os, signal, sys, tempfile
from flowctx.cli.signals import ended_by_signals

try:
    with ended_by_signals():
        held = tempfile.TemporaryDirectory(dir=".")
        atexit.register(print, "left in order")
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    sys.exit(1)
"""
SECOND = """
import os, signal
from flowctx.cli.signals import ended_by_signals

with ended_by_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGHUP)
        print("went on")
"""
THREAD = """
import sys, threading
from flowctx.cli import main

sys.argv = ["flowctx", "--version"]
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


def ended(code, **where):
    """Run Python, with the signals of a shell: how the tests were begun does not matter, nor what runs beside them."""

    def as_in_a_shell():
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    command = [sys.executable, *code]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=as_in_a_shell, **where)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_run_that_is_ended_is_recorded(shell, number):
    """It is not left as one that is under way: it can be resumed at once."""
    (shell.folder / "ended_flows.py").write_text(SOURCE)
    done = ended(["-m", "flowctx", "run", "ended_flows:ended", "--run-id", "r", "-p", f"by={number.value}"])
    assert (done.returncode, "interrupted" in done.stderr) == (-number, True), done.stderr
    (run,) = shell("runs", "--json")
    assert (run["run_id"], run["status"], run["error"]) == ("r", "failed", "interrupted")


def test_what_is_ignored_stays_ignored(shell):
    """As under nohup, where the terminal may go away."""
    (shell.folder / "ended_flows.py").write_text(SOURCE)
    code = (
        "import signal, sys; from flowctx.cli import main; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        f"sys.argv = ['flowctx', 'run', 'ended_flows:ended', '-p', 'by={signal.SIGHUP.value}']; main()"
    )
    assert ended(["-c", code]).returncode == 0


def test_no_half_of_a_file_is_left(tmp_path):
    """Nor is a copy of the process, as a step may fork one, ended in another way than before."""
    done = ended(["-c", FILE], cwd=tmp_path)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_python_exits_in_order(tmp_path):
    """What is held until the end is put away, and what is printed then is seen; the signal comes last."""
    done = ended(["-c", HELD], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "left in order\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_ends_at_once(tmp_path):
    """Also where it is not the one that came first."""
    done = ended(["-c", SECOND], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, ""), done.stderr


def test_the_command_runs_in_a_thread():
    """Signals are for the main thread alone: there, they do what they did."""
    done = ended(["-c", THREAD])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("flowctx")
