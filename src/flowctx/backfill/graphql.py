"""What Dagster's web server is asked, in GraphQL; each query has one field."""

from __future__ import annotations

from typing import Any

VERSION = "{ version }"

JOBS = """
{ repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
  ... on Error { message } } }
"""

DAEMON = '{ instance { daemonHealth { daemonStatus(daemonType: "QUEUED_RUN_COORDINATOR") { required healthy } } } }'

_LAUNCHED = """
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { className }
  ... on Error { message }
"""

LAUNCH = f"mutation ($params: ExecutionParams!) {{ launchRun(executionParams: $params) {{ {_LAUNCHED} }} }}"

AGAIN = (
    f"mutation ($params: ReexecutionParams!) {{ launchRunReexecution(reexecutionParams: $params) {{ {_LAUNCHED} }} }}"
)

RUNS = """
query ($filter: RunsFilter, $limit: Int, $cursor: String) {
  runsOrError(filter: $filter, limit: $limit, cursor: $cursor) { __typename
    ... on Runs { results {
      runId parentRunId status jobName startTime endTime updateTime assetSelection { path } assetCheckSelection { name }
      stepKeysToExecute tags { key value } runConfig
      stats { ... on RunStatsSnapshot { materializations } } } }
    ... on Error { message } } }
"""

EVENTS = """
query ($id: ID!, $cursor: String) { runOrError(runId: $id) { __typename
  ... on Run { eventConnection(afterCursor: $cursor, limit: 1000) { cursor hasMore events { __typename
    ... on ExecutionStepOutputEvent { metadataEntries { label } }
    ... on ExecutionStepFailureEvent { stepKey error { message }
      failureMetadata { description metadataEntries { label ... on TextMetadataEntry { text } } } }
    ... on RunFailureEvent { message } } } } } }
"""

OUTPUTS = """
query ($id: ID!, $cursor: String) { runOrError(runId: $id) { __typename
  ... on Run { eventConnection(afterCursor: $cursor, limit: 1000) { cursor hasMore events { __typename
    ... on ExecutionStepOutputEvent { metadataEntries { label } }
    ... on MaterializationEvent { metadataEntries { label } assetKey { path } partition }
    ... on ObservationEvent { metadataEntries { label } } } } } } }
"""

STOP = """
mutation ($ids: [String!]!) { terminateRuns(runIds: $ids, terminatePolicy: SAFE_TERMINATE) { __typename } }
"""


def tagged(tag: str, value: str) -> dict[str, Any]:
    """Return the filter for runs with a tag."""
    return {"tags": [{"key": tag, "value": value}]}
