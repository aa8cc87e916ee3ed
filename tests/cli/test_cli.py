"""The command: what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock, make_context

RUN = ("run", "cli_flows:prices", "--partition", "symbol=IBM", "--run-id", "r1")


@pytest.fixture
def failed(shell):
    """A shell whose run r1 has failed."""
    shell(*RUN, exit_code=1)
    return shell


def test_names_of_the_project_go_for_workflow_options(shell):
    """--workflow takes the names of [tool.flowctx] as the arguments of other commands do."""
    (shell.folder / "pyproject.toml").write_text('[tool.flowctx]\nquotes = "cli_flows:prices"\n')
    shell("backfill", "quotes", "--batch", "named", exit_code=1)
    answer = shell("status", "named", "--workflow", "quotes", "--json")
    assert answer["counts"]["failed"] == 2
    shell.mend()
    run_id = shell("runs", "--batch", "named", "--json")[0]["run_id"]
    assert "ok" in shell("resume", run_id, "--workflow", "quotes")
    assert "no such name in [tool.flowctx]" in shell("status", "named", "--workflow", "prises", exit_code=2)


def test_a_run_prints_its_steps(shell):
    """A run prints each step and how it ended; it ends with 0 when all is well."""
    shell.mend()
    printed = shell(*RUN)
    assert [line.split()[:2] for line in printed.splitlines() if line.startswith(("fetch", "check", "load"))] == [
        ["fetch", "ok"],
        ["check", "ok"],
        ["load", "ok"],
    ]


def test_a_failed_run_ends_with_one(shell):
    """A run that failed ends with 1 and says why."""
    assert "too bad" in shell(*RUN, exit_code=1)


def test_what_is_warned_of_is_a_line(shell):
    """How a step ended stands in the table alone; with -v, all that is logged is shown, and none of it twice."""
    more = """
tolerant = Workflow("tolerant")
tolerant.step("quotes", optional=True)(lambda ctx: StepResult.fail("no quotes"))
"""
    shell.file.write_text(shell.file.read_text() + more)
    warning = "step quotes failed and is optional: the run goes on"
    printed = shell("run", "cli_flows.py:tolerant")
    assert printed.startswith(f"Warning: {warning}\n")
    assert (printed.count("Warning"), printed.count("no quotes")) == (1, 1)
    assert "Warning" not in shell("-v", "run", "cli_flows.py:tolerant")


def test_a_run_as_json(shell):
    """A run as JSON has its status, its steps and its context."""
    shell.mend()
    data = shell(*RUN, "-p", "limit=4", "-p", "note=two words", "--batch", "b1", "--json")
    assert data["status"] == "ok"
    assert data["context"]["params"] == {"limit": 4, "note": "two words", "cursor": 7}
    assert data["context"]["capture_id"] == "IBM|b1"
    assert [step["name"] for step in data["steps"]] == ["fetch", "check", "load"]


def test_runs_are_listed(failed):
    """The runs that the ledger remembers are listed, all or those asked for."""
    (only,) = failed("runs", "--json")
    assert (only["run_id"], only["status"], only["error"]) == ("r1", "failed", "step 'check': too bad")
    assert failed("runs", "--status", "ok", "--json") == []
    assert "symbol=IBM" in failed("runs", "--partition", "symbol=IBM", "--workflow", "prices")


def test_why_a_run_was_skipped_is_told_everywhere(shell):
    """The step's own word for its skip stands in the list of runs, in the run itself and in its batch."""
    skip = 'def fetch(ctx):\n    return StepResult.skip("no trades")'
    shell.file.write_text(shell.file.read_text().replace("def fetch(ctx):", skip))
    shell(*RUN, "--batch", "b")
    for command in (("runs",), ("show", "r1"), ("status", "b")):
        assert "no trades" in shell(*command)


