"""The commands for batches, as people type them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfill.flows import flow
from flowctx import Backfill, Workflow, run
from flowctx.cli import cli
from flowctx.ledger import open_ledger

FLOW = "backfill.flows:flow"
SOME = "date=2012-01-02..2012-01-03"


def flowctx(url: str, *args: str) -> Result:
    return CliRunner().invoke(cli, list(args), env={"FLOWCTX_LEDGER_URL": url})


def test_a_batch_from_the_dry_run_to_the_page(url: str, notes: Path, tmp_path: Path) -> None:
    """A dry run runs nothing; a failure is exit code 1 and names the retry; after it the page has everything green."""
    bad = "date=2012-01-03|tier=T2"
    fill = ["backfill", FLOW, "--batch", "b", "--select", SOME, "-p", f"notes={notes}", "-p", f'fail=["{bad}"]']
    dry = flowctx(url, *fill, "--dry-run")
    assert "would run   6" in dry.output
    assert "there is no ledger" in flowctx(url, "status", "b").output
    failed = flowctx(url, *fill, "--workers", "1")
    assert failed.exit_code == 1
    assert f"failed: {bad} at check: 12 rows are missing" in failed.stderr
    assert "see why: flowctx status b; it says how to run them again" in failed.output
    Path(f"{notes}.mended").touch()
    assert flowctx(url, *fill, "--retry-failed").exit_code == 0
    html = tmp_path / "b.html"
    status = flowctx(url, "status", "b", "--html", str(html))
    assert "ok          6 (100.0%)" in status.output
    assert '"cells":"oooooo"' in html.read_text()
    assert '<section id="lineage"><h2>Built from' in html.read_text()
    assert json.loads(flowctx(url, "status", "b", "--json").output)["counts"] == {"ok": 6}
    (listed,) = json.loads(flowctx(url, "batches", "--json").output)
    assert (listed["batch_id"], listed["counts"]) == ("b", {"ok": 6})


def test_until_neither_cuts_nor_adds_to_a_batch(url: str) -> None:
    """The same command goes on; an earlier date, or one with more that is due, is refused with what to type."""
    fill = ["backfill", FLOW, "--batch", "b", "--workers", "1"]
    assert flowctx(url, *fill, "--until", "2012-01-04").exit_code == 0
    again = flowctx(url, *fill, "--until", "2012-01-04", "--json")
    assert (again.exit_code, json.loads(again.stdout)["before"]) == (0, {"ok": 9})
    cut = flowctx(url, *fill, "--until", "2012-01-02")
    assert cut.exit_code == 2
    assert "batch 'b' has 9 partitions (date=2012-01-02..2012-01-04), of which until='2012-01-02'" in cut.stderr
    assert "leaves out 6; run it without until= (--until), or take another id" in cut.stderr
    for options, how in (([], " and say extend=True (--extend)"), (["--extend"], "")):
        more = flowctx(url, *fill, "--until", "2012-01-06", *options)
        assert more.exit_code == 2
        assert "until='2012-01-06' only leaves dates out, and adds none to batch 'b'" in more.stderr
        assert more.stderr.endswith(f"run it without until= (--until), or select what to add (--select){how}\n")


def test_until_of_a_weekend_goes_on(url: str) -> None:
    """No date is due between the last one of the batch and that day."""
    fill = ["backfill", FLOW, "--batch", "b", "--workers", "1"]
    assert flowctx(url, *fill, "--select", "date=2012-01-06").exit_code == 0
    assert flowctx(url, *fill, "--until", "2012-01-08").exit_code == 0


def test_what_is_not_typed_again_is_as_the_batch_has_it(url: str, notes: Path) -> None:
    """The command that status prints needs no selection and no parameters: they are those of the batch."""
    bad = "date=2012-01-03|tier=T2"
    fill = ["backfill", FLOW, "--batch", "b", "--select", SOME, "-p", f"notes={notes}", "-p", f'fail=["{bad}"]']
    assert flowctx(url, *fill, "--workers", "1").exit_code == 1
    line = next(line for line in flowctx(url, "status", "b").output.splitlines() if "--retry-failed" in line)
    Path(f"{notes}.mended").touch()
    command = line.partition(": flowctx ")[2].partition(" --from-step")[0].split()
    again = flowctx(url, *command)
    assert (command[:4], again.exit_code) == (["backfill", FLOW, "--batch", "b"], 0)
    assert '"ok": 6' in flowctx(url, "status", "b", "--json").output


def test_the_command_that_status_prints_names_the_function_of_the_parameters(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No function is run because a ledger names it, so that it is typed again; the refusal without it says how."""
    monkeypatch.setenv("BROKEN_TIER", "T2")
    source = ["--params-from", "backfill.flows:broken"]
    assert flowctx(url, "backfill", FLOW, "--batch", "b", "--select", "date=2012-01-02", *source).exit_code == 1
    line = next(line for line in flowctx(url, "status", "b").output.splitlines() if "--retry-failed" in line)
    command = line.partition(": flowctx ")[2].partition(" --from-step")[0].split()
    refused = flowctx(url, *[word for word in command if word not in source])
    assert refused.exit_code == 2
    assert (
        "asks for no function; ask for the same (--params-from backfill.flows:broken), or take another id"
        in refused.stderr
    )
    added = flowctx(url, "backfill", FLOW, "--batch", "b", "--extend", "--select", "date=2012-01-03")
    assert (added.exit_code, "name that too (--params-from backfill.flows:broken)" in added.stderr) == (2, True)
    monkeypatch.delenv("BROKEN_TIER")
    assert flowctx(url, *command).exit_code == 0


