"""Secrets in Dagster's runs: where they are, and where they are not."""

import logging

import dagster as dg
import pytest

from adapters.dagster_support import persistent_instance
from flowctx.dagster import workflow_definitions
from planted import ALL, CONNECTION, PARAM, found_in_files, found_in_tables, spied


@pytest.fixture
def ran(tmp_path, monkeypatch, capfd, caplog):
    """What was printed and logged by a run with secrets, at every level; its ledger and outputs are in a folder."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", f"postgresql://me:{CONNECTION}@host/lake")
    caplog.set_level(logging.DEBUG, "flowctx")
    flow = spied("spied_on_dagster")
    defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    (tmp_path / "home").mkdir()
    with persistent_instance(tmp_path / "home") as instance:
        job = defs.resolve_job_def("spied_on_dagster_job")
        config = {"resources": {"spied_on_dagster_params": {"config": {"db_password": PARAM}}}}
        job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    printed = capfd.readouterr()
    return [printed.out, printed.err, caplog.text]


def test_a_secret_is_in_what_a_run_needs_and_nowhere_else(ran, tmp_path):
    """A parameter is in Dagster's run config and in what the ledger needs to resume; no other secret is anywhere."""
    found = {file.name: tables for file in tmp_path.rglob("*.db") if (tables := found_in_tables(file))}
    assert found == {"ledger.db": {"flowctx_attempt.context": {PARAM}}, "runs.db": {"runs.run_body": {PARAM}}}
    assert found_in_files(tmp_path) == {}
    assert [(secret, text) for secret in ALL for text in ran if secret in text] == []


def test_dagster_shows_what_was_raised_without_secrets(ran):
    """The exception is there with its type, its message and where it was raised, each secret as stars."""
    assert "ConnectionRefusedError: postgresql://me:***@host/lake refused SET password = '***'" in ran[1]
    assert "planted.py" in ran[1]
