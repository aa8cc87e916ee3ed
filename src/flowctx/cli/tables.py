"""Tables and files of recorded steps, as ``flowctx show`` prints them."""

from __future__ import annotations

from collections.abc import Iterable

from flowctx.artifacts import artifact_store
from flowctx.cli.output import print_facts, print_table
from flowctx.core.data.previews import handles_of, preview
from flowctx.core.data.tables import Table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import StepRecord
from flowctx.core.errors import FlowctxError
from flowctx.core.execution.envelope import Envelope, load_output


def print_tables(ledger: Ledger, records: Iterable[StepRecord]) -> None:
    """Print the tables of steps in small, and the names and sizes of their files.

    What cannot be read is said in its place: who looks at a run wants to see the rest of it all the same.

    Args:
        ledger: The ledger, beside which artifacts may be.
        records: The steps.
    """
    store = artifact_store(ledger)
    for record in records:
        try:
            handles = list(handles_of(load_output(Envelope(step=record.step, output=record.output), store)))
        except FlowctxError as exc:
            print_facts({f"\n{record.step}": exc})
            continue
        for name, handle in handles:
            title = f"\n{record.step}.{name}: {handle.bytes:,} bytes, sha256 {handle.digest[:12]}"
            if not isinstance(handle, Table):
                print_facts({title: handle.name})
                continue
            try:
                small = preview(handle)
            except FlowctxError as exc:
                print_facts({title: exc})
                continue
            columns = [f"{column} {kind}" for column, kind in small["columns"].items()]
            print_table(f"{title}, {handle.rows:,} rows", columns, small["first"], none=f"{title}, no rows")
