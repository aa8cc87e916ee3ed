"""Plain data without the secrets in it, for what is stored and read by others."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flowctx.core.data.encoding import decode, encode, from_json, to_json
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.errors import WorkflowError
from flowctx.core.masking import MASK, mask_data, secret_names

#: What stands where a value is hidden that can be compared: stars, a salt and a digest.
_HIDDEN = re.compile(rf"{re.escape(MASK)}~([0-9a-f]{{32}})~([0-9a-f]{{64}})")
#: How often it is hashed, so that guesses at a value take long: some hundredths of a second of a processor each.
_ROUNDS = 100_000


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


def with_digests(data: Mapping[str, Any]) -> FrozenDict:
    """Return data in which secrets are hidden, each with a salted digest, so that :func:`stands_for` can compare them.

    Example:
        >>> hidden = with_digests({"api_token": "hunter2", "limit": 3})
        >>> hidden["limit"], hidden["api_token"][:4], "hunter2" in repr(hidden)
        (3, '***~', False)
    """
    plain = to_json(freeze(data))
    hidden = from_json(_digested(mask_data(plain), plain, os.urandom(16).hex()))
    return hidden if isinstance(hidden, FrozenDict) else FrozenDict()


def without_digests(data: Mapping[str, Any]) -> FrozenDict:
    """Return what :func:`with_digests` made as it is shown.

    Example:
        >>> without_digests(with_digests({"api_token": "hunter2", "limit": 3}))
        {'api_token': '***', 'limit': 3}
    """
    shown = from_json(json.loads(_HIDDEN.sub(MASK, json.dumps(to_json(freeze(data))))))
    return shown if isinstance(shown, FrozenDict) else FrozenDict()


def stands_for(stored: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Return whether stored data is this one; of a secret that was stored without a digest, any value is.

    Args:
        stored: What :func:`with_digests` or :func:`without_secrets` made, or data as it was.
        data: Data as it is.

    Example:
        >>> stored = with_digests({"api_token": "hunter2"})
        >>> stands_for(stored, {"api_token": "hunter2"}), stands_for(stored, {"api_token": "hunter3"})
        (True, False)
        >>> stands_for({"api_token": "***"}, {"api_token": "hunter3"})
        True
    """
    plain = to_json(freeze(data))
    return _stands_for(to_json(freeze(stored)), mask_data(plain), plain)


def _digested(hidden: Any, plain: Any, salt: str) -> Any:
    if isinstance(hidden, dict):
        return {name: _digested(inner, plain.get(name, inner), salt) for name, inner in hidden.items()}
    if isinstance(hidden, list):
        return [_digested(*both, salt) for both in zip(hidden, plain, strict=True)]
    if isinstance(hidden, str) and MASK in hidden:
        return hidden.replace(MASK, f"{MASK}~{salt}~{_slow_digest(_text(plain), salt)}", 1)
    return hidden


def _stands_for(stored: Any, hidden: Any, plain: Any) -> bool:
    found = _HIDDEN.search(stored) if isinstance(stored, str) else None
    if found is not None:
        return _slow_digest(_text(plain), found[1]) == found[2]
    if isinstance(stored, dict) and isinstance(hidden, dict):
        return stored.keys() == hidden.keys() and all(
            _stands_for(stored[name], inner, plain.get(name, inner)) for name, inner in hidden.items()
        )
    if isinstance(stored, list) and isinstance(hidden, list):
        return len(stored) == len(hidden) and all(map(_stands_for, stored, hidden, plain))
    return _text(stored) in (_text(plain), _text(hidden))


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)


@lru_cache(maxsize=256)
def _slow_digest(text: str, salt: str) -> str:
    from hashlib import pbkdf2_hmac

    return pbkdf2_hmac("sha256", text.encode(), bytes.fromhex(salt), _ROUNDS).hex()
