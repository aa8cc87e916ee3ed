"""Standard output holds what a command prints for programs, and nothing of what workflows print."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SOURCE = """
import atexit, os, subprocess, sys
from flowctx import PartitionScheme, Workflow

def noise(where):
    print("noise of print,", where, flush=True)
    os.write(1, b"noise of os.write\\n")
    subprocess.run([sys.executable, "-S", "-c", "print('noise of a child')"], check=True)

noise("import")
if "pytest" not in sys.modules:
    atexit.register(print, "noise of the end")
noisy = Workflow("noisy", partitions=PartitionScheme(tier=["T1"]))

@noisy.step()
def load(ctx):
    noise("step")
    return {"rows": 1}
"""


@pytest.fixture
def noisy(shell):
    """A shell with a module that prints, and a partition of its workflow that was captured."""
    (shell.folder / "noisy.py").write_text(SOURCE)
    shell("run", "noisy:noisy", "--partition", "T1", "--run-id", "r1", "--batch", "b")
    yield shell
    sys.modules.pop("noisy", None)


def flowctx(*args, **how):
    """Run the command as a process."""
    return subprocess.run([sys.executable, "-m", "flowctx", *args], text=True, check=False, **how)


JSON = [
    ("run", "noisy:noisy", "--partition", "T1", "--json"),
    ("replay", "r1", "load", "--json"),
    ("backfill", "noisy:noisy", "--batch", "c", "--workers", "1", "--json"),
    ("status", "b", "--workflow", "noisy:noisy", "--json"),
    ("stale", "noisy:noisy", "--json"),
    ("doctor", "noisy:noisy", "--json"),
    ("output", "noisy:noisy", "load", "--to", "json"),
]


@pytest.mark.parametrize("command", JSON, ids=" ".join)
def test_json_is_alone_on_standard_output(noisy, command):
    """Whatever is printed as a workflow is imported and runs, by whichever way, goes to standard error."""
    done = flowctx(*command, capture_output=True)
    assert json.loads(done.stdout) is not None
    assert done.returncode == 0
    for words in ("noise of print, import", "noise of os.write", "noise of a child", "noise of the end"):
        assert words in done.stderr


def test_csv_is_alone_on_standard_output(noisy):
    """Rows for other tools are not mixed with noise either."""
    assert flowctx("output", "noisy:noisy", "load", "--to", "csv", capture_output=True).stdout == "tier,rows\nT1,1\n"


def test_without_json_workflows_print_where_they_did(noisy):
    """Where people read, what a step prints stays on standard output."""
    assert "noise of print, step" in flowctx(*JSON[0][:-1], capture_output=True).stdout


def test_a_program_that_calls_the_command_has_its_standard_output_back(noisy):
    """Of file descriptor 1 as of sys.stdout, once the command has ended."""
    code = (
        "import os, sys; from flowctx.cli import cli\n"
        "cli(['runs', '--json'], standalone_mode=False); print('mine', flush=True); os.write(1, b'too\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("]\nmine\ntoo\n")


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("status", "b"),
        ("runs", "--json"),
        ("graph", "cli_flows:prices"),
        JSON[-1],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_named(noisy, command):
    """It is standard output that could not be written, and trying again may help."""
    with open("/dev/full", "w") as full:
        done = flowctx(*command, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "Error: standard output cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_standard_streams_may_be_closed(noisy):
    """As those of a daemon are: nothing that is opened takes their place, such as the ledger, and is written over."""
    run = [sys.executable, "-m", "flowctx", "run", "noisy:noisy", "--partition", "T1", "--run-id", "r2"]
    closed = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *run], check=False)
    assert closed.returncode == 0
    assert noisy("show", "r2", "--json")["status"] == "ok"


@pytest.mark.parametrize(
    "launch",
    [
        ("-m", "flowctx", "backfill", "noisy:noisy", "--batch", "c", "--workers", "1"),
        ("-c", "import flowctx, noisy; flowctx.backfill(noisy.noisy, batch_id='c', workers=1)"),
    ],
    ids=["command", "python"],
)
def test_a_batch_runs_where_standard_error_is_closed(noisy, launch):
    """What steps print in a worker leads nowhere then, and not into the pipes of the worker."""
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, *launch], check=False)
    assert done.returncode == 0
    assert [run["status"] for run in noisy("runs", "--batch", "c", "--json")] == ["ok"]
