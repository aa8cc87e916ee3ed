"""Tables and files of recorded steps in small, as ``flowctx show`` and pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowctx.artifacts import artifact_store
from flowctx.core.data.files import File
from flowctx.core.data.previews import handles_of, preview
from flowctx.core.data.tables import Table
from flowctx.core.durability.recorded import load_record
from flowctx.core.durability.records import StepRecord
from flowctx.core.errors import FlowctxError
from flowctx.core.printable import amount


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPreview:
    """A table or a file of a recorded step in small."""

    #: The step, and the way to it in the step's output: ``load.prices``.
    name: str
    #: How large it is, and what tells it from others.
    facts: str = ""
    #: The columns of a table, name and type; the first ones, if it has many.
    columns: tuple[str, ...] = ()
    #: Its first rows.
    rows: tuple[tuple[str, ...], ...] = ()
    #: Why it cannot be shown.
    problem: str | None = None


def stored_previews(ledger: object, records: Iterable[StepRecord]) -> Iterator[StoredPreview]:
    """Yield the tables and files of steps in small.

    What cannot be read is told in its place: who looks at a run wants to see the rest of it all the same.

    Args:
        ledger: The ledger, beside which artifacts may be.
        records: The steps.
    """
    store = artifact_store(ledger)
    for record in records:
        try:
            handles = list(handles_of(load_record(record, store)))
        except FlowctxError as exc:
            yield StoredPreview(name=record.step, problem=str(exc))
            continue
        for name, handle in handles:
            yield _preview_of(f"{record.step}.{name}", handle)


def _preview_of(name: str, handle: Table | File) -> StoredPreview:
    facts = f"{handle.bytes:,} bytes, sha256 {handle.digest[:12]}"
    if isinstance(handle, File):
        return StoredPreview(name=name, facts=f"{handle.name}, {facts}")
    try:
        small = preview(handle)
        wide = len(handle.columns) - len(small["columns"])
    except FlowctxError as exc:
        return StoredPreview(name=name, facts=facts, problem=str(exc))
    return StoredPreview(
        name=name,
        facts=f"{facts}, {amount(handle.rows, 'row')}" + (f", {wide} more columns" if wide else ""),
        columns=tuple(f"{column} {kind}" for column, kind in small["columns"].items()),
        rows=tuple(map(tuple, small["first"])),
    )
