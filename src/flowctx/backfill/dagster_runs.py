"""What Dagster says of a run: of which workflow, partitions and steps it is, and when it was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from flowctx.backfill.dagster_retries import tags_of
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.durability.run_ledgers import LEDGER_MARK, SKIP_MARK
from flowctx.core.errors import UnknownPartition
from flowctx.core.masking import mask_text
from flowctx.core.partitions.dagster_keys import (
    dagster_key_parts,
    dagster_key_text,
    fold,
    parse_dagster_key,
    static_dimensions,
    static_values,
)
from flowctx.core.partitions.key import PartitionKey, escape_value
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.printable import brief
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.run_request import TAG_PREFIX

#: Where a run says of which batch it is, the first one that does.
BATCH_TAGS: Final = (f"{TAG_PREFIX}batch_id", "batch_id", "dagster/backfill")
#: So much is told of what Dagster says.
LONGEST: Final = 500
#: What Dagster's words mean for the partition of a run.
STATES: Final = {
    "SUCCESS": PartitionState.OK,
    "FAILURE": PartitionState.FAILED,
    "CANCELED": PartitionState.CANCELED,
    "STARTING": PartitionState.RUNNING,
    "STARTED": PartitionState.RUNNING,
    "CANCELING": PartitionState.RUNNING,
}
#: What it calls runs that have not ended.
LIVE: Final = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")


def is_of(run: Mapping[str, Any], workflow: Workflow, jobs: Collection[str | None], batch_id: str) -> bool:
    """Return whether a run is of a workflow: of assets of it and maybe others, or of one of its jobs; not of checks.

    And whether it is of a batch: a backfill of Dagster's that is told of a batch is none of its own.
    """
    tags = tags_of(run)
    if next((tags[tag] for tag in BATCH_TAGS if tags.get(tag)), None) != batch_id:
        return False
    ours = any(_is_step(asset["path"], workflow) for asset in run["assetSelection"] or ())
    of_checks = bool(run["assetCheckSelection"]) and not run["assetSelection"]
    return (ours or run["jobName"] in jobs) and not of_checks


def _is_step(path: Sequence[str], workflow: Workflow) -> bool:
    """Whether an asset is a step of a workflow, whatever its key begins with."""
    return list(path[-2:-1]) == [workflow.name] and path[-1] in workflow.steps


def is_shared(run: Mapping[str, Any], workflow: Workflow) -> bool:
    """Return whether a run is of more than one partition of a workflow.

    It may be of a range, as those of Dagster's own backfills are, or of other assets, too: of another workflow, or of
    one's own.
    """
    if any(not _is_step(asset["path"], workflow) for asset in run["assetSelection"] or ()):
        return True
    return workflow.partitions is not None and len(list(islice(partitions_of(run, workflow.partitions), 2))) > 1


def partitions_of(run: Mapping[str, Any], scheme: PartitionScheme) -> Iterator[PartitionKey]:
    """Yield the keys of the scheme that a run is about: one, or those of a range; none if the scheme was another."""
    tags = tags_of(run)
    ends = [tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end")]
    text = tags.get("dagster/partition")
    try:
        found = [parse_dagster_key(key, scheme) for key in ([text] if text is not None else ends) if key]
    except UnknownPartition:
        return
    yield from found if text is not None or len(found) < len(ends) else _range(found[0], found[1], scheme)


def _range(first: PartitionKey, last: PartitionKey, scheme: PartitionScheme) -> Iterator[PartitionKey]:
    """Yield the keys of a range of Dagster's: each date between its ends, with each of the folded values between."""
    static, name = static_dimensions(scheme), scheme.cadence_dimension
    folded = [fold(values, static) for values in static_values(scheme)]
    between = set(folded[folded.index(fold(first, static)) : folded.index(fold(last, static)) + 1] if static else ())
    start, end = scheme.period(first), scheme.period(last)
    if start is not None and end is not None and start > end:
        return
    dates = None if name is None else f"{name}={escape_value(first[name])}..{escape_value(last[name])}"
    yield from (key for key in scheme.select(dates) if not static or fold(key, static) in between)


def of_each(
    run: PartitionRun, partitions: Iterable[str], events: Iterable[Mapping[str, Any]], workflow: Workflow
) -> Iterator[PartitionRun]:
    """Yield how each partition of a run stands: some are done though it failed, and some were skipped.

    Args:
        run: How the run stands.
        partitions: Some of its partitions.
        events: What it made, of a range or of others' assets, too; it is looked at once the run is over.
        workflow: The workflow.
    """
    made: dict[str, set[str]] = {}
    tells = False  # else it is of ops
    if run.state in (PartitionState.OK, PartitionState.FAILED):
        for event in events:
            path: Sequence[str] = (event.get("assetKey") or {}).get("path") or []
            tells = tells or bool(path)
            if event.get("partition") and _is_step(path, workflow):
                made.setdefault(event["partition"], set()).add(path[-1])
    for partition in partitions:
        steps = made.get(_dagster_text(partition, workflow), set()) if made else set()
        one = replace(run, partition=partition)
        if tells and run.state is PartitionState.OK and not steps:
            one = replace(one, state=PartitionState.SKIPPED)
        elif run.state is PartitionState.FAILED and steps >= workflow.steps.keys():
            one = replace(one, state=PartitionState.OK, step=None, error=None, category=None)
        yield one


