"""Finds a workflow by the text ``flows:prices``, for configuration that can hold no object."""

from __future__ import annotations

import importlib

from flowctx.core.errors import WorkflowError
from flowctx.core.workflow.definition import Workflow


def load_workflow(text: str, package: str | None = None) -> Workflow:
    """Import a workflow.

    Args:
        text: The module, ``:``, and the name in it; a leading ``.`` means relative to ``package``.
        package: The package that a relative module is in.

    Raises:
        WorkflowError: There is no such module or name, or it is no workflow.

    Example:
        >>> load_workflow("flowctx.examples.prices:prices").name
        'daily_prices'
    """
    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        raise WorkflowError(f"workflow {text!r} is not of the form 'package.module:name'")
    try:
        module = importlib.import_module(module_name, package)
    except ModuleNotFoundError as exc:
        raise WorkflowError(f"workflow {text!r} cannot be loaded: {exc}; is its folder on PYTHONPATH?") from exc
    found = getattr(module, name, None)
    if not isinstance(found, Workflow):
        there = ", ".join(key for key, value in vars(module).items() if isinstance(value, Workflow)) or "none"
        raise WorkflowError(f"{module.__name__} has no workflow {name!r}; workflows in it: {there}")
    return found
