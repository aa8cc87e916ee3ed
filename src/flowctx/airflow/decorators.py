"""``@task.step``: a step in TaskFlow style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, overload

from airflow.sdk import XComArg

from flowctx.airflow._compat import task_decorator_factory, unique_task_id
from flowctx.airflow.steps import StepOperator, as_step, config_of
from flowctx.core.errors import WorkflowError
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.definition import NO_RETRIES, Condition, RetryPolicy, StepFunction


class DecoratedStep(Protocol):
    """What :func:`step_task` makes of a function: called in a DAG, it adds a task."""

    #: The function itself, to be called in tests.
    function: StepFunction

    def __call__(self, *after: Any, config: Mapping[str, Any] | XComArg | None = None) -> XComArg:
        """Add a task that comes after those given, with configuration on top of the step's own."""

    def override(self, **kwargs: Any) -> DecoratedStep:
        """Return the same with other arguments of the operator, such as another ``task_id``."""

    def partial(self, **kwargs: Any) -> DecoratedStep:
        """Return the same with arguments that all instances share, before :meth:`expand`."""

    def expand(self, **kwargs: Any) -> XComArg:
        """Add a mapped task, with one instance for each of the values."""


@overload
def step_task(python_callable: StepFunction) -> DecoratedStep: ...


@overload
def step_task(
    *,
    config: Mapping[str, Any] | None = ...,
    retries: int | RetryPolicy | None = ...,
    when: Condition | None = ...,
    run_if: RunIf | Literal["ok", "not_failed", "always"] = ...,
    optional: bool = ...,
    **kwargs: Any,
) -> Callable[[StepFunction], DecoratedStep]: ...


def step_task(
    python_callable: StepFunction | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    retries: int | RetryPolicy | None = None,
    when: Condition | None = None,
    run_if: RunIf | Literal["ok", "not_failed", "always"] = RunIf.OK,
    optional: bool = False,
    **kwargs: Any,
) -> Any:
    """Make a function ``(ctx, config) -> StepResult`` a task; Airflow also knows it as ``@task.step``.

    Both are the same decorator. Type checkers know the calls of ``@step_task`` only: Airflow's types take a task's call
    for that of its function.

    Called in a DAG, the function takes the tasks it comes after, and ``config=`` on top of what is given here. It stays
    callable for tests as ``fetch.function(ctx, config)``.

    Args:
        python_callable: The function, where there are no parentheses.
        config: Configuration. Templated; XComs of other tasks may be in it.
        retries: How often it is tried again, as for any task, or a :class:`~flowctx.RetryPolicy`.
        when: It is skipped when this function of the context returns false.
        run_if: As for :meth:`Workflow.step() <flowctx.Workflow.step>`: the task's trigger rule.
        optional: Its failure leaves the task a success.
        **kwargs: As for :class:`~flowctx.airflow.StepOperator` and any operator.

    Example:
        ::

            @task.step(config={"max_move": 0.25})
            def validate(ctx, config): ...

            validate(fetch(), config={"rows": count_rows()})
    """
    if retries is not None:
        kwargs["retry" if isinstance(retries, RetryPolicy) else "retries"] = retries
    if config is not None:
        kwargs["defaults"] = config  # by another name: expand(config=...) refuses what is given already
    if when is not None:
        kwargs["when"] = when
    kwargs |= {"run_if": run_if, "optional": optional}
    return task_decorator_factory(python_callable, decorated_operator_class=StepTask, **kwargs)


class StepTask(StepOperator):
    """What ``@task.step`` makes of a function."""

    custom_operator_name = "@task.step"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Sequence[Any] = (),
        op_kwargs: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        when: Condition | None = None,
        run_if: RunIf = RunIf.OK,
        optional: bool = False,
        retry: RetryPolicy | None = None,
        multiple_outputs: bool = False,  # inferred from "-> dict"; an envelope is one value
        **kwargs: Any,
    ) -> None:
        arguments = dict(op_kwargs or {})
        on_top = config_of(arguments.pop("config", None), task_id)
        if arguments:
            raise WorkflowError(
                f"{task_id}() got {', '.join(arguments)}; call a step with the tasks it comes after, and config={{...}}"
            )
        if wrong := [value for value in op_args if not hasattr(value, "set_upstream")]:
            raise WorkflowError(
                f"{task_id}() got {wrong[0]!r}, which is no task; call a step with the tasks it comes after, and give "
                "it other values by name: config={...}"
            )
        if not getattr(self, "_BaseOperator__from_mapped", False):
            task_id = unique_task_id(task_id, kwargs.get("dag"), kwargs.get("task_group"))
        step = replace(
            as_step(python_callable, task_id),
            when=when,
            run_if=run_if,
            optional=optional,
            retry=retry or NO_RETRIES,
        )
        own = {**config_of(defaults, step.name), **config_of(config, step.name)}
        super().__init__(step=step, task_id=task_id, config={**own, **on_top}, **kwargs)
        if op_args:
            self.set_upstream(list(op_args))
