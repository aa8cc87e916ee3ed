"""What is stored of a context: a dict of JSON built-ins, and its bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Any

from flowctx.core.data.encoding import decode, escape_key, from_json, to_wire
from flowctx.core.data.lazy import UnreadDict
from flowctx.core.data.plain import EMPTY, FrozenDict
from flowctx.core.data.tags import tags_are_sound
from flowctx.core.errors import PayloadError, PayloadVersionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import brief
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context_fields import as_partition, as_utc, warn_of_others

#: Format of ``to_dict()``: a reader takes any minor version of its own major version, and the spec's unversioned shape.
FORMAT_VERSION = "1.0"


def payload_of(values: Mapping[str, Any], write: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the payload of a context.

    Args:
        values: Its fields.
        write: Returns the JSON form of plain data: in built-ins, or for msgspec to encode.
    """
    checkpoint, partition, as_of_date = values["checkpoint"], values["partition"], values["as_of_date"]
    return {
        "format_version": FORMAT_VERSION,
        "run_id": values["run_id"],
        "trace_id": values["trace_id"],
        "batch_id": values["batch_id"],
        "started_at": _text(values["started_at"]),
        "params": write(values["params"]),
        "step_outputs": write(values["step_outputs"]),
        "metadata": write(values["metadata"]),
        "checkpoint": checkpoint.to_dict() if checkpoint else None,
        "partition": partition.to_dict() if partition else None,
        "as_of_date": _text(as_of_date) if as_of_date else None,
        "capture_id": values["capture_id"],
        "idempotency_key": values["idempotency_key"],
    }


def check_version(version: object, own: str, what: str) -> None:
    """Refuse a payload of a newer major version.

    Raises:
        PayloadVersionError: The payload's major version is newer than ``own``; both are named.
        PayloadError: The version is no version.
    """
    try:
        major = int(str(version).split(".", 1)[0])
    except ValueError:
        raise PayloadError(f"the {what} payload has the version {brief(repr(version), 60)}, which is none") from None
    if major > int(own.split(".", 1)[0]):
        raise PayloadVersionError(
            f"the {what} payload has format version {brief(str(version), 60)}, this flowctx reads up to {own}; "
            "upgrade flowctx here"
        )


def read_fields(data: Mapping[str, Any], names: Collection[str], *, tagged: bool) -> dict[str, Any]:
    """Read the fields of a payload; without a version, values are raw and a leading ``$`` means nothing.

    Args:
        data: The payload.
        names: The fields that there are.
        tagged: Whether it has a version.
    """
    read = from_json if tagged else _as_given
    if not tagged:
        warn_of_others(data, names)
    checkpoint, partition, as_of_date = data.get("checkpoint"), data.get("partition"), data.get("as_of_date")
    return {
        "run_id": data["run_id"],
        "trace_id": data["trace_id"],
        "batch_id": data.get("batch_id"),
        "started_at": datetime.fromisoformat(data["started_at"]),
        "params": read(data.get("params") or {}, "params"),
        "step_outputs": read(data.get("step_outputs") or {}, "step_outputs"),
        "metadata": read(data.get("metadata") or {}, "metadata"),
        "checkpoint": CheckpointState.from_dict(checkpoint) if checkpoint else None,
        "partition": as_partition(partition) if partition else None,
        "as_of_date": date.fromisoformat(as_of_date) if as_of_date else None,
        "capture_id": data.get("capture_id"),
        "idempotency_key": data.get("idempotency_key"),
    }


def _as_given(value: Any, path: str) -> Any:
    return value


def encode_payload(values: Mapping[str, Any]) -> bytes:
    """Return the payload of a context as JSON.

    Args:
        values: Its fields.
    """
    encoded: bytes = _codec()[0](payload_of(values, _to_wire))
    return encoded


