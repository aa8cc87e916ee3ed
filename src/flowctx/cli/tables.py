"""Outputs, tables and files of recorded steps, as ``flowctx show`` prints them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from flowctx.artifacts.previews import stored_previews
from flowctx.cli.output import echo, print_table
from flowctx.core.data.encoding import to_json
from flowctx.core.data.files import File
from flowctx.core.data.plain import ArtifactRef
from flowctx.core.data.tables import Table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import StepRecord
from flowctx.core.masking import mask_data
from flowctx.core.printable import brief

#: So many characters of a value of an output are shown.
_MOST_SHOWN: Final = 200


def print_outputs(records: Iterable[StepRecord]) -> None:
    """Print the beginning of each value of the steps' outputs, without secrets; all of them are in ``--json``."""
    rows: list[tuple[str, str | None, str]] = []
    for record in records:
        if isinstance(record.output, ArtifactRef):
            rows.append((record.step, None, f"is kept apart: {record.output.uri}"))
        else:
            masked = mask_data(to_json(record.output))
            shown = masked.items() if isinstance(masked, dict) else [("", masked)]
            rows += [
                (record.step, name, brief(_text(record.output.get(name), value), _MOST_SHOWN)) for name, value in shown
            ]
    if rows:
        print_table("\noutputs", ("step", "name", "value"), rows)


def _text(value: object, masked: object) -> str:
    """Return a value as it is shown: a table or a file by what it is, not by what stands for it in a payload."""
    return repr(value) if isinstance(value, (Table, File)) else json.dumps(masked, ensure_ascii=False)


def print_tables(ledger: Ledger, records: Iterable[StepRecord]) -> None:
    """Print the tables of steps in small, and the names and sizes of their files.

    Args:
        ledger: The ledger, beside which artifacts may be.
        records: The steps.
    """
    for found in stored_previews(ledger, records):
        if found.columns:
            title = f"\n{found.name}: {found.facts}"
            print_table(title, found.columns, found.rows, none=title)
        else:
            echo(f"\n{found.name}: {found.problem or found.facts}")