def test_a_batch_keeps_its_parameters_where_nothing_runs_with_others(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Done partitions keep what they were made with, so that a batch of them does; what runs again has the others."""
    fill = ["backfill", FLOW, "--batch", "b"]
    bad = 'fail=["date=2012-01-02|tier=T2"]'

    def params() -> object:
        return json.loads(flowctx(url, "status", "b", "--json").output)["params"]

    first = flowctx(url, *fill, "--select", "date=2012-01-02", "-p", bad, "-p", "number=1")
    before = params()
    extend = [*fill, "--extend", "-p", "fail=[]", "-p"]
    kept = flowctx(url, *extend, "number=5")
    assert (first.exit_code, params()) == (1, before)
    (said,) = caplog.messages
    assert f"Warning: {said}\n" in kept.stderr
    assert said.startswith("batch b: nothing of filled runs with the parameters that were given")
    assert said.endswith("; --retry-failed runs with them what failed")
    caplog.clear()
    assert flowctx(url, *extend, "number=5", "--retry-failed").exit_code == 0
    assert caplog.messages == []
    assert params() == {"fail": [], "number": 5}
    assert json.loads(flowctx(url, *extend, "number=6", "--json").stdout)["params_kept"]
    assert params() == {"fail": [], "number": 5}
    caplog.clear()
    more = flowctx(url, *extend, "number=6", "--select", "date=2012-01-03")
    assert (more.exit_code, caplog.messages) == (0, [])
    assert params() == {"fail": [], "number": 6}


def test_a_run_outside_of_the_selection_counts_for_nothing(url: str, notes: Path) -> None:
    """It says so itself, and neither status, the list of batches nor the page takes it for a partition of the batch."""
    ledger = open_ledger(url)
    ledger.batches.put(Backfill(flow, "date=2012-01-02,tier=T1|T2", "b", ledger=ledger).record())
    ledger.close()
    assert flowctx(url, "run", FLOW, "--partition", "2012-01-02|T1", "--batch", "b").stderr == ""
    for day in ("2012-01-09", "2012-01-10"):
        outside = flowctx(url, "run", FLOW, "--partition", f"{day}|T1", "--batch", "b")
        assert outside.exit_code == 0
        assert f'add it: flowctx backfill {FLOW} --batch b --select "date={day},tier=T1" --extend' in outside.stderr
    status = flowctx(url, "status", "b").output
    assert re.search(
        r"ok +1 \(50.0%\)\nmissing +1 \(50.0%\)\noutside +2 ok, of partitions that are not selected", status
    )
    assert "1 ok, 2 ok (not selected)" in flowctx(url, "batches").output
    (listed,) = json.loads(flowctx(url, "batches", "--json").output)
    assert (listed["total"], listed["counts"], listed["outside"]) == (2, {"ok": 1}, {"ok": 2})


def test_a_list_of_batches_says_where_it_is_not_certain(url: str) -> None:
    """Of a run that nobody launched, within a range of which the text does not tell all, the list says so."""
    ledger = open_ledger(url)
    ledger.batches.put(Backfill(flow, "date=2012-01-02..2012-01-06/2,tier=T1", "b", ledger=ledger).record())
    ledger.close()
    assert flowctx(url, "run", FLOW, "--partition", "2012-01-03|T1", "--batch", "b").exit_code == 0
    (listed,) = json.loads(flowctx(url, "batches", "--json").output)
    assert (listed["counts"], listed["outside"], listed["unclear"]) == ({"ok": 1}, {}, 1)
    assert "1 ok, 1 of these may not be selected" in flowctx(url, "batches").output
    status = flowctx(url, "status", "b").output
    assert f"1 of these may not be selected; the workflow as it was then tells: --workflow {FLOW}" in status
    assert "%" not in status
    ledger = open_ledger(url)
    ledger.batches.put(replace(ledger.batches.get("b"), digest="of other partitions"))
    ledger.close()
    changed = flowctx(url, "status", "b", "--workflow", FLOW).output
    assert "1 of these may not be selected; the workflow's partitions have changed since\n" in changed


def test_secrets_of_a_batch_are_to_be_named_again(url: str) -> None:
    """What no ledger keeps cannot be left out."""
    ledger = open_ledger(url)
    known = Backfill(flow, SOME, "b", ledger=ledger).record()
    ledger.batches.put(replace(known, params={"notes": "***"}))
    ledger.close()
    refused = flowctx(url, "backfill", FLOW, "--batch", "b", "--retry-failed")
    assert refused.exit_code == 2
    assert "had secrets in notes, which are not kept; pass all parameters again" in refused.stderr


def test_other_parameters_are_refused_in_a_line(url: str) -> None:
    """The same id with other parameters is one line that says what to do, and exit code 2."""
    assert flowctx(url, "backfill", FLOW, "--batch", "b", "--select", "date=2012-01-02").exit_code == 0
    refused = flowctx(url, "backfill", FLOW, "--batch", "b", "--select", "date=2012-01-02", "-p", "pause=1")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: batch 'b' has the parameters {}, and this asks for {'pause': 1.0};")
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["status", "nothing"], "the ledger remembers no batch 'nothing'; see: flowctx batches"),
        (["cancel", "nothing"], "the ledger remembers no batch 'nothing'"),
        (["backfill", FLOW, "--batch", "b", "--select", "tier=T9"], "T9"),
        (["backfill", FLOW, "--batch", "b", "--select", "date=2012-01-02,,"], "has no '='"),
        (["backfill", FLOW], "--batch"),
        (["backfill", FLOW, "--batch", "b", "--url", "http://x"], "--url is where another engine is"),
        (
            ["backfill", FLOW, "--batch", "b", "--on", "airflow", "--durability", "step"],
            "--durability is for batches here",
        ),
        (["backfill", FLOW, "--batch", "b", "-p", "a=1", "--params-from", "x:y"], "exclude each other"),
        (["backfill", FLOW, "--batch", "b", "--params-from", "backfill.flows:nothing"], "is no function"),
        (["status", "b", "--on", "airflow"], "--workflow MODULE:NAME"),
    ],
)
def test_wrong_input_is_one_clear_line(url: str, args: list[str], line: str) -> None:
    """What cannot be is said in one line, with exit code 2; nothing is remembered."""
    open_ledger(url).list_runs()
    result = flowctx(url, *args)
    assert result.exit_code == 2
    assert line in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(flowctx(url, "batches", "--json").output) == []


def test_a_reader_that_has_gone_is_no_error(url: str) -> None:
    """Output into a pipe that nobody reads any more, as of ``| head``, ends the command without a word."""
    open_ledger(url).list_runs()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "flowctx.cli", "batches", "--json"]
    env = {**os.environ, "FLOWCTX_LEDGER_URL": url}
    done = subprocess.run(command, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_project_names_its_workflows(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in the table [tool.flowctx] of pyproject.toml stands for a workflow's place, in folders below as well."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.flowctx]\nfilled = "{FLOW}"\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    result = flowctx(url, "backfill", "filled", "--batch", "b", "--select", SOME, "--dry-run")
    assert "partitions  6" in result.output
    assert "there is no module 'unnamed'" in flowctx(url, "run", "unnamed").stderr


def test_a_second_workflow_under_the_same_id_is_told_apart(url: str) -> None:
    """Its runs neither stand in for partitions of the batch nor go unseen."""
    other = Workflow("other", partitions=flow.partitions)
    other.step(name="look")(_look)
    run(other, partition="2012-01-02|T1", batch_id="two", ledger=url).raise_for_failure()
    refused = flowctx(url, "backfill", FLOW, "--batch", "two", "--select", SOME)
    assert "is one of workflow 'other', not of 'filled'" in refused.output
    assert flowctx(url, "backfill", FLOW, "--batch", "one", "--select", "date=2012-01-02,tier=T1").exit_code == 0
    run(other, partition="2012-01-02|T2", batch_id="one", ledger=url).raise_for_failure()
    added = flowctx(url, "backfill", FLOW, "--batch", "one", "--select", "date=2012-01-02", "--extend", "--dry-run")
    assert "would run   2" in added.output
    assert "other: 1 ok" in flowctx(url, "status", "one").output
    assert json.loads(flowctx(url, "status", "one", "--json").output)["others"] == {"other": {"ok": 1}}


def _look(ctx: object) -> None:
    return None


def not_due(folder: Path) -> str:
    """Write a module whose workflow has dates that are not due yet, and return its place."""
    first = datetime.now(UTC).date() - timedelta(days=2)
    daily = f"Daily(start='{first}', end='{first + timedelta(days=20)}')"
    source = f"from flowctx import *\nflow = Workflow('later', partitions=PartitionScheme(date={daily}))\n"
    (folder / "later_flows.py").write_text(f"{source}flow.step(name='load')(lambda ctx: {{}})\n")
    return f"{folder / 'later_flows.py'}:flow"


def test_a_dry_run_refuses_what_is_not_due_as_the_launch_does(url: str, tmp_path: Path) -> None:
    """The same sentence and the exit code of what may succeed later, also of a single run; nothing is recorded."""
    place, day = not_due(tmp_path), datetime.now(UTC).date() + timedelta(days=9)
    fill = ["backfill", place, "--batch", "b", "--select", f"date={day}"]
    dry, wet = flowctx(url, *fill, "--dry-run"), flowctx(url, *fill, "--workers", "1")
    assert f"1 of the 1 partitions are not due yet, date={day} until" in dry.stderr
    assert (dry.exit_code, dry.stderr) == (wet.exit_code, wet.stderr) == (1, dry.stderr)
    assert "no batch 'b'" in flowctx(url, "status", "b").output
    source = (tmp_path / "later_flows.py").read_text()
    endless = re.sub(r"start='.*?', end=", "start=", source)
    (tmp_path / "endless_flows.py").write_text(endless)
    for more in ([], [FLOW]):
        fill = ["backfill", f"{tmp_path / 'endless_flows.py'}:flow", *more, "--batch", "c", "--select", "date=last:1"]
        last = flowctx(url, *fill)
        assert (last.exit_code, "and none is yet: the first is" in last.stderr) == (1, True), last.stderr
    alone = flowctx(url, "run", place, "--partition", f"date={day}")
    assert (alone.exit_code, f"date={day} is not due until" in alone.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from-step", "no"], "has no step 'no'"),
        (["--bulk"], "--bulk is for tasks of an engine; add --on"),
        (["--url", "http://localhost:1"], "--url is where another engine is"),
        (["--location", "market"], "--location is a code location of Dagster's"),
        (["--on", "airflow", "--durability", "step"], "--durability is for batches here"),
        (["--on", "airflow", "--location", "market"], "--location is a code location of Dagster's"),
        (["--on", "airflow", "--bulk", "--params-from", "backfill.flows:numbered"], "with one set of parameters"),
    ],
)
def test_a_dry_run_refuses_what_the_command_refuses(url: str, options: list[str], says: str) -> None:
    """Options that are for elsewhere, or a step that there is not, are wrong whether or not anything is to run."""
    fill = ["backfill", FLOW, "--batch", "b", "--select", SOME, *options]
    for command in (fill, [*fill, "--dry-run"]):
        done = flowctx(url, *command)
        assert (done.exit_code, says in done.stderr) == (2, True), done.stderr


def test_a_dry_run_refuses_a_ledger_that_workers_cannot_share() -> None:
    """Worker processes cannot reach a ledger in memory, so that nothing would run."""
    done = flowctx("memory://", "backfill", FLOW, "--batch", "b", "--select", SOME, "--dry-run")
    assert "a ledger in memory cannot be shared with worker processes" in done.stderr
