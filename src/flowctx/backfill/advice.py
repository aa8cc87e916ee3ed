"""What to do about partitions that failed, by the category of the failure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Final

from flowctx.core.batches.records import BatchRecord, PartitionRun

#: What to do about each category, before and after the command that does it.
_ADVICE: Final[Mapping[str, tuple[str, str]]] = {
    "TRANSIENT": ("it may pass", ""),
    "TIMEOUT": ("it may pass", ""),
    "DEPENDENCY": ("once what they need is there", ""),
    "DATA_QUALITY": ("once the source is corrected", " --from-step STEP (the step that reads it)"),
    "CONFIGURATION": ("with other parameters", " --extend -p NAME=VALUE"),
    "INTERNAL": ("once the code is corrected", " (see where: flowctx show RUN --traceback)"),
}


def advice(failures: Iterable[PartitionRun], batch: BatchRecord) -> list[str]:
    """Return a line for each category of failure: how many partitions, and the command to type.

    Args:
        failures: The partitions that failed.
        batch: Their batch; its selection and parameters need not be typed again.

    Example:
        >>> from datetime import UTC, datetime
        >>> from flowctx.core.batches.records import PartitionState
        >>> now = datetime.now(UTC)
        >>> failed = {"state": PartitionState.FAILED, "engine": "local", "last_seen_at": now}
        >>> batch = BatchRecord(batch_id="b", workflow="tiers", import_path="flows:tiers", created_at=now)
        >>> advice([PartitionRun(partition="tier=T1", run_id="r", category="DEPENDENCY", **failed)], batch)
        ['1 DEPENDENCY: once what they need is there: flowctx backfill flows:tiers --batch b --retry-failed']
    """
    counts: dict[str, int] = {}
    engines: set[str] = set()
    for failure in failures:
        name = failure.category or "INTERNAL"
        counts[name] = counts.get(name, 0) + 1
        engines.add(failure.engine)
    loose = batch.import_path is None and engines == {"airflow"}  # of a DAG that is of no Workflow
    return [f"{count:,} {name}: {_command(name, batch, loose=loose)}" for name, count in sorted(counts.items())]


def _command(category: str, batch: BatchRecord, *, loose: bool) -> str:
    when, more = _ADVICE.get(category, _ADVICE["TRANSIENT"])
    if loose:
        return f"{when}: clear the failed tasks of these runs in Airflow"
    workflow = " ".join(shlex.quote(one.import_path or "MODULE:NAME") for one in batch.by_workflow())
    batch_id = shlex.quote(batch.batch_id)
    on = f" --on {batch.engine}" if batch.engine not in (None, "local") else ""
    return f"{when}: flowctx backfill {workflow} --batch {batch_id}{on} --retry-failed{more}"
