"""What launchers ask of engines is what the engines' own schemas have."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import parse, validate

from adapters.engine_schemas import dagster_schema, graphql_answer, operation
from adapters.engine_servers import Airflow, serving
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill import graphql
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.core.batches.records import PartitionState
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02"  # 3 partitions
DAG, RUNS = "/api/v2/dags/{dag_id}", "/api/v2/dags/{dag_id}/dagRuns"
RUN = f"{RUNS}/{{dag_run_id}}"


@pytest.mark.parametrize("name", [name for name in vars(graphql) if name.isupper() and not name.startswith("_")])
def test_dagster_has_what_its_queries_ask_for(name: str) -> None:
    """Each GraphQL document is valid in the schema of Dagster's web server."""
    assert validate(dagster_schema(), parse(getattr(graphql, name))) == []


def test_airflow_has_every_call_of_its_launcher() -> None:
    """Paths, methods, query parameters, bodies and answers of a batch are those of Airflow's OpenAPI document."""
    ledger = open_ledger("memory://")
    backfill = Backfill(flow, SOME, "b", ledger=ledger)
    with serving(Airflow()) as server:
        assert isinstance(server, Airflow)
        server.state, server.most = "failed", 100
        launcher = AirflowLauncher(server.url, user="me", password="secret")
        assert backfill.launch(launcher).ended == {PartitionState.FAILED: 3}
        assert {run.error for run in ledger.batches.iter_outcomes("b")} == {"12 rows are missing"}
        backfill.launch(launcher, retry_failed=True)
        server.structure = [{"task_id": "one", "downstream_task_ids": ["two"]}, {"task_id": "two"}]
        ran, left = {"state": "success", "try_number": 1}, {"state": "skipped", "try_number": 0}
        server.tasks = [{"task_id": "one", **ran}, {"task_id": "two", **left}]
        list(launcher.find(backfill.record(), flow))
        next(iter(server.runs.values()))["state"] = "queued"
        list(launcher.cancel(backfill.record(), list(ledger.batches.iter_outcomes("b"))))
        AirflowLauncher(server.url).check(flow)
    called = {(method, operation(method, path).template) for method, path in map(str.split, server.calls)}
    assert called == {
        ("GET", "/auth/token"),
        ("POST", "/auth/token"),
        ("GET", DAG),
        ("GET", RUNS),
        ("POST", RUNS),
        ("GET", RUN),
        ("PATCH", RUN),
        ("GET", f"{DAG}/tasks"),
        ("GET", "/api/v2/version"),
        ("POST", f"{DAG}/clearTaskInstances"),
        ("GET", f"{RUN}/taskInstances"),
        ("GET", f"{RUN}/taskInstances/{{task_id}}/xcomEntries/{{xcom_key}}"),
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v2/dag/x"), ("DELETE", "/api/v2/dags/x/dagRuns"), ("GET", "/api/v1/dags/x"), ("POST", "/token")],
)
def test_a_call_that_airflow_lacks_is_caught(method: str, path: str) -> None:
    """A path with a letter less, a method that a path has not, and another version of the API are not there."""
    with pytest.raises(LookupError, match=f"Airflow has no {method} {path}"):
        operation(method, path)


@pytest.mark.parametrize(
    ("method", "query", "body", "fault"),
    [
        ("GET", "conf_has=b", None, "has no query parameter 'conf_has'"),
        ("GET", "limit=many", None, "takes no limit=many"),
        ("GET", "", {}, "takes no body"),
        ("POST", "", None, "is not of type 'object'"),
        ("POST", "", {"conf": {}}, "'logical_date' is a required property"),
        ("POST", "", {"logical_date": None, "partition": "T1"}, "('partition' was unexpected)"),
        ("POST", "", {"logical_date": None, "conf": "b"}, "'b' is not valid"),
    ],
)
def test_a_call_that_airflow_refuses_is_caught(method: str, query: str, body: Any, fault: str) -> None:
    """A query parameter or a field of the body that Airflow lacks, or takes another type for, is named."""
    (found,) = operation(method, "/api/v2/dags/x/dagRuns").faults_of_call(query, body)
    assert fault in found


def test_an_answer_that_airflow_does_not_give_is_caught() -> None:
    """A server of the tests cannot make up a status, a field or a state."""
    run = operation("GET", "/api/v2/dags/x/dagRuns/y")
    assert list(run.faults_of_answer(200, {"state": "success"})) == []
    assert len(list(run.faults_of_answer(418, {}))) == 1
    assert len(list(run.faults_of_answer(200, {"status": "success"}))) == 1
    assert len(list(run.faults_of_answer(200, {"state": "fine"}))) == 1


@pytest.mark.parametrize(
    ("query", "variables", "fault"),
    [
        (graphql.RUNS.replace("jobName", "job_name"), {"filter": {}}, "Cannot query field 'job_name' on type 'Run'"),
        (graphql.RUNS, {"filter": {"tag": []}}, "Field 'tag' is not defined by type 'RunsFilter'"),
        (graphql.STOP, {}, "Variable '$ids' of required type"),
        (graphql.RUNS, {"filter": {}}, "Abstract type 'RunsOrError' must resolve to an Object type"),
    ],
)
def test_what_dagster_refuses_is_caught(query: str, variables: dict[str, Any], fault: str) -> None:
    """A field or a variable that the schema lacks, and an answer that it cannot give, are named."""
    error, *_ = graphql_answer(query, variables, {"runsOrError": {"results": []}})["errors"]
    assert fault in error["message"]
