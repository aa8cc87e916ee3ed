"""The workflow's context inside any Airflow task: who runs, when and with what, from what Airflow knows of the run."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.sdk import get_current_context

from flowctx.airflow._compat import hide, run_type_of
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.outputs import map_index
from flowctx.airflow.own_steps import workflow_of
from flowctx.airflow.partitions import PartitionTimetable
from flowctx.airflow.run_time import run_time
from flowctx.airflow.triggering_events import TriggeringEvents
from flowctx.core.data.encoding import from_json
from flowctx.core.errors import CalendarError, ContextError, LedgerError, PayloadError, error_text
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.business_date import AsOf, RunTiming, dates_in_partition
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.context_dates import DUE
from flowctx.core.workflow.date_of_run import date_of_run
from flowctx.core.workflow.dates_of_runs import DatesOfRuns
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.parameters import slip_hint
from flowctx.core.workflow.run_context import begin, beside_steps
from flowctx.core.workflow.run_request import RESERVED_NAMES, RunRequest, is_no_param, read_value
from flowctx.core.workflow.step_config import step_config_of
from flowctx.core.workflow.traceparent import trace_id_of

if TYPE_CHECKING:
    from flowctx.core.durability.ledger import RunLedger

logger = logging.getLogger("flowctx")
_DATES = DatesOfRuns()
#: How a task that is no step gets an output.
_IN_TASK = "take the step's task as an argument and read it with load_output(), or make the task a step (@step_task)"
_IN_CALLBACK = "in a callback of a task: load_output(context['ti'].xcom_pull(task_ids='...'))"


def workflow_context(
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
    context: Mapping[str, Any] | None = None,
) -> WorkflowContext:
    """Return the workflow's context inside any Airflow task: TaskFlow, classic operator, sensor or callback.

    The run's ``conf`` may say who the run is: ``batch_id``, ``trace_id``, ``partition`` (an object, or text such as
    ``date=2012-10-26,symbol=IBM``), ``as_of_date``, ``idempotency_key`` and ``capture_id``. Everything else in ``conf``
    and the DAG's params are ``ctx.params``. A natively partitioned run's key is its partition. What a run that assets
    triggered does not say itself is taken from their events. A run that continues another one (``resume_from``) has
    the business date, the batch, the capture and the parameters of that one, where a ledger is named.

    Args:
        as_of: The rule for the business date, where neither ``conf`` nor the scheme says it; by default that of the
            DAG (``default_args={"as_of": AsOf.last_session("XNYS")}``), else the date of the partition, else
            of the data interval, else of the logical date (:meth:`AsOf.default() <flowctx.AsOf.default>`). A rule that
            holds for one call alone may give one run two dates, which is warned of: say it once, for the DAG.
        required: Refuse a run that has no business date, such as one by hand without a logical date; otherwise its
            ``as_of_date`` is None.
        workflow: The workflow that the run is of; gives its partition scheme, name and default parameters. Without it,
            the parameters, and what a run takes over of another one, are those of the task's workflow, else of the one
            workflow that the DAG has steps of.
        scheme: The partition scheme, if it is neither the workflow's nor that of the DAG's ``PartitionTimetable``.
        context: Airflow's context, where Airflow has no current one: in a callback.

    Returns:
        A context without outputs: those are for steps, and to ask it for one is an error
            (:class:`~flowctx.MissingKey`). Take the step's task as an argument, and read it with
            :func:`~flowctx.airflow.load_output`.

    Raises:
        ContextError: It was called outside a task, ``conf`` says something that cannot be, the rule gives another date
            than the scheme, or there is no business date although it is required.
        CalendarError: The date depends on a time zone that the timetable does not say; the message names the rule.
        UnknownPartition: The scheme does not have the partition.
        UnknownRun: The ledger remembers no run that this one continues. Where ``context`` is given, as in a callback,
            that is warned of, so that an alert is sent: the context says what the run says itself.

    Example:
        ::

            @task
            def load() -> None:
                ctx = workflow_context(AsOf.last_session("XNYS"))
                print(ctx.as_of_date, ctx.batch_id)
    """
    in_callback = context is not None
    instead = _IN_CALLBACK if in_callback else _IN_TASK
    if context is None:
        try:
            context = get_current_context()
        except RuntimeError as exc:
            raise ContextError(
                "workflow_context() was called outside an Airflow task; call it when the task runs, not when the "
                "DAG is parsed, and in a callback pass context="
            ) from exc
    missing = [name for name in ("dag", "dag_run") if name not in context]
    if missing:
        raise ContextError(
            f"the context has no {' and no '.join(missing)}, so it does not say which run is meant; pass the context "
            "that Airflow gives to a callback of a task"
        )
    another_day = as_of is not None and rule_of(context["dag"]) is not None  # on purpose, beside that of the run
    seen = partial(
        run_context, context, as_of, required=required, workflow=workflow, scheme=scheme, another_day=another_day
    )
    try:
        return beside_steps(seen(takes_over=True), instead)
    except LedgerError as exc:
        if not in_callback:
            raise
        why = error_text(exc)
    logger.warning("what run %s takes over of another is not known here: %s", context["dag_run"].run_id, why)
    return beside_steps(seen(), instead)


def run_context(
    context: Mapping[str, Any],
    as_of: AsOf | None = None,
    *,
    required: bool = False,
    workflow: Workflow | None = None,
    scheme: PartitionScheme | None = None,
    map_values: Mapping[str, str] | None = None,
    strict: bool = False,
    another_day: bool = False,
    name: str | None = None,
    takes_over: bool = False,
) -> WorkflowContext:
    """Return the context of the run that Airflow's ``context`` describes.

    Args:
        context: Airflow's context, or as much of it as there is.
        as_of: As in :func:`workflow_context`.
        required: As in :func:`workflow_context`.
        workflow: As in :func:`workflow_context`.
        scheme: As in :func:`workflow_context`.
        map_values: The values of those dimensions over which the task is mapped.
        strict: The run is one of the workflow's own: refuse what it has no parameter for, rather than warn.
        another_day: Whether the date may be another one than that of the run.
        name: What the run is called, if not as its workflow: it is about the same, and is another subject.
        takes_over: Whether a run that continues another is told with what it takes over of that one; a step that is
            recorded in the run asks the ledger itself.
    """
    dag, run = context["dag"], context["dag_run"]
    as_of = as_of if as_of is not None else rule_of(dag)
    of_runs: PartitionScheme | None = getattr(dag.timetable, "scheme", None)
    scheme = scheme or (workflow.partitions if workflow is not None else of_runs)
    if of_runs is None and scheme is not None and map_values:  # a schedule of one's own, which has no keys
        of_runs = scheme.without(*map_values)
    conf = _conf(run.conf)
    request = RunRequest.parse(conf.get, "conf")
    events = TriggeringEvents.of(context.get("triggering_asset_events"), request)
    stated = _stated(request, of_runs, map_values) if map_values else request.partition_key(scheme)
    own = [value for value in (stated, _key_of_run(dag, run)) if value]
    partition = _partition(own or events.partitions, scheme, of_runs, map_values or {})
    if partition is None and scheme is not None and workflow is not None:
        _refuse_no_partition(workflow, scheme, resumes=request.resume_from is not None)
    flow = workflow or workflow_of(context)
    declared = {*getattr(dag, "params", ()), *(workflow.params if workflow else ())}
    params = _params(context.get("params") or {}, conf, flow, declared)
    known = {*params} if request.resume_from else {*getattr(dag, "params", ())}  # what steps wrote may be set anew
    if not strict:
        known |= _warned(params, known.union(workflow.params if workflow is not None else ()))
    if workflow is not None:
        params = dict(workflow.params_with(params, known=known))
    before = None
    if takes_over and flow is not None and request.resume_from is not None:
        from flowctx.core.durability.taken_over import taken_over

        if (ledger := _ledger()) is not None:
            before = taken_over(ledger, flow, run.run_id, partition, request, params=params, new_params=conf)
    usual = workflow.name if workflow is not None else dag.dag_id
    name = name or usual
    if before is not None and flow is not None:
        request = before.request(request, of_workflow=name == flow.name)
        more = {} if strict and name == flow.name else params
        # What the DAG has beside the workflow's parameters is no part of the run that is continued.
        params = {**{n: value for n, value in more.items() if n not in flow.params}, **before.context.params}
    hide(params)
    metadata = {"engine": _engine(dag, run, context.get("ti")), **events.many}
    metadata |= step_config_of(workflow, request.step_config)
    metadata |= before.metadata if before is not None else {}
    day = request.as_of_date or events.as_of_date
    if day is not None and request.as_of_date is None:
        # What triggered the run has its own business date; a rule, and the run's own partition, come first.
        dated = partition is not None and (scheme is not None or (own and dates_in_partition(partition)))
        if as_of is not None or dated:
            day = None
        else:
            metadata["as_of_source"] = "asset_events"
    time = run_time(dag, run, partition, scheme)
    ctx = begin(
        name,
        run_id=run.run_id,
        scheme=scheme,
        partition=partition,
        as_of_date=day,
        as_of=as_of,
        required=required,
        time=time,
        batch_id=request.batch_id or events.batch_id,
        trace_id=request.trace_id or events.trace_id or _engine_trace(context.get("ti")),
        capture_id=request.capture_id,
        idempotency_key=f"{key}|{name}" if (key := request.idempotency_key) and name != usual else key,
        params=params,
        metadata=metadata,
        # ``DAG.test`` and ``airflow dags test`` say the logical date, and let it run after now.
        started_at=run.run_after if run.start_date == run.logical_date else run.start_date,
    )
    if day is None and before is None and not another_day:
        _warn_of_other_dates(dag, ctx, time)
    return ctx if before is None else before.seen(ctx)


def _ledger() -> RunLedger | None:
    """Return where to ask what a run takes over of another one, if a ledger is named."""
    from flowctx.airflow.recording import ledger  # here: most runs take nothing over
    from flowctx.core.durability.run_ledgers import run_ledger
    from flowctx.ledger import strict_from_env

    found = ledger()
    return None if found is None else run_ledger(found, strict=strict_from_env())


def rule_of(dag: Any) -> AsOf | None:
    """Return the rule for the business date that a DAG has for all of its tasks, if it has one."""
    rule: AsOf | None = (getattr(dag, "default_args", None) or {}).get("as_of")
    return rule


def _warn_of_other_dates(dag: Any, ctx: WorkflowContext, time: RunTiming) -> None:
    """Warn where another call in this process, or the rule of another step of the DAG, has another date."""
    seen = [(ctx.as_of_date, ctx.metadata["as_of_source"])]
    if DUE not in ctx.metadata:  # else a cadence dates the run, and no rule says another date
        rules = {rule for task in dag.tasks for rule in _rules_of_step(task)}
        for rule in sorted(rules, key=repr):
            try:
                found = date_of_run(ctx.partition, time.scheme, time=time, as_of=rule)
            except CalendarError:  # which that step will say
                continue
            seen.append((found.date, found.source))
    run = (dag.dag_id, ctx.run_id, str(ctx.partition))
    for day, source in seen:
        if (differing := _DATES.differing(run, day, source)) is not None:
            logger.warning(
                "run %s of DAG %s has two business dates, %s; say the rule once for all of its tasks: "
                "DAG(default_args={'as_of': AsOf...})",
                ctx.run_id,
                dag.dag_id,
                differing,
            )


def _rules_of_step(task: Any) -> list[AsOf]:
    """Return the rule of a task that runs a step of the DAG's own, which is recorded in the DAG's own run."""
    own = getattr(task, "hands_on_envelope", False) and task.workflow is None and task.scheme is None
    return [task.as_of or rule_of(task.dag) or AsOf.default()] if own else []


def _key_of_run(dag: Any, run: Any) -> str | None:
    """Return the partition key that Airflow has for a run, or that its logical date tells where Airflow has none.

    An Airflow with partitioned runs may have older ones, from before it was updated; of those the id has the key, too.
    """
    partitioned = AIRFLOW.able("partitioned runs")
    if partitioned and run.partition_key is not None:
        return str(run.partition_key)
    if run.logical_date is None or not isinstance(dag.timetable, PartitionTimetable):
        return None
    if partitioned:
        return dag.timetable.key_of_earlier_run(run.run_id, run.logical_date)
    return dag.timetable.key_at(run.logical_date)


def _refuse_no_partition(workflow: Workflow, scheme: PartitionScheme, *, resumes: bool) -> None:
    try:
        workflow.partition_key(None)
    except ContextError as exc:
        text = "|".join("..." for _ in scheme.dimensions)
        where = f"in Airflow as the run's partition key, or in conf: {{'partition': {text!r}}}"
        also = "; one that continues another says its partition, too (flowctx resume RUN --on airflow does)"
        raise ContextError(f"{exc}; {where}{also if resumes else ''}") from None


def _conf(conf: Any) -> Mapping[str, Any]:
    if conf is None:
        return {}
    if not isinstance(conf, Mapping):
        raise ContextError(
            f"the run's conf is a {type(conf).__name__}; it must be an object, such as {{'batch_id': '...'}}"
        )
    return conf


def _stated(request: RunRequest, of_runs: PartitionScheme | None, map_values: Mapping[str, str]) -> PartitionKey | None:
    """Return the partition that the caller gives for a run that does several values of some dimensions."""
    stated = request.partition_key(of_runs)
    if both := " and ".join(name for name in map_values if stated is not None and name in stated):
        raise ContextError(
            f"conf['partition'] is {str(stated)!r}, and a run of this DAG does all values of {both}; leave out {both}, "
            "or run a DAG without map_over="
        )
    return stated


def _partition(
    values: list[Any], scheme: PartitionScheme | None, of_runs: PartitionScheme | None, map_values: Mapping[str, str]
) -> PartitionKey | None:
    """Return the partition that the caller or Airflow itself gives, with the values over which the task is mapped."""
    keys = {PartitionKey(**{**_key(value, of_runs if map_values else scheme), **map_values}) for value in values}
    if len(keys) > 1:
        raise ContextError(
            f"conf['partition'] is {str(values[0])!r}, and the run's own partition key is {values[1]!r}; "
            "they must mean the same: pass one"
        )
    if not keys and map_values:
        keys = {PartitionKey(**map_values)}
    key = next(iter(keys), None)
    return key if key is None or scheme is None else scheme.check(key)


def _key(value: Any, scheme: PartitionScheme | None) -> Mapping[str, str]:
    if isinstance(value, str):
        if scheme is not None:
            return scheme.parse(value)
        # A key that some other timetable made is one opaque text.
        return PartitionKey.parse(value) if "=" in value else PartitionKey(partition=value)
    found: Mapping[str, str] = read_value("partition", value, "the event's extra")
    return found


def _params(
    params: Mapping[str, Any], conf: Mapping[str, Any], workflow: Workflow | None, declared: Collection[str]
) -> dict[str, Any]:
    """Return the parameters: Airflow's merge of the DAG's and ``conf``, without the keys that say who the run is.

    Those of a workflow are what ``conf`` says, as on every engine, also if ``dag_run_conf_overrides_params`` is off.
    What Airflow and its lineage write into ``conf`` is none, unless somebody declares it.
    """
    own = workflow.params if workflow is not None else {}
    merged = {**own, **conf, **params, **{name: conf[name] for name in own if name in conf}}
    others = {name for name in merged if is_no_param(name)}.difference(declared).union(RESERVED_NAMES)
    return {name: _value(value, name) for name, value in merged.items() if name not in others}


def _warned(params: Mapping[str, Any], known: Collection[str]) -> set[str]:
    """Warn of parameters that may be meant to say more, and return all names: in a DAG of the user's own all go."""
    for name in params:
        if name not in known and (hint := slip_hint(name)) is not None:
            logger.warning("conf[%r] is a parameter; %s", name, hint)
    return set(params)


def _value(value: Any, name: str) -> Any:
    """Read the JSON form of dates, decimals and so on; a leading ``$`` that is none of ours means nothing."""
    try:
        return from_json(value, name)
    except PayloadError:
        return value


def _engine(dag: Any, run: Any, ti: Any) -> dict[str, Any]:
    facts = {
        "name": "airflow",
        "version": airflow_version,
        "dag_id": dag.dag_id,
        "run_type": run_type_of(run),
    }
    if run.clear_number:
        facts["clear_number"] = run.clear_number
    if ti is not None:
        facts |= {
            "task_id": ti.task_id,
            "try_number": ti.try_number,
            "map_index": map_index(ti),
        }
    return facts


def _engine_trace(ti: Any) -> str | None:
    """Return the trace id of the run's W3C traceparent, which all tasks of a run share until it is cleared."""
    carrier = getattr(ti, "context_carrier", None) or {}
    return trace_id_of(carrier.get("traceparent"))
