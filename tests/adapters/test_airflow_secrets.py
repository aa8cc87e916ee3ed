"""Secrets in Airflow's runs: where they are, and where they are not."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

import adapters.airflow_support  # noqa: F401 - before Airflow
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.ledger import open_ledger
from planted import ALL, CONNECTION, PARAM, found_in_files, found_in_tables, spied


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys, caplog):
    """What was printed and logged by a run with secrets, at every level; its ledger and artifacts are in a folder."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", f"postgresql://me:{CONNECTION}@host/lake")
    caplog.set_level(logging.DEBUG, "flowctx")
    done = run_dag(workflow_dag(spied("spied_on_airflow")), params={"db_password": PARAM}, run_id=tmp_path.name)
    printed = capsys.readouterr()
    return [str(done), repr(done), *map(repr, done.steps), printed.out, printed.err, caplog.text]


def test_a_secret_is_in_what_a_run_needs_and_nowhere_else(ran, tmp_path):
    """A parameter is in Airflow's conf and in what the ledger needs to resume; no other secret is anywhere."""
    home = Path(os.environ["AIRFLOW_HOME"])
    assert found_in_tables(tmp_path / "ledger.db") == {"flowctx_attempt.context": {PARAM}}
    assert found_in_tables(home / "airflow.db") == {"dag_run.conf": {PARAM}}
    assert {**found_in_files(tmp_path), **found_in_files(home)} == {}
    assert [(secret, text) for secret in ALL for text in ran if secret in text] == []


def test_what_the_ledger_keeps_is_without_secrets(ran, tmp_path):
    """Errors and tracebacks say what happened, and configurations which settings there were, each with stars."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    found = ledger.get_run(tmp_path.name)
    steps = {record.step: record for record in ledger.steps(found.key)}
    assert steps["connect"].config == {"api_token": "***", "url": "https://me:***@host/x"}
    assert "postgresql://me:***@host/lake refused SET password = '***'" in steps["query"].error
    assert "ConnectionRefusedError: postgresql://me:***@host/lake" in steps["query"].traceback
    assert steps["gate"].error == "no: postgresql://me:***@host/lake?password=***"
    ledger.close()
