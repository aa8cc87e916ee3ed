"""Parameters that are made for each partition of a batch, by something that is more than a function."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.code_version import code_version

#: What a batch is known by whose partitions have the parameters that they had, before the version of the code.
PARAMS_AGAIN: Final = "flowctx.versions.mending:ParamsAgain"


def has_params_again(params_from: str | None) -> bool:
    """Return whether a batch was made by ``--stale``, so that each partition has the parameters that it had.

    Example:
        >>> has_params_again("flowctx.versions.mending:ParamsAgain@a4c42a9c21f7"), has_params_again("flows:limits@1")
        (True, False)
    """
    return (params_from or "").partition("@")[0] == PARAMS_AGAIN


def params_option(params_from: str | None) -> str:
    """Return what has to be typed again so that a batch has its parameters from where it has them.

    Example:
        >>> params_option("flows:limits@d36169b7f303"), params_option(None)
        ('--params-from flows:limits', '')
    """
    if params_from is None:
        return ""
    if has_params_again(params_from):
        return "--stale"
    function = params_from.partition("@")[0]
    can_be_named = "<" not in function and not function.startswith("__main__:")
    return f"--params-from {shlex.quote(function) if can_be_named else 'MODULE:FUNCTION'}"


class PartitionParams(ABC):
    """Makes the parameters of one partition.

    Args:
        params: Those that are the same for all of them, and win; they are the batch's own.
    """

    #: What a batch is known by that has its parameters from here: to go on with it, it has to be the same.
    name: ClassVar[str]

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params

    @abstractmethod
    def __call__(self, key: PartitionKey) -> Mapping[str, Any]:
        """Return the parameters of a partition."""

    def step_config(self, key: PartitionKey) -> Mapping[str, Mapping[str, Any]] | None:
        """Return the configuration of steps of a partition, on top of what the workflow says."""
        return None


def params_of_all(params: Mapping[str, Any] | Callable[..., Any] | None) -> Mapping[str, Any] | None:
    """Return those parameters that are the same for all partitions."""
    if isinstance(params, PartitionParams):
        return params.params
    return None if callable(params) else params


def params_source(params_of: Callable[..., Any] | None) -> str | None:
    """Return what a batch is known by whose parameters are made for each partition; ``None`` if they are not."""
    if params_of is None:
        return None
    if isinstance(params_of, PartitionParams):
        return params_of.name
    name = getattr(params_of, "__qualname__", type(params_of).__name__)
    return f"{params_of.__module__}:{name}@{code_version(params_of) or '?'}"
