"""A step as an Airflow task: StepOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator, Context, RetryDecision
from airflow.sdk import RetryPolicy as AirflowRetryPolicy

from flowctx.airflow._compat import (
    ENGINE_EXCEPTIONS,
    RETURN_VALUE,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from flowctx.airflow.context import run_context
from flowctx.airflow.outputs import take_over
from flowctx.artifacts import artifact_store
from flowctx.core.envelope import MAX_INLINE_BYTES, Envelope, Inherited
from flowctx.core.errors import FlowctxError, WorkflowError
from flowctx.core.execution import Outcome, categorize, execute
from flowctx.core.plain import thaw
from flowctx.core.result import StepResult, StepStatus
from flowctx.core.workflow import RetryPolicy, Step, StepFunction, Workflow


class StepOperator(BaseOperator):
    """Runs one step as an Airflow task and hands its envelope on in XCom.

    It sees the outputs and updates of all steps before it: the nearest are found through ordinary tasks, task groups
    and branches. A failure whose category is not retryable fails the task at once; a skip skips the tasks after it,
    as Airflow does.

    Args:
        step: The step: a function ``(ctx, config) -> StepResult``, or a :class:`~flowctx.Step` of a workflow.
        config: Configuration on top of the step's own. Templated; XComs of other tasks may be in it.
        workflow: The workflow that the step is of, whose partition scheme and parameters then hold.
        task_id: The step's name if left out.
        **kwargs: As for any operator. A step's own retry policy holds unless ``retries`` is given.

    Raises:
        WorkflowError: ``step`` is no step, or ``do_xcom_push`` is off.

    Example:
        ::

            with DAG("adopted", schedule="@daily"):
                load = StepOperator(step=load_prices, config={"day": "{{ macros.flowctx.as_of_date }}"})
    """

    template_fields: Sequence[str] = ("config",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json"}
    ui_color = "#e6f2ef"
    #: Steps after it read what it hands on.
    hands_on_envelope: ClassVar[bool] = True

    def __init__(
        self,
        *,
        step: Step | StepFunction,
        config: Mapping[str, Any] | None = None,
        workflow: Workflow | None = None,
        task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.step = as_step(step)
        self.config = thaw(dict(config or {}))
        self.workflow = workflow
        super().__init__(task_id=task_id or self.step.name, **{**retry_arguments(self.step.retry, kwargs), **kwargs})
        if not self.do_xcom_push:
            raise WorkflowError(
                f"task {self.task_id!r} has do_xcom_push=False; a step hands its output on in XCom: leave it on"
            )

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step on the context of this task instance."""
        return run_step(self.step, context, config=self.config, workflow=self.workflow)


def as_step(step: Step | StepFunction, name: str | None = None) -> Step:
    """Return ``step``, made of the function if it is one.

    Raises:
        WorkflowError: It is neither, or its name cannot be.
    """
    if isinstance(step, Step):
        return step if name is None else replace(step, name=name)
    if not callable(step):
        raise WorkflowError(
            f"step={step!r} is neither a step nor a function; pass a function (ctx, config) or workflow['name']"
        )
    return Step(name=name or str(getattr(step, "__name__", "")), function=step)


def run_step(
    step: Step, context: Mapping[str, Any], *, config: Mapping[str, Any] | None = None, workflow: Workflow | None = None
) -> dict[str, Any]:
    """Run one attempt at a step in a task and return what the task is to push.

    Raises:
        AirflowSkipException: The step was skipped.
        AirflowFailException: It failed, and trying again cannot help.
        Exception: It failed otherwise: the step's own exception, if it raised one.
    """
    ti = context["ti"]
    store = artifact_store()
    inherited = Inherited()
    try:
        ctx = run_context(context, workflow=workflow)
        ctx, inherited = take_over(ctx, context["task"], ti, store)
        outcome = execute(step, ctx, config, attempt=ti.try_number, reraise=ENGINE_EXCEPTIONS)
        envelope = inherited.envelope(step.name, outcome.result, store=store, limit=MAX_INLINE_BYTES)
    except FlowctxError as exc:
        failure = StepResult.fail(f"{type(exc).__name__}: {exc}", category=categorize(exc))
        outcome = Outcome(result=failure, exception=exc)
        envelope = inherited.envelope(step.name, failure)
    payload = envelope.to_payload()
    if envelope.status is not StepStatus.OK:
        # Pushed before the task ends, so that the reason is in XCom, for people and for tasks with other trigger rules.
        ti.xcom_push(key=RETURN_VALUE, value=payload)
        _stop(envelope, outcome.exception)
    return payload


def _stop(envelope: Envelope, exception: Exception | None) -> NoReturn:
    """Tell Airflow; what is raised is the last line of the task's log, so its message is the step's own."""
    if envelope.status is StepStatus.SKIPPED:
        raise AirflowSkipException(envelope.error)
    if envelope.category is not None and not envelope.category.retryable:
        raise AirflowFailException(envelope.error) from exception
    raise exception or AirflowException(envelope.error)


def retry_arguments(policy: RetryPolicy, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operator's arguments for a step's retry policy: none, if there is no policy or the caller says."""
    if policy == RetryPolicy() or "retries" in given:
        return {}
    return {"retries": policy.retries, "retry_delay": policy.delay, "retry_policy": StepRetries(policy)}


class StepRetries(AirflowRetryPolicy):
    """Waits as long as the step's own policy says, the same as on every engine."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    def evaluate(
        self,
        exception: BaseException,  # noqa: ARG002  # Airflow passes it by name
        try_number: int,
        max_tries: int,
        context: Context | None = None,  # noqa: ARG002  # likewise
    ) -> RetryDecision:
        """Return the wait after this attempt; attempts are counted anew when a task is cleared."""
        attempt = max(1, try_number - (max_tries - self.policy.retries))
        return RetryDecision.retry(delay=self.policy.wait(attempt))
