"""What is stored of a context: a dict of JSON built-ins, and its bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple

from flowctx.core.data.encoding import decode, from_json, to_json, to_wire
from flowctx.core.data.handles import LEAVES
from flowctx.core.data.lazy import UnreadDict
from flowctx.core.data.plain import EMPTY, FrozenDict, JsonDict, may_hold_reserved
from flowctx.core.data.tags import tags_are_sound
from flowctx.core.errors import PayloadError, PayloadVersionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import brief
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context_fields import as_partition, as_utc, warn_of_others

#: Format of ``to_dict()``: a reader takes any minor version of its own major version, and the spec's unversioned shape.
FORMAT_VERSION = "1.0"


#: What a payload is made of, in its order.
NAMES: Final = (
    *("format_version", "run_id", "trace_id", "batch_id", "started_at", "params", "step_outputs", "metadata"),
    *("checkpoint", "partition", "as_of_date", "capture_id", "idempotency_key"),
)


def payload_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of a context in built-ins.

    Args:
        values: Its fields.
    """
    params, outputs, metadata = values["params"], values["step_outputs"], values["metadata"]
    return dict(zip(NAMES, _payload_items(values, to_json(params), to_json(outputs), to_json(metadata)), strict=True))


def _payload_items(values: Mapping[str, Any], params: Any, outputs: Any, metadata: Any) -> tuple[Any, ...]:
    """Return what a payload is made of, given the JSON forms of the plain data in it."""
    checkpoint, partition, as_of_date = values["checkpoint"], values["partition"], values["as_of_date"]
    return (
        FORMAT_VERSION,
        values["run_id"],
        values["trace_id"],
        values["batch_id"],
        _text(values["started_at"]),
        params,
        outputs,
        metadata,
        checkpoint.to_dict() if checkpoint else None,
        None if partition is None else partition.to_dict(),
        _text(as_of_date) if as_of_date else None,
        values["capture_id"],
        values["idempotency_key"],
    )


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
    params, outputs, metadata = values["params"], values["step_outputs"], values["metadata"]
    codec = _codec()
    items = _payload_items(values, _to_wire(params), _outputs_to_wire(outputs), _to_wire(metadata))
    encoded: bytes = codec.encode(codec.payload(*items))
    return encoded


def _to_wire(value: Any) -> Any:
    """Return plain data for msgspec to encode; what is unread is not read for that."""
    kind = type(value)
    if kind is JsonDict:
        return value
    return value.encoded(to_wire) if kind is UnreadDict else to_wire(value)


def _outputs_to_wire(outputs: FrozenDict) -> Any:
    """Return outputs for msgspec to encode; one of single values is written once, and known from then on."""
    if type(outputs) is not FrozenDict or may_hold_reserved(outputs):
        return _to_wire(outputs)
    data = dict(outputs)
    for name, output in data.items():
        if type(output) is FrozenDict:
            data[name] = getattr(output, "_wire", None) or _written(output)
        elif type(output) is not JsonDict:
            data[name] = to_wire(output)
    return data


def _written(output: FrozenDict) -> Any:
    """Return the JSON form of an output; it is kept where that is no copy of more than single values."""
    wire = to_wire(output)
    for name in getattr(output, "_tagged", output):
        if type(output[name]) not in LEAVES:
            return wire
    output._wire = wire
    return wire


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
    """Return the fields of a context from its JSON, checked; ``None`` where all must be looked at.

    Outputs and metadata are read when they are first looked at.

    Nothing is taken on trust: what is not read here is known to be readable, but for numbers that no float holds and
    nesting without end, which are refused when they are met.
    """
    try:
        encoded = data if isinstance(data, bytes) else data.encode()
        if not encoded.isascii():
            encoded.decode()
        return _decoded(encoded) if tags_are_sound(encoded) else None
    except (ValueError, OverflowError, RecursionError, TypeError, AttributeError):
        return None  # the errors of FlowctxError that are met here are of these, too


def _decoded(data: bytes) -> dict[str, Any] | None:
    """Return the fields of a context from JSON whose tags are sound; ``None`` where one of them cannot be."""
    codec = _codec()
    try:
        found = codec.decode_flat(data)
    except ValueError:
        found = codec.decode(data)
        params = from_json(found.params, "params")
    else:
        params = JsonDict(found.params)
    if not isinstance(params, FrozenDict):
        return None
    outputs, metadata = found.step_outputs, found.metadata
    if may_hold_reserved([*found.params, *outputs, *metadata]):
        return None
    return {
        "run_id": found.run_id,
        "trace_id": found.trace_id,
        "batch_id": found.batch_id,
        "started_at": _time(found.started_at),
        "params": params,
        "step_outputs": UnreadDict(outputs, _read_output),
        "metadata": UnreadDict(metadata, _read_metadata) if metadata else EMPTY,
        "checkpoint": CheckpointState.from_dict(found.checkpoint) if found.checkpoint else None,
        "partition": _partition(bytes(found.partition)),
        "as_of_date": found.as_of_date,
        "capture_id": found.capture_id,
        "idempotency_key": found.idempotency_key,
    }


def _read_output(name: str, data: Any) -> Any:
    return decode(data, f"step_outputs[{name!r}]")


def _read_metadata(name: str, data: Any) -> Any:
    return decode(data, f"metadata[{name!r}]")


@lru_cache(maxsize=256)
def _partition(data: bytes) -> PartitionKey | None:
    """Return a partition key from its JSON: a run has one, whose context is read again and again."""
    found = decode_payload(data)
    return as_partition(found) if found else None


@lru_cache(maxsize=256)
def _time(text: str) -> datetime:
    """Return a time in UTC from its text."""
    return as_utc(datetime.fromisoformat(text))


@lru_cache(maxsize=256)
def _text(time: date) -> str:
    """Return a date, or a time in UTC, as text: a run's own are in all of its contexts."""
    return time.isoformat()


class _Codec(NamedTuple):
    """What reads and writes payloads."""

    #: Encodes a payload.
    encode: Callable[[Any], bytes]
    #: Makes a payload of what is in it, in order.
    payload: Callable[..., Any]
    #: Decodes a payload whose parameters are JSON as they stand, and none of them a dict or list.
    decode_flat: Callable[[bytes], Any]
    #: Decodes any payload.
    decode: Callable[[bytes], Any]


@cache
def _codec() -> _Codec:
    """Return what reads and writes payloads; importing msgspec takes as long as the whole of flowctx."""
    from msgspec import Meta, Raw, defstruct, json

    text = Annotated[str, Meta(min_length=1)]
    data = dict[str, Any]
    types: dict[str, Any] = {
        **dict.fromkeys(NAMES, text | None),
        **dict.fromkeys(("run_id", "trace_id", "started_at"), text),
        **dict.fromkeys(("step_outputs", "metadata"), dict[str, Raw]),
        "format_version": Literal[FORMAT_VERSION],
        "params": data,
        "checkpoint": data | None,
        "partition": Raw,
        "as_of_date": date | None,
    }
    integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    flat_types = {**types, "params": dict[str, integer | str | float | bool | None]}
    payload, flat = (defstruct("ContextPayload", list(kinds.items()), gc=False) for kinds in (types, flat_types))
    return _Codec(json.Encoder().encode, payload, json.Decoder(flat).decode, json.Decoder(payload).decode)
