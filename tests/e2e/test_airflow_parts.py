"""What a real Airflow runs in part, day by day without partitions, or skips: the ledger has what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.flow_folder import Home
from e2e.part_flows import days, parts, ticks
from e2e.test_airflow_scheduler import clear, tasks
from e2e.test_dead_runs import calls, command, ended
from flowctx import BatchStatus, PartitionKey
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.ledger import open_ledger

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """The ledger that tasks and the scheduler know."""
    ledger = open_ledger(ledger_url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def home(airflow: AirflowStack, ledger_url: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder to type commands in."""
    return command(airflow, ledger_url, tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module", autouse=True)
def backfills(airflow: AirflowStack) -> None:
    """Airflow's own backfills of DAGs without partitions, begun before the other tests."""
    for dag_id, first, last in (("days", "08", "10"), ("ticks", "09", "10")):
        conf = {"batch_id": f"restate-{dag_id}"}
        airflow.backfill(dag_id, f"2026-01-{first}", f"2026-01-{last}", dag_run_conf=conf)


def trigger(airflow: AirflowStack, dag_id: str, tier: str, batch_id: str | None, state: str = "success") -> str:
    """Run a DAG for a tier to its end, and return the run's id."""
    conf = {"partition": f"tier={tier}"} | ({"batch_id": batch_id} if batch_id else {})
    run_id = str(airflow.trigger(dag_id, conf=conf)["dag_run_id"])
    assert airflow.wait_for_run(dag_id, run_id)["state"] == state
    return run_id


def mark(airflow: AirflowStack, run_id: str, task: str, dag_id: str = "parts") -> None:
    """Mark a task of a run as successful, as people do in the UI."""
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task}"
    status, answer = airflow.request("PATCH", path, {"new_state": "success"})
    assert status == 200, answer


def over(airflow: AirflowStack, ledger: Ledger, run_id: str) -> RunStatus:
    """Return how a run ended in the ledger, once Airflow calls it over too."""
    airflow.wait_for_run("parts", run_id)
    airflow.wait_until(lambda: ended(ledger, run_id), "the end of the run in the ledger")
    return ledger.get_run(run_id).status


def break_step(airflow: AirflowStack, batch_id: str, step: str) -> None:
    """Let a step of a batch fail; an empty name mends all."""
    Path(airflow.env["DYING"], f"broken-{batch_id}").write_text(step)


def captures(ledger: Ledger, workflow: str) -> dict[str, str]:
    """Return the state of each capture of a workflow, by its id."""
    return {capture.key.capture_id: str(capture.state) for capture in ledger.captures(workflow=workflow)}


def current(ledger: Ledger, tier: str) -> str | None:
    """Return the run whose capture of a tier is current."""
    found = ledger.captures(workflow="parts", partition=PartitionKey(tier=tier))
    return next((one.run_id for one in reversed(found) if one.state is CaptureState.COMPLETE), None)


def test_a_dag_of_some_steps_is_a_part(airflow: AirflowStack, ledger: Ledger, home: Home) -> None:
    """One step of two is a part that no batch counts as done; it shadows no capture, and the rest completes it.

    A batch that is launched then runs what is missing, and nothing again.
    """
    whole = trigger(airflow, "parts", "T1", "whole")
    some = [trigger(airflow, "parts_first", tier, batch) for tier, batch in (("T1", None), ("T3", "some"))]
    found = [ledger.get_run(run_id) for run_id in some]
    assert {(run.status, run.selected) for run in found} == {(RunStatus.PARTIAL, ("first",))}
    assert current(ledger, "T1") == whole
    assert "T3|some" not in captures(ledger, "parts")
    status = BatchStatus.of(ledger, "some", parts)
    assert (status.counts, status.complete) == ({"partial": 1}, False)
    home.run("backfill", "part_flows:parts", "--batch", "some", "--select", "tier=T3", "--on", "airflow")
    assert captures(ledger, "parts")["T3|some"] == "complete"
    assert BatchStatus.of(ledger, "some", parts).counts == {"ok": 1}
    assert calls(airflow, "some") == ["first", "second"]