def test_a_silent_run_says_since_when(shell):
    """Of a run that may be dead, which nobody can know here, it is said since when there is no sign of life."""
    yesterday = FakeClock(datetime.now(UTC) - timedelta(days=1))
    ledger = SqlLedger(os.environ["FLOWCTX_LEDGER_URL"], clock=yesterday)
    ledger.begin(RunRecord(workflow="prices", context=make_context(run_id="r1"), steps=("fetch",)))
    ledger.close()
    since = f"no sign of life since {yesterday.now():%Y-%m-%d %H:%M}"
    assert since in shell("runs")
    assert since in shell("show", "r1")
    assert "it is under way" not in shell("show", "r1")


def test_a_run_is_shown(failed):
    """A run is shown with its steps, those that were not run too, and how to go on."""
    printed = failed("show", "r1")
    assert "load   not_run" in printed
    assert "to continue: flowctx resume r1" in printed
    data = failed("show", "r1", "--json")
    assert data["steps"][0]["output"] == {"rows": [1, 2, 3]}
    assert data["context"]["params"] == {"limit": 3}


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (None, "it is at work, or has not begun"),
        (RunStatus.FAILED, "it was stopped at work, or has not begun"),
        (RunStatus.CANCELED, "it was stopped at work, or has not begun"),
        (RunStatus.PARTIAL, None),
    ],
)
def test_a_step_that_may_have_begun_is_not_called_not_run(shell, ended, words):
    """A step is recorded when it ends: of a run that is at work, or was killed, nobody knows that it never began."""
    ledger = SqlLedger(os.environ["FLOWCTX_LEDGER_URL"])
    steps = ("fetch", "publish", "load")
    run = RunRecord(workflow="prices", context=make_context(run_id="r1"), steps=steps, selected=steps[:2])
    run = ledger.begin(run)
    if ended is not None:
        ledger.finish(run, ended, error="its process was killed")
    ledger.close()
    printed = shell("show", "r1")
    assert "load     not_run" in printed  # the run was not to do it
    assert f"publish  {'not_run' if words is None else 'not_ended'}" in printed
    assert "not_ended: nothing is recorded" in printed if words else "not_ended" not in printed
    assert (words or "") in printed


def test_where_a_step_failed_is_shown(shell):
    """With --traceback, the lines that raised are printed; where nothing raised, that is printed."""
    shell(*RUN, exit_code=1)
    assert "no step of it raised" in shell("show", "r1", "--traceback")
    shell.file.write_text(shell.file.read_text().replace('return StepResult.fail("too bad"', "raise KeyError(ctx"))
    shell.file.write_text(shell.file.read_text().replace(', category="DATA_QUALITY")', ".run_id)"))
    sys.modules.pop("cli_flows")
    shell(*RUN[:-1], "r2", exit_code=1)
    assert "raise KeyError(ctx.run_id)" not in shell("show", "r2")
    assert "raise KeyError(ctx.run_id)" in shell("show", "r2", "--traceback")


def test_a_run_is_resumed_where_it_stopped(failed):
    """A resumed run runs what is left, with new parameters if there are any."""
    failed.mend()
    data = failed("resume", "r1", "-p", "cursor=9", "--json")
    assert data["context"]["step_outputs"]["check"] == {"sum": 6, "cursor": 9}
    assert data["context"]["checkpoint"]["completed"] == ["fetch"]
    assert failed("show", "r1", "--json")["attempt"] == 2


def test_a_changed_workflow_is_explained(failed):
    """A workflow that has changed is explained, and the way on is an option of the same command."""
    failed.file.write_text(failed.file.read_text().replace('[1, 2, ctx.params["limit"]]', "[0]"))
    sys.modules.pop("cli_flows")
    printed = failed("resume", "r1", exit_code=2)
    assert "the code of step 'fetch' changed" in printed
    assert "--accept-changes" in printed
    failed.mend()
    assert failed("resume", "r1", "--from-step", "fetch", "--json")["context"]["step_outputs"]["check"]["sum"] == 0


def test_a_step_is_replayed(failed):
    """A replayed step says that it is the same as recorded, or shows the difference, and writes nothing."""
    assert "the same as recorded" in failed("replay", "r1", "check", exit_code=1)
    failed.mend()
    printed = failed("replay", "r1", "check")
    assert '-  "error": "too bad",' in printed
    assert '+    "sum": 6' in printed
    assert failed("show", "r1", "--json")["status"] == "failed"