def _dagster_text(partition: str, workflow: Workflow) -> str:
    scheme = workflow.partitions
    return "" if scheme is None else dagster_key_text(dagster_key_parts(scheme.check(partition), scheme))


def is_part(run: Mapping[str, Any], workflow: Workflow | None) -> bool:
    """Return whether somebody has chosen assets or steps for a run, and not all of the workflow's.

    Without the workflow nobody knows which are all.
    """
    assets = [asset["path"] for asset in run["assetSelection"] or ()]
    # A re-execution from failure leaves out what its parent had done; others leave out what somebody chose.
    keys = () if tags_of(run).get("dagster/is_resume_retry") == "true" else run["stepKeysToExecute"] or ()
    if workflow is None:
        return bool(assets or keys)
    chosen = {path[-1] if _is_step(path, workflow) else "/".join(path) for path in assets}
    steps = {step_of(key, workflow) for key in keys}
    if assets:  # whose ops may have other names
        steps &= workflow.steps.keys()
    return any(some and not workflow.steps.keys() <= some for some in (chosen, steps))


def did_all(runs: Iterable[Mapping[str, Any]], workflow: Workflow | None) -> bool:
    """Return whether runs that go on with each other were told to do all steps, each of them the rest.

    Without the workflow nobody knows which are all.
    """
    selections = [run["stepKeysToExecute"] for run in runs]
    if not all(selections) or workflow is None:
        return not all(selections)
    return workflow.steps.keys() <= {step_of(key, workflow) for keys in selections for key in keys}


def retried_by(run: Mapping[str, Any]) -> list[str]:
    """Return the ids of the run that one goes on with from its failure, if it does: nobody has chosen its steps.

    After it comes the first run of all that go on with each other: what is in between may have been deleted.
    """
    tags = tags_of(run)
    retries = tags.get("dagster/is_resume_retry") == "true"
    # Dagster's UI hands the second tag on to a run of which somebody has chosen the steps.
    retries |= tags.get("dagster/is_asset_resume_retry") == "true" and not run["stepKeysToExecute"]
    ids = (run["parentRunId"], tags.get("dagster/root_run_id")) if retries else ()
    return [run_id for run_id in dict.fromkeys(ids) if run_id is not None and run_id != run["runId"]]


def has_output(event: Mapping[str, Any]) -> bool:
    """Return whether an event tells of an output, and not of a skip for which steps after it run all the same."""
    if event["__typename"] != "ExecutionStepOutputEvent":
        return False
    return all(entry["label"] != f"{TAG_PREFIX}{SKIP_MARK}" for entry in event["metadataEntries"])


def says_ledger(event: Mapping[str, Any]) -> bool:
    """Return whether an event tells of something that was made where there was a ledger."""
    return any(entry["label"] == f"{TAG_PREFIX}{LEDGER_MARK}" for entry in event.get("metadataEntries", ()))


def step_of(key: str, workflow: Workflow | None) -> str:
    """Return the step of an op: that of an asset is named as its key, the workflow's name before the step's.

    The op of another workflow's step is none of one that is called the same.
    """
    steps = () if workflow is None else workflow.steps
    name = "" if workflow is None else workflow.name
    known = [step for step in steps if key == step or f"__{key}".endswith(f"__{name}__{step}")]
    last = key.rpartition("__")[2]
    return max(known, key=len, default=key if last in steps else last)


def time_of(seconds: float | None) -> datetime | None:
    """Return a time as Dagster says it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def one_line(text: object) -> str:
    """Return what Dagster says in one line, without secrets: the end of a log may be in it."""
    return mask_text(" ".join(str(text).split()))


def failure_of(events: Iterable[Mapping[str, Any]], workflow: Workflow | None) -> tuple[str | None, str, str | None]:
    """Return the step of a run that failed, why, and of which category that is, as far as Dagster knows.

    A step of the workflow comes before those of others, of which the run may be, too.
    """
    first = last = None
    for event in events:
        if event["__typename"] == "ExecutionStepFailureEvent":
            failure = event["failureMetadata"] or {}
            message = failure.get("description") or (event["error"] or {}).get("message") or "its step failed"
            texts = {entry["label"]: entry.get("text") for entry in failure.get("metadataEntries") or ()}
            found = step_of(event["stepKey"], workflow), one_line(message), texts.get(f"{TAG_PREFIX}category")
            if workflow is None or found[0] in workflow.steps:
                return found
            first = first or found
        if event["__typename"] == "RunFailureEvent":
            last = event["message"]
    if first is not None:
        return first
    return None, brief(one_line(last or "the run failed in Dagster before any of its steps"), LONGEST), None
