"""What holds of a batch whoever runs it: the tests that each engine's own file inherits."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from e2e.flow_folder import ALL, BAD, FLOW, TOTAL, Home, write_flow


class EngineRun(NamedTuple):
    """A run as its engine tells it."""

    #: The engine's text of its partition.
    partition: str
    succeeded: bool


#: Workflows, and in how many days their calendars end.
ENDING = [("ends_5", 5), ("ends_ago_1", -1)]
#: Returns the runs of a batch.
Runs: TypeAlias = Callable[[str], list[EngineRun]]


class LaunchContract:
    """Batches of one engine: killed, launched again, retried, canceled, and what cannot be launched.

    Its module has the fixtures ``engine`` (what ``--on`` is given), ``home``, ``runs``, which returns all runs of a
    batch that the engine itself knows, ``failures_kept`` (how many failed runs stay beside the retry of one), and
    ``lacking`` (what comes before the reason where a partition is not there).
    """

    def test_a_batch_that_was_killed_runs_each_partition_once(self, engine: str, home: Home, runs: Runs) -> None:
        """Killed half-way and launched again, a batch of 9 has one run for each partition, and its one failure."""
        command = [*backfill(engine, "killed"), "-p", "limit=3"]
        home.kill_when(lambda: home.known("killed") >= TOTAL // 2, *command)
        home.run(*command, code=1)
        found = runs("killed")
        assert len(found) == len({run.partition for run in found}) == TOTAL
        status = home.status("killed")
        assert status["counts"] == {"ok": TOTAL - 2, "skipped": 1, "failed": 1}
        (failure,) = status["failures"]
        assert (failure["partition"], failure["step"], failure["error"]) == (BAD, "check", "12 rows are missing")

    def test_what_failed_is_run_again_and_nothing_else(
        self, engine: str, home: Home, runs: Runs, failures_kept: int
    ) -> None:
        """After a retry each partition has one successful run and one capture, and no step was called twice."""
        (home.folder / "mended").touch()
        home.run(*backfill(engine, "killed"), "-p", "limit=3", "--retry-failed")
        assert home.status("killed")["counts"] == {"ok": TOTAL - 1, "skipped": 1}
        succeeded = Counter(run.partition for run in runs("killed") if run.succeeded)
        assert len(succeeded) == TOTAL
        assert set(succeeded.values()) == {1}
        assert len(runs("killed")) == TOTAL + failures_kept
        calls = Counter(home.calls())
        assert set(calls.values()) == {1}
        assert len({capture for _, _, capture in calls}) == TOTAL - 1

    def test_cancel_stops_runs(self, engine: str, home: Home) -> None:
        """A launch begins nothing more once ``cancel`` says so, and nothing is under way any more.

        Launched again, the batch is ok when every step has run.
        """
        some = "date=2012-01-10..2012-01-11,tier=T1|T2"
        # Slow: Dagster 1.13's code server may hang for good if a run is stopped in the moment in which it ends.
        (home.folder / "slow").touch()
        launch = home.start(*backfill(engine, "stopped", some), "--workers", "2")
        home.wait_for(launch, lambda: home.known("stopped") >= 2)
        home.run("cancel", "stopped")
        begun = home.known("stopped")
        out, err = launch.communicate(timeout=60)
        assert (launch.returncode, f"no more partitions are begun, {begun} are under way" in err) == (1, True), err
        assert f"under way {begun}, when this ended" in " ".join(out.split()), out
        (home.folder / "slow").unlink()
        counts = home.status("stopped")["counts"]
        assert counts == {"canceled": begun, "missing": 4 - begun}
        home.run(*backfill(engine, "stopped", some))
        assert home.status("stopped")["counts"] == {"ok": 4}
        assert len(home.checked("stopped")) == 4

    def test_a_partition_that_the_engine_lacks_fails_alone(self, engine: str, home: Home, lacking: str) -> None:
        """A partition that the engine does not have is a failure that says so; the others run."""
        elsewhere = Home(home.folder / "newer", home.env)
        write_flow(elsewhere.folder, "restated", FLOW.replace('"T5"]', '"T5", "T6"]'))
        _, err = elsewhere.run(*backfill(engine, "newer", "date=2012-01-06,tier=T5|T6"), code=1)
        assert f"failed: date=2012-01-06|tier=T6{lacking}" in err
        assert elsewhere.status("newer")["counts"] == {"ok": 1, "failed": 1}

    def test_doctor_reaches_the_engine(self, engine: str, home: Home) -> None:
        """The server answers with the version that is installed here, to the credentials that batches use."""
        out, _ = home.run("doctor", "--json")
        found = {row["what"]: row for row in json.loads(out)["checks"]}
        name = engine.title()
        assert found[f"{name}'s server"]["note"] == f"version {found[name]['found']}"

    @pytest.mark.parametrize(("name", "left"), ENDING)
    def test_known_dates_are_launched_before_a_calendar_ends_and_after_it(
        self, engine: str, home: Home, name: str, left: int
    ) -> None:
        """A day that is known runs; one beyond that, alone or in a range, is refused in a line that names the end."""
        write_flow(home.folder, "end_flows", Path(__file__).with_name("end_flows.py").read_text())
        today = datetime.now(UTC).date()
        day, last = today - timedelta(days=3), today + timedelta(days=left)
        command = ("backfill", f"end_flows:{name}", "--batch", name, "--on", engine, "--select")
        out, _ = home.run(*command, f"date={day}", "--json")
        assert json.loads(out)["ended"] == {"ok": 1}
        for selection in (f"date={last + timedelta(days=1)}", f"date={day}..{last + timedelta(days=1)}"):
            _, err = home.run(*command, selection, code=2)
            assert re.search(rf"outside what is known of the calendar ENDING \(7\) here: .* to {last}", err)
            assert len(err.strip().splitlines()) == 1
        assert home.status(name)["counts"] == {"ok": 1}


def backfill(engine: str, batch_id: str, selection: str = ALL) -> list[str]:
    """Return what to type to launch a batch on an engine."""
    return ["backfill", "restated:flow", "--batch", batch_id, "--select", selection, "--on", engine]


def refusal(home: Home, env: dict[str, str], engine: str, *args: str) -> str:
    """Return the one line with which a launch is refused; no batch is left behind."""
    write_flow(home.folder, "missing")
    other = Home(home.folder, {**home.env, **env})
    _, err = other.run("backfill", *args, "--batch", "refused", "--on", engine, code=1)
    assert len(err.strip().splitlines()) == 1
    assert "no batch 'refused'" in other.run("status", "refused", code=2)[1]
    return err