def _to_wire(value: Any) -> Any:
    """Return plain data for msgspec to encode; what is unread is not read for that."""
    if type(value) is not UnreadDict:
        return to_wire(value)
    data = value.encoded(to_wire)
    names = "".join(data)
    return {escape_key(name): item for name, item in data.items()} if "$" in names or "__" in names else data


def decode_payload(data: bytes | str) -> Any:
    """Return the payload in JSON as built-ins.

    Raises:
        PayloadError: It is no JSON.
    """
    from msgspec import DecodeError, json

    try:
        return json.decode(data)
    except (DecodeError, UnicodeError, RecursionError, TypeError) as exc:
        raise PayloadError(f"the context payload is not JSON: {exc}") from exc


def read_bytes(data: bytes | str) -> dict[str, Any] | None:
    """Return the fields of a context from its JSON, checked, the outputs unread; ``None`` where all must be looked at.

    Nothing is taken on trust: what is not read here is known to be readable, but for numbers that no float holds and
    nesting without end, which are refused when they are met.
    """
    try:
        encoded = data if isinstance(data, bytes) else data.encode()
        if not encoded.isascii():
            encoded.decode()
        if not tags_are_sound(encoded):
            return None
        return _checked(_codec()[1](encoded))
    except (ValueError, OverflowError, RecursionError, TypeError, AttributeError):
        return None  # the errors of FlowctxError that are met here are of these, too


def _checked(found: Any) -> dict[str, Any] | None:
    """Return the fields of a payload whose types are right; ``None`` where one of them cannot be."""
    params = from_json(found.params, "params")
    metadata = from_json(found.metadata, "metadata") if found.metadata else EMPTY
    ids = (found.batch_id, found.capture_id, found.idempotency_key)
    if found.format_version != FORMAT_VERSION or not found.run_id or not found.trace_id or "" in ids:
        return None
    if not isinstance(params, FrozenDict) or not isinstance(metadata, FrozenDict):
        return None
    outputs: Mapping[str, Any] = found.step_outputs
    started_at = datetime.fromisoformat(found.started_at)
    return {
        "run_id": found.run_id,
        "trace_id": found.trace_id,
        "batch_id": found.batch_id,
        "started_at": started_at if started_at.tzinfo is UTC else as_utc(started_at),
        "params": params,
        "step_outputs": UnreadDict(outputs, lambda name: decode(outputs[name], f"step_outputs[{name!r}]")),
        "metadata": metadata,
        "checkpoint": CheckpointState.from_dict(found.checkpoint) if found.checkpoint else None,
        "partition": _partition(tuple(found.partition.items())) if found.partition else None,
        "as_of_date": date.fromisoformat(found.as_of_date) if found.as_of_date else None,
        "capture_id": found.capture_id,
        "idempotency_key": found.idempotency_key,
    }


@lru_cache(maxsize=256)
def _partition(items: tuple[tuple[str, str], ...]) -> PartitionKey:
    """Return a partition key: a run has one, whose context is read again and again."""
    return PartitionKey(**dict(items))


@lru_cache(maxsize=256)
def _text(time: date) -> str:
    """Return a date, or a time in UTC, as text: a run's own are in all of its contexts."""
    return time.isoformat()


@cache
def _codec() -> tuple[Callable[[Any], Any], Callable[[bytes], Any]]:
    """Return what encodes a payload, and what decodes one; importing msgspec takes as long as the whole of flowctx."""
    from msgspec import Raw, defstruct, json

    text, data = str | None, dict[str, Any]
    types: dict[str, Any] = {
        **dict.fromkeys(("format_version", "run_id", "trace_id", "started_at"), str),
        **dict.fromkeys(("batch_id", "as_of_date", "capture_id", "idempotency_key"), text),
        **dict.fromkeys(("params", "metadata"), data),
        "step_outputs": dict[str, Raw],
        "checkpoint": data | None,
        "partition": dict[str, str] | None,
    }
    return json.Encoder().encode, json.Decoder(defstruct("ContextPayload", list(types.items()), gc=False)).decode