def test_what_the_ledger_has_lost_runs_again(
    airflow: AirflowStack, home: Home, ledger_url: str, tmp_path: Path
) -> None:
    """To a ledger that has nothing of a batch, as an older backup, it is not done, though Airflow calls it so."""
    launch = ("backfill", "part_flows:parts", "--batch", "lost", "--select", "tier=T1", "--on", "airflow")
    home.run(*launch)
    older = command(airflow, f"sqlite:///{tmp_path / 'older.db'}", tmp_path)
    _, err = older.run(*launch, code=1)  # tasks write to the other one, so that this has nothing of it again
    assert "airflow has 1 partition as done, and the ledger has nothing of what they made, so they run again" in err
    assert older.status("lost")["counts"] == {"partial": 1}
    assert calls(airflow, "lost") == ["first", "second", "first", "second"]
    home.run(*launch)
    assert home.status("lost")["counts"] == {"ok": 1}


def test_a_cleared_task_is_what_it_did_last(airflow: AirflowStack, ledger: Ledger) -> None:
    """A cleared task that fails leaves no whole run, and the batch says so; one that is mended makes it whole again."""
    run_id = trigger(airflow, "parts", "T3", "cleared")
    for step, status, counts in (("second", RunStatus.FAILED, {"failed": 1}), ("", RunStatus.OK, {"ok": 1})):
        break_step(airflow, "cleared", step)
        clear(airflow, "parts", run_id, ["second"], downstream=False)
        assert over(airflow, ledger, run_id) is status
        assert BatchStatus.of(ledger, "cleared", parts).counts == counts
    assert captures(ledger, "parts")["T3|cleared"] == "complete"
    assert calls(airflow, "cleared") == ["first", "second", "second", "second"]


def test_a_step_that_was_marked_has_not_run(airflow: AirflowStack, ledger: Ledger, home: Home) -> None:
    """A failed step that somebody marks as successful leaves a failed run, though Airflow calls it a success."""
    break_step(airflow, "marked", "first")
    run_id = trigger(airflow, "parts", "T4", "marked", "failed")
    mark(airflow, run_id, "first")
    clear(airflow, "parts", run_id, ["second"], downstream=False)
    assert over(airflow, ledger, run_id) is RunStatus.FAILED
    assert tasks(airflow, "parts", run_id)["second"]["state"] == "success"
    assert home.status("marked", "--on", "airflow", "--workflow", "part_flows:parts")["counts"] == {"failed": 1}
    assert captures(ledger, "parts")["T4|marked"] == "released"


def test_a_step_that_was_marked_before_it_ran_leaves_a_part(airflow: AirflowStack, ledger: Ledger) -> None:
    """Where no failure is known either, the run is a part, and captures nothing."""
    airflow.request("PATCH", "/dags/parts", {"is_paused": True})
    conf = {"partition": "tier=T4", "batch_id": "premarked"}
    run_id = airflow.trigger("parts", conf=conf)["dag_run_id"]
    mark(airflow, run_id, "first")
    airflow.request("PATCH", "/dags/parts", {"is_paused": False})
    assert over(airflow, ledger, run_id) is RunStatus.PARTIAL
    assert BatchStatus.of(ledger, "premarked", parts).counts == {"partial": 1}
    assert captures(ledger, "parts")["T4|premarked"] == "released"
    assert calls(airflow, "premarked") == ["second"]


def test_from_a_step_on_is_whole_with_what_came_before(airflow: AirflowStack, ledger: Ledger, home: Home) -> None:
    """Run again from a step on, a run is whole with the steps before it; else an older one is current."""
    old, run_id = trigger(airflow, "parts", "T5", "old"), trigger(airflow, "parts", "T5", "again")
    resume = ("resume", run_id, "--on", "airflow", "--workflow", "part_flows:parts", "--from-step", "second", "--json")
    assert current(ledger, "T5") == run_id
    break_step(airflow, "again", "second")
    failed = json.loads(home.run(*resume, code=1)[0])
    assert (failed["status"], current(ledger, "T5")) == ("failed", old)
    break_step(airflow, "again", "")
    done = json.loads(home.run(*resume)[0])
    assert (ledger.get_run(done["run_id"]).status, current(ledger, "T5")) == (RunStatus.OK, done["run_id"])
    assert calls(airflow, "again") == ["first", *["second"] * 3]


