"""What Airflow loads of flowctx by itself; nothing, where its version is not one that the adapter knows.

The package may stand beside any Airflow, for its ledger and its command line, and must not be an error there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flowctx.core.errors import FlowctxError


def provider_info() -> dict[str, Any]:
    """Return what Airflow's provider manager has to know: the decorator ``@task.step``."""
    info = {
        "package-name": "flowctx",
        "name": "flowctx",
        "description": "Data workflows of a context, the same on every engine.",
    }
    if not _known():
        return info
    return {**info, "task-decorators": [{"name": "step", "class-name": "flowctx.airflow.decorators.step_task"}]}


def __getattr__(name: str) -> Any:
    """Return ``FlowctxPlugin``, Airflow's plugin; ``None``, which Airflow passes over, where there is none."""
    if name != "FlowctxPlugin":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("flowctx.airflow.plugin").FlowctxPlugin if _known() else None


def _known() -> bool:
    try:
        import_module("flowctx.airflow")
    except FlowctxError:
        return False
    return True
