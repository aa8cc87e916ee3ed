"""Which partitions of a batch run again that ran before."""

from __future__ import annotations

from dataclasses import dataclass

from flowctx.core.batches.records import PartitionRun, PartitionState, Standing


@dataclass(frozen=True, kw_only=True)
class RunsAgain:
    """What of a batch runs again that is over."""

    retry_failed: bool = False
    retry_skipped: bool = False
    #: From which step on, although it is complete.
    from_step: str | None = None


def runs_again(run: PartitionRun | Standing, engine: str | None, retry_failed: bool, retry_skipped: bool) -> bool:
    """Return whether a partition of which something is known runs again.

    A local run that is under way although nobody launches the batch was interrupted. On another engine it may well be
    running: there it is followed, and from elsewhere it is left alone.
    """
    if run.state is PartitionState.FAILED:
        return retry_failed
    if run.state is PartitionState.SKIPPED:
        return retry_skipped
    if run.state in (PartitionState.CANCELED, PartitionState.PARTIAL, PartitionState.WAITING):
        return True
    return not run.state.ended and (engine is None or run.engine in ("local", engine))
