"""What a partition takes in a ledger: rows, bytes, and entries of indexes, with what 10⁸ would take.

SQLite tells it by ``dbstat``. PostgreSQL writes a row's entries again where an update changes what is in an index.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench_backfill import MANY
from bench_ledger import postgres_url
from curve_case import curve
from report import console
from rich.table import Table
from sqlalchemy import make_url

from flowctx import Backfill, Workflow
from flowctx.backfill import LocalLauncher
from flowctx.examples.prices import prices
from flowctx.ledger import open_ledger

MUCH = 10**8

#: What runs: the example with its table, and five steps that return plain values.
WORKFLOWS = {"the example": (prices, MANY), "small outputs": (curve, "date=first:12")}

SQLITE = """
SELECT tbl_name, SUM(ncell) FILTER (WHERE type = 'table' AND pagetype = 'leaf'),
    SUM(pgsize) FILTER (WHERE type = 'table'), SUM(ncell) FILTER (WHERE type = 'index'),
    SUM(pgsize) FILTER (WHERE type = 'index'), SUM(pgsize) FILTER (WHERE d.name LIKE 'sqlite_auto%')
FROM dbstat AS d JOIN sqlite_master AS m ON m.name = d.name GROUP BY tbl_name ORDER BY tbl_name
"""
POSTGRES = """
SELECT relname, n_tup_ins, pg_table_size(relid),
    (n_tup_ins + n_tup_upd - n_tup_hot_upd) * count(*) FILTER (WHERE indpred IS NULL),
    pg_indexes_size(relid), (sum(pg_relation_size(indexrelid)) FILTER (WHERE indisprimary))::bigint
FROM pg_stat_user_tables JOIN pg_index ON indrelid = relid
GROUP BY relname, relid, n_tup_ins, n_tup_upd, n_tup_hot_upd ORDER BY relname
"""


class Size(NamedTuple):
    """What a table has."""

    table: str
    rows: int
    bytes: int
    #: Entries of its indexes that were written.
    entries: int
    index_bytes: int
    #: Of it, the index of the primary key.
    key_bytes: int


def main() -> None:
    """Run a batch on each kind of ledger, and print what its tables have."""
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        os.environ["FLOWCTX_ARTIFACTS_URL"] = str(folder / "artifacts")
        for what, (workflow, selection) in WORKFLOWS.items():
            file = folder / f"{workflow.name}.db"
            show(f"SQLite, {what}", batch(f"sqlite:///{file}", workflow, selection), of_sqlite(file))
        with postgres_url(folder) as postgres:
            workflow, selection = WORKFLOWS["the example"]
            show("PostgreSQL, the example", batch(postgres, workflow, selection), of_postgres(postgres))


def batch(url: str, workflow: Workflow, selection: str) -> int:
    """Run a batch, and return how many partitions it has."""
    ledger = open_ledger(url)
    total = Backfill(workflow, selection, "bench-size", ledger=ledger).launch(LocalLauncher(ledger, 2)).total
    ledger.close()
    return total


def of_sqlite(file: Path) -> Iterator[Size]:
    """Yield what each table of a file has."""
    raw = sqlite3.connect(file)
    yield from (Size(*row) for row in raw.execute(SQLITE))
    raw.close()


def of_postgres(url: str) -> Iterator[Size]:
    """Yield what each table of a database has; entries of indexes of some rows are left out."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as raw:
        yield from (Size(*row) for row in raw.execute(POSTGRES).fetchall())


def show(kind: str, partitions: int, sizes: Iterator[Size]) -> None:
    """Print a table of what a partition takes, and of all what it takes 10⁸ times."""
    table = Table(title=f"{kind}: a partition, of {partitions:,}", title_justify="left")
    for column in ("table", "rows", "bytes", "index entries", "index bytes", "primary key"):
        table.add_column(column, justify="left" if column == "table" else "right")
    every = [size for size in sizes if size.rows >= partitions]
    for name, *numbers in every:
        table.add_row(name, *(f"{number / partitions:,.1f}" for number in numbers))
    total = [sum(numbers) / partitions for numbers in zip(*(size[1:] for size in every), strict=True)]
    table.add_section()
    table.add_row("all", *(f"{number:,.1f}" for number in total))
    table.add_row("10⁸, in 10⁹", *(f"{number * MUCH / 1e9:,.1f}" for number in total))
    console.print(table)


if __name__ == "__main__":
    main()
