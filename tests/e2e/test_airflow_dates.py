"""Dates on a real Airflow scheduler: every timetable, every kind of due time, and calendars that end."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from e2e.airflow_stack import AirflowStack

pytestmark = pytest.mark.e2e


def runs(airflow: AirflowStack, dag_id: str, count: int) -> list[tuple[str, str]]:
    """Wait for so many scheduled runs of a DAG, and return their keys and run_after, in order, to the minute."""

    def found() -> list[dict[str, Any]]:
        return [run for run in airflow.runs(dag_id) if run["run_type"] == "scheduled"]

    airflow.wait_until(lambda: len(found()) >= count, f"{count} runs of {dag_id}", seconds=500)
    return sorted((run["partition_key"], run["run_after"][:16]) for run in found())


def test_every_timetable_has_the_date_of_its_own_zone(airflow: AirflowStack) -> None:
    """On both sides of midnight, in the nights of both changes of the clocks, each timetable has its zone's date."""
    evenings = {
        "America-New_York": {"spring": "2026-03-07", "autumn": "2026-10-31"},
        "Australia-Lord_Howe": {"autumn": "2026-04-04"},
        "Asia-Tokyo": {"none": "2026-03-07"},
    }
    dags = [dag["dag_id"] for dag in airflow.get("/dags", dag_id_pattern="zone.", limit=100)["dags"]]
    assert len(dags) == 39
    found = airflow.home / "zones"
    airflow.wait_until(lambda: len([*found.glob("*/*.txt")]) >= 78, "all runs", seconds=700)
    for dag_id in dags:
        _, _, zone, change = dag_id.split(".")
        evening = date.fromisoformat(evenings[zone][change])
        seen = sorted(json.loads(path.read_text()) for path in (found / dag_id).glob("*.txt"))
        assert (dag_id, seen) == (dag_id, [str(evening), str(evening + timedelta(days=1))])


def test_days_are_due_on_their_own_evening_and_half_days_in_the_afternoon(airflow: AirflowStack) -> None:
    """17:00 in New York, and half an hour after the close: 13:30 on the day after Thanksgiving."""
    assert runs(airflow, "evenings", 3) == [
        ("2025-11-26", "2025-11-26T22:00"),
        ("2025-11-28", "2025-11-28T22:00"),
        ("2025-12-01", "2025-12-01T22:00"),
    ]
    assert runs(airflow, "half_days", 3) == [
        ("2025-11-26", "2025-11-26T21:30"),
        ("2025-11-28", "2025-11-28T18:30"),
        ("2025-12-01", "2025-12-01T21:30"),
    ]


def test_today_runs_today(airflow: AirflowStack) -> None:
    """A date that is due on its own day runs then, and one that closes early half an hour after that."""
    due = datetime.fromisoformat(airflow.env["DUE"])
    for dag_id in ("this_evening", "this_half_day"):
        [(key, run_after)] = runs(airflow, dag_id, 1)
        assert run_after == due.astimezone(UTC).isoformat()[:16]
        assert abs((due.date() - datetime.fromisoformat(key).date()).days) <= 1


def test_hours_run_over_both_changes_of_the_clocks(airflow: AirflowStack) -> None:
    """One hour is left out in spring, one comes twice in autumn, and each is due a quarter of an hour after it."""
    assert runs(airflow, "hours_spring", 4) == [
        ("2026-03-08T00:00-05:00", "2026-03-08T06:15"),
        ("2026-03-08T01:00-05:00", "2026-03-08T07:15"),
        ("2026-03-08T03:00-04:00", "2026-03-08T08:15"),
        ("2026-03-08T04:00-04:00", "2026-03-08T09:15"),
    ]
    assert runs(airflow, "hours_autumn", 4) == [
        ("2026-11-01T00:00-04:00", "2026-11-01T05:15"),
        ("2026-11-01T01:00-04:00", "2026-11-01T06:15"),
        ("2026-11-01T01:00-05:00", "2026-11-01T07:15"),
        ("2026-11-01T02:00-05:00", "2026-11-01T08:15"),
    ]


def test_years_and_tiers_run_when_they_are_due(airflow: AirflowStack) -> None:
    """Fiscal years end in June; of a week, tier 1 is due after two weeks and OTC after four."""
    assert runs(airflow, "fiscal", 3)[:2] == [("2024-06-30", "2024-07-01T04:00"), ("2025-06-30", "2025-07-01T04:00")]
    found = dict(runs(airflow, "tiers_later", 8))
    assert len(found) == 8
    assert (found["2026-09-04|T1"], found["2026-09-04|OTC"]) == ("2026-09-19T04:00", "2026-10-03T04:00")


@pytest.mark.parametrize(("dag_id", "left"), [("ends_40", 40), ("ends_5", 5), ("ends_ago_1", -1)])
def test_a_calendar_that_ends_is_scheduled_and_backfilled(airflow: AirflowStack, dag_id: str, left: int) -> None:
    """The latest known date is scheduled, a backfill past the end makes what is known, and the UI says so."""
    today = datetime.fromisoformat(airflow.env["DUE"]).date()
    last = today + timedelta(days=left)
    summary = airflow.get(f"/dags/{dag_id}/details")["timetable_summary"]
    assert f"(calendar {'ended' if left < 0 else 'ends'} " in summary
    yesterday = (today - timedelta(days=1)).isoformat()
    assert yesterday in [key for key, _ in runs(airflow, dag_id, 1)]
    first, beyond = (str(day) for day in (today - timedelta(days=2), last + timedelta(days=30)))
    airflow.backfill(dag_id, first, beyond, max_active_runs=9)
    wanted = {(today - timedelta(days=n)).isoformat() for n in (1, 2)}
    airflow.wait_until(lambda: {run["partition_key"] for run in airflow.runs(dag_id)} >= wanted, "the backfill's runs")
    unknown = (last + timedelta(days=9)).isoformat()
    status, answer = airflow.request(
        "POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "partition_key": unknown}
    )
    assert status == 400
    assert "known" in json.dumps(answer) or "not due" in json.dumps(answer)