def batch_of(airflow: AirflowStack, dag_id: str, batch_id: str, count: int) -> list[dict[str, Any]]:
    """Return the runs of a batch once there are so many, and they are over."""

    def found() -> list[dict[str, Any]]:
        every = [run for run in airflow.runs(dag_id) if run["conf"].get("batch_id") == batch_id]
        return [run for run in every if run["state"] in ("success", "failed")]

    airflow.wait_until(lambda: len(found()) >= count, f"{count} runs of {dag_id}")
    return found()


def test_each_day_of_a_native_backfill_is_its_own(airflow: AirflowStack, ledger: Ledger, home: Home) -> None:
    """Without partitions, three days of one batch are three captures and three rows, of which one has failed."""
    assert len(batch_of(airflow, "days", "restate-days", 3)) == 3
    found = {capture: state for capture, state in captures(ledger, "days").items() if capture.endswith("|restate-days")}
    assert found == {
        "2026-01-08|restate-days": "complete",
        "2026-01-09|restate-days": "released",
        "2026-01-10|restate-days": "complete",
    }
    status = BatchStatus.of(ledger, "restate-days", days)
    assert (status.counts, status.total) == ({"ok": 2, "failed": 1}, 3)
    assert [failure.label for failure in status.failures] == ["2026-01-09"]
    assert status.grid is not None
    assert (status.grid.rows, status.grid.cells) == (["2026-01-08", "2026-01-09", "2026-01-10"], b"ofo")


def test_each_tick_and_each_run_by_hand_is_its_own(airflow: AirflowStack, ledger: Ledger) -> None:
    """Two ticks of one day are two captures and two rows, and so are two runs by hand that are about no date."""
    by_hand = [airflow.trigger("ticks", conf={"batch_id": "by-hand"})["dag_run_id"] for _ in range(2)]
    for batch_id, names in (
        ("restate-ticks", ["2026-01-09T14:00:00Z", "2026-01-09T15:00:00Z"]),
        ("by-hand", sorted(by_hand)),
    ):
        batch_of(airflow, "ticks", batch_id, 2)
        status = BatchStatus.of(ledger, batch_id, ticks)
        assert (status.counts, status.total) == ({"ok": 2}, 2)
        assert status.grid is not None
        assert sorted(status.grid.rows) == names


def test_skips_have_their_reasons_everywhere(airflow: AirflowStack, ledger: Ledger, home: Home) -> None:
    """A skipped partition is skipped with all that follows, a reduce step after skips alone is skipped as well.

    Why is in ``runs``, in ``status`` and on the page.
    """
    for only in ("none", "IBM"):
        run_id = airflow.trigger("symbols", conf={"batch_id": f"only-{only}", "only": only})["dag_run_id"]
        assert airflow.wait_for_run("symbols", run_id)["state"] == "success"
        found = {name: task["state"] for name, task in tasks(airflow, "symbols", run_id).items()}
        states = ("skipped", "skipped", "skipped") if only == "none" else ("skipped", "success", "success")
        assert tuple(found[name] for name in ("trade[AAPL]", "trade[IBM]", "summary")) == states
    home.run(
        "backfill", "part_flows:holes", "--batch", "holes", "--select", "date=2012-10-24..2012-10-25", "--on", "airflow"
    )
    status = home.status("holes", "--html", "page.html")
    assert (status["counts"], status["skips"]) == ({"ok": 1, "skipped": 1}, {"a holiday": 1})
    assert "a holiday" in (home.folder / "page.html").read_text()
    [skipped] = json.loads(home.run("runs", "--batch", "holes", "--status", "skipped", "--json")[0])
    assert (skipped["partition"], skipped["error"]) == ("date=2012-10-25", "a holiday")
