"""Tables on the command line: shown in small, removed when nothing refers to them."""

from __future__ import annotations

import sqlite3
import sys

import pytest

SOURCE = """
import pandas as pd
from flowctx import File, PartitionScheme, Workflow

flow = Workflow("tables", partitions=PartitionScheme(symbol=["IBM"]))

@flow.step()
def load(ctx):
    return {"prices": pd.DataFrame({"symbol": ["IBM", "AAPL"] * 50, "close": range(100)}), "doc": File(__file__)}

@flow.step()
def large(ctx):
    return {"text": "x" * 60_000, "prices": ctx.get_output("load", "prices")}
"""


@pytest.fixture
def tables(shell, monkeypatch):
    monkeypatch.delenv("FLOWCTX_ARTIFACTS_URL", raising=False)
    (shell.folder / "cli_tables.py").write_text(SOURCE)
    yield shell
    sys.modules.pop("cli_tables", None)


def stored(shell):
    return sorted(path.suffix for path in (shell.folder / "ledger.db.artifacts").rglob("*.*"))


def test_show_prints_tables_in_small(tables):
    """Columns with types, the first rows, size and digest; files by name; what is gone is said."""
    run = tables("run", "cli_tables:flow", "--partition", "IBM", "--json")["run_id"]
    shown = tables("show", run)
    assert "$table" not in shown
    assert "<Table: 100 rows x" in shown.replace("\n", " ")
    assert "load.prices: " in shown
    assert "100 rows" in shown
    assert "symbol string" in shown
    assert "cli_tables.py" in shown
    for path in (tables.folder / "ledger.db.artifacts").rglob("*.parquet"):
        path.unlink()
    assert "gone, run the step that made it again" in tables("show", run).replace("\n", " ")


def test_prune_removes_what_nothing_refers_to(tables):
    """Artifacts of a superseded run go with it, but for a table that the current one has too; dry runs only count."""
    for batch in ("b1", "b2"):
        tables("run", "cli_tables:flow", "--partition", "IBM", "--batch", batch)
    assert stored(tables) == [".bin", ".bin", ".json", ".json", ".parquet"]
    assert tables("ledger", "prune", "--days", "0", "--json")["artifacts"] == 0
    graceless = ("ledger", "prune", "--days", "0", "--grace-days", "0")
    counted = tables(*graceless, "--dry-run", "--json")
    assert (counted["artifacts"], counted.pop("of"), len(stored(tables))) == (2, [], 5)
    assert tables(*graceless, "--json") == {**counted, "runs": 0, "captures": 0}
    assert stored(tables) == [".bin", ".json", ".parquet"]


@pytest.mark.parametrize(
    ("table", "first"),
    [("flowctx_batch", "no more; "), ("flowctx_artifact", "no more; removed before that: 5 artifacts, ")],
)
def test_a_prune_that_is_cut_off_says_what_is_gone(tables, table, first):
    """What was forgotten and removed before an error stands beside it."""
    for batch in ("b1", "b2"):
        tables("run", "cli_tables:flow", "--partition", "IBM", "--batch", batch)
    with sqlite3.connect(tables.folder / "ledger.db") as raw:
        if table == "flowctx_batch":
            raw.execute(
                "INSERT INTO flowctx_batch (batch_id, workflow, params, created_at) VALUES ('b', 'w', '{}', '')"
            )
        raw.execute(f"CREATE TRIGGER no BEFORE DELETE ON {table} BEGIN SELECT RAISE(FAIL, 'no more'); END")
        raw.execute("UPDATE flowctx_capture SET state = 'released', completed_at = NULL")  # nothing was ever there
    error = " ".join(tables("ledger", "prune", "--days", "0", "--grace-days", "0", exit_code=1).split())
    assert first in error
    assert error.endswith("; forgot before that: 2 runs, 2 captures, 0 batches")
