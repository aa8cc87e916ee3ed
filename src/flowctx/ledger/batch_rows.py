"""What batches and their partitions are as rows of a ledger's tables, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from flowctx.core.batches.ledger import ParamsOfRuns
from flowctx.core.batches.outcomes import occasion_text, pruned_outcome
from flowctx.core.batches.records import BatchRecord, BatchWorkflow, PartitionRun, PartitionState, Standing
from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.errors import FlowctxError
from flowctx.ledger.rows import Row, damaged, optional_stamp, optional_time, stamp

_T = TypeVar("_T")

#: What a damaged row raises when it is read.
_WRONG = (FlowctxError, AttributeError, LookupError, OverflowError, TypeError, ValueError)
_STATES = {str(state): state for state in PartitionState}


def batch_row(batch: BatchRecord) -> dict[str, Any]:
    """Return the row of a batch."""
    return {
        "batch_id": batch.batch_id,
        "workflow": batch.workflow,
        "target": batch.import_path,
        "selection": batch.selection,
        "digest": batch.digest,
        "total": batch.total,
        "params": msgspec.json.encode(to_json(batch.params)).decode(),
        "params_from": batch.params_from,
        "created_at": stamp(batch.created_at),
        "engine": batch.engine,
        "canceled_at": optional_stamp(batch.canceled_at),
        "others": msgspec.json.encode([_other_row(other) for other in batch.others]).decode() if batch.others else None,
    }


def _other_row(other: BatchWorkflow) -> dict[str, Any]:
    return {**{f.name: getattr(other, f.name) for f in fields(other)}, "params": to_json(other.params)}


def _others(payload: str | None) -> tuple[BatchWorkflow, ...]:
    found = msgspec.json.decode(payload, type=list[dict[str, Any]]) if payload else []
    return tuple(msgspec.convert({**row, "params": from_json(row["params"])}, BatchWorkflow) for row in found)


def _checked(what: str) -> Callable[[Callable[[Row], _T]], Callable[[Row], _T]]:
    """Make a damaged row an error of ours."""

    def decorate(read: Callable[[Row], _T]) -> Callable[[Row], _T]:
        @functools.wraps(read)
        def checked(row: Row) -> _T:
            try:
                return read(row)
            except _WRONG as exc:
                raise damaged(f"what the ledger holds of {what} {row['batch_id']}", exc) from exc

        return checked

    return decorate


@_checked("batch")
def batch_of(row: Row) -> BatchRecord:
    """Return the batch of a row."""
    return BatchRecord(
        batch_id=row["batch_id"],
        workflow=row["workflow"],
        import_path=row["target"],
        selection=row["selection"],
        digest=row["digest"],
        total=row["total"],
        params=from_json(msgspec.json.decode(row["params"])),
        params_from=row["params_from"],
        created_at=datetime.fromisoformat(row["created_at"]),
        engine=row["engine"],
        canceled_at=optional_time(row["canceled_at"]),
        kept_at=optional_time(row["kept_at"]),
        others=_others(row["others"]),
    )


@_checked("batch")
def batch_of_runs(row: Row) -> BatchRecord:
    """Return what the row of its first run tells of a batch that nobody planned."""
    created_at = datetime.fromisoformat(row["created_at"])
    known = {name: row[name] for name in ("batch_id", "workflow", "engine")} | {"import_path": row["target"]}
    return BatchRecord(created_at=created_at, **known)


def launch_row(batch_id: str, run: PartitionRun) -> dict[str, Any]:
    """Return the row of what an engine said of a partition."""
    return {
        "batch_id": batch_id,
        "workflow": run.workflow,
        "partition": run.partition,
        "run_id": run.run_id,
        "engine": run.engine,
        "state": str(run.state),
        "attempt": run.attempt,
        "started_at": optional_stamp(run.started_at),
        "ended_at": optional_stamp(run.ended_at),
        "heard_at": stamp(run.last_seen_at),
        "step": run.step,
        "error": run.error,
    }


@_checked("a partition of batch")
def noted_run(row: Row) -> PartitionRun:
    """Return what an engine said of a partition."""
    return PartitionRun(
        partition=row["partition"],
        state=PartitionState(row["state"]),
        run_id=row["run_id"],
        engine=row["engine"],
        attempt=row["attempt"],
        started_at=optional_time(row["started_at"]),
        ended_at=optional_time(row["ended_at"]),
        last_seen_at=datetime.fromisoformat(row["heard_at"]),
        step=row["step"],
        error=row["error"],
    )


@_checked("a pruned version of batch")
def pruned_run(row: Row) -> PartitionRun:
    """Return how a partition stands of which a version was pruned."""
    return pruned_outcome(row["partition"], datetime.fromisoformat(row["completed_at"]))


class _Context(msgspec.Struct):
    """What is read of a context: each parameter as it is written."""

    params: dict[str, msgspec.Raw] = {}


def params_of_runs(rows: Iterable[Sequence[Any]], names: Collection[str]) -> list[ParamsOfRuns]:
    """Return which of some parameters runs have, by their partitions, keys, ids and contexts; none of damaged ones."""
    found: dict[tuple[bytes, ...], ParamsOfRuns | None] = {}
    decode = msgspec.json.Decoder(_Context).decode
    for partition, _, run_id, context in rows:
        try:
            params = decode(context).params
        except (TypeError, ValueError, RecursionError):
            continue
        written = tuple(bytes(params.get(name, b"")) for name in names)
        if written not in found:  # most are alike: each is read once
            found[written] = _params(dict(zip(names, written, strict=True)))
        if (alike := found[written]) is not None:
            alike.runs.append((partition, run_id))
    return [alike for alike in found.values() if alike is not None]


def _params(written: Mapping[str, bytes]) -> ParamsOfRuns | None:
    try:
        params = {name: from_json(msgspec.json.decode(data), name) for name, data in written.items() if data}
    except _WRONG:
        return None
    return ParamsOfRuns(params, [])


def failure_of(row: Row) -> Mapping[str, Any]:
    """Return which step failed, and how."""
    try:
        payload = msgspec.json.decode(row["payload"], type=dict[str, Any])
        texts = {name: from_json(payload.get(name), name) for name in ("error", "traceback", "category")}
        return {"step": row["step"], **msgspec.convert(texts, dict[str, str | None])}
    except (FlowctxError, TypeError, ValueError) as exc:
        raise damaged(f"what the ledger holds of step {row['step']!r}, which failed,", exc) from exc


def recorded_run(row: Row, why: Mapping[str, Any]) -> PartitionRun:
    """Return what the row of a recorded run tells of its partition; ``why`` is what its failed step does."""
    try:
        partition, ended_at = row["partition"], row["finished_at"]
        return PartitionRun(
            partition=partition or "",
            occasion="" if partition else occasion_text(row["as_of_date"], row["capture_id"], row["batch_id"]),
            state=_STATES[row["status"]],
            run_id=row["run_id"],
            engine=row["engine"],
            attempt=row["attempt"],
            started_at=datetime.fromisoformat(row["started_at"]),
            begun_at=optional_time(row["begun_at"]),
            ended_at=optional_time(ended_at),
            last_seen_at=datetime.fromisoformat(row["heard_at"]),
            step=why.get("step"),
            error=why.get("error") or row["error"],
            traceback=why.get("traceback"),
            category=why.get("category"),
            recorded=True,
            part=row["selected"] is not None,
        )
    except _WRONG as exc:
        raise damaged(f"what the ledger holds of a run of batch {row['batch_id']}", exc) from exc


def standings_of(batch_id: str, rows: Iterable[Sequence[Any]]) -> list[Standing]:
    """Return how partitions stand: of a run, whose key comes second, or of what an engine said, without a key."""
    time, make = datetime.fromisoformat, tuple.__new__  # there are many: to call the class takes three times as long
    try:
        return [
            make(
                Standing,
                (
                    partition,
                    _STATES[state],
                    engine,
                    attempt,
                    None if started_at is None else time(started_at),
                    None if ended_at is None else time(ended_at),
                    None if state == "failed" else error,
                    run_key is not None,
                    "",
                    # Of most, both stand in one minute, and texts are compared sooner than read.
                    None if begun_at is None or begun_at[:16] == started_at[:16] else time(begun_at),
                ),
            )
            for partition, run_key, state, engine, attempt, started_at, ended_at, error, begun_at in rows
        ]
    except _WRONG as exc:
        raise damaged(f"what the ledger holds of a partition of batch {batch_id}", exc) from exc
