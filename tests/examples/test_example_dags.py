"""Every DAG in example_dags runs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import adapters.airflow_support  # noqa: F401 - before Airflow

# isort: split
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from flowctx import run
from flowctx.examples.prices import SYMBOLS, prices
from flowctx.testing import run_dag

FOLDER = Path(__file__).parents[2] / "example_dags"


@cache
def dags() -> dict[str, DAG]:
    """Return all DAGs of the folder, as Airflow's dag-processor finds them."""
    bag = DagBag(dag_folder=str(FOLDER), bundle_name="dags-folder")
    assert not bag.import_errors
    return bag.dags


def test_adoption() -> None:
    """A task of an existing DAG knows the session before its run."""
    result = run_dag(dags()["adoption"], logical_date=datetime(2012, 10, 29, 10, tzinfo=UTC), batch_id="b")
    assert [step.status for step in result.steps] == ["ok", "ok"]


def test_decorated() -> None:
    """Steps and ordinary tasks take each other's results."""
    result = run_dag(dags()["decorated"])
    assert {step.status for step in result.steps} == {"ok"}
    assert result.context.params == {"symbol": "IBM", "validated": True}


@pytest.mark.parametrize(("symbol", "status"), [("IBM", "ok"), ("GOOG", "skipped")])
def test_daily_prices(symbol: str, status: str) -> None:
    """A session of a stock that trades succeeds, one before its listing is skipped."""
    result = run_dag(dags()["daily_prices"], partition={"date": "2003-01-06", "symbol": symbol})
    assert result.status == status


def test_fan_out() -> None:
    """One run does all symbols of a session; the report has those that did not trade, too."""
    result = run_dag(dags()["prices_by_session"], partition="2003-01-06").raise_for_failure()
    report = result.context.get_output("report")
    assert set(report["returns"]) == {"AAPL", "IBM", "MSFT"}
    assert report["absent"] == ["FB", "GOOG"]
    assert report["session"] == date(2003, 1, 6)


def test_assets() -> None:
    """The DAG that publishes and the DAG that uses both run for a partition."""
    found = dags()
    published = run_dag(found["publish_closes"], partition="2012-10-26|IBM", batch_id="b").raise_for_failure()
    assert published.context.get_output("publish", "path") == "closes/date=2012-10-26/symbol=IBM"
    used = run_dag(found["use_closes"], partition={"date": "2012-10-26", "symbol": "IBM"}, batch_id="b")
    assert used.status == "ok"


def test_weekly() -> None:
    """The week of Good Friday 2012 is reported as of its last session, Thursday."""
    start = datetime(2012, 4, 7, 5, tzinfo=UTC)
    result = run_dag(dags()["weekly_report"], logical_date=start).raise_for_failure()
    assert result.context.get_output("report", "session") == date(2012, 4, 5)


def test_rollups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date takes in all stocks that the ledger has of it; those that did not trade are holes."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    for symbol in SYMBOLS:
        run(prices, partition=f"2003-01-06|{symbol}").raise_for_failure()
    found = dags()
    assert "when inputs are there" in found["price_month"].timetable.summary
    assert "price_month__inputs" in found
    made = run_dag(found["price_market"], partition="2003-01-06").raise_for_failure()
    assert made.context.get_output("breadth", "stocks") == 3
