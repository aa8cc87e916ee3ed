"""What a caller may ask of a run, beside saying who it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowctx.core.errors import ContextError

#: What a caller may wish of a run, beside saying who it is: in ``conf`` on Airflow, as tags on Dagster.
WISHES = ("resume_from", "from_step", "accept_changes", "on_captured")


_CHOICES: Mapping[str, Mapping[Any, Any]] = {
    "accept_changes": {None: False, False: False, True: True, "false": False, "true": True},
    "on_captured": {None: "recapture", "recapture": "recapture", "skip": "skip"},
}


def wishes(said: Callable[[str], Any]) -> dict[str, Any]:
    """Return the wishes of a caller, as arguments of :func:`~flowctx.core.durability.recorder.open_run`.

    Args:
        said: Returns what the caller said by a name, or ``None``.

    Raises:
        ContextError: One of them is not what it can be.

    Example:
        >>> wishes({"resume_from": "run-1", "accept_changes": "true"}.get)["accept_changes"]
        True
    """
    found: dict[str, Any] = {}
    for name in ("resume_from", "from_step"):
        value = said(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise ContextError(f"{name} is {value!r}; it must be text and not empty: leave it out if there is none")
        found[name] = value
    for name, choices in _CHOICES.items():
        value = said(name)
        if isinstance(value, (list, dict)) or value not in choices:
            allowed = " or ".join(repr(choice) for choice in choices if isinstance(choice, str))
            raise ContextError(f"{name} is {value!r}; it must be {allowed}")
        found[name] = choices[value]
    if found["from_step"] and not found["resume_from"]:
        raise ContextError(f"from_step={found['from_step']!r} is for a run that continues another; add resume_from")
    return found
