"""What a run is recorded in: a ledger, a ledger whose failures are only logged, or none at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Final, TypeVar, Unpack

from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger, RunLedger
from flowctx.core.durability.ledger_options import BeginOptions, CaptureQuery, RunQuery
from flowctx.core.durability.records import Capture, RunKey, RunRecord, RunStatus, StepOutput, StepRecord
from flowctx.core.durability.versions import PrunedVersion, Version
from flowctx.core.errors import CaptureRefused, ContextError, LedgerError, RunAlive, RunExists, Superseded, UnknownRun
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus

logger = logging.getLogger("flowctx")

#: What a step that has ended says of itself on its engine where a ledger is named: what that has not is missing.
LEDGER_MARK: Final = "ledger"
#: What a step says of itself that was skipped, where its engine takes that for an output.
SKIP_MARK: Final = "skipped"

_T = TypeVar("_T")


def run_ledger(ledger: Ledger | None, *, strict: bool) -> RunLedger:
    """Return what a run is recorded in.

    Args:
        ledger: The ledger, or ``None``: nothing is recorded, and nothing else changes.
        strict: Whether a run that cannot be recorded fails; otherwise it goes on, and the log says so.
    """
    if ledger is None:
        return NO_LEDGER
    return ledger if strict else LenientLedger(ledger)


def ledger_behind(recorded_in: RunLedger) -> RunLedger | None:
    """Return the ledger itself in which a run is recorded, which says where its artifacts go.

    Args:
        recorded_in: What :func:`run_ledger` returned, once the run has begun.

    Returns:
        The ledger; ``None`` if there is none, or the run is not recorded in it.
    """
    if isinstance(recorded_in, NoLedger):
        return None
    return recorded_in.behind if isinstance(recorded_in, LenientLedger) else recorded_in


class NoLedger:
    """Remembers nothing: a run that is recorded in it goes on as any other, and cannot be continued."""

    def begin(self, run: RunRecord, **how: Unpack[BeginOptions]) -> RunRecord:
        """Return the run."""
        return run

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Do nothing."""

    def forget(self, run: RunRecord, steps: Collection[str]) -> None:
        """Do nothing."""

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Do nothing."""

    def renew(self, run: RunRecord, lease: timedelta) -> None:
        """Do nothing."""

    def get_run(self, run_id: str, *, workflow: str | None = None, partition: PartitionKey | None = None) -> RunRecord:
        """Say that nobody knows the run.

        Raises:
            UnknownRun: Always; with the remedy.
        """
        raise UnknownRun(f"no ledger says how far run {run_id!r} came; set FLOWCTX_LEDGER_URL here too")

    def steps(self, key: RunKey, names: Collection[str] | None = None) -> list[StepRecord]:
        """Return none."""
        return []

    def statuses(self, key: RunKey) -> dict[str, StepStatus]:
        """Return none."""
        return {}

    def list_runs(self, **query: Unpack[RunQuery]) -> list[RunRecord]:
        """Return none."""
        return []

    def runs_of(self, run_keys: Collection[str]) -> dict[str, RunRecord]:
        """Return none."""
        return {}

    def captures(self, **query: Unpack[CaptureQuery]) -> list[Capture]:
        """Return none."""
        return []

    def versions(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], *, batch_id: str | None = None
    ) -> list[Version]:
        """Say that nobody remembers outputs.

        Raises:
            ContextError: Always; with the remedy.
        """
        raise ContextError(
            f"an input is read from the ledger, and there is none that remembers workflow {workflow!r}; set "
            "FLOWCTX_LEDGER_URL (run() and resume() take ledger=, too)"
        )

    def pruned_versions(self, workflow: str, partitions: Collection[PartitionKey | None]) -> list[PrunedVersion]:
        """Return none."""
        return []

    def step_outputs(self, step: str, run_keys: Collection[str]) -> dict[str, StepOutput]:
        """Return none."""
        return {}

    def recorded_steps(
        self, run_keys: Collection[str], *, names: Collection[str] | None = None, reading: bool = False
    ) -> dict[str, list[StepRecord]]:
        """Return none."""
        return {}

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """Return none."""
        return None


#: The one object of its class.
NO_LEDGER = NoLedger()


class LenientLedger:
    """Records one run where it can; what the ledger cannot do is logged, and the run goes on.

    What was not recorded is recorded with the next step, if that can be; what was not forgotten is forgotten before.
    A run that somebody else has taken over, or whose capture is refused, stops here too; so does one that is to
    continue another, of which nothing is known. A run of which something could not be read before it began is not
    recorded at all: it might write over what it does not know of.
    """

    def __init__(self, ledger: RunLedger) -> None:
        self._ledger = ledger
        #: What inputs are read from, also of a run that is not recorded: without it there are none.
        self.ledger = ledger
        #: What says where artifacts go: a run that is not recorded needs it only for what it continues.
        self.behind: RunLedger | None = ledger
        #: Why something could not be read, if it could not.
        self._unread: LedgerError | None = None
        self._backlog: list[StepRecord] = []
        #: The steps that are to be forgotten before that, with the run as it was then.
        self._outdated: list[tuple[RunRecord, Collection[str]]] = []

    def begin(self, run: RunRecord, **how: Unpack[BeginOptions]) -> RunRecord:
        """Begin the run; where that cannot be, nothing of it is recorded."""
        try:
            if self._unread is not None:
                raise self._unread
            return self._ledger.begin(run, **how)
        except (CaptureRefused, RunAlive, RunExists, Superseded):
            raise
        except LedgerError as exc:
            resumes = how.get("resumes")
            if resumes is not None and resumes.run_id != run.run_id:
                raise
            self._give_up(run.run_id, exc, continues=resumes is not None)
            return run

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Record steps, and those before them that were not."""
        self._backlog += steps
        what = " and ".join(f"step {record.step!r}" for record in steps)
        self._try(run, what, lambda: self._flush(run))

    def forget(self, run: RunRecord, steps: Collection[str]) -> None:
        """Forget steps, and those before them that were not."""
        self._backlog = [record for record in self._backlog if record.step not in steps]
        self._outdated.append((run, steps))
        names = " and ".join(f"step {name!r}" for name in steps)
        self._try(run, f"that {names} does not count", lambda: self._flush(run))

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Record what was not, and say how the run ended."""

        def finish() -> None:
            self._flush(run)
            self._ledger.finish(run, status, error)

        self._try(run, "the end of the run", finish)

    def renew(self, run: RunRecord, lease: timedelta) -> None:
        """Extend the lease of the run's capture."""
        self._ledger.renew(run, lease)

    def get_run(self, run_id: str, *, workflow: str | None = None, partition: PartitionKey | None = None) -> RunRecord:
        """Return a run.

        Raises:
            UnknownRun: There is none, or the ledger cannot say.
        """
        try:
            return self._ledger.get_run(run_id, workflow=workflow, partition=partition)
        except UnknownRun:
            raise
        except LedgerError as exc:
            self._unread = exc
            raise UnknownRun(f"the ledger cannot say how far run {run_id!r} came: {exc}") from exc

    def steps(self, key: RunKey, names: Collection[str] | None = None) -> list[StepRecord]:
        """Return what is recorded of steps, as far as it can be read."""
        return self._look(f"run {key.run_id}", lambda: self._ledger.steps(key, names), [])

    def statuses(self, key: RunKey) -> dict[str, StepStatus]:
        """Return how steps ended, as far as it can be read."""
        return self._look(f"run {key.run_id}", lambda: self._ledger.statuses(key), {})

    def list_runs(self, **query: Unpack[RunQuery]) -> list[RunRecord]:
        """Return the runs that fit, the latest first."""
        return self._look(f"workflow {query.get('workflow')}", lambda: self._ledger.list_runs(**query), [])

    def runs_of(self, run_keys: Collection[str]) -> dict[str, RunRecord]:
        """Return runs by the digests of their keys, as far as they can be read."""
        return self._look("runs", lambda: self._ledger.runs_of(run_keys), {})

    def captures(self, **query: Unpack[CaptureQuery]) -> list[Capture]:
        """Return the captures that fit, as far as they can be read."""
        return self._look(f"workflow {query.get('workflow')}", lambda: self._ledger.captures(**query), [])

    def versions(
        self, workflow: str, step: str, partitions: Collection[PartitionKey | None], *, batch_id: str | None = None
    ) -> list[Version]:
        """Return captures; without them there is no input, so what the ledger cannot do is raised."""
        return self.ledger.versions(workflow, step, partitions, batch_id=batch_id)

    def pruned_versions(self, workflow: str, partitions: Collection[PartitionKey | None]) -> list[PrunedVersion]:
        """Return captures that are pruned; what the ledger cannot do is raised."""
        return self.ledger.pruned_versions(workflow, partitions)

    def step_outputs(self, step: str, run_keys: Collection[str]) -> dict[str, StepOutput]:
        """Return what is recorded of a step; what the ledger cannot do is raised."""
        return self.ledger.step_outputs(step, run_keys)

    def recorded_steps(
        self, run_keys: Collection[str], *, names: Collection[str] | None = None, reading: bool = False
    ) -> dict[str, list[StepRecord]]:
        """Return what is recorded of runs, as far as it can be read."""
        return self._look("runs", lambda: self._ledger.recorded_steps(run_keys, names=names, reading=reading), {})

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """Return a batch; what the ledger cannot do is raised."""
        return self.ledger.find_batch(batch_id)

    def _flush(self, run: RunRecord) -> None:
        while self._outdated:
            self._ledger.forget(*self._outdated[0])
            del self._outdated[0]
        if self._backlog:
            self._ledger.record(run, self._backlog)
            self._backlog = []

    def _give_up(self, run_id: str, exc: LedgerError, *, continues: bool) -> None:
        self._ledger = NO_LEDGER
        if not continues:
            self.behind = None
        logger.warning("run %s is not recorded: %s", run_id, exc, extra={"run_id": run_id})

    def _look(self, what: str, work: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return work()
        except Superseded:
            raise
        except LedgerError as exc:
            self._unread = exc
            logger.warning("what is recorded of %s cannot be read (%s); the run goes on", what, exc)
            return otherwise

    def _try(self, run: RunRecord, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (CaptureRefused, Superseded):
            raise
        except LedgerError as exc:
            logger.warning(
                "run %s: %s is not recorded (%s); the run goes on, and it is recorded with the next step if it can be",
                run.run_id,
                what,
                exc,
                extra={"run_id": run.run_id},
            )
