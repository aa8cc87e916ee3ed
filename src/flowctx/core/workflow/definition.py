"""Workflow: named functions and their order, checked when they are declared."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, cast

from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.data.secrets import without_secrets
from flowctx.core.errors import ContextError, PartitionError, PlainDataError, WorkflowError
from flowctx.core.html_tables import table
from flowctx.core.partitions.key import PartitionKey, key_of
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.suggestions import a_kind, did_you_mean
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.drawing import mermaid
from flowctx.core.workflow.inputs import Input, Source, check_inputs, inputs_of, step_of
from flowctx.core.workflow.names import check_name
from flowctx.core.workflow.parameters import Parameter, check_known, declared
from flowctx.core.workflow.params_model import ParamsModel, ParamsType
from flowctx.core.workflow.retry_policy import NO_RETRIES as NO_RETRIES
from flowctx.core.workflow.retry_policy import RetryPolicy as RetryPolicy
from flowctx.core.workflow.run_request import check_param_names
from flowctx.core.workflow.step import NO_INPUTS as NO_INPUTS
from flowctx.core.workflow.step import Condition as Condition
from flowctx.core.workflow.step import Step as Step
from flowctx.core.workflow.step import StepFunction as StepFunction
from flowctx.core.workflow.step import StepReturn as StepReturn

_F = TypeVar("_F", bound=StepFunction)


class Workflow:
    """Named steps and their order.

    Args:
        name: Letters, digits and ``_``; it becomes the id of the DAG, and the prefix of Dagster's assets.
        partitions: The partition keys there are; without, the workflow is not partitioned.
        params: Parameters with their defaults, which give them their types; a run may override them, in either
            engine's UI too. A run of a workflow that declares none may have any. A dataclass, a msgspec ``Struct`` or
            a pydantic model with defaults may be passed instead of a dict: those of each run are checked against it.
        extra_params: Whether a run may have others beside those.

    Raises:
        WorkflowError: A name that an engine would refuse, or parameters that are no plain data.

    Example:
        >>> flow = Workflow("hello", params={"who": "world"})
        >>> @flow.step()
        ... def greet(ctx):
        ...     return {"text": f"hello {ctx.params['who']}"}
        >>> list(flow.steps)
        ['greet']
    """

    def __init__(
        self,
        name: str,
        *,
        partitions: PartitionScheme | None = None,
        params: Mapping[str, Any] | ParamsType | None = None,
        extra_params: bool = False,
    ) -> None:
        self.name = check_name(name, "workflow")
        if partitions is not None and not isinstance(partitions, PartitionScheme):
            raise WorkflowError(
                f"partitions= of workflow {name!r} must be a PartitionScheme, not {partitions!r}; name its dimensions, "
                "as in PartitionScheme(date=Daily(...), fund=['A', 'B'])"
            )
        if not isinstance(extra_params, bool):
            raise WorkflowError(f"extra_params={extra_params!r} of workflow {name!r} must be True or False")
        self.partitions = partitions
        try:
            self._params_model = None if params is None or isinstance(params, Mapping) else ParamsModel(params)
            defaults = self._params_model.defaults if self._params_model else dict(cast(Any, params) or {})
            #: The declared parameters by name.
            self.parameters: Mapping[str, Parameter] = declared(defaults)
        except (ContextError, PlainDataError, TypeError, ValueError) as exc:
            raise WorkflowError(f"the params of workflow {name!r} cannot be: {exc}") from exc
        #: Their defaults.
        self.params: Mapping[str, Any] = FrozenDict({name: p.default for name, p in self.parameters.items()})
        #: Whether a run may have parameters that are not declared.
        self.extra_params = extra_params or not self.params
        self._steps: dict[str, Step] = {}
        self._checked = False

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps by name, in the order of their declaration: each one after all that it follows."""
        return self._steps

    def step(
        self,
        name: str | None = None,
        *,
        after: Iterable[str | StepFunction] | str | StepFunction | None = None,
        config: Mapping[str, Any] | None = None,
        retries: int | RetryPolicy | None = None,
        when: Condition | None = None,
        run_if: RunIf | Literal["ok", "not_failed", "always"] = "ok",
        optional: bool = False,
        refresh: bool = False,
        version: str | None = None,
        inputs: Mapping[str, Input] | None = None,
    ) -> Callable[[_F], _F]:
        """Declare the decorated function a step; it stays the function that it was.

        Args:
            name: The step's name; the function's if ``None``.
            after: The steps it follows, by name or as functions. ``None``: the one declared before it; ``[]``: none.
            config: Its configuration, plain data.
            retries: How often it is tried again, or a :class:`RetryPolicy`. ``None``: not at all, unless the DAG's
                ``default_args`` say so; 0: never.
            when: It is skipped, with all that follow it, when this function of the context returns false.
            run_if: ``"ok"``: it runs if all steps before it are ok. ``"not_failed"``: also after skipped ones.
                ``"always"``: whatever happened before it, such as a clean-up.
            optional: It may fail without failing the run, such as a notification: it is recorded as ``tolerated``, and
                the steps after it run, without an output of it.
            refresh: It reads what may have changed since, such as a file that is corrected: when its run goes on after
                a failure, it runs again although it is complete, with all that follow it.
            version: The version of its code, which a resumed run compares; a digest of its source if ``None``.
            inputs: What it reads of other partitions and workflows, made by :meth:`output`: each arrives as the
                keyword argument of that name.

        Raises:
            WorkflowError: A name that is taken or that an engine would refuse, a step in ``after`` that is not
                declared above (so there are no cycles) or a function there that is several steps, or a function that
                cannot be called with ``(ctx, config)``.
        """
        if callable(name):
            raise WorkflowError("write @workflow.step() with parentheses")

        def declare(function: _F) -> _F:
            step_name = str(name or getattr(function, "__name__", ""))
            if step_name in self._steps:
                raise WorkflowError(f"workflow {self.name!r} has a step {step_name!r} already; pass another name=")
            self._steps[step_name] = self._declared(
                name=step_name,
                function=function,
                after=self._after(step_name, after),
                config=FrozenDict() if config is None else config,
                retry=_retry_policy(retries),
                when=when,
                run_if=run_if,
                optional=optional,
                refresh=refresh,
                version=version,
                inputs={} if inputs is None else inputs,
                partitions=self.partitions,
                siblings=self._steps,
            )
            self._checked = False
            return function

        return declare

    def _declared(self, **arguments: Any) -> Step:
        try:
            return Step(**arguments)
        except WorkflowError as exc:
            raise WorkflowError(f"workflow {self.name!r}: {exc}") from exc

    def _after(self, name: str, after: Iterable[str | StepFunction] | str | StepFunction | None) -> tuple[str, ...]:
        if after is None:
            return tuple(self._steps)[-1:]
        wanted = [after] if isinstance(after, str) or callable(after) else list(after)
        return tuple(dict.fromkeys(self._known(name, item) for item in wanted))

    def _known(self, name: str, item: str | StepFunction) -> str:
        if isinstance(item, str):
            if item in self._steps:
                return item
            hint = did_you_mean(item, self._steps, f"declare it above; there {_are(self._steps)}")
            raise WorkflowError(f"step {name!r} comes after {item!r}, which is not declared above it; {hint}")
        found = step_of(self, item)
        if found is None:
            raise WorkflowError(f"step {name!r} comes after {item!r}, which is not a step declared above it")
        return found

    def __getitem__(self, name: str) -> Step:
        try:
            return self._steps[name]
        except KeyError:
            raise WorkflowError(
                f"workflow {self.name!r} has no step {name!r}; it has {', '.join(self._steps) or 'none'}"
            ) from None

    def output(self, step: str | StepFunction) -> Input:
        """Return what a step of another partition, or of another workflow, reads as an input.

        Args:
            step: A step of this workflow, by name or as its function; it may be declared later.

        Example:
            >>> flow = Workflow("rates")
            >>> flow.output("load").optional()
            <Input: load of rates, optional>
        """
        return Input(workflow=self, step=step)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return all steps before ``name``, in order of declaration."""
        found: set[str] = set()
        pending = list(self[name].after)
        while pending:
            step = pending.pop()
            if step not in found:
                found.add(step)
                pending.extend(self._steps[step].after)
        return tuple(step for step in self._steps if step in found)

    def partition_key(self, value: PartitionKey | Mapping[str, Any] | str | None) -> PartitionKey | None:
        """Return the partition key that a caller means.

        Args:
            value: A key, a dict of dimensions, text such as ``date=2012-10-26,symbol=IBM``, or ``None``.

        Raises:
            UnknownPartition: The workflow's scheme does not have it.
            PartitionError: It is no key.
            ContextError: The workflow is partitioned and there is no key.
        """
        scheme = self.partitions
        if value is None:
            if scheme is None:
                return None
            form = ",".join(f"{name}=..." for name in scheme.dimensions)
            raise ContextError(
                f"workflow {self.name!r} is partitioned, and no partition was given; name one in the form {form}"
            )
        if type(value) is not PartitionKey and not isinstance(value, (str, Mapping)):
            raise PartitionError(f"partition={value!r} must be a PartitionKey, a dict of dimensions, or text")
        return key_of(value) if scheme is None else scheme.check(value)

    def params_with(self, params: Mapping[str, Any] | None, *, known: Iterable[str] = ()) -> FrozenDict:
        """Return the workflow's parameters with ``params`` on top, each read as the type of its default.

        Args:
            params: Parameters of a run.
            known: Names that a run may have beside the declared ones.

        Raises:
            PlainDataError: They are no dict of plain data.
            ContextError: The workflow has no parameter of that name, or of another type.
        """
        if params is None and self._params_model is None and isinstance(self.params, FrozenDict):
            return self.params
        frozen = freeze({} if params is None else params, "params")
        if not isinstance(frozen, FrozenDict):
            raise PlainDataError(f"params is {a_kind(params)}; it must be a dict with text keys")
        check_param_names(frozen)
        check_known(frozen, [*self.params, *known], extra=self.extra_params, what=f"workflow {self.name!r}")
        declared_params = self.parameters
        read = {n: declared_params[n].read(v) if n in declared_params else v for n, v in frozen.items()}
        merged = {**self.params, **read}
        if self._params_model is not None:
            merged |= self._params_model.check({name: merged[name] for name in declared_params})
        return FrozenDict(merged)

    def with_partitions(self, partitions: PartitionScheme | None) -> Workflow:
        """Return a workflow of the same name and parameters, without steps, for other partitions."""
        other = copy.copy(self)
        other.partitions, other._steps, other._checked = partitions, {}, False
        return other

    def to_mermaid(self) -> str:
        """Return the steps and their order as a Mermaid flow chart, which GitHub, GitLab and notebooks draw.

        Example:
            >>> flow = Workflow("hello")
            >>> flow.step("greet")(lambda ctx: None) and None
            >>> print(flow.to_mermaid())
            flowchart LR
                greet[greet]
        """
        return mermaid(self._steps)

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}: {', '.join(self._steps) or 'no steps'}>"

    def _repr_html_(self) -> str:
        steps = self._steps.values()
        rows = [(step.name, ", ".join(step.after), dict(without_secrets(step.config)) or None) for step in steps]
        return table(f"workflow {self.name}", ("step", "after", "config"), rows)


def _retry_policy(retries: int | RetryPolicy | None) -> RetryPolicy:
    if retries is None:
        return NO_RETRIES
    return retries if isinstance(retries, RetryPolicy) else RetryPolicy(retries=retries)


def expect_workflow(workflow: object) -> Workflow:
    """Return ``workflow`` if it is one.

    Raises:
        WorkflowError: It is none, such as the name of one.

    Example:
        >>> expect_workflow("flows:nav")
        Traceback (most recent call last):
        flowctx.core.errors.WorkflowError: 'flows:nav' is a text and no workflow; pass what Workflow(...) returned, ...
    """
    if isinstance(workflow, Workflow):
        return workflow
    if isinstance(workflow, str):
        module, _, name = workflow.rpartition(":")
        how = f"from {module or 'flows'} import {name}" if name.isidentifier() and "/" not in module else "import it"
        raise WorkflowError(
            f"{workflow!r} is a text and no workflow; pass what Workflow(...) returned, not its name: {how}"
        )
    what = getattr(workflow, "__name__", None) or type(workflow).__name__
    raise WorkflowError(f"{what!r} is no workflow; pass what Workflow(...) returned")


def check_workflow(workflow: object) -> Workflow:
    """Return ``workflow`` if it is one, and has something to run.

    Raises:
        WorkflowError: It is no workflow, has no steps, or has inputs that cannot be.
    """
    if type(workflow) is not Workflow:
        workflow = expect_workflow(workflow)
    if workflow._checked:
        return workflow
    if not workflow.steps:
        raise WorkflowError(f"workflow {workflow.name!r} has no steps; declare some with @workflow.step()")
    if any(step.inputs for step in workflow.steps.values()):
        check_inputs(workflow)
    workflow._checked = True
    return workflow


def workflows_read(workflow: Workflow) -> dict[str, Workflow]:
    """Return a workflow and all that it reads, however far, by their names.

    Example:
        >>> list(workflows_read(Workflow("alone")))
        ['alone']
    """
    found: dict[str, Workflow] = {}
    pending: list[Source] = [workflow]
    while pending:
        one = pending.pop()
        if one.name not in found and isinstance(one, Workflow):
            found[one.name] = one
            pending += [item.workflow for _, _, item in inputs_of(one)]
    return found


def _are(steps: Mapping[str, Step]) -> str:
    return f"are {', '.join(steps)}" if steps else "is none"
