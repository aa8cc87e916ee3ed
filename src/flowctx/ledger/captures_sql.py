"""Captures in a database: who writes which version of what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, exists, false, func, or_, select, update
from sqlalchemy.engine import Connection

from flowctx.core.durability.records import Capture, CaptureKey, CaptureState, OnCaptured, RunRecord, RunStatus
from flowctx.core.partitions.key import PartitionKey
from flowctx.ledger.among import chunks
from flowctx.ledger.artifacts import rolled_back
from flowctx.ledger.captures import Claim, PrunedCapture, by_subject, decide_claim
from flowctx.ledger.database import Database
from flowctx.ledger.driver import execute
from flowctx.ledger.reads import reads_in, reads_text
from flowctx.ledger.refusals import no_longer_held, superseded, taken_over
from flowctx.ledger.rows import capture_record, capture_row, damaged, stamp
from flowctx.ledger.statements import find_pruned_of, find_rivals_of, lock_subject, numbered, put, streamed
from flowctx.ledger.tables import attempts, captures, pruned_captures, runs, steps

#: What no two captures have in common, in the order in which they are read.
_PLACE = (captures.c.subject, captures.c.revision)


class SqlCaptures:
    """The captures of a ledger; see :class:`~flowctx.core.durability.ledger.Ledger`."""

    _database: Database

    def claim(
        self,
        key: CaptureKey,
        *,
        holder: str,
        lease: timedelta,
        on_captured: OnCaptured = "recapture",
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        run_id: str | None = None,
    ) -> Capture:
        """Claim a capture; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        who: dict[str, Any] = {"workflow": workflow, "partition": partition, "run_id": run_id}
        claim = Claim(key=key, holder=holder, lease=lease, on_captured=on_captured, **who)

        def work(at: Connection) -> Capture:
            self._take_turns(at, key.idempotency_key)
            return self._claim(at, claim, self._database.now(at))

        return self._database.transaction(work)

    def _claim(self, at: Connection, claim: Claim, now: datetime, *, only_ask: bool = False) -> Capture:
        subject = claim.key.idempotency_key
        rivals = [capture_record(row) for row in execute(at, find_rivals_of(1), numbered([subject])).mappings()]
        # After the captures: what is pruned in between is among those, too.
        pruned = pruned_revisions(at, [claim.key], rivals).get(subject, {})
        granted = decide_claim(claim, rivals, pruned, now)
        if only_ask:
            return granted
        before = next((rival for rival in rivals if rival.key == claim.key), None)
        if before is not None and claim.is_held_by_another(before):
            self._fence_off(at, before.holder, claim.run_id)
        execute(at, put(at, captures), capture_row(granted))
        return granted

    def _take_turns(self, at: Connection, idempotency_key: str) -> None:
        """Let one claim of a subject at a time pass; in SQLite, BEGIN IMMEDIATE has seen to that."""
        if not self._database.sqlite:
            execute(at, lock_subject(), {"subject": idempotency_key})

    def _capture_of(self, at: Connection, key: CaptureKey) -> Capture | None:
        row = at.execute(select(captures).where(*_is(key))).mappings().first()
        return capture_record(row) if row is not None else None

    def _fence_off(self, at: Connection, run_key: str, by: str | None) -> None:
        fenced = {"fence": runs.c.fence + 1, "nonce": None, "lease_until": None}
        at.execute(update(runs).where(runs.c.run_key == run_key).values(**fenced))
        lost = (runs.c.run_key == run_key, runs.c.status == str(RunStatus.RUNNING))
        at.execute(update(runs).where(*lost).values(status=str(RunStatus.FAILED), error=taken_over(by)))
        held = (captures.c.holder == run_key, captures.c.state == str(CaptureState.HELD))
        at.execute(update(captures).where(*held).values(state=str(CaptureState.RELEASED)))

    def forget(self, run: RunRecord, steps: Collection[str]) -> None:
        """Forget steps that do not count any more; see :class:`~flowctx.core.durability.ledger.Ledger`."""
        self._database.transaction(lambda at: self._forget(at, run, steps))

    def _forget(self, at: Connection, run: RunRecord, names: Collection[str]) -> None:
        key, owned = run.key.digest, (runs.c.run_key == run.key.digest, runs.c.fence == run.fencing_token)
        if not at.execute(update(runs).where(*owned).values(heard_at=stamp(self._database.now(at)))).rowcount:
            raise superseded(run.key)
        at.execute(delete(steps).where(steps.c.run_key == key, steps.c.step.in_(list(names))))
        if not run.reads.keys().isdisjoint(names):
            latest = (attempts.c.run_key == key, attempts.c.attempt == run.attempt)
            known = reads_in(at.execute(select(attempts.c.reads).where(*latest)).scalar())
            reads = {name: some for name, some in known.items() if name not in names}
            at.execute(update(attempts).where(*latest).values(reads=reads_text(reads)))
        self._let_go(at, key)

    def _let_go(self, at: Connection, run_key: str) -> None:
        """Let go of what a run has captured and is whole no more; since when and until when it was, stays known."""
        now, first = self._database.now(at), func.coalesce(captures.c.first_completed_at, captures.c.completed_at)
        written = {"claimed_at": stamp(now), "completed_at": None, "first_completed_at": first}
        captured = (captures.c.holder == run_key, can_be_read(captures))
        at.execute(update(captures).where(*captured).values(state=str(CaptureState.RELEASED), **written))

    def renew_capture(self, capture: Capture, lease: timedelta) -> Capture:
        """Extend the lease of a claimed capture, from now."""

        def values(now: datetime) -> dict[str, Any]:
            return {"lease_until": stamp(now + lease)}

        now = self._change(capture, [CaptureState.HELD], values)
        return replace(capture, lease_until=now + lease)

    def close_capture(self, capture: Capture, *, complete: bool) -> Capture:
        """Say that a claimed capture is complete, or let go of it."""
        state = CaptureState.COMPLETE if complete else CaptureState.RELEASED
        # One that is closed so already, by this very grant, was closed by us: the answer to that was lost.
        now = self._change(capture, [CaptureState.HELD, state], lambda now: _closed(now, state))
        return replace(capture, state=state, lease_until=now, completed_at=now if complete else None)

    def _change(
        self, capture: Capture, states: Sequence[CaptureState], values: Callable[[datetime], dict[str, Any]]
    ) -> datetime:
        held = (
            *_is(capture.key),
            captures.c.token == capture.fencing_token,
            captures.c.state.in_([str(state) for state in states]),
        )

        def work(at: Connection) -> datetime:
            now = self._database.now(at)
            if not at.execute(update(captures).where(*held).values(**values(now))).rowcount:
                raise no_longer_held(capture)
            return now

        return self._database.autocommit(work)

    def captures(
        self,
        *,
        idempotency_key: str | None = None,
        workflow: str | None = None,
        partition: PartitionKey | None = None,
        limit: int | None = None,
    ) -> list[Capture]:
        """Return the captures that fit, by idempotency key and revision."""
        asked = {"subject": idempotency_key, "workflow": workflow, "partition": partition}
        equal = {name: str(value) for name, value in asked.items() if value is not None}
        conditions = [captures.c[name] == value for name, value in equal.items()]
        query = select(captures).where(*conditions)
        if limit is not None:
            # Of a partition there are few: else SQLite, which does not count, reads all of the workflow in this order.
            claimed_at = captures.c.claimed_at if equal.keys() == {"workflow"} else captures.c.claimed_at + ""
            latest = query.order_by(claimed_at.desc(), *_PLACE).limit(limit)
            return sorted(map(capture_record, self._database.rows(latest)), key=by_subject)

        def work(at: Connection) -> list[Capture]:
            with rolled_back(at):  # the rows are not all in memory at once, but their captures are
                rows = streamed(at, query.order_by(*_PLACE)).mappings()
                return [capture_record(row) for row in rows]

        return self._database.autocommit(work)

    def current_revisions(self, idempotency_keys: Collection[str]) -> dict[str, int]:
        """Return the revision of the current capture of each of some subjects that has one."""
        of_each = select(captures.c.subject, func.max(captures.c.revision)).group_by(captures.c.subject)
        query = of_each.where(can_be_read(captures))
        gone = select(pruned_captures.c.subject, func.max(pruned_captures.c.revision)).where(is_not_there_again())
        found: dict[str, int] = {}
        for some in chunks(list(idempotency_keys)):
            there = self._database.tuples(query.where(captures.c.subject.in_(some)))
            pruned = gone.where(pruned_captures.c.subject.in_(some)).group_by(pruned_captures.c.subject)
            last = dict(map(tuple, self._database.tuples(pruned)))
            found |= {subject: revision for subject, revision in there if revision > last.get(subject, 0)}
        return found

    def count_superseded(self, batch_id: str, workflow: str, *, limit: int) -> int:
        """Return how many captures of a batch are not current, because a later one of the same subject can be read."""
        of_batch = (runs.c.batch_id == batch_id, runs.c.workflow == workflow)
        # In the order of the index that has all that is asked of a run.
        some = select(runs.c.run_key).where(*of_batch).order_by(runs.c.partition.desc(), runs.c.run_key.desc())
        looked_at = some.limit(limit).subquery("looked_at")
        own, later = captures.alias("own"), captures.alias("later")
        is_later, was_later = (
            exists().where(one.subject == own.c.subject, one.revision > own.c.revision, counts)
            for one, counts in ((later.c, can_be_read(later)), (pruned_captures.c, is_not_there_again()))
        )
        query = select(func.count()).select_from(looked_at).join(own, own.c.holder == looked_at.c.run_key)
        ((count,),) = self._database.tuples(query.where(or_(is_later, was_later)))
        return int(count)


