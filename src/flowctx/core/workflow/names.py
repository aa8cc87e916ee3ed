"""Names that both engines take."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from flowctx.core.errors import WorkflowError
from flowctx.core.printable import brief

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}\Z")
#: Names that Dagster 1.13 refuses for ops; Airflow takes them, but a workflow must run on both.
_RESERVED = frozenset(
    {
        *("context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict", "output_arg_dict"),
        *("int", "str", "float", "bool", "input", "output", "type"),
        *keyword.kwlist,
    }
)


def listed(names: Iterable[str]) -> list[str]:
    """Return names as a list; one text is one name, not its letters.

    Example:
        >>> listed("fund"), listed(("tier", "fund"))
        (['fund'], ['tier', 'fund'])
    """
    return [names] if isinstance(names, str) else list(names)


def check_name(name: object, what: str) -> str:
    """Return ``name`` if both engines take it.

    Raises:
        WorkflowError: They would not; the message says what a name may be.
    """
    if name == "<lambda>":
        raise WorkflowError(f"a lambda cannot name a {what}; pass name=, as in @workflow.step(name='fetch')")
    if not isinstance(name, str) or not _NAME.match(name):
        raise WorkflowError(
            f"{brief(repr(name), 80)} cannot name a {what}; use up to 100 letters, digits and '_', starting with "
            "a letter"
        )
    if name in _RESERVED:
        raise WorkflowError(f"{name!r} cannot name a {what}: Dagster reserves it; use another, such as '{name}_step'")
    return name
