"""The configuration of a run of Dagster's, in which the parameters of a workflow are, and its tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from flowctx.backfill.again import had_params, had_params_of_batch
from flowctx.backfill.dagster_retries import tags_of
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.partitions.dagster_keys import dagster_key_parts, dagster_key_text
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import TAG_PREFIX

#: Our name for the run, which Dagster cannot be told to use for its id.
RUN_TAG: Final = f"{TAG_PREFIX}run"


def run_config(workflow: str, job: Job) -> dict[str, Any]:
    """Return the configuration of the run of a job."""
    return {"resources": {f"{workflow}_params": {"config": to_json(job.params)}}} if job.params else {}


def run_tags(workflow: Workflow, job: Job) -> dict[str, str]:
    """Return the tags of the run of a job."""
    tags = {RUN_TAG: job.run_id, **job.request.to_tags()}
    if workflow.partitions is not None and job.key is not None:
        values = dagster_key_parts(job.key, workflow.partitions)
        tags["dagster/partition"] = dagster_key_text(values)
        if len(values) > 1:
            tags |= {f"dagster/partition/{name}": value for name, value in values.items()}
    return tags


def run_again(job: Job, before: PartitionRun) -> dict[str, Any]:
    """Return what has the run of a job executed again: from its failure, or all of it."""
    strategy = "FROM_FAILURE" if before.state is PartitionState.FAILED else "ALL_STEPS"
    ours = {"key": RUN_TAG, "value": job.run_id}  # which a run that others have started has not
    return {"parentRunId": before.run_id, "strategy": strategy, "extraTags": [ours]}


def has_params(run: Mapping[str, Any], workflow: Workflow, params: Mapping[str, Any] | BatchRecord) -> bool:
    """Return whether a run has these parameters, or those of a batch, which its workflow or its caller gave it.

    Example:
        >>> flow = Workflow("nav", params={"limit": 1, "fund": "GROWTH"})
        >>> run = {"runConfig": {"resources": {"nav_params": {"config": {"limit": 2}}}}}
        >>> has_params(run, flow, {"limit": 2, "fund": "GROWTH"}), has_params(run, flow, {"limit": 1})
        (True, False)
    """
    run_params, resumes = _params_of_run(run, workflow), _resumes(run)
    if isinstance(params, BatchRecord):  # the ledger that has the run before tells what was done
        return resumes or had_params_of_batch(workflow, run_params, params)
    return had_params(workflow, run_params, params, resumes=resumes)


def with_params(
    states: Iterable[PartitionRun], run: Mapping[str, Any], workflow: Workflow, batch: BatchRecord
) -> Iterator[PartitionRun]:
    """Yield how partitions of a run stand, with what it was given, and whether the batch has other parameters."""
    params, others = None if _resumes(run) else _params_of_run(run, workflow), not has_params(run, workflow, batch)
    yield from (replace(state, other_params=others, engine_params=params) for state in states)


def _params_of_run(run: Mapping[str, Any], workflow: Workflow) -> Mapping[str, Any]:
    resource = ((run["runConfig"] or {}).get("resources") or {}).get(f"{workflow.name}_params") or {}
    params: Mapping[str, Any] = resource.get("config") or {}  # what was launched without was given none
    return params


def _resumes(run: Mapping[str, Any]) -> bool:
    return f"{TAG_PREFIX}resume_from" in tags_of(run)
