"""Run a DAG in this process with real Airflow tasks: for tests and demos, without scheduler, DAG folder or network."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import structlog
from airflow.sdk import DAG

from flowctx.airflow import _compat
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.context import run_context
from flowctx.airflow.endings import end_of_dag_run, record_end
from flowctx.airflow.outputs import from_payload, is_step, step_name, waits_for_all
from flowctx.airflow.own_database import prepare
from flowctx.airflow.partitions import requested_key
from flowctx.airflow.recording import store_of_runs
from flowctx.airflow.watching import Watcher
from flowctx.core.data.encoding import to_json
from flowctx.core.data.plain import freeze
from flowctx.core.errors import ContextError, UnknownRun
from flowctx.core.execution.envelope import final_context, load_output
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.parameters import slip_hint
from flowctx.core.workflow.result import StepStatus
from flowctx.core.workflow.run_request import OnCaptured, RunRequest, check_param_names, read_date, read_text
from flowctx.core.workflow.run_result import RunResult, StepRun, failure_before
from flowctx.core.workflow.step_config import step_config_of

_STATUSES = {
    "success": StepStatus.OK,
    "skipped": StepStatus.SKIPPED,
    "failed": StepStatus.FAILED,
    "upstream_failed": StepStatus.NOT_RUN,
    "removed": StepStatus.NOT_RUN,
}
#: Airflow's own warnings are of no interest here.
_AIRFLOW_FOLDER = str(Path(airflow.__file__).parent)
_WAITING = ("up_for_retry", "up_for_reschedule")


def run_dag(
    dag: DAG,
    *,
    partition: PartitionKey | Mapping[str, Any] | str | None = None,
    params: Mapping[str, Any] | None = None,
    batch_id: str | None = None,
    trace_id: str | None = None,
    as_of_date: date | str | None = None,
    logical_date: datetime | None = None,
    run_id: str | None = None,
    resume_from: str | None = None,
    from_step: str | None = None,
    on_captured: OnCaptured = "recapture",
    step_config: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunResult:
    """Run a DAG in this process, with real Airflow tasks, and return what happened.

    Without an Airflow of the process's own (``AIRFLOW_HOME``, or a database in the environment) it makes one in a
    temporary folder when it is first called, which takes some seconds; runs after that take what their tasks take.
    It stores the DAG there, so the Airflow of a deployment is refused.

    Args:
        dag: The DAG; it need not be in a DAG folder.
        partition: The partition key, a dict of its dimensions, or text.
        params: Parameters of the run, on top of the DAG's.
        batch_id: The batch that the run belongs to.
        trace_id: An id of the caller's for tracing.
        as_of_date: The business date, or its text in ISO 8601, where no partition says it.
        logical_date: Airflow's logical date; by default the run has none.
        run_id: Another run id than a new one.
        resume_from: The id of a run, of any engine, that this one continues; a ledger has to remember it.
        from_step: With ``resume_from``: a step that runs again although it is complete, with all that follow it.
        on_captured: What to do when the ledger says that the partition is captured already.
        step_config: Configuration of steps, by step, on top of what the workflow says.

    Returns:
        One entry per task, in the DAG's order, and the context with all outputs and updates.

    Raises:
        ContextError: It is no DAG, or the parameters, the partition or the configuration of a step cannot be.
        PartitionError: The partition is not due yet.
        EngineError: A server of Airflow's has run on the database that the environment names: it is a deployment's.

    Example:
        ::

            def test_prices_are_validated():
                result = run_dag(workflow_dag(prices), partition="2012-10-26|IBM")
                assert result["validate"].status == "ok"
    """
    _check(dag, logical_date)
    scheme: PartitionScheme | None = getattr(dag.timetable, "scheme", None)
    workflow = _workflow(dag, scheme)
    key = requested_key(workflow, scheme, partition)
    if scheme is not None and key is not None:
        scheme.check_due(key, datetime.now(UTC))
    request = RunRequest(
        batch_id=batch_id,
        trace_id=trace_id,
        partition=None if scheme is not None and AIRFLOW.able("partitioned runs") else key,  # the run's own, or the key
        as_of_date=read_date(as_of_date),
        resume_from=resume_from,
        from_step=from_step,
        on_captured=on_captured,
        step_config=step_config,
    )
    flows = (getattr(task, "workflow", None) for task in dag.tasks)
    named = {flow.name: flow for flow in flows if isinstance(flow, Workflow) and flow.steps}
    step_config_of(named.popitem()[1] if len(named) == 1 else None, request.step_config)  # refused before a step runs
    conf = _params(dag, workflow, params, request) | request.to_conf()
    with _quiet():
        prepare()
        with _compat.open_session() as session:
            _compat.register(dag)
            dag_run = _compat.start_run(
                dag,
                run_id=read_text(run_id, "run_id") or f"flowctx__{uuid4()}",
                conf=conf,
                logical_date=logical_date,
                partition_key=scheme.text(key) if scheme is not None and key is not None else None,
                session=session,
            )
            with _params_restored(dag):
                histories = _to_the_end(dag, dag_run, session)
            returned = _compat.returned_values(dag_run, session)
            shown = {"dag": dag, "dag_run": dag_run, "params": dag.params.dump() | conf}
            base = _base_context(shown, workflow, **_rules(dag, histories))
    return _Summary(dag, histories, returned, base).result()


def _base_context(context: Mapping[str, Any], workflow: Workflow | None, **rules: Any) -> WorkflowContext:
    """Return what the first step saw; where there is no run to continue, each step has said so."""
    try:
        return run_context(context, workflow=workflow, takes_over=True, **rules)
    except UnknownRun:
        return run_context(context, workflow=workflow, **rules)


def _rules(dag: DAG, histories: Mapping[tuple[str, int], _History]) -> dict[str, Any]:
    """Return the rules of the last step that ended well: the context that it saw is that of the run."""
    well = {task_id for (task_id, index), history in histories.items() if index < 0 and history.state == "success"}
    ran = [task for task in dag.tasks if is_step(task) and task.task_id in well]
    return {name: getattr(ran[-1], name, None) if ran else None for name in ("as_of", "scheme")}


@contextmanager
def _params_restored(dag: DAG) -> Iterator[None]:
    """Let no run change the defaults of the next: in one process, Airflow writes ``conf`` into the DAG's objects."""
    owners = [params for owner in (dag, *dag.tasks) if isinstance(params := owner.params, _compat.ParamsDict)]
    before = [(param := params.get_param(name), param.value) for params in owners for name in params]
    try:
        yield
    finally:
        for param, value in before:
            param.value = value