def pruned_revisions(
    at: Connection, wanted: Sequence[CaptureKey], rivals: Iterable[Capture]
) -> dict[str, dict[str, PrunedCapture]]:
    """Return, by subject and capture id, the captures that were pruned and may matter to a claim.

    Those are the ones that are wanted, and of each of their subjects the ones after the last that can be read.

    Args:
        at: The connection, in a transaction.
        wanted: The captures that are claimed.
        rivals: All captures of their subjects.
    """
    last = {key.idempotency_key: 0 for key in wanted}
    for rival in rivals:
        if rival.can_be_read:
            last[rival.key.idempotency_key] = max(last[rival.key.idempotency_key], rival.revision)
    asked = {**numbered(last), **numbered(last.values(), "after"), **numbered((key.capture_id for key in wanted), "c")}
    found: dict[str, dict[str, PrunedCapture]] = {}
    for subject, capture_id, revision, completed_at in sorted(execute(at, find_pruned_of(len(wanted)), asked)):
        try:
            pruned = PrunedCapture(int(revision), datetime.fromisoformat(completed_at))
        except (TypeError, ValueError) as exc:
            raise damaged(f"what the ledger holds of the pruned capture {capture_id}", exc) from exc
        found.setdefault(subject, {})[capture_id] = pruned
    return found


