"""What remembers batches, as core asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from flowctx.core.batches.records import BatchRecord, PartitionRun, Standing
from flowctx.core.suggestions import nearest, question

#: So many of the latest batches are looked through for one that may be meant.
_NEAR_BATCHES: Final = 200

#: Returns what a batch is to ask for, given what is known of it.
DecideBatch: TypeAlias = Callable[[BatchRecord | None], BatchRecord]


class LaunchLease(NamedTuple):
    """Who launches a batch."""

    #: Who.
    launcher: str
    #: Until when nobody else may, without another sign of life.
    until: datetime
    #: How long that is from now.
    remaining: timedelta


class ParamsOfRuns(NamedTuple):
    """Parameters, and which runs of a batch have them."""

    #: The parameters.
    params: Mapping[str, Any]
    #: Of which partition each run is, by the text of its key, and its id.
    runs: list[tuple[str, str]]


class BatchStore(Protocol):
    """Remembers batches: what they were asked to run, who launches them, and what became of their partitions."""

    def put(self, batch: BatchRecord) -> None:
        """Remember a batch, or what has changed about it."""
        ...

    def get(self, batch_id: str) -> BatchRecord:
        """Return a batch, also one of which only runs are known, because an engine started it by itself.

        Raises:
            UnknownBatch: There is neither.
        """
        ...

    def find(self, batch_id: str) -> BatchRecord | None:
        """Return what :meth:`get` returns, or ``None`` if nobody remembers it."""
        ...

    def all(self, limit: int = 50) -> list[BatchRecord]:
        """Return batches, the latest first, also those of which only runs are known."""
        ...

    def lead(self, batch_id: str, launcher: str, lease: timedelta, decide: DecideBatch) -> LaunchLease:
        """Ask to be the one who launches a batch; whoever is, says what it asks for, and nobody else changes that.

        One transaction: who leads, what the batch asks for, and that it is canceled no more.

        Args:
            batch_id: The batch.
            launcher: Who asks.
            lease: For how long nobody else may, unless it is renewed.
            decide: Returns what the batch is to ask for, given what is known of it, or raises; may be called again.

        Returns:
            Who launches it now: whoever asked, or another whose lease runs; then nothing is written.
        """
        ...

    def cancel(self, batch_id: str) -> BatchRecord:
        """Say that a batch is canceled, whoever launches it, and return it.

        Raises:
            UnknownBatch: Nobody remembers it.
        """
        ...

    def keep(self, batch_id: str, *, kept: bool = True) -> BatchRecord:
        """Say that nothing of a batch is pruned, however old it is, or that it may be again; and return it.

        Raises:
            UnknownBatch: Nobody remembers it.
        """
        ...

    def acquire_launch_lease(
        self, batch_id: str, launcher: str, lease: timedelta, *, instead_of: str | None = None
    ) -> str:
        """Ask to be the one who launches a batch, or to stay it, or with a lease of nothing to be it no longer.

        Args:
            batch_id: The batch.
            launcher: Who asks.
            lease: For how long nobody else may, unless it is renewed.
            instead_of: Somebody who is known to be gone.

        Returns:
            Who launches it now: whoever asked, or another whose lease runs.
        """
        ...

    def record_outcomes(self, batch_id: str, runs: Sequence[PartitionRun]) -> None:
        """Remember what an engine said of partitions; what it said before of the same ones is replaced."""
        ...

    def iter_outcomes(
        self, batch_id: str, partitions: Collection[str] | None = None, *, workflow: str | None = None
    ) -> Iterator[PartitionRun]:
        """Yield what became of each partition, in the order of their texts, from notes and from recorded runs.

        Args:
            batch_id: The batch.
            partitions: Only these; by default all of which anything is known.
            workflow: Only runs of this workflow: others may carry the same batch id, and have partitions of the same
                names. Notes are of the workflow that the batch was made for.
        """
        ...

    def iter_standings(self, batch_id: str, workflow: str) -> Iterator[Standing]:
        """Yield how each partition of a workflow stands in a batch: what :meth:`iter_outcomes` yields, in short.

        Args:
            batch_id: The batch.
            workflow: The workflow; a batch may have several.
        """
        ...

    def iter_partitions(self, batch_id: str, workflow: str, *, besides: str | None = None) -> Iterator[str]:
        """Yield the text of each partition of a workflow of which anything is known in a batch, maybe several times.

        Args:
            batch_id: The batch.
            workflow: The workflow; a batch may have several.
            besides: Leave out runs whose ids begin so.

        Returns:
            Texts in any order, but that an empty one comes first if there are runs without a partition.
        """
        ...

    def count_outcomes(self, batch_id: str, workflow: str) -> dict[str, int]:
        """Return how many partitions of a workflow stand how in a batch: what :meth:`iter_outcomes` yields, counted.

        Args:
            batch_id: The batch.
            workflow: The workflow; a batch may have several.

        Returns:
            Counts by state, in the order of the states, without those of which there is none.
        """
        ...

    def params_of_runs(self, batch_id: str, workflow: str, names: Collection[str]) -> list[ParamsOfRuns]:
        """Return which parameters the recorded runs of partitions have that are ok in a batch, and which have each.

        Args:
            batch_id: The batch.
            workflow: The workflow; a batch may have several.
            names: The parameters that are asked for; those that a run does not have are left out of its own.

        Returns:
            Parameters as they are recorded, in any order; the same ones may come more than once. Runs whose context is
            damaged are left out: whoever reads such a run is told.
        """
        ...

    def runs_by_workflow(self, batch_id: str) -> dict[str, dict[str, int]]:
        """Return how many recorded runs of each workflow carry a batch's id, by how they stand."""
        ...


def meant_batch(batch_id: str, batches: BatchStore) -> str:
    """Return the question whether another batch was meant by an id that none has; empty if no other is nearly so.

    Args:
        batch_id: The id.
        batches: Where they are remembered.
    """
    return question(nearest(str(batch_id), (batch.batch_id for batch in batches.all(_NEAR_BATCHES))))