def _check(dag: object, logical_date: object) -> None:
    if logical_date is not None and (not isinstance(logical_date, datetime) or logical_date.tzinfo is None):
        raise ContextError(f"logical_date={logical_date!r} must be a datetime with a time zone, or as_of_date= a date")
    if isinstance(dag, DAG):
        return
    if isinstance(dag, Workflow):
        raise ContextError(f"workflow {dag.name!r} is no DAG yet; write run_dag(workflow_dag(...), ...)")
    name = getattr(dag, "__name__", type(dag).__name__)
    raise ContextError(f"{name!r} is no DAG; if it is a function with @dag, call it: run_dag({name}(), ...)")


def _workflow(dag: DAG, scheme: PartitionScheme | None) -> Workflow | None:
    """Return the workflow that a DAG is of, if it is of one, partitioned as the DAG's runs are."""
    found: dict[str, Workflow] = {}
    for task in dag.tasks:
        workflow = getattr(task, "workflow", None)
        if isinstance(workflow, Workflow):
            partitions = workflow.partitions
            if task.get_closest_mapped_task_group() is not None:
                over = getattr(task, "mapped_over", ())  # nothing, in a group of one's own
                partitions = scheme or (partitions.without(*over) if partitions is not None and over else None)
            found[workflow.name] = workflow.with_partitions(partitions)
    return next(iter(found.values())) if len(found) == 1 else None


