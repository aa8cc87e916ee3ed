"""Forget old runs, but never what is still current."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, func, or_, select

from flowctx.core.durability.records import CaptureState, Pruned
from flowctx.ledger.artifacts import referred_paths, rolled_back
from flowctx.ledger.tables import attempts, captures, runs, steps


def would_prune(at: Connection, before: str) -> tuple[Pruned, set[str]]:
    """Return what :func:`prune` would forget, and which artifacts would still be referred to; nothing is changed."""
    with rolled_back(at):
        return prune(at, before), referred_paths(at)


def prune(at: Connection, before: str) -> Pruned:
    """Forget runs last heard of before a time, and captures of that age that are not current.

    A run stays if it wrote the current capture of its subject, or if its lease still runs at that time.
    """
    latest = (
        select(captures.c.subject, func.max(captures.c.revision).label("revision"))
        .where(captures.c.state == str(CaptureState.COMPLETE))
        .group_by(captures.c.subject)
        .subquery()
    )
    current = and_(captures.c.subject == latest.c.subject, captures.c.revision == latest.c.revision)
    live = and_(captures.c.state == str(CaptureState.HELD), captures.c.lease_until > before)
    kept = select(captures.c.holder).outerjoin(latest, current).where(or_(latest.c.subject.is_not(None), live))
    old = select(runs.c.run_key).where(runs.c.heard_at < before, runs.c.run_key.not_in(kept))
    for table in (steps, attempts):
        at.execute(delete(table).where(table.c.run_key.in_(old)))
    forgotten = at.execute(delete(runs).where(runs.c.heard_at < before, runs.c.run_key.not_in(kept))).rowcount
    stale = delete(captures).where(captures.c.claimed_at < before, captures.c.holder.not_in(kept))
    return Pruned(runs=forgotten, captures=at.execute(stale).rowcount)
