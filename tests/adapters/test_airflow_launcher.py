"""Launching batches on an Airflow that is busy, drops connections, or lets tokens expire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.engine_servers import Airflow, serving
from backfill.flows import flow
from flowctx import Backfill, EngineError, EngineUnavailable
from flowctx.backfill import Tally
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.core.batches import PartitionState
from flowctx.core.ports import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02"  # 3 partitions


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    with serving(Airflow()) as server:
        assert isinstance(server, Airflow)
        yield server


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def fill(airflow: Airflow, ledger: Ledger, **login: Any) -> Tally:
    return Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher(airflow.url, **login))


def test_each_partition_is_one_run(airflow: Airflow, ledger: Ledger) -> None:
    """A run has its partition's key, the batch id in its conf, and an id that is derived from both."""
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    assert [run["partition_key"] for run in airflow.runs.values()] == [f"2012-01-02|T{n}" for n in (1, 2, 3)]
    assert {run["conf"]["batch_id"] for run in airflow.runs.values()} == {"b"}
    assert all(run_id.startswith("batch__b__2012-01-02~T") for run_id in airflow.runs)


@pytest.mark.parametrize("trouble", [500, 503, 429, "drop", "lose"])
def test_what_passes_is_tried_again(airflow: Airflow, ledger: Ledger, trouble: int | str) -> None:
    """A busy server and a dropped connection are waited out; a run whose answer was lost is not started twice."""
    airflow.troubles = [("POST /api/v2/dags/filled/dagRuns", trouble)]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    assert len(airflow.runs) == 3


def test_a_run_that_is_there_is_taken_over(airflow: Airflow, ledger: Ledger) -> None:
    """A launcher that was killed before it could note its runs finds them there: 409 means that all is well."""
    fill(airflow, open_ledger("memory://"))
    assert fill(airflow, ledger).ended == {PartitionState.OK: 3}
    assert len(airflow.runs) == 3


def test_a_token_that_expires_is_renewed_with_the_password(airflow: Airflow, ledger: Ledger) -> None:
    """With user and password, 401 half-way is a new log-in and nothing else."""
    airflow.troubles = [("POST /api/v2/dags/filled/dagRuns", 401)]
    assert fill(airflow, ledger, user="me", password="secret").complete
    assert airflow.calls.count("POST /auth/token") == 2


def test_a_token_that_expires_alone_ends_the_launch(airflow: Airflow, ledger: Ledger) -> None:
    """Without a password the launch ends with a line that says what to set, and what ran stays noted."""
    airflow.troubles = [("T2", 401), ("T2", 401)]
    with pytest.raises(EngineError, match="set FLOWCTX_AIRFLOW_TOKEN anew"):
        fill(airflow, ledger, token="old")
    assert [run.state for run in ledger.batches.outcomes("b")] == [PartitionState.LAUNCHED]
    assert fill(airflow, ledger, token="new").ended == {PartitionState.OK: 3}


def test_a_refused_partition_is_a_failure_of_its_own(airflow: Airflow, ledger: Ledger) -> None:
    """What Airflow will not run fails with Airflow's words, and the others run."""
    airflow.troubles = [("T2", 400)]
    assert fill(airflow, ledger).ended == {PartitionState.OK: 2, PartitionState.FAILED: 1}
    failed = next(run for run in ledger.batches.outcomes("b") if run.state is PartitionState.FAILED)
    assert (failed.partition, failed.error) == ("date=2012-01-02|tier=T2", "Airflow: busy")


def test_an_engine_that_is_not_there_is_told_at_once(ledger: Ledger) -> None:
    """A URL where nobody listens is one line, at once, and no batch is remembered."""
    with pytest.raises(EngineUnavailable, match="^Airflow at http://127.0.0.1:9 cannot be reached [^;]*; [^;]*$"):
        Backfill(flow, SOME, "b", ledger=ledger).launch(AirflowLauncher("http://127.0.0.1:9"))
    assert ledger.batches.all() == []
