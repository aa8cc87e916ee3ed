"""Step: a function with a name and a place in a workflow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeAlias

from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.data.secrets import without_secrets
from flowctx.core.data.tables import ArrowStream
from flowctx.core.errors import PlainDataError, WorkflowError
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.cascade import Before, RunIf, run_if_of
from flowctx.core.workflow.code_version import code_version, keep_source
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.inputs import Input, declared_inputs
from flowctx.core.workflow.known_steps import steps_known
from flowctx.core.workflow.names import check_name
from flowctx.core.workflow.result import StepResult, as_result
from flowctx.core.workflow.retry_policy import NO_RETRIES, RetryPolicy
from flowctx.core.workflow.step_function import ConfigStyle, call_function, check_one_argument, config_style

#: A table may come batch by batch, from a generator.
StepReturn: TypeAlias = StepResult | Mapping[str, Any] | ArrowStream | Iterator[ArrowStream] | None
StepFunction: TypeAlias = Callable[..., StepReturn]
Condition: TypeAlias = Callable[[WorkflowContext], bool]
#: Of a step that reads nothing of other partitions.
NO_INPUTS: Mapping[str, Any] = FrozenDict()


@dataclass(frozen=True, kw_only=True)
class Step:
    """A function ``(ctx, config) -> StepResult`` with a name and a place in a workflow; made by ``@workflow.step``."""

    #: Its name, unique in the workflow.
    name: str
    #: The function, called with ``(ctx, config)``, or with ``(ctx)`` alone if it takes no configuration.
    function: StepFunction
    #: The steps it follows directly.
    after: tuple[str, ...] = ()
    #: Its configuration, unless the caller gives another.
    config: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: When it is tried again.
    retry: RetryPolicy = NO_RETRIES
    #: It is skipped when this returns false.
    when: Condition | None = None
    #: Of which ends of the steps before it it runs.
    run_if: RunIf = RunIf.OK
    #: It may fail without failing the run.
    optional: bool = False
    #: It reads what may have changed since: when its run goes on after a failure, it runs again, with all that follow.
    refresh: bool = False
    #: The version of its code; a digest of the function's source if the author does not say.
    version: str | None = None
    #: What it reads of other partitions and workflows, by the names of the function's parameters.
    inputs: Mapping[str, Input] = field(default_factory=dict)
    #: The partitions of its workflow.
    partitions: PartitionScheme | None = field(default=None, repr=False, compare=False)
    #: All steps of its workflow, by name; empty for a step of none.
    siblings: Mapping[str, Step] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name, "step")
        if not callable(self.function):
            raise WorkflowError(f"step {self.name!r} is {a_kind(self.function)}; it must be a function")
        if inspect.iscoroutinefunction(self.function) or inspect.isgeneratorfunction(self.function):
            code = self.function.__code__
            raise WorkflowError(
                f"step {self.name!r} ({code.co_filename}, line {code.co_firstlineno}) is a coroutine or generator; a "
                "step is a plain function that returns: remove `async` or `yield`; of a table that comes in batches, "
                "return a generator that yields them"
            )
        object.__setattr__(self, "inputs", declared_inputs(self.inputs, self.name))
        _ = self._style
        if self.when is not None:
            check_one_argument(self.when, f"when= of step {self.name!r}")
        object.__setattr__(self, "run_if", run_if_of(self.run_if, self.name))
        for name in ("optional", "refresh"):
            if not isinstance(value := getattr(self, name), bool):
                raise WorkflowError(f"{name}={value!r} of step {self.name!r} must be True or False")
        object.__setattr__(self, "config", _config(self.config, self.name))
        if self.version is not None and (not isinstance(self.version, str) or not self.version):
            raise WorkflowError(f"version={self.version!r} of step {self.name!r} must be text, such as '2'")
        if self.version is None:
            keep_source(self.function)

    @property
    def code_version(self) -> str | None:
        """Its ``version``, or else a digest of its source; ``None`` if neither is to be had."""
        return self.version or code_version(self.function)

    @cached_property
    def before(self) -> Before:
        """The steps it follows directly, with its rule for them."""
        return Before.of(self.after, self.run_if)

    @cached_property
    def _style(self) -> ConfigStyle:
        return config_style(self.function, self.name, self.inputs)

    def configured(self, overrides: Mapping[str, Any] | None) -> FrozenDict:
        """Return the step's configuration with ``overrides`` on top."""
        if not overrides:
            return self.config if isinstance(self.config, FrozenDict) else _config(self.config, self.name)
        return FrozenDict({**self.config, **_config(overrides, self.name)})

    def __repr__(self) -> str:
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        facts["config"] = without_secrets(self.config)
        return f"Step({', '.join(f'{name}={value!r}' for name, value in facts.items())})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Step:
        return self

    def execute(self, ctx: WorkflowContext, config: Mapping[str, Any] | None = None, **inputs: Any) -> StepResult:
        """Call the step's function by itself, as a test does, and return its result; what it raises is raised.

        Args:
            ctx: The context that it sees.
            config: Configuration on top of the step's own.
            **inputs: What it reads of other partitions, by name.

        Example:
            >>> Step(name="greet", function=lambda ctx: {"n": 1}).execute(WorkflowContext.new()).output
            {'n': 1}
        """
        return as_result(self.call(ctx, self.configured(config), inputs))

    def call(
        self, ctx: WorkflowContext, config: Mapping[str, Any], inputs: Mapping[str, Any] = NO_INPUTS
    ) -> StepReturn:
        """Call the function as it is written: with ``(ctx, config)``, or ``(ctx)`` alone, and its inputs by name."""
        with steps_known(self.siblings):
            returned: StepReturn = call_function(self.function, self._style, ctx, config, inputs)
        return returned


def _config(config: object, step: str) -> FrozenDict:
    try:
        frozen = freeze(config, "config")
    except PlainDataError as exc:
        raise WorkflowError(f"the config of step {step!r} cannot be: {exc}") from exc
    if not isinstance(frozen, FrozenDict):
        raise WorkflowError(f"the config of step {step!r} is {a_kind(config)}; it must be a dict")
    return frozen
