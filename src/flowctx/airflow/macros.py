"""``{{ macros.flowctx.as_of_date }}``: the workflow's context in templates of any operator."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from flowctx.airflow.context import workflow_context
from flowctx.core.errors import ContextError
from flowctx.core.suggestions import did_you_mean
from flowctx.core.workflow.context import WorkflowContext


def context_value(name: str) -> Any:
    """Return a field of the run's :func:`~flowctx.airflow.workflow_context`, such as ``as_of_date`` or ``batch_id``.

    Raises:
        ContextError: A context has no such field; an ``AttributeError`` would be hidden by Jinja.
    """
    if name.startswith("_"):  # Python and Jinja probe for private names
        raise AttributeError(name)
    names = [field.name for field in fields(WorkflowContext)]
    if name not in names and not hasattr(WorkflowContext, name):
        raise ContextError(f"macros.flowctx.{name}: a context has no {name!r}; {did_you_mean(name, names)}")
    return getattr(workflow_context(), name)


# Airflow makes a module of a plugin's macros, by their names; this name makes every field of a context one of them.
context_value.__name__ = "__getattr__"
