"""Secrets in runs of a real Airflow and a real Dagster: nothing that is written, logged or served has one in vain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from flowctx.backfill import graphql
from planted import PARAM, found_in, found_in_database, found_in_files, found_in_tables

pytestmark = pytest.mark.e2e

LAUNCHED = {"repositoryName": "__repository__", "repositoryLocationName": "resumed", "jobName": "spied_job"}
SERVED = """
query ($id: ID!) {
  logsForRun(runId: $id, limit: 1000) {
    ... on EventConnection { events { __typename
      ... on MessageEvent { message stepKey }
      ... on DisplayableEvent {
        description
        label
        metadataEntries {
          label
          description
          ... on JsonMetadataEntry { jsonString }
          ... on TextMetadataEntry { text }
          ... on MarkdownMetadataEntry { mdStr }
        }
      }
      ... on ErrorEvent { error { message stack className errorChain { error { message stack } } } }
      ... on LogsCapturedEvent { fileKey }
    } }
  }
  runOrError(runId: $id) { ... on Run { tags { key value } stats { __typename } } }
}
"""
CAPTURED = "query ($key: [String!]!) { capturedLogs(logKey: $key) { stdout stderr } }"
NODES = """
{ assetNodes {
  assetKey { path } description configField { configType { recursiveConfigTypes { key description } } }
  metadataEntries { label description }
} }
"""


@pytest.fixture(scope="module")
def database(airflow: AirflowStack) -> str:
    """The URL of Airflow's own database."""
    return airflow.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def served_by_airflow(airflow: AirflowStack, run: str) -> Iterator[object]:
    """Yield what Airflow's API says of a DAG, of a run without its conf, and of all its tasks, logs included."""
    path = f"/dags/spied/dagRuns/{quote(run, safe='')}"
    yield airflow.get("/dags/spied/details")
    yield airflow.get("/dagSources/spied")
    yield {name: value for name, value in airflow.get(path).items() if name != "conf"}
    tasks = airflow.get(f"{path}/taskInstances")["task_instances"]
    assert len(tasks) == 3
    for task in tasks:
        yield task
        at = f"{path}/taskInstances/{task['task_id']}"
        for attempt in range(1, task["try_number"] + 1):
            log = airflow.get(f"{at}/logs/{attempt}", full_content=True)
            assert len(log["content"]) > 2
            yield log
        for entry in airflow.get(f"{at}/xcomEntries")["xcom_entries"]:
            yield airflow.get(f"{at}/xcomEntries/{entry['key']}")


def test_on_airflow(airflow: AirflowStack, database: str, ledger_url: str) -> None:
    """A parameter is in a run's conf and in what the ledger needs to resume; no other secret is anywhere."""
    run = airflow.trigger("spied", conf={"db_password": PARAM})["dag_run_id"]
    assert airflow.wait_for_run("spied", run)["state"] == "failed"
    served = [*served_by_airflow(airflow, run)]
    assert [one for one in served if found_in(json.dumps(one))] == []
    assert "postgresql://me:***@host/lake refused SET password = '***'" in json.dumps(served)
    assert found_in_database(database) == {"dag_run.conf": {PARAM}}
    assert found_in_files(airflow.home) == {}
    assert found_in_database(ledger_url.replace("postgresql:", "postgresql+psycopg:")) == {
        "flowctx_attempt.context": {PARAM}
    }


def test_on_dagster(dagster: DagsterStack, ledger_url: str) -> None:
    """A parameter is in a run's config and in what the ledger needs to resume; no other secret is anywhere."""
    config = {"resources": {"spied_params": {"config": {"db_password": PARAM}}}}
    tags = {"tags": [{"key": "spied", "value": "1"}]}
    params = {"selector": LAUNCHED, "runConfigData": config, "executionMetadata": tags}
    answer = dagster.graphql(graphql.LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    (run,) = dagster.wait_for_runs(1, {"spied": "1"})
    assert run["status"] == "FAILURE"
    served = dagster.graphql(SERVED, id=run["runId"])
    events = served["logsForRun"]["events"]
    keys = [event["fileKey"] for event in events if event.get("fileKey")]
    assert keys
    logs = [dagster.graphql(CAPTURED, key=[run["runId"], "compute_logs", key]) for key in keys]
    everything = json.dumps([served, logs, dagster.graphql(NODES)])
    assert found_in(everything) == set()
    assert "postgresql://me:***@host/lake refused SET password = '***'" in everything
    tables = {file.name: found for file in dagster.home.rglob("*.db") if (found := found_in_tables(file))}
    assert tables == {"runs.db": {"runs.run_body": {PARAM}}}
    assert found_in_files(dagster.home) == {}
    assert found_in_database(ledger_url.replace("postgresql:", "postgresql+psycopg:")) == {
        "flowctx_attempt.context": {PARAM}
    }
