"""The process that runs a slice of a batch, for a task of an engine: the batch runner of this machine, on the slice.

It reads from its standard input what to run, and says on its standard output how partitions end. It ends at once when
whoever started it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from typing import IO, Any, NoReturn, cast

from flowctx.backfill.again import RunsAgain
from flowctx.backfill.launching import Launch
from flowctx.backfill.leading import LEASE, LaunchOptions
from flowctx.backfill.local import Durability, LocalLauncher
from flowctx.backfill.plan import Backfill
from flowctx.backfill.progress import LaunchListener, LaunchProgress
from flowctx.backfill.settling import Settling
from flowctx.backfill.worker import Voice, pipes
from flowctx.core.batches.bulk import BulkRequest, Slice
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, FlowctxError
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_workflow
from flowctx.ledger import open_ledger

logger = logging.getLogger("flowctx")

#: Partitions that stand so and are not asked for again are over.
_ENDED = (PartitionState.FAILED, PartitionState.SKIPPED, PartitionState.OK)


def main() -> NoReturn:
    """Run the slice that standard input names."""
    incoming, outgoing = pipes()
    say = Voice(outgoing)
    setup = json.loads(incoming.readline())
    threading.Thread(target=_end_with, args=(incoming,), daemon=True).start()
    try:
        ledger = open_ledger(setup["ledger"])
        run = SliceRun(import_workflow(setup["target"]), setup["request"], setup["slice"], ledger, say)
        say(run.to_the_end())
    except FlowctxError as exc:
        say({"refused": str(exc)})
    os._exit(0)


def _end_with(incoming: IO[bytes]) -> None:
    """End when whoever started this process does; its own workers end with it."""
    incoming.read()
    os._exit(1)


class SliceRun:
    """One attempt at a slice.

    Args:
        workflow: The workflow.
        request: What the batch asks for.
        part: The slice.
        ledger: Where the batch is remembered.
        say: Tells how partitions end.

    Raises:
        BatchError: The slice is of other partitions here than where the batch was launched.
    """

    def __init__(self, workflow: Workflow, request: dict[str, Any], part: dict[str, Any], ledger: Ledger, say: Voice):
        self.request, self.slice, self.say = BulkRequest.from_dict(request), Slice(**part), say
        self.workflow, self.ledger = workflow, ledger
        self.plan = Backfill(
            workflow, self.slice.select, self.request.batch_id, params=self.request.params, ledger=ledger
        )
        if not self.plan.selection.has_digest(self.slice.digest):
            raise BatchError(
                f"the workflow {workflow.name!r} has other partitions here than where batch {self.request.batch_id!r} "
                "was launched; deploy the same version of it here and there, and launch the batch again"
            )

    def to_the_end(self) -> dict[str, Any]:
        """Run what is left, and return how many partitions stand how."""
        batch = self.ledger.batches.get(self.request.batch_id)
        launcher = LocalLauncher(self.ledger, 1, durability=cast(Durability, self.request.durability))
        launcher.check(self.workflow)
        launch = _SliceLaunch(self, batch, launcher)
        progress = launch.to_the_end()
        counts = Counter({str(state): count for state, count in progress.before.items()})
        counts.update({str(state): count for state, count in progress.ended.items()})
        return {"counts": dict(counts), "stopped": progress.stopped}

    def work(self) -> Iterator[Job | PartitionRun]:
        """Yield what is to run, and what is known of the rest: what ended since the launch does not run again.

        What is known of partitions that ended here or in bulk is told, too: whoever was to hear of it may have died.
        """
        asked = self.request
        since: datetime = asked.launched_at
        again = RunsAgain(**{one.name: getattr(asked, one.name) for one in fields(RunsAgain)})
        for item in self.plan.iter_work("local", again):
            before = item.before if isinstance(item, Job) else item
            if before is not None and before.state in _ENDED:
                if before.last_seen_at >= since:
                    item = before
                if item is before and before.engine == "local":
                    self.tell(before, before=True)
            yield item

    def tell(self, run: PartitionRun, *, before: bool = False) -> None:
        """Say how a partition ended."""
        what = {"partition": run.partition, "state": str(run.state), "run_id": run.run_id}
        self.say({**what, "ended_at": run.last_seen_at.isoformat(), "before": before})


class _Teller(LaunchListener):
    """Says how partitions end."""

    def __init__(self, run: SliceRun) -> None:
        self.run = run

    def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
        if run.state.ended:
            self.run.tell(run)

    def stopping(self, why: str, progress: LaunchProgress) -> None:
        logger.warning("batch %s: %s; no more of this slice is begun", self.run.request.batch_id, why)


class _SliceLaunch(Launch):
    """The launch of a slice, beside others of the same batch: in the name of whoever launched them all."""

    def __init__(self, run: SliceRun, batch: BatchRecord, launcher: LocalLauncher) -> None:
        super().__init__(
            run.ledger.batches,
            run.work(),
            [run.workflow],
            batch,
            launcher,
            LaunchOptions(
                total=len(run.plan.selection),
                decide=lambda known: known or batch,
                max_failures=run.request.max_failures,
                listener=_Teller(run),
                settling=Settling(run.ledger, batch.batch_id, launcher, run.workflow.name),
            ),
        )
        self.me = run.request.launcher

    def lead(self) -> None:
        """Give the first sign of life, and see that the batch is still that of the launch."""
        if self.batches.acquire_launch_lease(self.batch.batch_id, self.me, LEASE) != self.me:
            self.lost()
        elif self.batch.canceled_at:
            self.stop("canceled", detach=True)

    def follow(self) -> None:
        """Run the slice, unless it was stopped before it could begin."""
        if not self.progress.stopped:
            super().follow()

    def lost(self) -> None:
        """Begin no more: whoever launched the slices stops them, or somebody else launches the batch by now."""
        if not self.progress.stopped:
            self.stop("stopped by whoever leads the batch now", detach=True)

    def release(self) -> None:
        """Keep the lease: other slices of the launch may be under way."""
