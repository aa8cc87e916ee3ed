"""What steps have read of other partitions, as it stands in rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowctx.core.durability.records import Reads, VersionRead
from flowctx.core.partitions.key import PartitionKey

#: The workflow and the step that were read; and of each version its partition, capture, revision, run and digest.
_HEAD, _ROW = tuple[str, str], tuple[str | None, str, int, str, str | None]


def reads_payload(reads: Reads) -> dict[str, Any]:
    """Return what a step has read as JSON-ready data: for each input the workflow and step, and then each version."""
    return {name: _one_payload(versions) for name, versions in reads.items()}


def _one_payload(versions: tuple[VersionRead, ...]) -> list[Any]:
    head = [versions[0].workflow, versions[0].step] if versions else []
    rows = [
        [str(v.partition) if v.partition else None, v.capture_id, v.revision, v.run_key, v.digest] for v in versions
    ]
    return [*head, *rows]


def reads_of(payload: Mapping[str, Any]) -> dict[str, tuple[VersionRead, ...]]:
    """Read :func:`reads_payload` back.

    Raises:
        PartitionError: A key is damaged.
        ValueError: It is not of that form.
    """
    form = msgspec.convert(payload, dict[str, list[Any]])
    return {
        name: tuple(_read(*msgspec.convert(rows[:2], _HEAD), row) for row in rows[2:]) for name, rows in form.items()
    }


def _read(workflow: str, step: str, row: list[Any]) -> VersionRead:
    partition, capture_id, revision, run_key, digest = msgspec.convert(row, _ROW)
    return VersionRead(
        workflow=workflow,
        step=step,
        partition=PartitionKey.parse(partition) if partition else None,
        capture_id=capture_id,
        revision=revision,
        run_key=run_key,
        digest=digest,
    )


def reads_text(reads: Mapping[str, Reads]) -> str | None:
    """Return what steps are to read again as text; ``None`` if that is nothing."""
    if not reads:
        return None
    return msgspec.json.encode({step: reads_payload(known) for step, known in reads.items()}).decode()


def reads_in(text: str | None) -> dict[str, Reads]:
    """Read :func:`reads_text` back; it raises what :func:`reads_of` does."""
    if text is None:
        return {}
    return {step: reads_of(payload) for step, payload in msgspec.json.decode(text, type=dict[str, Any]).items()}
