"""Writes of many runs as a few statements, where nothing stands against any of them.

A statement with many rows costs a fraction of as many statements, above all where each of them is a round trip. It does
not say which row was refused: where anything is out of the ordinary, nothing is written (:class:`OneByOne`), and the
caller does the writes one by one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.engine import Connection

from flowctx.core.durability.records import Capture, RunRecord, RunStatus
from flowctx.core.errors import FlowctxError
from flowctx.ledger.captures import Claim, PrunedCapture, decide_claim
from flowctx.ledger.captures_sql import pruned_revisions
from flowctx.ledger.driver import execute, execute_all, execute_many
from flowctx.ledger.ownership import owned
from flowctx.ledger.rows import attempt_row, capture_record, capture_row, run_row
from flowctx.ledger.sql import Beginning, end_values
from flowctx.ledger.statements import (
    end_run,
    find_rivals_of,
    find_runs_of,
    lock_all,
    numbered,
    put,
    put_all,
    record_all,
    record_step,
    settle_capture,
)
from flowctx.ledger.tables import attempts, captures, runs


class OneByOne(FlowctxError):
    """Something is out of the ordinary, so that writes are to be done one by one; nothing was written."""


class Ending(NamedTuple):
    """How a run has ended."""

    run: RunRecord
    status: RunStatus
    error: str | None


@dataclass
class Together:
    """Writes of one transaction: of each run in their order, beginnings first."""

    #: New runs.
    begins: list[Beginning] = field(default_factory=list)
    #: Rows of steps, with the fences of their runs.
    steps: list[Mapping[str, Any]] = field(default_factory=list)
    #: Ends of whole runs.
    ends: list[Ending] = field(default_factory=list)

    def write(self, at: Connection, now: datetime, owner: str | None) -> dict[str, RunRecord]:
        """Write, and return the runs that have begun, by the digests of their keys.

        Args:
            at: The connection, in a transaction.
            now: The time that leases are measured by.
            owner: Who begins runs.

        Raises:
            FlowctxError: Something is out of the ordinary; the transaction is to be rolled back.
        """
        begun = self._begin(at, now, owner) if self.begins else {}
        if self.steps:
            self._record(at)
        if self.ends:
            self._end(at, now)
        return begun

    def _begin(self, at: Connection, now: datetime, owner: str | None) -> dict[str, RunRecord]:
        subjects = [wanted.subject for wanted in self.begins]
        if at.dialect.name == "postgresql":
            execute_all(at, lock_all(), [{"subject": subject} for subject in subjects])
        keys = [wanted.run.key.digest for wanted in self.begins]
        known = execute(at, find_runs_of(len(keys)), numbered(keys)).first()
        if known is not None or len(set(subjects)) < len(subjects):
            raise OneByOne("a run is known, or there are two of one subject")
        rivals: dict[str, list[Capture]] = defaultdict(list)
        for row in execute(at, find_rivals_of(len(subjects)), numbered(subjects)).mappings():
            rivals[row["subject"]].append(capture_record(row))
        claimed = [wanted.run.capture for wanted in self.begins if wanted.run.capture]
        pruned = pruned_revisions(at, claimed, itertools.chain.from_iterable(rivals.values())) if claimed else {}
        granted = [
            _granted(wanted, rivals[subject], pruned.get(subject, {}), now)
            for wanted, subject in zip(self.begins, subjects, strict=True)
            if wanted.run.capture
        ]
        begun = [replace(wanted.run, **owned(owner, now, wanted.lease)) for wanted in self.begins]
        rows = [run_row(run, now, wanted.nonce) for run, wanted in zip(begun, self.begins, strict=True)]
        _put_all(at, captures, [capture_row(capture) for capture in granted])
        _put_all(at, runs, rows)
        _put_all(at, attempts, [attempt_row(run) for run in begun])
        return dict(zip(keys, begun, strict=True))

    def _record(self, at: Connection) -> None:
        latest = list({(row["run_key"], row["step"]): row for row in self.steps}.values())
        many = at.dialect.name == "postgresql"
        written = execute_all(at, record_all(), latest) if many else execute_many(at, record_step(at), latest)
        if written != len(latest):
            raise OneByOne("a run was taken over")

    def _end(self, at: Connection, now: datetime) -> None:
        rows = [end_values(*end, now) for end in self.ends]
        if execute_many(at, end_run(), [ended for ended, _ in rows]) != len(rows):
            raise OneByOne("a run was taken over")
        execute_many(at, settle_capture(), [settling for _, settling in rows if settling is not None])


def _put_all(at: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows of a table, by the statement for one of them or by that for all."""
    if at.dialect.name == "postgresql":
        execute_all(at, put_all(table), rows)
    else:
        execute_many(at, put(at, table), rows)


def _granted(
    wanted: Beginning, rivals: Sequence[Capture], pruned: Mapping[str, PrunedCapture], now: datetime
) -> Capture:
    """Return the capture of a new run, unless somebody is to be fenced off for it."""
    run = wanted.run
    if run.is_part or run.capture is None or any(rival.key == run.capture for rival in rivals):
        raise OneByOne("the capture is there, or the run only asks for it")
    claim = Claim.of(run, run.capture, wanted.lease, on_captured=wanted.on_captured)
    return decide_claim(claim, rivals, pruned, now)