def test_a_step_is_replayed_under_the_debugger(failed):
    """With --pdb, the debugger stops at the step's first line and takes commands; also in `python -m flowctx`."""
    done = subprocess.run(
        [sys.executable, "-m", "flowctx", "replay", "r1", "check", "--pdb"],
        input="p 'params', ctx.params\nc\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "('params', {'limit': 3, 'cursor': 7})" in done.stdout
    assert done.returncode == 1


def test_captures_are_listed(shell):
    """Each partition's revisions are listed, and which one is current."""
    shell.mend()
    for batch in ("b1", "b2"):
        shell("run", "cli_flows:prices", "--partition", "IBM", "--batch", batch)
    found = shell("captures", "prices", "--json")
    assert [(c["revision"], c["capture_id"], c["current"]) for c in found] == [
        (1, "IBM|b1", False),
        (2, "IBM|b2", True),
    ]
    printed = shell("run", "cli_flows:prices", "--partition", "IBM", "--on-captured", "skip")
    assert "is captured already by run" in printed


def test_the_latest_captures_are_shown(shell):
    """With a limit, the captures that were granted last are shown, and said to be not all; current is what is."""
    shell.mend()
    for run_id, batch in (("r1", "b1"), ("r2", "b2"), ("r3", "b1")):
        shell("run", "cli_flows:prices", "--partition", "symbol=IBM", "--run-id", run_id, "--batch", batch)
    every = shell("captures", "prices", "--json")
    assert [(c["revision"], c["run_id"], c["current"]) for c in every] == [(1, "r3", False), (2, "r2", True)]
    printed = shell("captures", "prices", "--limit", "1")
    assert "there are more captures than the latest 1, which are shown; --limit N shows more" in printed
    assert "r3" in printed
    assert "current" not in printed


def test_that_no_capture_is_current_is_told(shell):
    """An older one is there, what was current was pruned, and the last one failed when it was made again."""
    shell.mend()
    for number in (1, 2, 3):
        shell("run", "cli_flows:prices", "--partition", "IBM", "--run-id", f"r{number}", "--batch", f"b{number}")
    shell("ledger", "keep", "b1")
    assert "forgot 1 run, 1 capture" in shell("ledger", "prune", "--days", "0")
    (shell.folder / "mended").unlink()
    assert "none is current" not in shell("captures", "prices")
    shell("run", "cli_flows:prices", "--partition", "IBM", "--batch", "b3", exit_code=1)
    printed = shell("captures", "prices")
    assert "of 1 partition none is current: a newer version was pruned, and what came after it is not" in printed
    assert printed.count("current") == 1
    assert "capture IBM|b2 (revision 2, of " in shell("output", "cli_flows:prices", "check", exit_code=2)


def test_a_capture_that_was_skipped_is_current(shell):
    """What readers take for the partition's last word is what the list marks, and nothing older."""
    (shell.folder / "cli_holes.py").write_text(
        "from flowctx import PartitionScheme, StepResult, Workflow\n"
        "holes = Workflow('holes', partitions=PartitionScheme(symbol=['IBM']), params={'closed': False})\n"
        "@holes.step()\n"
        "def fetch(ctx):\n"
        "    return StepResult.skip('closed') if ctx.params['closed'] else {'n': 1}\n"
    )
    for batch, closed in (("a", "false"), ("b", "true")):
        shell("run", "cli_holes:holes", "--partition", "IBM", "--batch", batch, "-p", f"closed={closed}")
    assert "no partition of holes that is meant" in shell("output", "cli_holes:holes", "fetch", exit_code=1)
    found = shell("captures", "holes", "--json")
    assert [(c["state"], c["skipped"], c["current"]) for c in found] == [
        ("complete", False, False),
        ("released", True, True),
    ]
    listed = [line.split()[1:5] for line in shell("captures", "holes").splitlines()[2:]]
    assert [(row[1], row[2] == "current") for row in listed] == [("complete", False), ("skipped", True)]


def test_old_runs_are_pruned(shell):
    """Pruning says what it forgot."""
    shell.mend()
    shell(*RUN)
    assert shell("ledger", "prune", "--days", "0", "--json") == {
        "runs": 0,
        "captures": 0,
        "batches": 0,
        "artifacts": 0,
        "artifact_bytes": 0,
    }
    assert "is up to date" in shell("ledger", "upgrade")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("run", "cli_flows:nope"), "Error: 'cli_flows' has no workflow 'nope'; it has prices"),
        (("run", "no_such_module:x"), "Error: there is no module 'no_such_module' to import"),
        (("run", "cli_flows:prices"), "no partition was given; name one in the form symbol=..."),
        (("run", "cli_flows:prices", "--partition", "symbol=XX"), "it has AAPL, IBM"),
        (("show", "nope"), "Error: the ledger remembers no run 'nope'; see: flowctx runs"),
        (("resume", "nope"), "remembers no run 'nope'"),
        (("runs", "--ledger", "nonsense"), "'nonsense' is no URL of a ledger"),
        (("runs", "--ledger", "postgresql://[bad/db"), "'postgresql://[bad/db' is no URL of a ledger"),
        (("doctor", "--ledger", "nonsense"), "'nonsense' is no URL of a ledger"),
        (("runs", "--ledger", "sqlite:////no.db?b=1"), "has an option 'b' that no ledger in SQLite takes"),
        (("doctor", "--ledger", "sqlite:////no.db?b=1"), "has an option 'b' that no ledger in SQLite takes"),
    ],
)
def test_an_error_is_one_line_with_the_remedy(shell, args, why):
    """What cannot be is one line that says what to do, and the command ends with 2."""
    shell(*RUN, exit_code=1)
    printed = shell(*args, exit_code=2)
    assert why in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "args", [("run",), ("runs", "--status", "good"), ("runs", "--limit", "0"), ("nope",), ("run", "x", "-p", "y")]
)
def test_a_wrong_command_ends_with_two(shell, args):
    """A command that cannot be is the user's error: it ends with 2."""
    shell(*args, exit_code=2)


