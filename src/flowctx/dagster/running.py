"""Run a workflow's assets in this process with real Dagster: for tests and demos, without daemon or web server."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any

import dagster as dg

from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.errors import ArtifactError, RunFailed, UnknownRun
from flowctx.core.execution.envelope import final_context
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, Workflow, check_workflow
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepStatus
from flowctx.core.workflow.run_request import OnCaptured, RunRequest, read_date
from flowctx.core.workflow.run_result import RunResult, StepRun
from flowctx.core.workflow.step_config import step_config_of
from flowctx.dagster.asset_keys import asset_key
from flowctx.dagster.context import run_ledger_of
from flowctx.dagster.definitions import workflow_assets
from flowctx.dagster.output_store import StoredOutput
from flowctx.dagster.outputs import IO_MANAGER_KEY, WorkflowIOManager
from flowctx.dagster.params import params_key, params_of
from flowctx.dagster.partitions import to_dagster_key
from flowctx.dagster.run_facts import RunFacts

#: Two runs in one process deadlock (Dagster 1.13 configures logging at the start of each).
_ONE_AT_A_TIME = Lock()
_STARTS = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)
_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE)


def run_assets(
    workflow: Workflow,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    as_of_date: date | str | None = None,
    resume_from: str | None = None,
    from_step: str | None = None,
    on_captured: OnCaptured = "recapture",
    step_config: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunResult:
    """Materialize a workflow's assets in this process, on an instance of Dagster that is gone afterwards.

    Args:
        workflow: The workflow.
        partition: The partition key, a dict of its dimensions, or text.
        params: Parameters on top of the workflow's own.
        batch_id: The batch that the run belongs to.
        trace_id: An id of the caller's for tracing.
        as_of_date: The business date, or its text in ISO 8601, where no partition says it.
        resume_from: The id of a run, of any engine, that this one continues; a ledger has to remember it.
        from_step: With ``resume_from``: a step that runs again although it is complete, with all that follow it.
        on_captured: What to do when the ledger says that the partition is captured already.
        step_config: Configuration of steps, by step, on top of what the workflow says.

    Returns:
        What happened, as from :func:`flowctx.run`.

    Raises:
        UnknownPartition: The workflow has no such partition.
        PartitionError: The partition is not due yet.
        ContextError: A partitioned workflow without a partition, or parameters that say who the run is.
        WorkflowError: The workflow has no steps.

    Example:
        ::

            def test_prices_are_validated():
                assert run_assets(prices, partition="2012-10-26|IBM")["validate"].status == "ok"
    """
    key = check_workflow(workflow).partition_key(partition)
    if key is not None and workflow.partitions is not None:
        workflow.partitions.check_due(key, datetime.now(UTC))
    config = _config(workflow, params)
    # Without a scheme Dagster's run has no partition; the key is then the caller's word.
    native = to_dagster_key(key, workflow.partitions) if key is not None and workflow.partitions is not None else None
    request = RunRequest(
        batch_id=batch_id,
        trace_id=trace_id,
        partition=key if native is None else None,
        as_of_date=read_date(as_of_date),
        resume_from=resume_from,
        from_step=from_step,
        on_captured=on_captured,
        step_config=step_config,
    )
    step_config_of(workflow, request.step_config)  # refused before the first step runs
    with (
        _ONE_AT_A_TIME,
        tempfile.TemporaryDirectory(prefix="flowctx-") as folder,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        outputs = WorkflowIOManager(base_path=folder)
        result = dg.materialize(
            workflow_assets(workflow),
            resources={IO_MANAGER_KEY: outputs},
            instance=instance,
            partition_key=native,
            tags=request.to_tags(),
            run_config={
                "resources": {params_key(workflow): {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )
        run = result.dagster_run
        facts = RunFacts(
            run_id=run.run_id,
            name=workflow.name,
            tags=run.tags,
            engine={"name": "dagster", "version": dg.__version__, "job_name": run.job_name},
        )
        ctx = _base_context(facts, native, workflow, params_of(config, "params"), resumes=resume_from is not None)
        return _Summary(workflow, ctx, _histories(instance, run.run_id), outputs, native).result()


def _base_context(
    facts: RunFacts, key: str | None, workflow: Workflow, params: Mapping[str, Any], *, resumes: bool
) -> WorkflowContext:
    """Return what the first step saw; where there is no run to continue, each step has said so."""
    seen = partial(facts.context, key, workflow=workflow, params=params)
    try:
        return seen(ledger=run_ledger_of(workflow) if resumes else None)
    except UnknownRun:
        return seen()


def _config(workflow: Workflow, params: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = workflow.params_with(params)
    config: dict[str, Any] = to_json({name: merged[name] for name in params or ()})
    return config


@dataclass
class _History:
    """What Dagster recorded of one step."""

    #: How many times it was tried.
    attempts: int = 0
    #: Seconds since the epoch: start of its first attempt, and its end.
    started: float = 0.0
    ended: float = 0.0
    #: How it failed, if it did.
    failure: Any = None
    #: Metadata of the failure, or of the observation that says why there is no output.
    metadata: Mapping[str, Any] = field(default_factory=dict)


def _histories(instance: dg.DagsterInstance, run_id: str) -> dict[str, _History]:
    found: dict[str, _History] = {}
    observed = dg.DagsterEventType.ASSET_OBSERVATION
    for entry in instance.all_logs(run_id, of_type={*_STARTS, *_ENDS, observed}):
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        history = found.setdefault(event.step_key, _History())
        if event.event_type is observed:
            metadata = event.asset_observation_data.asset_observation.metadata
            history.metadata = {name: value.value for name, value in metadata.items()}
        elif event.event_type in _STARTS:
            history.attempts += 1
            history.started = history.started or entry.timestamp
        else:
            history.ended = entry.timestamp
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            history.failure = event.step_failure_data
            failure = event.step_failure_data.user_failure_data
            history.metadata = {name: value.value for name, value in failure.metadata.items()} if failure else {}
    return found


def _first_cause(error: Any) -> str:
    """Return what the exception says that Dagster's own are about, which only say where it was."""
    while error.cause is not None and error.message.startswith("dagster."):
        error = error.cause
    return str(error.message).strip()