def _params(
    dag: DAG, workflow: Workflow | None, params: Mapping[str, Any] | None, request: RunRequest
) -> dict[str, Any]:
    """Return the parameters as JSON for ``conf``, checked by the workflow if the DAG is of one."""
    if params is not None and not isinstance(params, Mapping):
        raise ContextError(f"params is a {type(params).__name__}; it must be a dict of parameters")
    check_param_names(params or ())
    for name in params or ():
        if workflow is None and name not in dag.params and (hint := slip_hint(name)) is not None:
            declare = f"DAG(params={{{name!r}: ...}})"
            raise ContextError(f"DAG {dag.dag_id!r} has no parameter {name!r}; {hint} If not, declare it: {declare}")
    if workflow is not None and params:
        read = workflow.params_with(params, known=params if request.resume_from else dag.params)
        params = {name: read[name] for name in params}
    return {name: to_json(freeze(value, f"params[{name!r}]")) for name, value in (params or {}).items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Airflow logs to itself, unless an exception leaves the block: then it may say why.

    What flowctx warns of is for whoever runs the DAG, and is shown.
    """
    held: list[str] = []

    def hold(_: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # What the code of a step or flowctx warns of by `warnings`, Airflow turns into such an event.
        if event.get("category") == "UserWarning" and not str(event.get("filename")).startswith(_AIRFLOW_FOLDER):
            return event
        if method not in ("debug", "info"):
            held.append(f"{method}: {event.get('event')}")
        raise structlog.DropEvent

    def hold_record(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING and record.name.partition(".")[0] == "flowctx":
            return not hasattr(record, "seconds")  # how a step ended, which the result says
        if record.levelno >= logging.WARNING:
            held.append(f"{record.levelname.lower()}: {record.getMessage()}")
        return False

    # Loggers that were used before share this list, and would not see another one.
    processors = structlog.get_config()["processors"]
    handlers = list(logging.getLogger().handlers)
    processors.insert(0, hold)
    for handler in handlers:
        handler.addFilter(hold_record)
    try:
        yield
    except BaseException as exc:
        if held:
            exc.add_note("\n".join(["What Airflow logged before:", *held[-20:]]))
        raise
    finally:
        processors.remove(hold)
        for handler in handlers:
            handler.removeFilter(hold_record)


@dataclass
class _History:
    """What happened to one task instance."""

    #: Airflow's state.
    state: str = "none"
    #: How many times it was tried; 0 if it was not started.
    attempts: int = 0
    #: Why its last attempt failed.
    error: str | None = None
    #: What it raised.
    exception: BaseException | None = None
    #: Start of its first attempt and end of its last.
    started: datetime | None = None
    ended: datetime | None = None


def _to_the_end(dag: DAG, dag_run: Any, session: Any) -> dict[tuple[str, int], _History]:
    """Run all tasks of a run, retries too, and return what happened to each task instance."""
    histories: dict[tuple[str, int], _History] = {}
    while dag_run.state == "running":
        idle = True
        for ti, error in _compat.run_ready_tasks(dag, dag_run, session):
            idle = False
            history = histories.setdefault((ti.task_id, ti.map_index), _History())
            history.attempts += 1
            history.started = history.started or ti.start_date
            history.exception = error
            history.error = None if error is None else f"{type(error).__name__}: {error}"
        if idle and any(ti.state in _WAITING for ti in dag_run.get_task_instances(session=session)):
            time.sleep(0.05)
    for ti in dag_run.get_task_instances(session=session):
        history = histories.setdefault((ti.task_id, ti.map_index), _History())
        history.state, history.ended = str(ti.state), ti.end_date
    record_end(end_of_dag_run(dag.dag_id, dag_run.run_id, str(dag_run.state)))  # as the scheduler's listener does
    return histories


class _Summary:
    """Puts together what happened in a run from the states and XComs of its task instances."""

    def __init__(
        self,
        dag: DAG,
        histories: Mapping[tuple[str, int], _History],
        returned: Mapping[tuple[str, int], Any],
        ctx: WorkflowContext,
    ) -> None:
        self.dag, self.ctx, self.histories = dag, ctx, histories
        self.store = store_of_runs()
        self.envelopes = {
            (task.task_id, index): from_payload(returned[task.task_id, index])
            for task in dag.tasks
            if is_step(task)
            for index in self.indexes(task.task_id)
            if (task.task_id, index) in returned
        }

    def indexes(self, task_id: str) -> list[int]:
        """Return the map indexes of a task's instances: -1 alone, if it is not mapped."""
        return sorted(index for name, index in self.histories if name == task_id)

    def result(self) -> RunResult:
        tasks = [task for task in self.dag.tasks if not isinstance(task, Watcher)]
        entries = [self.entry(task, index) for task in tasks for index in self.indexes(task.task_id)]
        return RunResult.of(self.dag.dag_id, self.final_context(), entries)

    def entry(self, task: Any, index: int) -> StepRun:
        history = self.histories[task.task_id, index]
        envelope = self.envelopes.get((task.task_id, index))
        found = _STATUSES.get(history.state, StepStatus.FAILED)
        status = envelope.status if envelope and found is StepStatus.OK else found
        name = step_name(task) if is_step(task) else task.task_id
        return StepRun(
            name=name if index < 0 else f"{name}[{self.label(task, index)}]",
            status=status,
            attempts=0 if status is StepStatus.SKIPPED and self.follows_skip(task, index) else history.attempts,
            duration=(history.ended - history.started) if history.ended and history.started else timedelta(0),
            error=envelope.error if envelope else self.reason(task, index, status),
            category=envelope.category if envelope else None,
            quality=envelope.quality if envelope else None,
            exception=history.exception if status is StepStatus.FAILED else None,
        )

    def follows_skip(self, task: Any, index: int) -> bool:
        """Whether a step that skips itself followed one that was skipped, and so was not tried."""
        before = [self.histories.get((other.task_id, index), _History()) for other in task.upstream_list]
        return waits_for_all(task) and any(history.state == "skipped" for history in before)

    def label(self, task: Any, index: int) -> str:
        labels = getattr(task, "labels", ())
        return labels[index] if labels else str(index)

    def reason(self, task: Any, index: int, status: StepStatus) -> str | None:
        """Say why a task without an envelope did not end well."""
        if status is StepStatus.OK:
            return None
        if status is StepStatus.FAILED:
            return self.histories[task.task_id, index].error or f"task {task.task_id!r} failed before it could run"
        for upstream in sorted(task.upstream_list, key=lambda entry: self.dag.task_ids.index(entry.task_id)):
            for at in [index] if (upstream.task_id, index) in self.histories else self.indexes(upstream.task_id):
                state = self.histories[upstream.task_id, at].state
                if status is StepStatus.NOT_RUN and state in ("failed", "upstream_failed"):
                    return failure_before(upstream.task_id)
                if status is StepStatus.SKIPPED and state == "skipped":
                    envelope = self.envelopes.get((upstream.task_id, at))
                    return envelope.error if envelope else self.reason(upstream, at, status)
        return None

    def final_context(self) -> WorkflowContext:
        """Return the context with all outputs and updates; what instances of a mapped step write stays with them."""
        ctx = self.ctx
        for task in self.dag.tasks:
            indexes = self.indexes(task.task_id)
            if not is_step(task) or not any((task.task_id, index) in self.envelopes for index in indexes):
                continue
            if indexes[0] >= 0:
                outputs = {self.label(task, index): self.output(task.task_id, index) for index in indexes}
                gathered = {label: output for label, output in outputs.items() if output is not None}
                ctx = ctx.with_step_output(step_name(task), gathered)
                continue
            envelope = self.envelopes[task.task_id, -1]
            ctx = final_context(ctx, [envelope], lambda envelope: load_output(envelope, self.store))
        return ctx

    def output(self, task_id: str, index: int) -> Mapping[str, Any] | None:
        envelope = self.envelopes.get((task_id, index))
        return load_output(envelope, self.store) if envelope and envelope.status is StepStatus.OK else None
