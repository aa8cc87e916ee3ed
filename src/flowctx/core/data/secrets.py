"""Plain data without the secrets in it, for what is stored and read by others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flowctx.core.data.encoding import decode, encode, from_json, to_json
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.errors import WorkflowError
from flowctx.core.masking import MASK, mask_data, secret_names


def without_secrets(data: Mapping[str, Any]) -> FrozenDict:
    """Return data in which secrets are hidden, by their names and in URLs.

    Example:
        >>> without_secrets({"api_token": "hunter2", "limit": 3})
        {'api_token': '***', 'limit': 3}
    """
    return _hidden(encode(freeze(data)), secret_names()) if data else FrozenDict()


@lru_cache(maxsize=256)
def _hidden(data: bytes, names: tuple[str, ...]) -> FrozenDict:
    """Do the work once for each content: a step is configured alike each time, and what is secret takes a while."""
    hidden = from_json(mask_data(to_json(decode(data))))
    return hidden if isinstance(hidden, FrozenDict) else FrozenDict()


def with_secrets(stored: Mapping[str, Any], own: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return stored data with its secrets, which stand in data that was not stored.

    Args:
        stored: What :func:`without_secrets` left.
        own: Where the secrets may be.
        what: What it is, for the error.

    Raises:
        WorkflowError: A value is hidden, and ``own`` has another one in its place.

    Example:
        >>> with_secrets({"api_token": "***", "limit": 3}, {"api_token": "hunter2", "limit": 4}, "the config")
        {'api_token': 'hunter2', 'limit': 3}
    """
    hidden, found, lost = without_secrets(own), dict(stored), []
    for name, value in stored.items():
        if name in own and hidden[name] == value:
            found[name] = own[name]
        elif MASK in repr(value):
            lost.append(name)
    if lost:
        raise WorkflowError(f"{what} had secrets in {', '.join(lost)}, which are not kept; declare them with the step")
    return found
