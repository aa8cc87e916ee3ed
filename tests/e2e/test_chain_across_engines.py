"""A chain of dates on real engines: each date reads the one before it, of its own batch."""

from __future__ import annotations

import itertools
import json
import operator
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home
from flowctx import Daily, PartitionKey

pytestmark = pytest.mark.e2e

#: The sessions of a chain: three of two funds, or more of one, where ``FLOWCTX_TEST_DATES`` says how many.
SESSIONS = int(os.environ.get("FLOWCTX_TEST_DATES", "3"))
FUNDS = "AB" if SESSIONS <= 3 else "A"
SESSIONS_OF_CHAIN = [str(day) for day in Daily(start="2012-01-03", end="2012-03-28", calendar="XNYS")]
DATES = SESSIONS_OF_CHAIN[:SESSIONS]
#: Airflow's own backfill is of dates up to this one; the date after them is run by itself.
LAST = min(max(7, SESSIONS), len(SESSIONS_OF_CHAIN) - 1)
#: Funds of Airflow's own backfill; it makes no run for a partition that has one.
OTHERS = "AB" if SESSIONS <= 3 else "B"
#: The last date that a week reads.
LAST_WEEK = "2012-03-22"
SOME = f"date={DATES[0]}..{DATES[-1]},fund={'|'.join(FUNDS)}"


def chain(first: float, factor: float, count: int) -> list[float]:
    """The values after the first one, each made from the one before."""
    return list(itertools.accumulate([factor] * count, operator.mul, initial=first))[1:]


def navs(home: Home, batch_id: str) -> dict[str, float]:
    """What a batch has made of each partition of the chain."""
    runs = home.ledger.list_runs(workflow="chained", batch_id=batch_id, limit=500)
    steps = {str(run.context.partition): home.ledger.steps(run.key)[0] for run in runs}
    return {key: step.output["nav"] for key, step in steps.items() if step.output}


def test_a_chain_is_the_same_on_every_engine(airflow: AirflowStack, dagster: DagsterStack, session: Path) -> None:
    """Launched here, on Airflow and on Dagster with other parameters, no batch has read another's dates.

    The weeks are in the same batch, and have all their sessions.
    """
    urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    home = Home(session / "moved", {**urls, "FLOWCTX_DAGSTER_URL": dagster.url})
    for factor, engine in enumerate(("local", "airflow", "dagster"), 2):
        flows, batch_id = ("chained:weeks", "chained:chain"), f"chain-{engine}"
        command = ["backfill", *flows, "--batch", batch_id, "--select", SOME, "--on", engine]
        home.run(*command, "--workers", "4", "-p", f"factor={factor}.0")
        found = dict(zip(DATES, chain(1, float(factor), SESSIONS), strict=True))
        assert navs(home, batch_id) == {f"date={d}|fund={f}": nav for d, nav in found.items() for f in FUNDS}
        runs = home.ledger.list_runs(workflow="chained", batch_id=batch_id, limit=500)
        last = next(run for run in runs if str(run.context.partition) == f"date={DATES[-1]}|fund={FUNDS[-1]}")
        assert home.ledger.steps(last.key)[1].output == {"sum": sum(list(found.values())[-21:])}
        (week,) = (
            run
            for run in home.ledger.list_runs(workflow="chained_weeks", batch_id=batch_id)
            if str(run.context.partition) == "fund=A|week=2012-01-05"
        )
        assert home.ledger.steps(week.key)[0].output == {"days": 3, "nav": factor**3}
        status = home.status(batch_id)
        weeks = {one["workflow"]: one["counts"] for one in status["workflows"]}["chained_weeks"]
        assert (list(status["counts"]), list(weeks)) == (["ok"], ["ok"])
    _mend_a_correction_on_each_engine(home, found)


def _mend_a_correction_on_each_engine(home: Home, found: dict[str, float]) -> None:
    """The first date is corrected here: a server makes exactly what is stale again, of both workflows."""
    before, mended = datetime.now(UTC).isoformat(), [d for d in DATES[1:] if d <= LAST_WEEK]
    for fund, engine in zip(FUNDS, ("airflow", "dagster"), strict=False):
        first = f"date={DATES[0]},fund={fund}"
        home.run("run", "chained:chain", "--partition", first, "--batch", f"corrected-{fund}", "-p", "factor=8.0")
        seen = [one["partition"] for one in json.loads(home.run("stale", "chained:chain", "--json")[0])]
        assert seen == [f"date={d}|fund={fund}" for d in DATES[1:]]
        batch_id = f"refresh-{engine}"
        home.run("backfill", "chained:weeks", "--stale", "--batch", batch_id, "--on", engine)
        assert navs(home, batch_id) == {f"date={d}|fund={fund}": 2 * found[d] for d in mended}
        assert {run.engine for run in home.ledger.list_runs(batch_id=batch_id)} == {engine}
        assert json.loads(home.run("stale", "chained:weeks", "--json")[0]) == []
    known = ("output", "chained:chain", "value", "--select", SOME, "--to", "json")
    now, then = (json.loads(home.run(*known, *options)[0]) for options in ((), ("--known-at", before)))
    assert {row["nav"] / found[row["date"]] for row in now if row["date"] <= LAST_WEEK} == {2}
    assert {row["nav"] / found[row["date"]] for row in then} == {1}