class _Summary:
    """Puts together what happened in a run from Dagster's events and the captures of the steps."""

    def __init__(
        self,
        workflow: Workflow,
        ctx: WorkflowContext,
        histories: Mapping[str, _History],
        outputs: WorkflowIOManager,
        key: str | None,
    ) -> None:
        self.workflow, self.ctx, self.histories, self.outputs, self.key = workflow, ctx, histories, outputs, key
        self.entries: dict[str, StepRun] = {}
        self.captures: dict[str, StoredOutput] = {}

    def result(self) -> RunResult:
        for step in self.workflow.steps.values():
            self.entries[step.name] = self.entry(step)
        return RunResult.of(self.workflow.name, self.final_context(), self.entries.values())

    def entry(self, step: Step) -> StepRun:
        key = asset_key(self.workflow, step.name)
        history = self.histories.get(key.to_python_identifier())
        before = [self.entries[name] for name in step.after]
        not_started = StepRun.not_started(step.name, before, step.run_if)
        if not_started is not None:  # Dagster may have started it, for the sake of steps further on
            return not_started
        if history is None:
            return StepRun(name=step.name, status=StepStatus.NOT_RUN)
        duration = timedelta(seconds=history.ended - history.started)
        if history.failure is not None:
            return self.failed(step, history, duration)
        try:
            capture = self.outputs.storage.outputs.read(key.path, self.key)
        except ArtifactError:  # it did not run, and what was captured before stays as it is
            if (status := history.metadata.get("flowctx/status")) is None:
                raise
            return StepRun(name=step.name, status=StepStatus(status), error=history.metadata.get("flowctx/reason"))
        envelope = capture.envelope
        if envelope.status is StepStatus.OK:
            self.captures[step.name] = capture
        return StepRun.of(step.name, envelope, history.attempts, duration)

    def failed(self, step: Step, history: _History, duration: timedelta) -> StepRun:
        failure = history.failure.user_failure_data
        quality = history.metadata.get("flowctx/quality")
        return StepRun(
            name=step.name,
            status=StepStatus.FAILED,
            attempts=history.attempts,
            duration=duration,
            error=failure.description if failure else _first_cause(history.failure.error),
            category=ErrorCategory(history.metadata.get("flowctx/category", ErrorCategory.INTERNAL)),
            quality=QualityMetrics(**from_json(quality, "quality")) if quality else None,
            exception=RunFailed(history.failure.error.to_string()) if history.failure.error else None,
        )

    def final_context(self) -> WorkflowContext:
        envelopes = [capture.envelope for capture in self.captures.values()]
        return final_context(self.ctx, envelopes, lambda envelope: self.captures[envelope.step].output)
