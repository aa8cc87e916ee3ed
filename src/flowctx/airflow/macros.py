"""``{{ macros.flowctx.as_of_date }}``: the workflow's context in templates of any operator."""

from __future__ import annotations

from typing import Any

from flowctx.airflow.context import workflow_context


def context_value(name: str) -> Any:
    """Return a field of the run's :func:`~flowctx.airflow.workflow_context`, such as ``as_of_date`` or ``batch_id``.

    Raises:
        AttributeError: A context has no such field.
    """
    if name.startswith("_"):  # Python and Jinja probe for private names
        raise AttributeError(name)
    return getattr(workflow_context(), name)


# Airflow makes a module of a plugin's macros, by their names; this name makes every field of a context one of them.
context_value.__name__ = "__getattr__"
