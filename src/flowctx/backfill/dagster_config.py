"""The configuration of a run of Dagster's, in which the parameters of a workflow are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowctx.backfill.again import had_params
from flowctx.core.batches.records import Job
from flowctx.core.data.encoding import to_json
from flowctx.core.workflow.definition import Workflow


def run_config(workflow: str, job: Job) -> dict[str, Any]:
    """Return the configuration of the run of a job."""
    return {"resources": {f"{workflow}_params": {"config": to_json(job.params)}}} if job.params else {}


def has_params(config: Mapping[str, Any], workflow: Workflow, params: Mapping[str, Any]) -> bool:
    """Return whether a run of such a configuration has these parameters, which its workflow or its caller gave it.

    Example:
        >>> flow = Workflow("nav", params={"limit": 1, "fund": "GROWTH"})
        >>> config = {"resources": {"nav_params": {"config": {"limit": 2}}}}
        >>> has_params(config, flow, {"limit": 2, "fund": "GROWTH"}), has_params(config, flow, {"limit": 1})
        (True, False)
    """
    resource = (config.get("resources") or {}).get(f"{workflow.name}_params") or {}
    return had_params(workflow, resource.get("config") or {}, params)
