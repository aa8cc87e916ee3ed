"""What to do about partitions that failed, by the category of the failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from flowctx.core.batches.records import PartitionRun

_AGAIN: Final = "it may pass: run the same command with --retry-failed"
_ADVICE: Final[Mapping[str, str]] = {
    "TRANSIENT": _AGAIN,
    "TIMEOUT": _AGAIN,
    "DEPENDENCY": "once what they need is there: --retry-failed",
    "DATA_QUALITY": "once the source is corrected: --retry-failed --from-step STEP, with the step that reads it",
    "CONFIGURATION": "with other parameters: flowctx resume RUN -p NAME=VALUE, or another batch id",
    "INTERNAL": "once the code is corrected: --retry-failed (see where: flowctx show RUN --traceback)",
}


def advice(failures: Iterable[PartitionRun]) -> list[str]:
    """Return a line for each category of failure: how many partitions, and what to do.

    Example:
        >>> from datetime import UTC, datetime
        >>> from flowctx.core.batches.records import PartitionState
        >>> told = {"state": PartitionState.FAILED, "engine": "local", "last_seen_at": datetime.now(UTC)}
        >>> advice([PartitionRun(partition="tier=T1", run_id="r", category="DEPENDENCY", **told)])
        ['1 DEPENDENCY: once what they need is there: --retry-failed']
    """
    counts: dict[str, int] = {}
    for failure in failures:
        name = failure.category or "INTERNAL"
        counts[name] = counts.get(name, 0) + 1
    return [f"{count:,} {name}: {_ADVICE.get(name, _AGAIN)}" for name, count in sorted(counts.items())]