def can_be_read(table: Any) -> Any:
    """Return the condition that a capture is complete, or a hole."""
    is_hole = and_(table.c.state == str(CaptureState.RELEASED), table.c.completed_at.is_not(None))
    return or_(table.c.state == str(CaptureState.COMPLETE), is_hole)


def is_not_there_again() -> Any:
    """Return the condition that what was pruned was not made again since: of that, the capture tells what it is."""
    again = captures.alias("again")
    is_there = (again.c.subject == pruned_captures.c.subject, again.c.revision == pruned_captures.c.revision)
    return ~exists().where(*is_there)


def _is(key: CaptureKey) -> tuple[Any, ...]:
    return captures.c.subject == key.idempotency_key, captures.c.capture_id == key.capture_id


def held_by(run: RunRecord) -> tuple[Any, ...]:
    """Return the conditions under which a capture is the one that a run writes."""
    owned = captures.c.holder == run.key.digest
    return (owned, *_is(run.capture)) if run.capture else (owned, false())


def _closed(now: datetime, state: CaptureState) -> dict[str, Any]:
    """Return what changes about a capture that its holder closes; one that is complete already says since when."""
    known = func.coalesce(captures.c.completed_at, stamp(now)) if state is CaptureState.COMPLETE else None
    return {"state": str(state), "lease_until": stamp(now), "completed_at": known}


def settled(now: datetime, complete: bool, *, is_hole: bool = False) -> dict[str, Any]:
    """Return the values of the statement that ends the writing of a capture.

    Args:
        now: The time now.
        complete: Whether it can be read.
        is_hole: Whether its run found that there is nothing; the time is kept at which that was known.
    """
    state = CaptureState.COMPLETE if complete else CaptureState.RELEASED
    return {"state": str(state), "lease_until": stamp(now), "completed_at": stamp(now) if complete or is_hole else None}