def test_a_backfill_of_dagsters_own_keeps_the_order_of_dates(dagster: DagsterStack, session: Path) -> None:
    """Each date runs after the one before it, whatever the order in which Dagster has the keys."""
    config = {"resources": {"chained_params": {"config": {"factor": 6.0}}}}
    tags = {"flowctx/batch_id": "chain-own"}
    keys = [f"{date}|{fund}" for date in reversed(DATES) for fund in FUNDS[:1]]
    dagster.launch_backfill(keys, "chained/value", "chained/total", tags=tags, config=config)
    runs = dagster.wait_for_runs(len(keys), tags, seconds=max(800, 40 * SESSIONS))  # a look every half minute
    assert {run["status"] for run in runs} == {"SUCCESS"}
    found = dict(zip(DATES, chain(1, 6.0, SESSIONS), strict=True))
    assert navs(Home(session / "moved", {}), "chain-own") == {f"date={d}|fund=A": nav for d, nav in found.items()}


def test_a_backfill_of_airflows_own_waits_for_the_dates_before(
    airflow: AirflowStack, dagster: DagsterStack, session: Path
) -> None:
    """No date reads the older version of the one before, and who waits for a failure says so."""
    home = Home(session / "moved", {})
    days, following = SESSIONS_OF_CHAIN[3:LAST], SESSIONS_OF_CHAIN[LAST]
    bad = f"date={days[-2]}|fund=B"
    home.run("backfill", "chained:chain", "--batch", "chain-old", "--select", f"date=..{days[-1]}", "-p", "factor=5")
    conf = {"batch_id": "chain-native", "factor": 7, "fails": bad}
    airflow.backfill("chained", days[0], days[-1], max_active_runs=8, dag_run_conf=conf)

    def ended() -> bool:
        states = [run["state"] for run in airflow.runs("chained", run_type="backfill")]
        return len(states) == len(OTHERS) * len(days) and not {"queued", "running"} & set(states)

    airflow.wait_until(ended, "the runs of the backfill", seconds=800)
    runs = {str(run.context.partition): run for run in home.ledger.list_runs(batch_id="chain-native")}
    steps = {key: home.ledger.steps(run.key)[0] for key, run in runs.items()}
    made = {key: step.output["nav"] for key, step in steps.items() if step.output}
    found = dict(zip(days, chain(125, 7.0, len(days)), strict=True))
    ran = {f"date={day}|fund={fund}": nav for day, nav in found.items() for fund in OTHERS}
    last = f"date={days[-1]}|fund=B"
    assert made == {key: nav for key, nav in ran.items() if key not in (bad, last)}
    assert steps[bad].error == "no prices"
    assert f"waits for partition {bad}" in str(steps[last].error)
    assert "which failed: " in str(steps[last].error)
    logs = [file.read_text() for file in Path(airflow.home, "logs", "dag_id=chained").rglob("attempt=1.log")]
    assert sum("waiting, without a worker, for runs of DAG chained" in text for text in logs) >= 2

    if SESSIONS > 3:
        return  # the date after them has been launched before
    # The date after them, on both servers: they read the same dates as a run here, and nothing differs.
    urls = {"FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    command = ["verify", "chained:chain", "--url", f"airflow={airflow.url}", "--url", f"dagster={dagster.url}"]
    seen = json.loads(Home(session / "moved", urls).run(*command, "--select", f"date={following}", "--json")[0])
    assert (seen["equal"], seen["statuses"], seen["engines"]) == (True, {"ok": 2}, ["airflow", "dagster"])
    made = [run.engine for run in home.ledger.list_runs(partition=PartitionKey(date=following, fund="A"))]
    assert sorted(made) == ["airflow", "dagster"]
    _, refused = Home(session / "moved", urls).run(*command, "--select", f"date={following}", code=2)
    assert f"the ledger has captures of 2 of these partitions, such as date={following}|fund=A" in refused
