"""Records as rows and rows as records; a row that was tampered with or damaged is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from flowctx.core.data.encoding import from_json, to_wire
from flowctx.core.data.plain import EMPTY, ArtifactRef, FrozenDict, freeze
from flowctx.core.durability.records import (
    Capture,
    CaptureKey,
    CaptureState,
    RunRecord,
    RunStatus,
    StepOutput,
    StepRecord,
)
from flowctx.core.errors import FlowctxError, PayloadError
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import brief
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepStatus
from flowctx.ledger.reads import reads_in, reads_of, reads_payload, reads_text

Row = Mapping[Any, Any]


class _Output(msgspec.Struct):
    """The payload of a step, of which nothing but the output is read."""

    output: dict[str, Any]


_T = TypeVar("_T")
#: How a step ended, by its text; an error, if it is none.
step_status: Callable[[str], StepStatus] = lru_cache(maxsize=16)(StepStatus)
_read_output = msgspec.json.Decoder(_Output).decode
_read_payload = msgspec.json.Decoder(dict[str, Any]).decode


def stamp(time: datetime) -> str:
    """Return a time as it is stored."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def optional_stamp(time: datetime | None) -> str | None:
    """Return a time as it is stored, where there is one."""
    return None if time is None else stamp(time)


def optional_time(value: str | None) -> datetime | None:
    """Return a time that is stored, where one is."""
    return None if value is None else datetime.fromisoformat(value)


def step_row(run_key: str, record: StepRecord) -> dict[str, Any]:
    """Return the row of a step."""
    payload: dict[str, Any] = {"output": to_wire(record.output)}
    if record.after:
        payload["after"] = record.after
    if record.updates:
        payload["updates"] = to_wire(record.updates)
    if record.config:
        payload["config"] = to_wire(record.config)
    if record.quality is not None:
        payload["quality"] = to_wire(freeze(record.quality))
    if record.error is not None:
        payload["error"] = to_wire(record.error)
    if record.traceback is not None:
        payload["traceback"] = to_wire(record.traceback)
    if record.category is not None:
        payload["category"] = str(record.category)
    if record.inputs:
        payload["inputs"] = reads_payload(record.inputs)
    data = msgspec.json.encode(payload)
    return {
        "run_key": run_key,
        "step": record.step,
        "run_attempt": record.run_attempt,
        "status": str(record.status),
        "attempts": record.attempts,
        "started_at": stamp(record.started_at),
        "seconds": record.seconds,
        "version": record.version,
        "payload": data.decode(),
        "digest": _digest(data),
    }


