"""A step's attempt as a task instance, and the run that it is recorded under in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, Protocol

from airflow.sdk import Connection

from flowctx.airflow._compat import (
    DELETED,
    ENGINE_EXCEPTIONS,
    FINAL_FAILURES,
    MappedOperator,
    conf,
    dag_run_state,
    plain_sequences,
    run_type_of,
)
from flowctx.airflow.made_elsewhere import counted_envelope, instances_elsewhere
from flowctx.airflow.ordering import Reader, await_runs
from flowctx.airflow.outputs import (
    TRIGGER_RULES,
    instance_key,
    instance_states,
    is_step,
    map_index,
    read_upstream,
    step_name,
    waits_for_all,
    xcom_storage_path,
)
from flowctx.airflow.own_steps import is_own, made_with, run_name_of, workflow_of
from flowctx.airflow.task_states import TASK_IDS, failed_when_over, is_outdated
from flowctx.artifacts import artifact_store
from flowctx.core.durability.continuation import EngineRerun
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunRecord, RunStatus, dag_ids_of
from flowctx.core.durability.resumption import order_of
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import plan_run
from flowctx.core.durability.step_attempt import StepAttempt
from flowctx.core.durability.takeover import begin_or_take_over
from flowctx.core.errors import ContextError, LedgerError, Superseded, WorkflowError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope
from flowctx.core.execution.execute import Outcome
from flowctx.core.workflow.cascade import Before, Order, RunIf, nearest_before
from flowctx.core.workflow.context import WorkflowContext, engine_of
from flowctx.core.workflow.definition import Step, Workflow
from flowctx.core.workflow.import_path import import_path_of
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger import ledger_from_env, shared_ledger, strict_from_env

logger = logging.getLogger("flowctx")


class StepTask(Reader, Protocol):
    """What a task that runs a step says of itself."""

    step: Step
    workflow: Workflow | None
    config: Any
    map_values: Any

    def run_name(self, dag_id: str) -> str:
        """Return what the run that it is recorded under is called."""


def step_attempt(operator: StepTask, context: Any) -> StepAttempt:
    """Return what Airflow knows of this attempt at a step."""
    task, ti = context["task"], context["ti"]
    store = store_of_runs()
    opened: list[Recorder] = []

    def open_recorder() -> Recorder:
        recorder, tasks = _open(operator, context)
        opened.append(recorder)
        attempt.first_number = _first_number(recorder, context)
        # A task that was cleared is to run, also in a run that continues another.
        attempt.runs_anyway = attempt.first_number > 1
        if attempt.runs_anyway or context["dag_run"].clear_number:
            recorder.is_outdated = lambda: is_outdated(context, tasks, recorder)
        return recorder

    def counted(upstream: Any, handed_on: Envelope | None) -> Envelope | None:
        return counted_envelope(opened[-1], upstream, handed_on) if opened else handed_on

    def instances(mapped: Any) -> Mapping[str, Envelope]:
        return instances_elsewhere(opened[-1], mapped) if opened else {}

    attempt = StepAttempt(
        step=operator.step,
        open=open_recorder,
        receive=lambda ctx: read_upstream(ctx, task, ti, store, counted, instances),
        retried=lambda outcome: _is_retried(outcome, ti),
        config=plain_sequences(operator.config),
        number=ti.try_number,
        store=store,
        reraise=ENGINE_EXCEPTIONS,
        skips_captured=(context["dag_run"].conf or {}).get("on_captured") == "skip",
        await_made=lambda item, keys: await_runs(operator, context, item, keys, ledger()),
    )
    return attempt


def _first_number(recorder: Recorder, context: Any) -> int:
    """Return the first try of a step since its task was last cleared; 1 if it was not.

    A clear counts the tries anew, with the retries of the stored DAG: this process may have other ones. The run says
    nothing of a clear while it is under way.
    """
    task, ti = context["task"], context["ti"]
    if ti.try_number == 1:
        return 1
    first: int = max(1, ti.max_tries - task.retries + 1)
    record = recorder.earlier_try(step_name(task))
    if record is None or record.started_at + timedelta(seconds=record.seconds) >= context["dag_run"].start_date:
        return first
    return max(first, record.attempts + 1)


def _is_retried(outcome: Outcome, ti: Any) -> bool:
    """Whether Airflow tries a step again that has ended so."""
    final = not outcome.result.retryable or isinstance(outcome.exception, FINAL_FAILURES)
    return not final and ti.try_number <= ti.max_tries


def _open(operator: StepTask, context: Any) -> tuple[Recorder, dict[str, Any]]:
    """Begin to record the run, or find it begun; returns its tasks, too."""
    ctx = operator.context_of(context)
    conf = context["dag_run"].conf or {}
    request = RunRequest.parse(conf.get, "conf")
    flow = operator.workflow
    if request.resume_from is not None and workflow_of(context) is None:
        raise WorkflowError(
            f"step {operator.step.name!r} is of no workflow, and its DAG has not the steps of just one, so "
            "conf['resume_from'] cannot be heeded; clear the failed tasks of that run instead, or make the steps those "
            "of a Workflow"
        )
    owning_workflow = flow if is_own(flow, operator.step) else None
    name = operator.run_name(context["task"].dag_id)
    # Instances that are no partitions of their own would overwrite each other's records.
    overwrites = map_index(context["ti"]) >= 0 and not operator.map_values
    recorded_in = run_ledger(own_ledger := None if overwrites else ledger(), strict=strict_from_env())
    tasks = _own_tasks(context["task"], owning_workflow)
    plan = plan_run(
        recorded_in,
        owning_workflow or name,
        _with_task_ids(ctx, tasks),
        order=_order(tasks, owning_workflow),
        selected={step_name(task) for task in tasks.values()},
        over=lambda: failed_when_over(context["ti"], tasks),
        request=request,
        new_params=tuple(conf),
        rerun=_rerun(ctx, context, recorded_in),
        redo="clear",
        import_path=import_path_of(owning_workflow) if owning_workflow is not None else None,
    )
    if own_ledger is not None:
        _refuse_another_dag(own_ledger, plan.known, context)
    recorder = begin_or_take_over(recorded_in, own_ledger, plan, lambda run: _end_of(context["ti"], run))
    if own_ledger is not None:
        _stop_if_over(context["ti"], recorder)
    return recorder, tasks


def _with_task_ids(ctx: WorkflowContext, tasks: Mapping[str, Any]) -> WorkflowContext:
    """Return a context that says which tasks are not named as their steps, for whoever ends the run without the DAG."""
    ids = {step_name(task): at for at, task in tasks.items() if at != step_name(task)}
    engine = {**engine_of(ctx), TASK_IDS: ids} if ids else engine_of(ctx)
    return replace(ctx, metadata={**ctx.metadata, "engine": engine})


def _refuse_another_dag(ledger: Ledger, known: RunRecord | None, context: Any) -> None:
    """Refuse a step of a run that the ledger has of another DAG, whose run of that id has the step, too.

    The ids of what a schedule starts follow from the time, so that nobody could give others: those are warned of.

    Raises:
        ContextError: It has.
    """
    if known is None:
        return
    ti, dag_id = context["ti"], context["task"].dag_id
    try:
        earlier = [ledger.context(known.key, number) for number in range(1, known.attempt)]
    except LedgerError as exc:
        if strict_from_env():
            raise
        logger.warning("whose run %s was before is not known: %s", known.run_id, exc)
        earlier = []
    others = {other: None for ctx in (known.context, *earlier) for other in dag_ids_of(ctx) if other != dag_id}
    states = {o: ti.get_task_states(dag_id=o, task_ids=[ti.task_id], run_ids=[known.run_id]) for o in others}
    other = next((other for other, found in states.items() if any(found.values())), None)
    if other is None:
        return
    what = f"run {known.run_id!r} of workflow {known.workflow!r} is one of DAG {other!r} already"
    if run_type_of(context["dag_run"]) in ("scheduled", "backfill"):
        logger.warning("%s, and DAG %r replaces what that made; let one of them have the schedule", what, dag_id)
        return
    raise ContextError(f"{what}, and DAG {dag_id!r} would replace what that made; start its run with another run id")


def _stop_if_over(ti: Any, recorder: Recorder) -> None:
    """Stop a step whose run Airflow has ended since it started the task: nobody would end the run a second time.

    Steps without others before them start together, so that each one asks. What Airflow ends later, its listener ends
    in the ledger, since the run has begun there before.

    Raises:
        Superseded: The run is over.
    """
    run = recorder.run
    state = dag_run_state(ti, ti.dag_id, run.run_id)
    if state not in ("success", "failed"):
        return
    status = RunStatus.OK if state == "success" else RunStatus.CANCELED
    end_run(recorder.ledger, run, status, f"it was marked as {state} in Airflow")
    raise Superseded(f"run {run.run_id!r} is over: it was marked as {state} in Airflow before this step began")


def _end_of(ti: Any, run: RunRecord) -> RunStatus | None:
    """Return how a run ended, if Airflow calls it over."""
    dag_id = engine_of(run.context).get("dag_id") if run.engine == "airflow" else None
    state = dag_run_state(ti, str(dag_id), run.run_id) if dag_id is not None else None
    return {"success": RunStatus.OK, "failed": RunStatus.FAILED, DELETED: RunStatus.FAILED}.get(str(state))


def ledger() -> Ledger | None:
    """Return the ledger that the environment names, else the one behind Airflow's connection, if one is named."""
    found = ledger_from_env()
    if found is None and (conn_id := conf.get("flowctx", "ledger_conn_id", fallback=None)):
        found = shared_ledger(_url(conn_id))
    return found