def test_an_error_in_the_users_module_is_named(shell):
    """An error inside the user's module is named in one line; --debug shows where it is."""
    shell.file.write_text("1 / 0\n")
    printed = "'cli_flows' cannot be imported: ZeroDivisionError: division by zero (flowctx --debug shows where)"
    assert printed in shell(*RUN, exit_code=2)
    shell.file.write_text("import no_such_thing\n")
    assert "ModuleNotFoundError: No module named 'no_such_thing'" in shell(*RUN, exit_code=2)
    shell.file.write_text("def (\n")
    assert "SyntaxError" in shell(*RUN, exit_code=2)
    shell.file.write_text("1 / 0\n")
    assert 'cli_flows.py", line 1' in shell("--debug", *RUN, exit_code=2)


def test_the_default_ledger_is_the_users_own(shell, monkeypatch, tmp_path):
    """Without any setting, runs are remembered in a file in the user's state folder."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shell(*RUN, exit_code=1)
    assert (tmp_path / "state" / "flowctx" / "ledger.db").exists()
    assert [found["run_id"] for found in shell("runs", "--json")] == ["r1"]


def test_a_wrong_command_is_one_line(shell):
    """What click itself finds wrong is one line as well, which says where the help is."""
    assert shell("replay", "r1", exit_code=2) == "Error: Missing argument 'STEP'; see: flowctx replay --help\n"
    assert shell("--nope", exit_code=2) == "Error: No such option '--nope'; see: flowctx --help\n"
    assert "Did you mean '--param'? see: flowctx run --help" in shell("run", "x", "--params", "a=1", exit_code=2)


def test_a_table_without_rows_is_a_sentence(shell):
    """Where nothing is remembered, a sentence says so, and JSON is an empty list."""
    shell.mend()
    shell(*RUN)
    url = os.environ["FLOWCTX_LEDGER_URL"]
    nothing = f"the ledger {url} remembers no such run"
    assert shell("runs", "--batch", "nope") == f"{nothing}, nor batch 'nope'; see: flowctx batches\n"
    assert shell("runs", "--status", "failed") == f"{nothing}\n"
    assert f"in the ledger {url} no workflow 'nope' has captures" in shell("captures", "nope", exit_code=2)
    assert f"the ledger {url} remembers no run of a workflow 'nope'" in shell("runs", "--workflow", "nope", exit_code=2)
    assert "flowctx backfill makes one" in shell("batches")
    assert shell("runs", "--batch", "nope", "--json") == []


def test_a_resumed_run_says_what_was_complete_before(failed):
    """Steps that a resumed run took over are told from those that it ran."""
    failed.mend()
    fetched, checked = [line for line in failed("resume", "r1").splitlines() if line.startswith(("fetch", "check"))]
    assert fetched.endswith("complete before; not run again")
    assert "complete before" not in checked


def test_a_step_that_is_left_in_the_debugger_is_not_compared(failed):
    """Leaving the debugger with q ends the replay; nothing is made of the step's missing answer."""
    printed = failed("replay", "r1", "check", "--pdb", input="q\n", exit_code=1)
    assert "the step was left in the debugger" in printed
    assert "recorded" not in printed


