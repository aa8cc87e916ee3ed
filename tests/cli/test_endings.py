"""Code of users that ends the process: no command succeeds because of it."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from flowctx.cli import cli

SOURCE = """
from flowctx import PartitionScheme, Workflow

def values():
    raise SystemExit(0)

def params(key):
    raise SystemExit(0)

read = Workflow("read", partitions=PartitionScheme(tier=values))
read.step(name="load")(lambda ctx: {})
flow = Workflow("flow", partitions=PartitionScheme(tier=["T1"]))

@flow.step()
def load(ctx):
    raise GeneratorExit
"""


@pytest.fixture
def ending(shell):
    """A shell with a module that exits, and one whose functions do."""
    (shell.folder / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (shell.folder / "exiting.py").write_text(SOURCE)
    shell.mend()
    shell("run", "cli_flows:prices", "--partition", "IBM", "--run-id", "r1")
    yield shell
    sys.modules.pop("exiting", None)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "exits:w", "--partition", "IBM"),
        ("run", "exits:w", "--partition", "IBM", "--json"),
        ("graph", "exits.py:w"),
        ("backfill", "exits:w", "--batch", "b"),
        ("backfill", "cli_flows:prices", "exits:w", "--batch", "b"),
        ("backfill", "cli_flows:prices", "--batch", "b", "--params-from", "exits:f"),
        ("status", "b", "--workflow", "exits:w"),
        ("output", "exits:w", "load"),
        ("diff", "exits:w", "--batch", "b", "--with", "c"),
        ("stale", "exits:w"),
        ("verify", "exits:w"),
        ("resume", "r1", "--workflow", "exits:w"),
        ("replay", "r1", "fetch", "--workflow", "exits:w"),
    ],
    ids=" ".join,
)
def test_a_module_that_exits_is_an_error_of_the_command(ending, command):
    """Whichever command imports a module that calls sys.exit(0) ends with 2 and says so."""
    done = CliRunner().invoke(cli, list(command))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "cannot be imported: it called sys.exit(0)" in done.stderr


def test_a_module_that_exits_is_a_fault_that_doctor_tells(ending):
    """It looks at everything else, too, and ends with 1."""
    done = CliRunner().invoke(cli, ["doctor", "exits:w", "--json"])
    assert done.exit_code == 1
    assert "cannot be imported: it called sys.exit(0)" in done.stdout


def test_a_function_that_exits_is_an_error_of_the_command(ending):
    """A function that makes parameters, or the values of a scheme, does not end a command as if all were well."""
    fill = ("backfill", "exiting:flow", "--batch", "b", "--params-from", "exiting:params")
    assert "cannot be made: it called sys.exit(0)" in ending(*fill, exit_code=1)
    errors = ending("backfill", "exiting:read", "--batch", "c", "--dry-run", exit_code=1)
    assert "code of the workflow ended the command: it called sys.exit(0)" in errors


def test_a_step_that_exits_fails_a_replay(ending):
    """A step that calls sys.exit(0) when it is run again is no success."""
    ending.file.write_text(
        ending.file.read_text().replace("def fetch(ctx):", "def fetch(ctx):\n    raise SystemExit(0)")
    )
    command = ("replay", "r1", "fetch", "--workflow", f"{ending.file}:prices")
    sys.modules.pop("cli_flows")
    assert "it called sys.exit(0)" in ending(*command, exit_code=1)


def test_a_generator_exit_in_a_step_is_a_failure_of_the_run(ending):
    """GeneratorExit in a step ends a run and a batch as a failure, without a traceback of flowctx's."""
    errors = ending("run", "exiting:flow", "--partition", "T1", "--run-id", "r2", exit_code=1)
    assert "Error: run r2: a step raised GeneratorExit" in errors
    assert "to continue: flowctx resume r2" in errors
    ending("backfill", "exiting:flow", "--batch", "b", "--workers", "1", exit_code=1)
    assert "a step has raised GeneratorExit" in ending("status", "b")