def store_of_runs() -> ArtifactStore | None:
    """Return the store of artifacts: the environment's, that of the ledger, else where XCom keeps what is large."""
    return artifact_store(ledger(), xcom_storage_path())


@cache
def _url(conn_id: str) -> str:
    """Return the URL of a ledger behind a connection; asked once in a process, since the answer comes from afar."""
    connection = Connection.get(conn_id)
    if connection.conn_type == "sqlite":  # whose path Airflow takes for a schema, or a host
        return f"sqlite:///{connection.host or connection.schema}"
    return str(connection.get_uri())


def _rerun(ctx: WorkflowContext, context: Any, recorded_in: RunLedger) -> EngineRerun:
    """Return what Airflow runs again, if the run was cleared, or was deleted and made again under the same id."""
    clear_number, dag_id = _clear_number(ctx), context["task"].dag_id

    def outdated(known: RunRecord) -> bool:
        # A clear that changes nothing about the run needs no new attempt; a backfill that reprocesses it may do so.
        before = known.context
        same = (before.capture_id, before.batch_id, before.params) == (ctx.capture_id, ctx.batch_id, ctx.params)
        return _clear_number(before) < clear_number and not same

    def made_again(known: RunRecord) -> bool:
        before = known.context
        if known.status is RunStatus.RUNNING or _clear_number(before) < clear_number:
            return False
        if engine_of(before).get("dag_id") != dag_id:  # two DAGs make one run of different steps, or it went on here
            records = recorded_in.steps(known.key, [step_name(context["task"])])
            return any(record.started_at < ctx.started_at for record in records)
        return known.engine_started_at < ctx.started_at

    def steps() -> Collection[str]:
        ti = context["ti"]
        tasks = {task.task_id: step_name(task) for task in context["task"].dag.tasks if is_step(task)}
        states = instance_states(ti, list(tasks))
        # Without a clear it was made again: of what is skipped now, the ledger has what the first one made.
        done = ("success", "skipped") if clear_number else ("success",)
        return [name for at, name in tasks.items() if states.get(instance_key(ti, at)) not in done]

    return EngineRerun(run_id=ctx.run_id, steps=steps, outdated=outdated, asked=clear_number > 0, made_again=made_again)