def test_a_page_that_cannot_be_written_is_one_line(shell):
    """A page in a folder that is not there is a wrong command, and says so in one line."""
    shell.mend()
    shell("backfill", "cli_flows:prices", "--batch", "b")
    printed = shell("status", "b", "--html", "nowhere/b.html", exit_code=2)
    assert printed == "Error: nowhere/b.html cannot be written (No such file or directory); name another file\n"


def test_a_folder_that_cannot_be_made_is_one_line(shell, monkeypatch):
    """Where the user's state folder cannot be made, the error names the ways to say another place."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    (shell.folder / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.folder / "file"))
    printed = shell(*RUN, exit_code=2)
    assert "for the ledger cannot be made (Not a directory); name a ledger elsewhere: --ledger" in printed


def test_captures_are_in_the_order_of_their_partitions(shell):
    """Captures are listed partition by partition, and revision by revision."""
    shell.mend()
    for symbol, batch in (("IBM", "b1"), ("AAPL", "b1"), ("IBM", "b2")):
        shell("run", "cli_flows:prices", "--partition", symbol, "--batch", batch)
    listed = [line.split()[:2] for line in shell("captures", "prices").splitlines()[2:]]
    assert listed == [["symbol=AAPL", "1"], ["symbol=IBM", "1"], ["symbol=IBM", "2"]]


def test_a_name_that_the_project_does_not_have(shell):
    """A workflow that is neither a module nor a name of [tool.flowctx] is told with the names there are."""
    (shell.folder / "pyproject.toml").write_text('[tool.flowctx]\nprices = "cli_flows:prices"\n')
    printed = shell("run", "prises", exit_code=2)
    assert "there is no module 'prises', and no such name in [tool.flowctx] of pyproject.toml; it has prices" in printed


def test_a_run_without_a_partition_shows_its_date(shell):
    """Runs and captures of what has no partitions are told apart by the date that they are about, and called so."""
    (shell.folder / "cli_flows.py").write_text(
        "import pathlib\n"
        "from flowctx import Workflow\n"
        "loose = Workflow('loose')\n"
        "loose.step('only')(lambda ctx: 1 / 0 if pathlib.Path('broken').exists() else None)\n"
    )
    shell("run", "cli_flows:loose", "--as-of", "2026-01-09")
    assert "as of 2026-01-09" in shell("runs", "--workflow", "loose")
    printed = shell("captures", "loose")
    assert "as of 2026-01-09" in printed
    assert printed.splitlines()[1].split()[0] == "date"
    for batch in ("b1", "b2", "b3"):
        shell("run", "cli_flows:loose", "--as-of", "2026-01-09", "--batch", batch)
    shell("ledger", "keep", "b1")
    shell("ledger", "prune", "--days", "0")
    (shell.folder / "broken").touch()
    shell("run", "cli_flows:loose", "--as-of", "2026-01-09", "--batch", "b3", exit_code=1)
    printed = shell("captures", "loose")
    assert "of 1 date none is current" in printed
    assert "partition" not in printed


def test_the_folder_of_a_file_may_have_an_equals_sign(shell):
    """Such as folders of partitions have: what ends as a file of Python is a workflow, and no selection."""
    place = shell.folder / "day=2026-01-09" / "cli_files.py"
    place.parent.mkdir()
    place.write_text(shell.file.read_text())
    (place.parent / "mended").touch()
    shell("backfill", "day=2026-01-09/cli_files.py:prices", "--batch", "b", "--on", "local", "--workers", "1")
    assert "ok" in shell("status", "b", "--workflow", "day=2026-01-09/cli_files.py:prices")
    sys.modules.pop("cli_files", None)


def test_what_is_not_installed_is_a_wrong_command(shell, monkeypatch):
    """A driver that is missing is exit code 2: trying the same again does not help."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    printed = shell("runs", "--ledger", "postgresql+psycopg://me@localhost/none", exit_code=2)
    assert "pip install 'flowctx[postgres]'" in printed


