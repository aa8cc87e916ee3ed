"""A step as an Airflow task: StepOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from airflow.sdk import Asset, BaseOperator, Context

from flowctx.airflow._compat import (
    RETURN_VALUE,
    AirflowException,
    AirflowFailException,
    AirflowRetryPolicy,
    AirflowSkipException,
    RetryDecision,
    TemplateValue,
)
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.context import run_context
from flowctx.airflow.dag_names import remember_dag
from flowctx.airflow.outputs import TRIGGER_RULES, is_step, skipped_before, step_name, to_payload
from flowctx.airflow.own_steps import is_own, run_name
from flowctx.airflow.planned_runs import DagRuns
from flowctx.airflow.recording import ledger, step_attempt
from flowctx.core.data.encoding import to_json
from flowctx.core.data.plain import thaw
from flowctx.core.errors import FlowctxError, WorkflowError
from flowctx.core.execution.execute import Outcome
from flowctx.core.masking import mask_data
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.renames import warn_renamed
from flowctx.core.workflow.business_date import AsOf
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import NO_RETRIES, RetryPolicy, Step, StepFunction, Workflow
from flowctx.core.workflow.known_steps import steps_known
from flowctx.core.workflow.result import StepStatus


class StepOperator(BaseOperator):
    """Runs one step as an Airflow task and hands its envelope on in XCom.

    It sees the outputs and updates of all steps before it: the nearest are found through ordinary tasks, task groups
    and branches. A failure whose category is not retryable fails the task at once; a skip skips the tasks after it,
    as Airflow does. A failure of an optional step leaves its task a success, with the reason in its log and XCom.
    The events of its asset outlets carry the run's batch, trace, business date and partition.

    With a ledger (``FLOWCTX_LEDGER_URL``, or the Airflow connection that ``[flowctx] ledger_conn_id`` names), each
    step is recorded; in a run whose ``conf`` has ``resume_from``, what is complete in that run is handed on as it was.

    Args:
        step: The step: a function ``(ctx, config) -> StepResult``, or a :class:`~flowctx.Step` of a workflow.
        config: Configuration on top of the step's own. Templated; XComs of other tasks may be in it.
        workflow: The workflow that the step is of, whose partition scheme and parameters then hold.
        scheme: The partition scheme, if it is not the workflow's or the DAG's.
        as_of: The rule for the business date, as for :func:`~flowctx.airflow.workflow_context`.
        map_values: The values of the dimensions over which the task is mapped, such as ``{"symbol": "IBM"}``.
        within: Old name of ``map_values``.
        task_id: The step's name if left out; the name of a step that is made of a function.
        **kwargs: As for any operator. A step's own retry policy holds unless ``retries`` is given.

    Raises:
        WorkflowError: ``step`` is no step, or ``do_xcom_push`` is off.

    Example:
        ::

            with DAG("adopted", schedule="@daily"):
                load = StepOperator(step=load_prices, config={"day": "{{ macros.flowctx.as_of_date }}"})
    """

    template_fields: Sequence[str] = ("config", "map_values", "workflow_context")
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(template_fields, "json")
    ui_color = "#e6f2ef"
    #: Steps after it read what it hands on.
    hands_on_envelope: ClassVar[bool] = True
    #: Of a task in a mapped group: the labels of all its instances.
    labels: tuple[str, ...] = ()
    #: Of such a task: the dimensions over which the group is mapped.
    mapped_over: tuple[str, ...] = ()
    #: Whether its trigger rule waits for all steps before it, and it skips itself if one of them was skipped.
    skips_itself: bool = False
    #: What its run is called in the ledger, where neither its workflow nor its DAG says it.
    recorded_as: str | None = None

    def __init__(
        self,
        *,
        step: Step | StepFunction,
        config: Mapping[str, Any] | None = None,
        workflow: Workflow | None = None,
        scheme: PartitionScheme | None = None,
        as_of: AsOf | None = None,
        map_values: Any = None,
        within: Any = None,
        task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.step = as_step(step, task_id)
        # An XCom may stand for the whole of it; Airflow resolves it before the step runs.
        self.config = config if hasattr(config, "resolve") else thaw(config_of(config, self.step.name))
        self.workflow = workflow
        self.scheme = scheme
        self.as_of = as_of
        if within is not None:
            warn_renamed("StepOperator(within=)", "StepOperator(map_values=)")
        self.map_values = within if map_values is None else map_values
        self.workflow_context = _Shown(self)
        rules = {} if self.step.run_if is RunIf.OK else {"trigger_rule": TRIGGER_RULES[self.step.run_if]}
        super().__init__(
            task_id=task_id or self.step.name,
            **{**rules, **retry_arguments(self.step.retry, kwargs, own=workflow is not None), **kwargs},
        )
        if self.step.optional and self.outlets:
            raise WorkflowError(
                f"step {self.step.name!r} is optional and has outlets, which Airflow would call updated when it fails; "
                "leave out outlets=, or give them to a step that must not fail"
            )
        if not self.do_xcom_push:
            raise WorkflowError(
                f"task {self.task_id!r} has do_xcom_push=False; a step hands its output on in XCom: leave it on"
            )

    def context_of(self, context: Mapping[str, Any], *, shown: bool = False) -> WorkflowContext:
        """Return the run's context, as this task sees it before the outputs of other steps.

        What a step of the workflow's own takes over of a run that it continues, it is told as it begins.

        Args:
            context: Airflow's context.
            shown: Whether it is for people to look at, who see that, too.
        """
        map_values: Any = self.map_values or None
        if hasattr(map_values, "resolve"):  # the context of Airflow 3.0 has the task as it was before it was rendered
            map_values = map_values.resolve(context)
        return run_context(
            context,
            self.as_of,
            workflow=self.workflow,
            scheme=self.scheme,
            map_values=map_values,
            strict=self.workflow is not None,
            name=self.run_name(context["dag"].dag_id),
            takes_over=shown or not is_own(self.workflow, self.step),
        )

    def run_name(self, dag_id: str) -> str:
        """Return what the run that it is recorded under is called; see :func:`~.own_steps.run_name`."""
        return self.recorded_as or run_name(self.workflow, self.step, dag_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step on the context of this task instance, and return what is to be pushed.

        Raises:
            AirflowSkipException: The step was skipped.
            AirflowFailException: It failed, and trying again cannot help.
            Exception: It failed otherwise: the step's own exception, if it raised one.
        """
        if (why := skipped_before(context["task"], context["ti"])) is not None:
            raise AirflowSkipException(why)  # as Airflow skips: nothing is recorded of it, nor handed on
        with steps_known([step_name(task) for task in self.dag.tasks if is_step(task)]):
            made = step_attempt(self, context).attempt()
        payload = to_payload(made.envelope, context["ti"], self.map_values, had_ledger=ledger() is not None)
        status = made.envelope.status
        if status is StepStatus.TOLERATED:
            return payload
        if made.ctx is None or status is not StepStatus.OK:
            # Pushed before the task ends, so that the reason is in XCom, for people and for other trigger rules.
            context["ti"].xcom_push(key=RETURN_VALUE, value=payload)
            _stop(made.outcome)
        self.tell_assets(context, made.ctx)
        return payload

    def wait_for(self, runs: list[DagRuns]) -> NoReturn:
        """Let go of the worker until some runs have ended; the task begins anew then.

        Raises:
            TaskDeferred: Always; Airflow takes it.
        """
        from flowctx.airflow.waiting import InputsTrigger

        self.defer(trigger=InputsTrigger([some.to_dict() for some in runs]), method_name="after_wait")

    def after_wait(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Run the step when what it waited for has ended; see :meth:`execute`."""
        return self.execute(context)

    def tell_assets(self, context: Any, ctx: WorkflowContext) -> None:
        """Say in the events of the task's asset outlets who the run is; see :func:`~flowctx.airflow.workflow_context`.

        The partition becomes the event's own only where a scheme declares it: an event that has one does not trigger
        DAGs that know no partitions.
        """
        scheme = self.scheme or (self.workflow.partitions if self.workflow else None)
        facts = {
            "batch_id": ctx.batch_id,
            "trace_id": ctx.trace_id,
            "as_of_date": ctx.as_of_date.isoformat() if ctx.as_of_date else None,
            "partition": ctx.partition.to_dict() if ctx.partition else None,
        }
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                event = context["outlet_events"][outlet]
                event.extra.update({name: value for name, value in facts.items() if value is not None})
                if scheme is not None and ctx.partition is not None and AIRFLOW.able("partitions in events"):
                    event.add_partitions(scheme.text(ctx.partition))


class _Shown(TemplateValue):
    """The run's context in a task's rendered fields, without secrets: Airflow hides some of them there, not all."""

    def __init__(self, operator: StepOperator) -> None:
        self.operator = operator

    def resolve(self, context: Mapping[str, Any]) -> dict[str, Any]:
        # Rendering comes before execution, which will fail with the same error in its own way.
        operator = context["task"] if isinstance(context["task"], StepOperator) else self.operator
        try:
            shown = operator.context_of(context, shown=True).to_dict()
        except FlowctxError as exc:
            return {"error": str(exc)}
        config = to_json(operator.step.config)
        shown = {"step": operator.step.name, "step_config": config} | {k: v for k, v in shown.items() if v}
        return dict(mask_data(shown))

    def __str__(self) -> str:
        # Airflow asks for this when it writes the DAG down, before it plans any run of it.
        operator = self.operator
        if operator.workflow is not None and is_own(operator.workflow, operator.step) and operator.has_dag():  # type: ignore[no-untyped-call]
            remember_dag(operator.dag, operator.workflow, ledger)
        return super().__str__()


def config_of(config: Mapping[str, Any] | None, step: str) -> Mapping[str, Any]:
    """Return a step's configuration; a dict, in which XComs may be.

    Raises:
        WorkflowError: It is no dict.
    """
    if config is not None and not isinstance(config, Mapping):
        raise WorkflowError(
            f"the config of step {step!r} is {config!r}; it must be a dict, in which templates and XComs may be"
        )
    return config or {}


def as_step(step: Step | StepFunction, task_id: str | None = None) -> Step:
    """Return ``step``, or the step that is made of a function and named as its task, if that can name a step.

    Raises:
        WorkflowError: It is neither, or its name cannot be.
    """
    if isinstance(step, Step):
        return step
    if not callable(step):
        raise WorkflowError(f"step={step!r} is neither a step nor a function; pass a function or workflow['name']")
    name = task_id if task_id is not None and task_id.isidentifier() else getattr(step, "__name__", "")
    return Step(name=name, function=step)


def _stop(outcome: Outcome) -> NoReturn:
    """Tell Airflow; what is raised is the last line of the task's log, so its message is the step's own."""
    result = outcome.result
    if result.status is StepStatus.SKIPPED:
        raise AirflowSkipException(result.error)
    if not result.retryable:
        raise AirflowFailException(result.error) from outcome.exception
    if isinstance(outcome.exception, Exception):
        raise outcome.exception
    raise AirflowException(result.error) from outcome.exception  # a panic, which Airflow might not call a failure


def retry_arguments(policy: RetryPolicy, kwargs: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """Return the operator's arguments for a step's retry policy.

    Args:
        policy: The policy.
        kwargs: The operator's arguments; what they say of retries wins.
        own: The step is one of a workflow, which is tried again as often on every engine: ``[core]
            default_task_retries`` is for other tasks.
    """
    if "retries" in kwargs:
        return {}
    if policy is NO_RETRIES or (policy == NO_RETRIES and not own):
        return {"retries": 0} if own and "retries" not in (kwargs.get("default_args") or {}) else {}
    if not policy.retries:
        return {"retries": 0}
    arguments = {"retries": policy.retries, "retry_delay": min(policy.delay, policy.max_delay)}
    if AIRFLOW.able("retry policies"):
        return {**arguments, "retry_policy": StepRetries(policy)}
    grows = {"retry_exponential_backoff": True, "max_retry_delay": policy.max_delay} if policy.backoff > 1 else {}
    return arguments | grows


class StepRetries(AirflowRetryPolicy):
    """Waits as long as the step's own policy says, the same as on every engine."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Return the wait after this attempt; attempts are counted anew when a task is cleared."""
        attempt = max(1, try_number - (max_tries - self.policy.retries))
        return RetryDecision.retry(delay=self.policy.wait(attempt))
