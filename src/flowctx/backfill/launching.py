"""Launch a batch and follow it: whatever the engine, what happened is remembered as it happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from flowctx.backfill.engine_runs import NOTES
from flowctx.backfill.leading import LaunchOptions, LeadLaunch
from flowctx.backfill.order import InputOrder, batch_inputs
from flowctx.backfill.polling import PollingLauncher
from flowctx.backfill.settling import SEE_LEDGER, SettledRun
from flowctx.core.batches.launcher import Launcher
from flowctx.core.batches.ledger import BatchStore
from flowctx.core.batches.records import BatchRecord, Job, PartitionRun, PartitionState
from flowctx.core.printable import amount
from flowctx.core.workflow.definition import Workflow

logger = logging.getLogger("flowctx")


class Launch(LeadLaunch):
    """One launch of a batch, partition by partition."""

    def __init__(
        self,
        batches: BatchStore,
        work: Iterator[Job | PartitionRun],
        workflows: Sequence[Workflow],
        batch: BatchRecord,
        launcher: Launcher,
        options: LaunchOptions,
    ) -> None:
        super().__init__(batches, workflows, batch, launcher, options)
        self.launcher = launcher
        #: The work, in order where a partition reads what the batch makes of another one.
        self.work = InputOrder(workflows, work, launcher.engine) if any(batch_inputs(workflows)) else work
        #: When an engine was last about to be asked, on the ledger's clock, if that is known.
        self.polled_at: datetime | None = None
        #: How many partitions its engine has called done of which the ledger has nothing.
        self.unrecorded = 0

    def jobs(self) -> Iterator[Job | None]:
        """Yield what is to run, counting what is passed over; ``None`` while all that is left waits."""
        for item in self.work:
            if self.canceled():
                return
            if item is None:
                yield None
            elif isinstance(item, Job):
                refused = self.refused.get((item.workflow or self.batch.workflow, item.partition))
                if refused is None:
                    yield item
                else:
                    self.take(replace(refused, run_id=item.run_id, workflow=item.workflow))
            else:
                if item.state is PartitionState.WAITING:
                    self.notes[item.workflow, item.partition] = item
                    if len(self.notes) >= NOTES:
                        self.flush()
                self.progress.pass_over(item)

    def follow(self) -> None:
        """Take in what the launcher says until there is no more."""
        for run in self.launcher.launch(self.batch, self.jobs()):
            self.progress.under_way = self.launcher.under_way
            if run is not None:
                self.take(run)
            self.listener.tick(self.progress)
            self.look_around()
            if run is None and self.settling is not None and isinstance(self.launcher, PollingLauncher):
                self.polled_at = self.settling.ledger.now()
        self.progress.under_way = self.launcher.under_way
        self.warn_of_unrecorded()

    def warn_of_unrecorded(self) -> None:
        """Say how many partitions the ledger has nothing of, before the same command runs them again."""
        if self.unrecorded and self.settling is not None:
            logger.warning(
                "batch %s: %s has %s as done, and %s has nothing of what they made; before they run again, %s",
                self.batch.batch_id,
                self.launcher.engine,
                amount(self.unrecorded, "partition"),
                getattr(self.settling.ledger, "url", "memory://"),
                SEE_LEDGER,
            )

    def take(self, run: PartitionRun) -> None:
        """Remember and pass on what became of a partition."""
        if not self.launcher.writes_ledger or not run.attempt:
            settled = SettledRun(run, run) if self.settling is None else self.settling.settle(run, self.polled_at)
            self.notes[run.workflow, run.partition] = settled.noted
            self.unrecorded += settled.lost
            run = settled.known
        if run.state.ended:
            self.progress.end(run)
            if isinstance(self.work, InputOrder):
                self.work.ended(run)
        self.listener.news(run, self.progress)
        self.stop_if_enough_failed()

    def stop(self, why: str, *, detach: bool = False) -> None:
        """Begin no more partitions."""
        self.progress.stopped, self.progress.under_way = why, self.launcher.under_way
        self.listener.stopping(why, self.progress)
        if detach:
            self.launcher.detach()
        else:
            self.launcher.stop()