READS = (("runs",), ("show", "r1"), ("captures", "prices"), ("status", "b"), ("batches",), ("resume", "r1"))


@pytest.mark.parametrize(
    "command", [*READS, ("replay", "r1", "fetch"), ("cancel", "b"), ("ledger", "prune", "--days", "1")]
)
def test_a_slip_in_the_name_of_a_ledger_makes_none(shell, command):
    """What only reads a ledger refuses one that is not there, names it, and makes no file."""
    printed = shell(*command, "--ledger", "sqlite:///nosuchyet.db", exit_code=2)
    assert "there is no ledger sqlite:///nosuchyet.db: no such file" in printed
    assert not (shell.folder / "nosuchyet.db").exists()


def test_the_users_own_ledger_may_not_be_there_yet(shell, monkeypatch, tmp_path):
    """Before the first run nothing is remembered, which is said, and no file is made."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert "ledger.db is not there yet: it remembers no such run" in shell("runs")
    assert not (tmp_path / "state").exists()


def test_what_is_unknown_is_told_with_the_ledger(failed):
    """A run or a batch that nobody remembers may be in another ledger: the message names this one."""
    assert f"(ledger {os.environ['FLOWCTX_LEDGER_URL']})" in failed("show", "nope", exit_code=2)
    assert f"(ledger {os.environ['FLOWCTX_LEDGER_URL']})" in failed("status", "nope", exit_code=2)


def test_a_date_that_cannot_be_is_no_partition(failed):
    """A date of a partition is checked although no scheme is known: nothing could have such a partition."""
    assert "2026-01-99" in failed("runs", "--partition", "date=2026-01-99", exit_code=2)


def test_a_step_that_ends_the_process_is_told(shell):
    """``sys.exit`` in a step is a failure of the run, whatever its code, and the ledger's sentence is printed."""
    shell.file.write_text(shell.file.read_text().replace("def fetch(ctx):", "def fetch(ctx):\n    raise SystemExit(0)"))
    printed = shell(*RUN, exit_code=1)
    assert "Error: run r1: a step called sys.exit(0); a step has ended the process" in printed
    assert "to continue: flowctx resume r1" in printed


def test_a_run_whose_ledger_is_away_is_told_as_it_ended(shell, monkeypatch):
    """Where it may go on without one: what only the ledger could say of it is a warning, and no failure."""
    shell.mend()
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    away = ("--ledger", "postgresql://nobody@127.0.0.1:1/none", "--batch", "b")
    done = shell(*RUN, *away)
    assert re.search(r"^status +ok$", done, re.MULTILINE)
    assert "Warning: the ledger postgresql" in done
    assert shell(*RUN, *away, "--json")["status"] == "ok"
    (shell.folder / "mended").unlink()
    failed = shell(*RUN, *away, exit_code=1)
    assert re.search(r"^status +failed$", failed, re.MULTILINE)
    assert "Error:" not in failed


