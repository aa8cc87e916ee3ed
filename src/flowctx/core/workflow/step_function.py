"""How a step's function is called: what counts as its configuration, and what is refused when it is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Any

from flowctx.core.errors import WorkflowError
from flowctx.core.workflow.inputs import Input

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
#: Annotations that a configuration, which is a dict, can never meet.
_NO_CONFIG = {
    *("str", "int", "float", "bool", "bytes", "list", "tuple", "set", "frozenset"),
    *("date", "datetime", "timedelta", "time", "Decimal", "Path", "UUID", "PartitionKey", "WorkflowContext"),
}
_FORM = "write it as (ctx, config), or (ctx) alone"


class ConfigStyle(Enum):
    """How a function takes the step's configuration."""

    #: Not at all: ``(ctx)``.
    NONE = "none"
    #: As the second positional argument: ``(ctx, config)``.
    SECOND = "second"
    #: By name: ``(ctx, *, config)``.
    BY_NAME = "by name"


def config_style(function: Callable[..., Any], step: str, inputs: Collection[str] = ()) -> ConfigStyle:
    """Return how a function takes the step's configuration.

    A second positional parameter is the configuration if it is named ``config``, or has no default. One named
    ``config`` further on gets it by name. Every other parameter keeps its own default.

    Args:
        function: The function.
        step: The step's name, for errors.
        inputs: The names of its inputs, which are passed by name.

    Raises:
        WorkflowError: The function has a parameter that nothing would fill, or that would be filled with what it
            is not.

    Example:
        >>> config_style(lambda ctx, table="prices": None, "load")
        <ConfigStyle.NONE: 'none'>
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in functions do not say
        return ConfigStyle.SECOND
    _check_inputs(signature, inputs, step)
    parameters = [p for p in signature.parameters.values() if p.name not in inputs]
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    style = _style(parameters, positional, takes_any)
    _check_first(positional, takes_any, signature, step)
    filled = positional[:1] if style is ConfigStyle.NONE else positional[:2]
    config = next((p for p in parameters if p.name == "config"), None)
    if style is ConfigStyle.BY_NAME:
        filled = [*positional[:1], *([config] if config else [])]
    elif style is ConfigStyle.SECOND and len(positional) > 1:
        config = positional[1]
    if style is not ConfigStyle.NONE and config is not None:
        _check_config(config, signature, step)
    unfilled = [p.name for p in parameters if _required(p) and p not in filled]
    if unfilled:
        raise WorkflowError(
            f"step {step!r} has the signature {signature}, and nothing fills {', '.join(unfilled)}; {_FORM}, "
            "give the others defaults, or bind them with functools.partial"
        )
    return style


def _style(
    parameters: Sequence[inspect.Parameter], positional: Sequence[inspect.Parameter], takes_any: bool
) -> ConfigStyle:
    if len(positional) > 1:
        second = positional[1]
        if second.name == "config" or second.default is second.empty:
            return ConfigStyle.SECOND
    elif takes_any:
        return ConfigStyle.SECOND
    later = [p for p in parameters if p.name == "config" and p not in positional[:1]]
    return ConfigStyle.BY_NAME if later and later[0].kind is not inspect.Parameter.POSITIONAL_ONLY else ConfigStyle.NONE


def _check_first(
    positional: Sequence[inspect.Parameter], takes_any: bool, signature: inspect.Signature, step: str
) -> None:
    if not positional and not takes_any:
        raise WorkflowError(f"step {step!r} has the signature {signature}, which takes no context; {_FORM}")
    if positional and positional[0].name == "config":
        raise WorkflowError(f"step {step!r} has the signature {signature}, and the context comes first; {_FORM}")


def _check_inputs(signature: inspect.Signature, inputs: Collection[str], step: str) -> None:
    """Refuse inputs that the function does not take by name, or that would take the place of the context."""
    parameters = signature.parameters
    for name, default in ((name, one.default) for name, one in parameters.items()):
        if isinstance(default, Input) and name not in inputs:
            raise WorkflowError(
                f"step {step!r} has {default!r} as the default of {name!r}, and would get that in place of "
                f"what it reads; declare it with inputs={{{name!r}: …}}, and write the function as (ctx, *, {name})"
            )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in inputs:
        parameter = parameters.get(name)
        by_name = parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter is None and not takes_all:
            raise WorkflowError(
                f"step {step!r} has the input {name!r}, and its signature {signature} has no parameter of that name; "
                f"write it as (ctx, *, {', '.join(inputs)})"
            )
        if parameter is not None and (not by_name or parameter is next(iter(parameters.values()))):
            raise WorkflowError(
                f"step {step!r} has the input {name!r}, which its signature {signature} does not take by name after "
                f"the context; write it as (ctx, *, {', '.join(inputs)})"
            )


def _check_config(config: inspect.Parameter, signature: inspect.Signature, step: str) -> None:
    if config.name in ("ctx", "context"):
        raise WorkflowError(f"step {step!r} has the signature {signature}, and the context comes first; {_FORM}")
    annotation = config.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if name.partition("[")[0].rpartition(".")[2] in _NO_CONFIG:
        raise WorkflowError(
            f"step {step!r} has the signature {signature}, whose {config.name!r} would be the configuration, a dict; "
            f"{_FORM}, or give {config.name!r} a default"
        )


def _required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in variable


def call_function(
    function: Callable[..., Any], style: ConfigStyle, ctx: Any, config: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Any:
    """Call a function as :func:`config_style` says, with its inputs by name."""
    if style is ConfigStyle.SECOND:
        return function(ctx, config, **inputs)
    return function(ctx, **inputs) if style is ConfigStyle.NONE else function(ctx, config=config, **inputs)


def check_one_argument(function: object, what: str) -> None:
    """Refuse a function that cannot be called with the context alone.

    Args:
        function: The function.
        what: What it is for, such as ``when= of step 'load'``.

    Raises:
        WorkflowError: It is no function, or needs none or more than one argument.
    """
    if not callable(function):
        raise WorkflowError(f"{what} must be a function of the context")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        raise WorkflowError(
            f"{what} has the signature {signature}; it must be a function of the context alone"
        ) from None
