"""What Airflow's provider manager has to know of flowctx: the decorator ``@task.step``."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; registered through the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "flowctx",
        "name": "flowctx",
        "description": "Data workflows of a context, the same on every engine.",
        "task-decorators": [{"name": "step", "class-name": "flowctx.airflow.decorators.step_task"}],
    }