def _clear_number(ctx: WorkflowContext) -> int:
    return int(engine_of(ctx).get("clear_number", 0))


def _own_tasks(task: Any, workflow: Workflow | None) -> dict[str, Any]:
    """Return the tasks of the DAG whose steps are recorded under the same run, by task id."""
    mapped = isinstance(task.dag.get_task(task.task_id), MappedOperator)
    if mapped and workflow is None:
        return {task.task_id: task}
    group = task.get_closest_mapped_task_group()
    return {
        other.task_id: other
        for other in task.dag.tasks
        if is_step(other)
        and run_name_of(other) == run_name_of(task)
        and isinstance(other, MappedOperator) is mapped
        and other.get_closest_mapped_task_group() is group
        and _whole(other) is workflow
    }


def _order(tasks: Mapping[str, Any], workflow: Workflow | None) -> Order:
    """Return all steps of the run's workflow, and which of them each one follows in the DAG."""
    dag = next(iter(tasks.values())).dag
    before = {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}
    own = {}
    for task in (tasks[task_id] for task_id in dag.task_ids if task_id in tasks):
        nearest = nearest_before(before, tasks, task.task_id)
        own[step_name(task)] = Before.of((step_name(tasks[at]) for at in nearest), _rule(task))
    return own if workflow is None else {**order_of(workflow), **own}


def _rule(task: Any) -> RunIf:
    """Return of which ends of those before it a task runs, by its trigger rule."""
    if waits_for_all(task):
        return RunIf.OK
    return next((rule for rule, trigger in TRIGGER_RULES.items() if trigger == task.trigger_rule), RunIf.OK)


def _whole(task: Any) -> Workflow | None:
    """Return the workflow that has the task's step, if one has."""
    made = made_with(task)
    workflow: Workflow | None = made.get("workflow")
    return workflow if is_own(workflow, made.get("step")) else None