def step_record(row: Row, run_id: str) -> StepRecord:
    """Return the record in the row of a step.

    Raises:
        PayloadError: The row is damaged.
    """
    where = f"what the ledger holds of step {row['step']!r} of run {run_id}"
    payload = _payload(row["payload"], row["digest"], where)
    try:
        output = from_json(payload["output"], "output")
        quality = payload.get("quality")
        category = payload.get("category")
        if not isinstance(output, (FrozenDict, ArtifactRef)):
            raise PayloadError("output is no dict")
        return StepRecord(
            step=row["step"],
            status=StepStatus(row["status"]),
            after=tuple(payload.get("after", ())),
            output=output,
            updates=_dict(payload, "updates"),
            quality=QualityMetrics(**from_json(quality, "quality")) if quality is not None else None,
            error=_text(payload, "error"),
            traceback=_text(payload, "traceback"),
            category=ErrorCategory(category) if category is not None else None,
            config=_dict(payload, "config"),
            version=row["version"],
            inputs=reads_of(read) if (read := payload.get("inputs")) else EMPTY,
            attempts=int(row["attempts"]),
            started_at=datetime.fromisoformat(row["started_at"]),
            seconds=_seconds(row["seconds"]),
            run_attempt=int(row["run_attempt"]),
            digest=row["digest"],
        )
    except (FlowctxError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise damaged(where, exc) from exc


def step_output(step: str, status: str, version: str | None, payload: str, digest: str, run_id: str) -> StepOutput:
    """Return what a step has returned, of some columns of its row.

    Raises:
        PayloadError: The row is damaged.
    """
    where = f"what the ledger holds of step {step!r} of run {run_id}"
    recorded = _decoded(payload, digest, where, _read_output)
    try:
        output = from_json(recorded.output, "output")
        if not isinstance(output, (FrozenDict, ArtifactRef)):
            raise PayloadError("output is no dict")
        return StepOutput(status=step_status(status), output=output, version=version, digest=digest)
    except (FlowctxError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise damaged(where, exc) from exc


def _dict(payload: Mapping[str, Any], name: str) -> FrozenDict:
    if name not in payload:
        return EMPTY
    found = from_json(payload[name], name)
    if not isinstance(found, FrozenDict):
        raise PayloadError(f"{name} is no dict")
    return found


def _seconds(value: float) -> float:
    timedelta(seconds=value)  # an error, unless it is a length of time
    return value


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    if name not in payload:
        return None
    found = from_json(payload[name], name)
    if found is not None and not isinstance(found, str):
        raise PayloadError(f"{name} is no text")
    return found


def run_row(run: RunRecord, last_seen_at: datetime, nonce: str) -> dict[str, Any]:
    """Return the row of a run, with what only its writer knows."""
    ctx = run.context
    return {
        "run_key": run.key.digest,
        "workflow": run.workflow,
        "run_id": run.run_id,
        "partition": str(ctx.partition) if ctx.partition else None,
        "as_of_date": ctx.as_of_date.isoformat() if ctx.as_of_date else None,
        "batch_id": ctx.batch_id,
        "status": str(run.status),
        "attempt": run.attempt,
        "fence": run.fencing_token,
        "engine": run.engine,
        "target": run.import_path,
        "steps": msgspec.json.encode(run.steps).decode(),
        "selected": msgspec.json.encode(run.selected).decode() if run.selected else None,
        "continued_by": run.continued_by,
        "subject": ctx.idempotency_key,
        "capture_id": ctx.capture_id,
        "started_at": stamp(ctx.started_at),
        "heard_at": stamp(last_seen_at),
        "finished_at": optional_stamp(run.finished_at),
        "error": run.error,
        "nonce": nonce,
        "owner": run.owner,
        "begun_at": optional_stamp(run.begun_at),
        "lease_until": optional_stamp(run.lease_until),
    }


def attempt_row(run: RunRecord) -> dict[str, Any]:
    """Return the row of an attempt at a run."""
    data = run.context.to_bytes()
    return {
        "run_key": run.key.digest,
        "attempt": run.attempt,
        "context": data.decode(),
        "digest": _digest(data),
        "reads": reads_text(run.reads),
    }


def run_record(row: Row) -> RunRecord:
    """Return the record in the row of a run, joined with that of its latest attempt.

    Raises:
        PayloadError: The row is damaged.
    """
    where = f"what the ledger holds of run {row['run_id']}"
    try:
        return RunRecord(
            workflow=row["workflow"],
            context=attempt_context(row, where),
            status=RunStatus(row["status"]),
            attempt=row["attempt"],
            steps=tuple(msgspec.json.decode(row["steps"], type=list[str])),
            selected=tuple(msgspec.json.decode(row["selected"] or "[]", type=list[str])),
            continued_by=row["continued_by"],
            import_path=row["target"],
            finished_at=optional_time(row["finished_at"]),
            error=row["error"],
            fencing_token=row["fence"],
            last_seen_at=datetime.fromisoformat(row["heard_at"]),
            reads=reads_in(row["reads"]),
            **ownership_of(row),
        )
    except (FlowctxError, AttributeError, KeyError, TypeError, ValueError) as exc:
        raise damaged(where, exc) from exc


def ownership_of(row: Row) -> dict[str, Any]:
    """Return the fields that say whose a run is."""
    times = {name: optional_time(row[name]) for name in ("begun_at", "lease_until")}
    return {"owner": row["owner"], **times}


def attempt_context(row: Row, where: str) -> WorkflowContext:
    """Return the context in the row of an attempt.

    Raises:
        PayloadError: The row is damaged.
    """
    payload = _payload(row["context"], row["digest"], where)
    try:
        return WorkflowContext.from_dict(payload)
    except FlowctxError as exc:
        raise damaged(where, exc) from exc


def capture_row(capture: Capture) -> dict[str, Any]:
    """Return the row of a capture."""
    return {
        "subject": capture.key.idempotency_key,
        "capture_id": capture.key.capture_id,
        "revision": capture.revision,
        "token": capture.fencing_token,
        "holder": capture.holder,
        "state": str(capture.state),
        "workflow": capture.workflow,
        "partition": str(capture.partition) if capture.partition else None,
        "run_id": capture.run_id,
        "lease_until": stamp(capture.lease_until),
        "claimed_at": stamp(capture.claimed_at),
        "completed_at": optional_stamp(capture.completed_at),
        "first_completed_at": optional_stamp(capture.first_completed_at),
        "let_go": "/".join(map(stamp, capture.let_go)) if capture.let_go is not None else None,
    }


def capture_record(row: Row) -> Capture:
    """Return the record in the row of a capture.

    Raises:
        PayloadError: The row is damaged.
    """
    try:
        return Capture(
            key=CaptureKey(idempotency_key=row["subject"], capture_id=row["capture_id"]),
            revision=row["revision"],
            fencing_token=row["token"],
            holder=row["holder"],
            state=CaptureState(row["state"]),
            workflow=row["workflow"],
            partition=_partition(row["partition"]) if row["partition"] else None,
            run_id=row["run_id"],
            lease_until=datetime.fromisoformat(row["lease_until"]),
            claimed_at=datetime.fromisoformat(row["claimed_at"]),
            completed_at=optional_time(row["completed_at"]),
            first_completed_at=optional_time(row["first_completed_at"]),
            let_go=_times(row["let_go"]),
        )
    except (FlowctxError, TypeError, ValueError) as exc:
        raise damaged(f"what the ledger holds of capture {row['capture_id']}", exc) from exc


def _times(text: str | None) -> tuple[datetime, datetime] | None:
    """Return two times that are stored as one text."""
    if text is None:
        return None
    since, until = map(datetime.fromisoformat, text.split("/"))
    return since, until


@lru_cache(maxsize=1024)
def _partition(text: str) -> PartitionKey:
    """Return a partition key; captures of one partition stand beside each other."""
    return PartitionKey.parse(text)


def _payload(data: str, digest: str, where: str) -> dict[str, Any]:
    return _decoded(data, digest, where, _read_payload)


def _decoded(data: str, digest: str, where: str, read: Callable[[bytes], _T]) -> _T:
    encoded = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else bytes(data or b"")
    if _digest(encoded) != digest:
        raise damaged(where, "it is not what was written")
    try:
        return read(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise damaged(where, exc) from exc


def engine_name_of(row: Row) -> tuple[list[str], tuple[str, ...]]:
    """Read the fact of a name under which an engine has a workflow, and of the dimensions of its runs there."""
    try:
        name = msgspec.json.decode(row["name"], type=list[str])
        return name, msgspec.json.decode(row["value"], type=tuple[str, ...])
    except msgspec.DecodeError as exc:
        raise damaged(f"what the ledger holds of {brief(row['name'])}", exc) from exc


def damaged(where: str, why: object) -> PayloadError:
    """Return the error of a row that is not what was written."""
    return PayloadError(f"{where} is damaged: {brief(str(why))}; restore the ledger from a backup, or start a new run")


def _digest(data: bytes) -> str:
    return sha256(data)[:32]