def test_a_parameter_that_a_batch_does_not_have_is_told(shell):
    """A run of a batch goes on with it alone; of a batch that has it, the batch counts what was made with others."""
    fill = ("backfill", "cli_flows:prices", "--select", "symbol=IBM", "--workers", "1")
    for batch, more, told in (("bare", (), True), ("given", ("-p", "limit=4"), False)):
        shell(*fill, "--batch", batch, *more, exit_code=1)
        [run] = shell("runs", "--batch", batch, "--json")
        printed = shell("resume", run["run_id"], "-p", "limit=5", exit_code=1)
        assert (f"batch {batch!r} has no parameter limit: only this run goes on with it" in printed) is told


def test_ctrl_c_says_how_to_go_on(shell):
    """A run that was interrupted says its id and what continues it."""
    shell.file.write_text(
        shell.file.read_text().replace("def check(ctx):", "def check(ctx):\n    raise KeyboardInterrupt")
    )
    printed = shell(*RUN, exit_code=1)
    assert printed.splitlines() == ["Error: run r1: interrupted", "to continue: flowctx resume r1"]


def test_a_failed_run_says_what_to_type(shell):
    """After a failure stand the commands that show where it was and that go on; they work as they stand."""
    shell.file.write_text(shell.file.read_text().replace("def check(ctx):", "def check(ctx):\n    1 / 0"))
    printed = shell(*RUN, exit_code=1)
    assert "to see where it failed: flowctx show r1 --traceback" in printed
    assert "1 / 0" in shell("show", "r1", "--traceback")
    assert "to continue: flowctx resume r1" in printed


def test_a_complete_run_is_not_said_to_have_run(shell):
    """Resuming what is complete says that nothing was left."""
    shell.mend()
    shell(*RUN)
    assert "nothing was left to run; to run part of it again, add --from-step STEP" in shell("resume", "r1")


def test_the_outputs_of_steps_are_shown(failed):
    """A run shows the beginning of what its steps made."""
    shown = failed("show", "r1")
    assert re.search(r"fetch +rows +\[1, 2, 3\]", shown)


@pytest.mark.parametrize(
    ("import_path", "engine", "words"),
    [
        (
            None,
            {"name": "airflow", "dag_id": "own"},
            "clear the steps that are not complete, and",
        ),
        ("/flows/defs.py:nav", {"name": "dagster"}, "flowctx resume r2 --workflow FILE.py:nav"),
        ("unusual_prefix_1_dags:nav", {"name": "airflow", "dag_id": "nav"}, "resume r2 --workflow MODULE:nav"),
        ("cli_flows:prices", {"name": "airflow", "dag_id": "prices"}, "to continue: flowctx resume r2\n"),
    ],
)
def test_only_what_works_is_advised(shell, import_path, engine, words):
    """How a failed run goes on depends on where it ran and on whether its workflow is found here."""
    ledger = SqlLedger(os.environ["FLOWCTX_LEDGER_URL"])
    ctx = make_context(run_id="r2", metadata={"engine": engine})
    run = ledger.begin(RunRecord(workflow="own", context=ctx, import_path=import_path))
    ledger.finish(run, RunStatus.FAILED, "too bad")
    ledger.close()
    printed = shell("show", "r2")
    assert words in printed
    assert f"if {engine['name']} runs it again, this is told here once its next step has begun" in printed


def test_a_date_is_typed_in_one_form(shell):
    """Another form of a business date is refused with the one to write."""
    printed = shell(*RUN, "--as-of", "06/01/2026", exit_code=2)
    assert "--as-of is '06/01/2026'; write it as YYYY-MM-DD" in printed


def test_a_run_that_is_there_is_told_in_a_sentence(failed):
    """What a run id is taken by is one sentence."""
    assert "the ledger remembers a run 'r1' already; continue it" in failed(*RUN, exit_code=2)
