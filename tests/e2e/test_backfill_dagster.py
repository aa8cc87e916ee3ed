"""Batches on a real Dagster: killed, launched again, retried, started natively, and what goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.backfill_flow import ALL, BAD, FLOWS, OTHER, TOTAL, Home
from e2e.dagster_stack import DagsterStack, dagster_stack

pytestmark = pytest.mark.e2e

DEFINITIONS = """
import dagster as dg
from flowctx.dagster import workflow_definitions
from flows import flow

defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``flows.py`` is."""
    return tmp_path_factory.mktemp("flows")


@pytest.fixture(scope="module")
def stack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterStack]:
    """A Dagster with the workflow as assets."""
    Home(folder, {})
    home = tmp_path_factory.mktemp("dagster") / "home"
    with dagster_stack(home, DEFINITIONS, env={"PYTHONPATH": str(folder)}) as stack:
        yield stack


@pytest.fixture(scope="module")
def home(stack: DagsterStack, folder: Path) -> Home:
    """The folder in which ``flowctx`` is run."""
    return Home(folder, {"FLOWCTX_DAGSTER_URL": stack.url})


def test_a_batch_that_was_killed_runs_each_partition_once(stack: DagsterStack, home: Home) -> None:
    """Killed half-way and launched again, a batch of 100 has one run for each partition, and its one failure."""
    command = [*_command("killed"), "-p", "limit=3"]
    home.kill_when(lambda: home.known("killed") >= TOTAL // 2, *command)
    home.run(*command, code=1)
    runs = stack.runs({"flowctx/batch_id": "killed"})
    assert len(runs) == len({run["tags"]["dagster/partition"] for run in runs}) == TOTAL
    status = home.status("killed")
    assert status["counts"] == {"ok": 98, "skipped": 1, "failed": 1}
    assert [(f["partition"], f["step"], f["error"]) for f in status["failures"]] == [
        (BAD, "check", "12 rows are missing")
    ]


def test_what_failed_is_run_again_and_nothing_else(stack: DagsterStack, home: Home) -> None:
    """A retry re-executes the failed run from its failure: one successful run and one capture of each partition."""
    (home.folder / "mended").touch()
    home.run(*_command("killed"), "-p", "limit=3", "--retry-failed")
    assert home.status("killed")["counts"] == {"ok": 99, "skipped": 1}
    runs = stack.runs({"flowctx/batch_id": "killed"})
    assert Counter(run["status"] for run in runs) == {"SUCCESS": TOTAL, "FAILURE": 1}
    calls = Counter(home.calls())
    assert set(calls.values()) == {1}
    assert len({capture for _, _, capture in calls}) == TOTAL - 1


@pytest.mark.parametrize("tag", ["batch_id", None])
def test_a_native_backfill_is_found(stack: DagsterStack, home: Home, tag: str | None) -> None:
    """Runs of Dagster's own backfill are found by their tag or by its id; launching adds only the rest."""
    keys = [f"2012-01-{day:02}|T1" for day in (3, 4, 5)]
    tags = {tag: "native"} if tag else None
    backfill_id = stack.launch_backfill(keys, "restated/load", "restated/check", tags=tags)
    batch_id = "native" if tag else backfill_id
    stack.wait_for_runs(3, {"dagster/backfill": backfill_id})
    status = home.status(batch_id, "--on", "dagster", "--workflow", "flows:flow")
    assert status["counts"] == {"ok": 3}
    out, _ = home.run(*_command(batch_id, "date=2012-01-03..2012-01-06,tier=T1"), "--json")
    assert json.loads(out)["before"] == {"ok": 3}
    assert json.loads(out)["ended"] == {"ok": 1}
    assert batch_id in home.run("batches")[0]


def test_cancel_stops_runs(home: Home) -> None:
    """A cancelled batch has nothing under way any more, and can be launched again."""
    some = "date=2012-01-10..2012-01-13"
    home.kill_when(lambda: home.known("stopped") >= 3, *_command("stopped", some))
    home.run("cancel", "stopped")
    counts = home.status("stopped")["counts"]
    assert not {"running", "launched"} & counts.keys()
    home.run(*_command("stopped", some))
    assert home.status("stopped")["counts"] == {"ok": 20}


@pytest.mark.parametrize(
    ("env", "args", "line"),
    [
        ({"FLOWCTX_DAGSTER_URL": "http://127.0.0.1:9"}, ["flows:flow"], "cannot be reached"),
        ({}, ["flows:flow", "--url", "localhost"], "is no URL of Dagster"),
        ({}, ["other:missing"], "has no job 'missing_job' or 'missing'"),
    ],
)
def test_what_cannot_be_launched_says_why_in_a_line(
    home: Home, env: dict[str, str], args: list[str], line: str
) -> None:
    """An engine that is not there and a job that is missing are one line each, and no batch."""
    (home.folder / "other.py").write_text(OTHER)
    other = Home(home.folder, {**home.env, **env})
    _, err = other.run("backfill", *args, "--batch", "refused", "--on", "dagster", code=1)
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert "no batch 'refused'" in other.run("status", "refused", code=1)[1]


def test_a_partition_that_dagster_lacks_fails_alone(home: Home) -> None:
    """A partition that the definitions do not have is a failure with Dagster's words; the others run."""
    elsewhere = Home(home.folder / "newer", home.env)
    (elsewhere.folder / "flows.py").write_text(FLOWS.replace('"T5"]', '"T5", "T6"]'))
    _, err = elsewhere.run(*_command("newer", "date=2012-01-06,tier=T5|T6"), code=1)
    assert "failed: date=2012-01-06|tier=T6" in err
    assert elsewhere.status("newer")["counts"] == {"ok": 1, "failed": 1}


def _command(batch_id: str, selection: str = ALL) -> list[str]:
    return ["backfill", "flows:flow", "--batch", batch_id, "--select", selection, "--on", "dagster"]
