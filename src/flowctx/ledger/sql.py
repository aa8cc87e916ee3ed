"""A ledger in a SQLite file or in PostgreSQL."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from sqlalchemy import delete, insert, literal, select, true, update
from sqlalchemy.engine import Connection

from flowctx.core.clock import Clock
from flowctx.core.durability.ledger_options import BeginOptions
from flowctx.core.durability.records import OnCaptured, Pruned, RunKey, RunRecord, RunStatus, StepRecord
from flowctx.core.workflow.result import StepStatus
from flowctx.ledger.artifacts import SqlArtifacts, all_referred_paths, prefix_of
from flowctx.ledger.batches import SqlBatches
from flowctx.ledger.captures import Claim, to_be_claimed
from flowctx.ledger.captures_sql import SqlCaptures, held_by, settled
from flowctx.ledger.database import Database
from flowctx.ledger.driver import execute
from flowctx.ledger.file_rights import Lacking, lacking_in_file
from flowctx.ledger.old_names import OldNames
from flowctx.ledger.ownership import follower_key, new_nonce, owned, refuse_alive, refuse_known, refuse_unseen, reopened
from flowctx.ledger.pruning import Pruning
from flowctx.ledger.pruning_counts import PruningCounts
from flowctx.ledger.refusals import superseded
from flowctx.ledger.rights import lacking_in_postgres
from flowctx.ledger.rows import attempt_row, engine_name_of, ownership_of, run_record, run_row, stamp, step_row
from flowctx.ledger.runs_sql import SqlRuns
from flowctx.ledger.statements import end_run, find_run, put, record_step, settle_capture
from flowctx.ledger.tables import attempts, captures, facts, runs, steps
from flowctx.ledger.versions_sql import SqlVersions

#: What names of engines begin with among the facts.
_ENGINE_NAME = "engine name"


class Beginning(NamedTuple):
    """What a caller asks for who begins a run; see :meth:`~flowctx.core.durability.ledger.Ledger.begin`."""

    run: RunRecord
    nonce: str
    resumes: RunRecord | None = None
    completed: Collection[str] = ()
    on_captured: OnCaptured = "recapture"
    lease: timedelta = timedelta(minutes=1)
    exclusive: bool = False
    take_over: bool = True
    seen: Mapping[str, StepStatus] | None = None

    @property
    def subject(self) -> str:
        """What only one begins at a time."""
        return self.run.capture.idempotency_key if self.run.capture else self.run.key.digest


class SqlLedger(SqlRuns, SqlCaptures, SqlVersions, OldNames):
    """Remembers runs in a database; its tables are made on first use.

    Threads may share it, and forked processes too: each opens a connection of its own.

    Args:
        url: ``sqlite:////folder/ledger.db`` or ``postgresql://user@host/database``.
        clock: Another clock than the machine's.
        patience: How long to try again when the database was there and is gone.
        owner: Who begins runs there, for people to read; by default this process.
        make: As for :func:`~flowctx.ledger.open_ledger`.

    Raises:
        ContextError: It is no URL of a SQLite or PostgreSQL database.

    Example:
        >>> SqlLedger("sqlite:////tmp/ledger.db").close()
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        patience: timedelta = timedelta(seconds=30),
        owner: str | None = None,
        make: bool = True,
    ) -> None:
        self._database = Database(url, patience.total_seconds(), clock, make=make)
        self._owner = owner
        #: What it remembers of batches.
        self.batches = SqlBatches(self._database)
        #: What it knows of the files in its store.
        self.artifacts = SqlArtifacts(self._database)

    @property
    def address(self) -> str:
        """Where it is, with the password: for processes that are to open it too, not to be shown."""
        return self._database.url.render_as_string(hide_password=False)

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return self._database.shown

    def upgrade(self) -> str | None:
        """Bring its tables to what this flowctx needs; return their revision before, ``None`` if there were none."""
        return self._database.upgrade()

    def revision(self) -> str | None:
        """Return the revision of its tables, which must be this flowctx's; ``None`` if there are none yet.

        Raises:
            LedgerVersionError: It is another; the message says what to type.
        """
        return self._database.revision()

    def lacking(self, *, has_tables: bool) -> Lacking | None:
        """Return what keeps its user from writing, without writing; its tables are there, as :meth:`revision` says."""
        if self._database.sqlite:
            return lacking_in_file(Path(str(self._database.url.database).removeprefix("file:")))
        return self._database.unchecked(lambda at: lacking_in_postgres(at, has_tables=has_tables))

    def close(self) -> None:
        """Let go of the connection; a later call opens one again."""
        self._database.close()

    def now(self) -> datetime:
        """Return the time by which leases are measured: the database's, where several machines share it."""
        return self._database.autocommit(self._database.now)

    # -- runs -----------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord, **how: Unpack[BeginOptions]) -> RunRecord:
        """Begin a run and claim its capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        wanted = Beginning(run, new_nonce(), **how)
        return self._database.transaction(lambda at: self._begin(at, wanted))

    def _begin(self, at: Connection, wanted: Beginning) -> RunRecord:
        now = self._database.now(at)
        run, resumes, completed = wanted.run, wanted.resumes, wanted.completed
        # The subject's lock comes before any row's, always in this order, so that two claims cannot deadlock.
        self._take_turns(at, wanted.subject)
        known, nonce = self._known(at, run.key)
        if known is not None and nonce == wanted.nonce:
            return known  # our own commit, of which the answer was lost
        if known is not None and (resumes is None or resumes.key != run.key):
            if wanted.exclusive:
                refuse_known(known, now)
            if known.status is RunStatus.RUNNING:
                return self._join(at, known, wanted, now)
            key = follower_key(known)
            follower = self._known(at, key)[0] if key is not None else None
            run, resumes = reopened(known.joined_by(run), now, follower), None
        elif resumes is not None:
            self._take(at, resumes, now, wanted)
            run = replace(run, fencing_token=resumes.fencing_token + 1 if resumes.key == run.key else 1)
        if run.capture is not None:
            how = {"on_captured": wanted.on_captured, "instead_of": resumes.key.digest if resumes else None}
            self._claim(at, Claim.of(run, run.capture, wanted.lease, **how), now, only_ask=run.is_part)
        if known is not None:
            self._let_go(at, run.key.digest)
        if resumes is not None:
            self._copy_completed(at, run, resumes, completed)
        run = replace(run, **owned(self._owner, now, wanted.lease))
        execute(at, put(at, runs), run_row(run, now, wanted.nonce))
        execute(at, put(at, attempts), attempt_row(run))
        return run

    def _join(self, at: Connection, known: RunRecord, wanted: Beginning, now: datetime) -> RunRecord:
        self._renew(at, known, now, now + wanted.lease)
        joined = known.joined_by(wanted.run)
        if joined is not known:
            at.execute(update(runs).where(runs.c.run_key == known.key.digest).values(engine=joined.engine))
            execute(at, put(at, attempts), attempt_row(joined))
        return joined

    def _take(self, at: Connection, resumes: RunRecord, now: datetime, wanted: Beginning) -> None:
        """Lock the row of a run that is to be continued, and see that it may be."""
        row = at.execute(select(runs).where(runs.c.run_key == resumes.key.digest).with_for_update()).mappings().first()
        if row is None or row["fence"] != resumes.fencing_token:
            raise superseded(resumes.key)
        if not wanted.take_over:
            refuse_alive(replace(resumes, status=RunStatus(row["status"]), **ownership_of(row)), now)
        there = select(steps.c.step, steps.c.status).where(steps.c.run_key == resumes.key.digest)
        statuses = {name: StepStatus(status) for name, status in at.execute(there)}
        refuse_unseen(resumes, wanted.seen, row["status"], statuses)

    def _copy_completed(self, at: Connection, run: RunRecord, resumes: RunRecord, completed: Collection[str]) -> None:
        old, new = resumes.key.digest, run.key.digest
        if old == new:
            at.execute(delete(steps).where(steps.c.run_key == new, steps.c.step.not_in(list(completed))))
            return
        for table, which in ((attempts, true()), (steps, steps.c.step.in_(list(completed)))):
            rest = [column for column in table.c if column.name != "run_key"]
            chosen = select(literal(new), *rest).where(table.c.run_key == old, which)
            at.execute(insert(table).from_select(["run_key", *[column.name for column in rest]], chosen))
        self._fence_off(at, old, run.run_id)
        at.execute(update(runs).where(runs.c.run_key == old).values(continued_by=run.run_id))

    def _known(self, at: Connection, key: RunKey) -> tuple[RunRecord | None, str | None]:
        row = execute(at, find_run(), {"run_key": key.digest}).mappings().first()
        return (run_record(row), row["nonce"]) if row is not None else (None, None)

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Record how steps ended; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        work = self._recording_rows(run, self._step_rows(run, steps))
        if len(steps) == 1:
            self._database.autocommit(work)  # one statement is a transaction by itself
        else:
            self._database.transaction(work)

    def _step_rows(self, run: RunRecord, steps: Sequence[StepRecord]) -> list[dict[str, Any]]:
        """Return the rows of steps, with the fence of their run."""
        key = run.key.digest
        return [{**step_row(key, record), "fence": run.fencing_token} for record in steps]

    def _recording_rows(self, run: RunRecord, rows: Sequence[Mapping[str, Any]]) -> Callable[[Connection], None]:
        """Return what records the rows of steps; it writes nothing if it is refused."""

        def work(at: Connection) -> None:
            for row in rows:
                if not execute(at, record_step(at), row).rowcount:
                    raise superseded(run.key)

        return work

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Say how a run ended; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        self._database.transaction(self._ending(run, status, error))

    def _ending(self, run: RunRecord, status: RunStatus, error: str | None) -> Callable[[Connection], None]:
        """Return what ends a run; of a whole one, it writes nothing if it is refused."""

        def work(at: Connection) -> None:
            now = self._database.now(at)
            takes = run.capture if run.is_part and status in (RunStatus.OK, RunStatus.SKIPPED) else None
            if takes is not None:
                self._take_turns(at, takes.idempotency_key)  # before any row is locked
            ended, settling = end_values(run, status, error, now)
            if not execute(at, end_run(), ended).rowcount:
                raise superseded(run.key)
            if takes is not None and to_be_claimed(self._capture_of(at, takes), run.key.digest, status):
                self._claim(at, Claim.of(run, takes, timedelta(0)), now)
            if settling is not None:
                execute(at, settle_capture(), settling)

        return work

    def renew(self, run: RunRecord, lease: timedelta) -> None:
        """Extend the lease of the run's capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""

        def work(at: Connection) -> None:
            now = self._database.now(at)
            self._renew(at, run, now, now + lease)

        self._database.transaction(work)

    def _renew(self, at: Connection, run: RunRecord, now: datetime, until: datetime) -> None:
        owned = (runs.c.run_key == run.key.digest, runs.c.fence == run.fencing_token)
        if not at.execute(update(runs).where(*owned).values(heard_at=stamp(now), lease_until=stamp(until))).rowcount:
            raise superseded(run.key)
        at.execute(update(captures).where(*held_by(run)).values(lease_until=stamp(until)))

    # -- engines --------------------------------------------------------------------------------------------------

    def remember_engine_name(self, engine: str, workflow: str, name: str, dimensions: Sequence[str] = ()) -> None:
        """Remember a name under which an engine has a workflow."""
        if self.engine_names(engine, workflow).get(name) == tuple(dimensions):
            return
        row = {"name": json.dumps([_ENGINE_NAME, engine, workflow, name]), "value": json.dumps(list(dimensions))}
        self._database.transaction(lambda at: at.execute(put(at, facts), row))

    def engine_names(self, engine: str, workflow: str) -> dict[str, tuple[str, ...]]:
        """Return the names under which an engine has a workflow, with the dimensions of its runs there."""
        of_workflow = [_ENGINE_NAME, engine, workflow]
        begins = json.dumps(of_workflow)[:-1]
        query = select(facts).where(facts.c.name.startswith(begins, autoescape=True)).order_by(facts.c.name)
        found = map(engine_name_of, self._database.rows(query))
        return {name[-1]: value for name, value in found if name[:-1] == of_workflow}

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def prune(self, before: datetime, *, versions: int = 1) -> Pruned:
        """Forget what is older than a time and neither current nor kept, so many rows in a transaction."""
        return Pruning(self._database, stamp(before), versions).to_the_end()

    def would_prune(self, before: datetime, *, versions: int = 1) -> tuple[Pruned, set[str]]:
        """Return what :meth:`prune` would forget, and where the artifacts are that would still be referred to."""
        pruning = Pruning(self._database, stamp(before), versions)
        return self._database.autocommit(lambda at: PruningCounts(pruning, at).found())

    @functools.cached_property
    def artifact_prefix(self) -> str:
        """What the names of this ledger's artifacts begin with."""
        return self._database.autocommit(prefix_of)

    def artifact_paths(self) -> set[str]:
        """Return where all artifacts are that the ledger refers to, relative to their store."""
        return self._database.autocommit(all_referred_paths)


def end_values(
    run: RunRecord, status: RunStatus, error: str | None, now: datetime
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the values of the statements that end a run, and settle its capture if it has one."""
    owned = {"key": run.key.digest, "token": run.fencing_token}
    ended = {"status": str(status), "error": error, "finished_at": stamp(now), "heard_at": stamp(now)}
    settling = None
    if run.capture is not None:
        how = settled(now, status is RunStatus.OK, is_hole=status is RunStatus.SKIPPED)
        capture = {"of_subject": run.capture.idempotency_key, "of_capture": run.capture.capture_id}
        settling = {**how, **capture, **owned}
    return {**ended, "lease_until": None, **owned}, settling
