"""What Dagster says of a run: whether it is of a workflow, of which of its partitions and steps, and when it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from flowctx.backfill.dagster_retries import tags_of
from flowctx.core.errors import FlowctxError
from flowctx.core.partitions.dagster_keys import parse_dagster_key
from flowctx.core.partitions.key import PartitionKey, escape_value
from flowctx.core.partitions.scheme import PartitionScheme


def is_of(run: Mapping[str, Any], workflow: str, jobs: Collection[str | None]) -> bool:
    """Return whether a run is of a workflow: of its assets, or of one of its jobs; one of checks alone is not."""
    ours = {asset["path"][0] for asset in run["assetSelection"] or ()} == {workflow}
    of_checks = bool(run["assetCheckSelection"]) and not run["assetSelection"]
    return (ours or run["jobName"] in jobs) and not of_checks


def partitions_of(run: Mapping[str, Any], scheme: PartitionScheme) -> Iterator[PartitionKey]:
    """Yield the keys of the scheme that a run is about: one, or those of a range."""
    tags = tags_of(run)
    ends = [tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end")]
    text = tags.get("dagster/partition")
    try:
        if text is not None:
            yield parse_dagster_key(text, scheme)
        elif ends[0] and ends[1]:
            first, last = (parse_dagster_key(end, scheme) for end in ends if end)
            spans = [f"{n}={escape_value(first[n])}..{escape_value(last[n])}" for n in scheme.dimensions]
            yield from scheme.select(",".join(spans))
    except FlowctxError:  # of a time when the scheme was another
        return


def chosen_steps(run: Mapping[str, Any]) -> set[str]:
    """Return the steps that somebody has chosen for a run; none, if it is of all."""
    chosen = {asset["path"][-1] for asset in run["assetSelection"] or ()}
    # A re-execution from failure leaves out what its parent had done; others leave out what somebody chose.
    if tags_of(run).get("dagster/is_resume_retry") != "true":
        chosen |= {step_of(key) for key in run["stepKeysToExecute"] or ()}
    return chosen


def step_of(key: str) -> str:
    """Return the step of an op: that of an asset is named as its key, the workflow's name before the step's."""
    return key.rpartition("__")[2]


def time_of(seconds: float | None) -> datetime | None:
    """Return a time as Dagster says it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
