"""Which artifacts a ledger refers to, and what it knows of the files in its store."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection

from flowctx.core.data.references import TableReference, paths_in_text
from flowctx.ledger.database import Database
from flowctx.ledger.driver import execute
from flowctx.ledger.rows import stamp
from flowctx.ledger.statements import add, find_artifact, intend_artifact, release_artifact
from flowctx.ledger.tables import ARTIFACTS, INPUTS, artifacts, attempts, facts, holds, runs, steps

#: How many runs are looked at with one query.
_PAGE = 500


def prefix_of(at: Connection) -> str:
    """Return what the names of this ledger's artifacts begin with."""
    return str(at.execute(select(facts.c.value).where(facts.c.name == "artifact_prefix")).scalar_one())


@contextmanager
def rolled_back(at: Connection) -> Iterator[None]:
    """Make a block one transaction of which nothing stays."""
    at.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        at.exec_driver_sql("ROLLBACK")


@contextmanager
def unsynced(at: Connection) -> Iterator[None]:
    """Let SQLite not wait for the disk in a block: only a power cut could undo it, before the next transaction ends."""
    if at.dialect.name != "sqlite":
        yield
        return
    at.exec_driver_sql("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        at.exec_driver_sql("PRAGMA synchronous=FULL")


def all_referred_paths(at: Connection) -> set[str]:
    """Return where all artifacts are that any row refers to, as of one moment."""
    with rolled_back(at):
        return referred_paths(at)


def referred_paths(at: Connection, staying: Any = None) -> set[str]:
    """Within a transaction, return where all artifacts are that rows refer to, relative to their store.

    Args:
        at: Where.
        staying: A query for the keys of those runs whose rows count, which is asked of some runs at a time; by default
            all count.
    """
    found: set[str] = set()
    # The condition is that of an index, word for word: SQLite else reads all rows.
    for column, texts in ((steps.c.payload, (INPUTS, *ARTIFACTS)), (attempts.c.context, ARTIFACTS)):
        refer = holds(at.dialect.name, column.name, *texts)
        run_key = column.table.c.run_key
        for keys in pages_of_keys(at, run_key, refer):
            if staying is not None:
                keys = list(at.execute(staying.where(runs.c.run_key.in_(keys))).scalars())
            rows = at.execute(select(column).where(refer, run_key.in_(keys)))
            found.update(*map(paths_in_text, rows.scalars()))
    return found


def pages_of_keys(at: Connection, run_key: Any, condition: Any) -> Iterator[list[str]]:
    """Within a transaction, yield the keys of runs of which rows fulfil a condition, so many at a time."""
    query = select(run_key).where(condition).distinct().order_by(run_key).limit(_PAGE)
    page = list(at.execute(query).scalars())
    while page:
        yield page
        page = list(at.execute(query.where(run_key > page[-1])).scalars())


class SqlArtifacts:
    """What a ledger in a database knows of its files; see :class:`~flowctx.core.execution.artifacts.ArtifactIndex`.

    Each call is one statement for each file, or one transaction, so that of a writer that is about to refer to a file
    and a ``prune`` that is about to remove it, one is first and the other is told.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, digest: str, form: str) -> TableReference | None:
        """Return a stored table of this content and form, which is about to be referred to anew."""

        def work(at: Connection) -> str | None:
            found = execute(at, find_artifact(), {"digest": digest, "form": form}).first()
            if found is None:
                return None
            known = (artifacts.c.path == found.path, artifacts.c.removed_at.is_(None))
            intended = at.execute(update(artifacts).where(*known).values(intended_at=self._now(at)))
            return str(found.reference) if intended.rowcount else None

        found = self._database.autocommit(work)
        return None if found is None else TableReference.from_json(json.loads(found))

    def add(self, reference: TableReference, form: str) -> None:
        """Remember a table that is stored, for others to find."""
        row = {"path": reference.path, "digest": reference.digest, "form": form}
        row |= {"reference": json.dumps(reference.to_json()), "removed_at": None}

        def work(at: Connection) -> None:
            with unsynced(at):
                execute(at, add(at, artifacts), row | {"intended_at": self._now(at)})

        self._database.autocommit(work)

    def reuse(self, path: str) -> bool:
        """Say that a file is about to be referred to anew; returns whether it stays."""
        row = {"path": path}
        touched = self._database.autocommit(
            lambda at: at.execute(intend_artifact(at), row | {"intended_at": self._now(at)}).rowcount
        )
        return bool(touched)

    def release(self, paths: Collection[str], before: datetime, *, dry_run: bool = False) -> set[str]:
        """Return those of some files that can be removed, which nobody finds and reuses any more."""
        wanted, since = sorted(paths), stamp(before)
        which = artifacts.c.path.in_(wanted)

        def released(at: Connection) -> set[str]:
            rows = [{"path": path, "intended_at": self._now(at), "removed_at": self._now(at)} for path in wanted]
            if rows:
                at.execute(release_artifact(at, since), rows)
            gone = select(artifacts.c.path).where(which, artifacts.c.removed_at.is_not(None))
            return set(at.execute(gone).scalars())

        def would_be(at: Connection) -> set[str]:
            stays = (which, artifacts.c.intended_at >= since, artifacts.c.removed_at.is_(None))
            return set(wanted) - set(at.execute(select(artifacts.c.path).where(*stays)).scalars())

        return self._database.autocommit(would_be) if dry_run else self._database.transaction(released)

    def forget(self, paths: Collection[str]) -> None:
        """Forget files that were released and are removed."""
        gone = delete(artifacts).where(artifacts.c.path.in_(sorted(paths)), artifacts.c.removed_at.is_not(None))
        self._database.autocommit(lambda at: at.execute(gone))

    def _now(self, at: Connection) -> str:
        return stamp(self._database.now(at))
