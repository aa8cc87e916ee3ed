"""What is asked of a ledger, and by which indexes SQLite and PostgreSQL answer: ``python tests/query_plans.py``.

It prints ``docs/query-plans.md``, which ``tests/ledger/test_query_plans.py`` holds true; with ``--plans``, it prints
the statements that each question takes, and their whole plans.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.engine import Connection, Engine

from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.partitions.key import PartitionKey
from flowctx.ledger.sql import SqlLedger
from flowctx.ledger.tables import VERSION_TABLE
from flowctx.testing import FakeClock, make_context
from flowctx.testing.clock import NOON

#: So many runs, a hundred of each batch; more, and the test would take long.
RUNS = 10_000
#: Tables that have a row for each partition or run. The others have a row for a batch, or a handful.
LARGE = ("flowctx_run", "flowctx_attempt", "flowctx_step", "flowctx_capture", "flowctx_launch")
KEY = PartitionKey(n="7")

Question = Callable[[SqlLedger], object]


def a_run(run_id: str = "first", batch_id: str = "first") -> RunRecord:
    """A run of three steps, the first of all or another one."""
    ctx = make_context(workflow="flow", run_id=run_id, partition={"n": run_id}, batch_id=batch_id)
    return RunRecord(workflow="flow", context=ctx, steps=("a", "b", "c"))


#: What is asked, by who asks; those that write come last.
QUESTIONS: dict[str, Question] = {
    "`flowctx runs`": lambda ledger: ledger.list_runs(limit=20),
    "`flowctx runs --status`": lambda ledger: ledger.list_runs(status=RunStatus.RUNNING, limit=20),
    "`flowctx runs --workflow`": lambda ledger: ledger.list_runs(workflow="flow", limit=20),
    "`flowctx runs --batch`": lambda ledger: ledger.list_runs(batch_id="b7", limit=20),
    "`flowctx runs --partition`": lambda ledger: ledger.list_runs(partition=KEY, limit=20),
    "`flowctx show`: a run by its id": lambda ledger: ledger.get_run("r107"),
    "`flowctx show`: run ids by how they begin": lambda ledger: ledger.run_ids("r10"),
    "`flowctx show`: the steps of a run": lambda ledger: ledger.steps(a_run().key),
    "`flowctx captures`": lambda ledger: ledger.captures(workflow="flow", limit=50),
    "`flowctx captures --partition`": lambda ledger: ledger.captures(workflow="flow", partition=KEY, limit=50),
    "`flowctx captures`: which are current": lambda ledger: ledger.current_revisions(["s7", "s8"]),
    "`flowctx batches`: the list": lambda ledger: ledger.batches.all(20),
    "`flowctx batches`: how many partitions stand how": lambda ledger: ledger.batches.count_outcomes("b7", "flow"),
    "`flowctx batches`: partitions that no launch has run": lambda ledger: list(
        ledger.batches.iter_partitions("b7", "flow", besides="batch__b7__")
    ),
    "`flowctx status`": lambda ledger: list(ledger.batches.iter_standings("b7", "flow")),
    "`flowctx status`: what others have captured since": lambda ledger: ledger.count_superseded(
        "b7", "flow", limit=10_000
    ),
    "`flowctx status`: with which parameters partitions were made": lambda ledger: ledger.batches.params_of_runs(
        "b7", "flow", ["limit"]
    ),
    "`flowctx status`: what failed": lambda ledger: list(
        ledger.batches.iter_outcomes("b7", ["n=7", "n=8"], workflow="flow")
    ),
    "`flowctx status`: runs of other workflows": lambda ledger: ledger.batches.runs_by_workflow("b7"),
    "`flowctx cancel`: all outcomes of a batch": lambda ledger: list(
        ledger.batches.iter_outcomes("b7", workflow="flow")
    ),
    "`flowctx backfill`: what has become of some partitions": lambda ledger: list(
        ledger.batches.iter_outcomes("b7", [f"n={n}" for n in range(50)], workflow="flow")
    ),
    "a step that reads others: their versions": lambda ledger: ledger.versions("flow", "a", [KEY], batch_id="b7"),
    "a step that reads others: what was pruned": lambda ledger: ledger.pruned_versions("flow", [KEY]),
    "`flowctx output`, `diff`: the versions of a batch, and the current ones": lambda ledger: ledger.versions_meant(
        "flow", "a", [KEY], [VersionChoice(batch_id="b7"), VersionChoice()]
    ),
    "`flowctx output`, `diff`: what a step of some runs returned": lambda ledger: ledger.step_outputs(
        "a", ["k1", "k2"]
    ),
    "`flowctx diff`: the captures that some runs hold": lambda ledger: ledger.versions_of_runs(
        "flow", "a", ["k1", "k2"]
    ),
    "`flowctx diff`: how steps of some runs ended, and what they recorded": lambda ledger: ledger.digests_of(
        ["a", "b"], ["k1", "k2"]
    ),
    "`flowctx output`, `diff`: which partitions are captured": lambda ledger: list(ledger.captured_partitions("flow")),
    "`flowctx show --lineage`: runs by their keys": lambda ledger: ledger.runs_of(["k1", "k2"]),
    "`flowctx stale`: all steps of some runs": lambda ledger: ledger.recorded_steps(["k1", "k2"]),
    "`flowctx stale`: steps of some runs that have read others": lambda ledger: ledger.recorded_steps(
        ["k1", "k2"], reading=True
    ),
    "`flowctx ledger prune`: which artifacts are referred to": lambda ledger: ledger.artifact_paths(),
    "`flowctx ledger prune --dry-run`": lambda ledger: ledger.would_prune(NOON + timedelta(microseconds=100_100)),
    "a run begins": lambda ledger: ledger.begin(a_run("second")),
    "a step ends": lambda ledger: ledger.record(a_run("second"), [StepRecord(step="a", status="ok", started_at=NOON)]),  # type: ignore[arg-type]
    "a run ends": lambda ledger: ledger.finish(ledger.get_run("second"), RunStatus.OK),
    "`flowctx resume`": lambda ledger: ledger.begin(a_run("third"), resumes=ledger.get_run("first")),
    "`flowctx ledger prune`": lambda ledger: ledger.prune(NOON + timedelta(microseconds=100_100)),
}


def small_ledger(url: str) -> SqlLedger:
    """Make a ledger of ten thousand runs, of which the database knows how many there are of what."""
    ledger = SqlLedger(url, clock=FakeClock())
    ledger.finish(ledger.begin(a_run()), RunStatus.FAILED)
    ledger.record(ledger.get_run("first"), [StepRecord(step="a", status="ok", started_at=NOON)])  # type: ignore[arg-type]

    def execute(at: Connection, statement: str) -> None:
        at.exec_driver_sql(statement if ledger._database.sqlite else statement.replace("%", "%%"))

    def fill(at: Connection) -> None:
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {RUNS - 1})"
        for table, values in _COPIES.items():
            names = [row[0] for row in at.exec_driver_sql(f"SELECT * FROM {table} LIMIT 0").cursor.description]  # type: ignore[union-attr]
            columns = ", ".join(f'"{name}"' for name in names)
            chosen = ", ".join(values.get(name, f'{table}."{name}"') for name in names)
            first = f"{'holder' if 'holder' in names else 'run_key'} = '{a_run().key.digest}'"
            execute(at, f"INSERT INTO {table} ({columns}) {numbers} SELECT {chosen} FROM n, {table} WHERE {first}")
        columns = "batch_id, workflow, partition, run_id, engine, state, attempt, started_at, ended_at, heard_at"
        values = f"'b' || (i / 100), '', 'n=' || (i % 100), 'r' || i, 'airflow', 'ok', 1, {_TIME}, {_TIME}, {_TIME}"
        execute(at, f"INSERT INTO flowctx_launch ({columns}) {numbers} SELECT {values} FROM n")
        columns = "batch_id, workflow, partition, subject, revision, capture_id, completed_at"
        values = f"'b' || (i / 100), 'flow', 'n=' || (i % 100), 's' || (i % 100), i / 100, {_CAPTURE_ID}, {_TIME}"
        execute(at, f"INSERT INTO flowctx_pruned_capture ({columns}) {numbers} SELECT {values} FROM n")

    if not ledger._database.sqlite:
        ledger._database.transaction(_leave_alone)
    ledger._database.transaction(fill)
    ledger._database.autocommit(lambda at: at.exec_driver_sql("ANALYZE"))
    if not ledger._database.sqlite:
        # Of tables as small as these it would read all; what counts is that an index can be taken.
        # Of the database, so that a connection that is made later does so too.
        name = ledger._database.url.database
        ledger._database.autocommit(lambda at: at.exec_driver_sql(f"ALTER DATABASE {name} SET enable_seqscan = off"))
        ledger._database.autocommit(lambda at: at.exec_driver_sql("SET enable_seqscan = off"))
    return ledger


def _leave_alone(at: Connection) -> None:
    """Keep PostgreSQL from vacuuming in the background: what it finds out then changes its plans."""
    for table in inspect(at).get_table_names():
        at.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")


_TIME = "'2026-01-09T12:00:00.' || (100000 + i) || '+00:00'"
_RUN_KEY = f"'k' || (i * 7919 % {RUNS + 7})"
_CAPTURE_ID = "(i % 100) || '|b' || (i / 100)"
#: What differs between the rows of many runs and those of the first one.
_COPIES: dict[str, dict[str, str]] = {
    "flowctx_run": {
        "run_key": _RUN_KEY,
        "run_id": "'r' || i",
        "partition": "'n=' || (i % 100)",
        "batch_id": "'b' || (i / 100)",
        "status": "CASE WHEN i % 100 = 7 THEN 'failed' ELSE 'ok' END",
        "started_at": _TIME,
        "heard_at": _TIME,
        "capture_id": _CAPTURE_ID,
    },
    "flowctx_attempt": {"run_key": _RUN_KEY},
    "flowctx_step": {"run_key": _RUN_KEY},
    "flowctx_capture": {
        "subject": "'s' || (i % 100)",
        "capture_id": _CAPTURE_ID,
        "revision": "(i / 100) + 1",
        "holder": _RUN_KEY,
        "state": "'complete'",
        "partition": "'n=' || (i % 100)",
        "run_id": "'r' || i",
        "claimed_at": _TIME,
    },
}


@contextmanager
def statements(ledger: SqlLedger) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that a ledger's database executes, with their parameters."""
    found: list[tuple[str, Any]] = []

    def collect(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        # Others may be at their databases, and a connection that is made anew asks for the schema.
        if connection.engine.url.database == ledger._database.url.database and VERSION_TABLE not in statement:
            found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", collect)


def plans(ledger: SqlLedger, question: Question) -> list[tuple[str, list[str]]]:
    """Ask a question, and return each statement that it takes, and the lines of its plan."""
    with statements(ledger) as found:
        question(ledger)
    explain = "EXPLAIN QUERY PLAN " if ledger._database.sqlite else "EXPLAIN (COSTS OFF) "
    explained: dict[str, list[str]] = {}
    for statement, parameters in found:
        planned = statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE", "INSERT")) and "flowctx_" in statement
        if planned and statement not in explained:
            rows = ledger._database.tuples(_Raw(explain + statement, parameters))
            explained[statement] = _lines(rows)
    return [(statement, plan) for statement, plan in explained.items() if plan]


class _Raw:
    """A statement as the driver takes it, executed as SQLAlchemy executes its own."""

    def __init__(self, statement: str, parameters: Any) -> None:
        self.statement, self.parameters = statement, parameters

    def _execute_on_connection(self, connection: Connection, *_: Any) -> Any:
        return connection.exec_driver_sql(self.statement, self.parameters)


def _lines(rows: list[Any]) -> list[str]:
    """Return the lines of a plan; SQLite says in numbers what is part of what."""
    if not rows or len(rows[0]) == 1:  # SQLite has nothing to say of an insert of values
        return [str(row[0]) for row in rows]
    depths: dict[int, int] = {0: -1}
    lines = []
    for number, parent, _, text in rows:
        depths[number] = depths[parent] + 1
        lines.append("  " * depths[number] + text)
    return lines


def scanned(plan: list[str]) -> set[str]:
    """Return the large tables that are read from end to end, where there is no index for what is looked for."""
    found = (re.search(r"^\s*SCAN (flowctx_\w+)(?! USING)|Seq Scan on (flowctx_\w+)", line) for line in plan)
    return {table for match in found if match for table in match.groups() if table in LARGE}


def indexes(plan: list[str]) -> set[str]:
    """Return the indexes that a plan uses, without ``flowctx_``, and those of keys by PostgreSQL's names."""
    text = re.sub(r"sqlite_autoindex_(\w+)_1", r"\1_pkey", "\n".join(plan)).replace("flowctx_", "")
    found = re.findall(r"USING (?:COVERING )?INDEX (\w+)|(?:Scan(?: Backward)? using|Bitmap Index Scan on) (\w+)", text)
    return {name for names in found for name in names if name}


#: The plans of each question: by database, the statements that it takes, each with the lines of its plan.
Plans = dict[str, dict[str, list[tuple[str, list[str]]]]]


def all_plans(ledgers: dict[str, SqlLedger]) -> Plans:
    """Ask every question of a ledger in each database."""
    return {
        title: {kind: plans(one, question) for kind, one in ledgers.items()} for title, question in QUESTIONS.items()
    }


_PAGE = """\
# Query plans

What commands, steps and batches ask of a [ledger](ledger.md), and by which indexes SQLite and PostgreSQL answer: so
they answer a ledger of a million runs as soon as one of ten thousand. Made by `python tests/query_plans.py` from a
ledger of {runs:,} runs that has been analyzed; with `--plans`, it prints the statements and their whole plans. A test
asks again, and fails where the indexes are not those that stand here, or where runs, attempts, steps, captures or
notes are read from end to end. PostgreSQL is told to take an index where it can: tables of ten thousand rows are read
as soon without.

Names stand without `flowctx_`. `run_pkey` is the index of the table's key, in SQLite `sqlite_autoindex_flowctx_run_1`.
An index may be read in its order until there is enough; that of references is read whole, for all rows that refer to
others. `prune` alone looks through the captures and notes of all times so, page by page; and where more than 20,000
runs are old, its dry run reads all captures once, for those that are being written.

| what is asked | by both | by SQLite alone | by PostgreSQL alone |
|---|---|---|---|
"""


def page(found: Plans) -> str:
    """Return the page of the documentation."""
    lines = []
    for title, by_database in found.items():
        sqlite, postgres = (
            set[str]().union(*(indexes(plan) for _, plan in by_database[kind])) for kind in ("SQLite", "PostgreSQL")
        )
        used = (sqlite & postgres, sqlite - postgres, postgres - sqlite)
        cells = [title, *(", ".join(f"`{name}`" for name in sorted(names)) for names in used)]
        lines.append(f"| {' | '.join(cells)} |\n")
    return _PAGE.format(runs=RUNS) + "".join(lines)


def trees(found: Plans) -> str:
    """Return the statements of each question, and their plans."""
    parts = (
        "\n".join([f"{title}, {kind}:", " ".join(statement.split()), *plan])
        for title, by_database in found.items()
        for kind, explained in by_database.items()
        for statement, plan in explained
    )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the page, or with ``--plans`` whole plans."""
    from postgres import postgres_database, postgres_server

    with tempfile.TemporaryDirectory() as folder, postgres_server() as server, postgres_database(server) as url:
        urls = {"SQLite": f"sqlite:///{Path(folder, 'ledger.db')}", "PostgreSQL": url}
        found = all_plans({kind: small_ledger(url) for kind, url in urls.items()})
    print(trees(found) if "--plans" in sys.argv else page(found), end="")


if __name__ == "__main__":
    main()
