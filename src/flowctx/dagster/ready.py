"""Runs that begin when their inputs are there: a sensor that asks the ledger."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import islice

import dagster as dg

from flowctx.core.durability.readiness import FIRST, Readiness, Ready
from flowctx.core.errors import WorkflowError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.definition import Workflow, check_workflow
from flowctx.core.workflow.run_request import RunRequest, read_date
from flowctx.dagster._compat import requested_before, was_requested
from flowctx.dagster.asset_keys import KeyPrefix, asset_key, check_prefix
from flowctx.dagster.partitions import to_dagster_key
from flowctx.dagster.storage import ledger_at

#: So many runs are requested in one tick.
_AT_ONCE = 1000
#: So many partitions are asked about in one question.
_PAGE = 200


def inputs_sensor(
    workflow: Workflow,
    *,
    start: date | str,
    on_restatement: str = "ignore",
    ledger_url: str | None = None,
    name: str | None = None,
    key_prefix: KeyPrefix | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """Return a sensor that requests each partition of a workflow when it is due and its inputs are there.

    The ledger decides: each partition that it reads has been captured or skipped, on whichever engine. (Dagster's
    ``AutomationCondition.eager()`` waits for ever for a partition that was skipped, since nothing was materialised.)
    Every 30 seconds, or as often as is said, it requests what is ready, each partition once.

    Args:
        workflow: The workflow; its assets are materialised.
        start: The first as-of date, or its text.
        on_restatement: What to do when an input of a partition that has been captured is captured again: ``"ignore"``
            it, or ``"run"`` the partition once more.
        ledger_url: The ledger, where ``FLOWCTX_LEDGER_URL`` names none.
        name: The sensor's name; ``<workflow name>_inputs`` by default.
        key_prefix: As for :func:`workflow_assets`.
        default_status: Whether it is turned on when it is deployed.
        minimum_interval_seconds: How often the ledger is asked at most.

    Raises:
        WorkflowError: It has no dates, or reads nothing.

    Example:
        ::

            ready = inputs_sensor(month, start="2026-01-01")
            defs = dg.Definitions(assets=workflow_assets(month), sensors=[ready], ...)
    """
    flow = check_workflow(workflow)
    readiness = Readiness.checked(flow, f"inputs_sensor() of workflow {flow.name!r}", on_restatement)
    check_prefix(flow, key_prefix)
    since = read_date(start, "start")
    if since is None:
        raise WorkflowError(f"start={start!r} must be the first as-of date, such as '2026-01-01'")
    sensor_name = name or f"{flow.name}_inputs"

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        ledger = ledger_at(ledger_url)
        if ledger is None:
            yield dg.SkipReason("no ledger is named; set FLOWCTX_LEDGER_URL")
            return
        found = readiness.ready(ledger, datetime.now(UTC), since, restated=on_restatement == "run")
        requests = _requests(context, sensor_name, found, readiness.scheme)
        yield from requests
        if not requests:
            yield dg.SkipReason("no partition is ready that has not been captured or requested")

    return dg.SensorDefinition(
        name=sensor_name,
        evaluation_fn=evaluate,
        asset_selection=dg.AssetSelection.assets(*(asset_key(flow, step, key_prefix) for step in flow.steps)),
        description=f"Requests partitions of workflow {flow.name} when all that they read is in flowctx's ledger.",
        default_status=default_status,
        minimum_interval_seconds=minimum_interval_seconds,
    )


def _requests(
    context: dg.SensorEvaluationContext, sensor: str, found: Iterable[Ready], scheme: PartitionScheme
) -> list[dg.RunRequest]:
    """Return requests of what is ready and was not requested before.

    What was requested and is not captured stays ready, and would be in the way of what comes after it. It is requested
    again where its run was skipped for another one that was at its partition, and has not made it.
    """
    requests: list[dg.RunRequest] = []
    pages = iter(found)
    while len(requests) < _AT_ONCE and (page := {_run_key(ready): ready for ready in islice(pages, _PAGE)}):
        before = requested_before(context, sensor, list(page))
        for run_key, ready in page.items():
            key = _key_again(context, sensor, ready, before[run_key]) if run_key in before else run_key
            if key is not None:
                requests.append(_request(key, ready, scheme))
    return requests[:_AT_ONCE]


def _key_again(context: dg.SensorEvaluationContext, sensor: str, ready: Ready, runs: list[dg.DagsterRun]) -> str | None:
    """Return the key for another run, if those before are successes that never began, and a run of others failed."""
    if ready.occasion != FIRST or not ready.runs or was_requested(context, sensor, ready.runs[-1]):
        return None
    if any(run.run_id in ready.runs or not run.is_success for run in runs):
        return None
    key = f"{_run_key(ready)}, after {ready.runs[-1]}"
    return None if requested_before(context, sensor, [key]) else key


def _request(run_key: str, ready: Ready, scheme: PartitionScheme) -> dg.RunRequest:
    # What is captured while the run waits in the queue stays.
    request = RunRequest(on_captured="skip") if ready.occasion == FIRST else RunRequest()
    return dg.RunRequest(run_key, partition_key=to_dagster_key(ready.key, scheme), tags=request.to_tags())


def _run_key(ready: Ready) -> str:
    """Return the key under which Dagster makes one run for a partition."""
    return f"{ready.key}@{ready.occasion}"
