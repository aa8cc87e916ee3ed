"""What runs the partitions of a batch, as core asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from flowctx.core.batches.records import BatchRecord, Job, PartitionRun
from flowctx.core.workflow.definition import Workflow

#: Where a batch can run.
ENGINES = ("local", "airflow", "dagster")


class Launcher(Protocol):
    """Runs the partitions of a batch on an engine."""

    #: The engine's name.
    engine: str
    #: Whether its runs are in the ledger as they are, so that nothing has to be noted.
    writes_ledger: bool

    @property
    def under_way(self) -> int:
        """How many jobs it runs at the moment, or has left running; those that only wait for a worker are none."""
        ...

    def check(self, workflow: Workflow) -> None:
        """See whether the engine is there and can run the workflow.

        Raises:
            EngineError: It cannot; the message says what to do.
        """
        ...

    def launch(self, batch: BatchRecord, jobs: Iterator[Job | None]) -> Iterator[PartitionRun | None]:
        """Run jobs, taking each only when there is room for it, and yield what becomes of them.

        A ``None`` among the jobs means that all that is left waits for what is under way: take no more until one of
        those has ended.

        ``None`` is yielded at least every second when there is no news, so that whoever follows can stop it.
        """
        ...

    def stop(self) -> None:
        """Take no more jobs; :meth:`launch` ends when those under way have ended."""
        ...

    def detach(self) -> None:
        """Take no more jobs, and let :meth:`launch` end as soon as can be, with nothing lost."""
        ...

    def find(self, batch: BatchRecord, workflow: Workflow) -> Iterator[PartitionRun]:
        """Yield what the engine knows of a batch, whoever started it."""
        ...

    def had_ledger(self, run: PartitionRun) -> bool:
        """Return whether a run that is over says that it had a ledger to be recorded in."""
        ...

    def cancel(self, batch: BatchRecord, runs: Sequence[PartitionRun]) -> Iterator[PartitionRun]:
        """Stop runs that are under way, and yield those that were stopped."""
        ...
