"""Populated databases of every older schema: migrated, and read and gone on with by everything there is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, make_url

import flowctx.ledger
from flowctx import BatchStatus, LedgerVersionError, PartitionScheme, Workflow, resume
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.rows import stamp
from flowctx.ledger.sql import SqlLedger
from flowctx.ledger.tables import REVISION, VERSION_TABLE, metadata
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.records import MINUTE, a_run

SCRIPTS = Path(flowctx.ledger.__file__).parent / "migrations"
#: Every schema there has been.
OLDER = [f"{number:04}" for number in range(1, int(REVISION))]
#: Since this schema, whoever writes it tells parts from whole runs.
PARTS = "0006"
TABLE = f"ledger-0123/tables/ab/{'ab' * 16}.parquet"
RUNS = {"whole", "head", "tail", "again", "failed", "dead", "small", "large", "day-8", "day-9"}

flow = Workflow("flow", partitions=PartitionScheme(tier=["T1", "T2", "T3", "T4"]))
for _name in ("fetch", "check", "load"):
    flow.step(name=_name)(lambda ctx: {})


def engine_at(url):
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if "postgres" in parsed.drivername else parsed)


def make_schema(at, revision):
    """Run the migrations up to a revision."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = at
    command.upgrade(config, revision)


#: What was added to rows since schema 0002: the table, the schema, and the columns as they are in older rows.
ADDED = (
    ("flowctx_run", "0003", {"selected": None, "continued_by": None}),
    ("flowctx_attempt", "0008", {"reads": None}),
    ("flowctx_capture", "0011", {"first_completed_at": None}),
    ("flowctx_capture", "0019", {"let_go": None}),
    ("flowctx_batch", "0012", {"kept_at": None}),
    ("flowctx_batch", "0013", {"others": None}),
    ("flowctx_launch", "0013", {"workflow": ""}),
)


def written_rows(revision):
    """Yield the rows of each table as a version wrote them: those of schema 0002, and what was added to them since."""
    raw = sqlite3.connect(":memory:")
    raw.row_factory = sqlite3.Row
    raw.executescript(Path(__file__).with_name("schema_0002.sql").read_text("utf-8"))
    own = {"nonce": "n" * 32, "owner": "process 7 on here", "begun_at": None, "lease_until": None}
    for table in (
        "flowctx_run",
        "flowctx_attempt",
        "flowctx_step",
        "flowctx_capture",
        "flowctx_batch",
        "flowctx_launch",
    ):
        if revision == "0001" and table in ("flowctx_batch", "flowctx_launch"):
            continue
        for row in map(dict, raw.execute(f"SELECT * FROM {table}")):
            for of, since, columns in (*ADDED, ("flowctx_run", "0005", own)):
                row |= columns if table == of and revision >= since else {}
            yield table, row
    if revision >= "0007":
        artifact = {"path": TABLE, "digest": "d", "form": "f", "reference": "{}", "removed_at": None}
        yield "flowctx_artifact", artifact | {"intended_at": "2026-01-09T12:00:00.000000+00:00"}
    raw.close()


@pytest.fixture
def populated(sql_url, revision):
    """The URL of a database with the schema of a revision, and rows as they were written then."""
    engine = engine_at(sql_url)
    with engine.begin() as at:
        make_schema(at, revision)
        tables = MetaData()
        tables.reflect(at)
        for name, row in written_rows(revision):
            assert set(row) == set(tables.tables[name].columns.keys()), name
            at.execute(tables.tables[name].insert(), row)
    engine.dispose()
    return sql_url


@pytest.mark.parametrize("revision", OLDER)
def test_every_older_database_is_migrated_and_read(populated, revision):
    """Before, the error says what to type; after, every run, step, capture and batch is there, as it was written."""
    ledger = SqlLedger(populated)
    with pytest.raises(LedgerVersionError, match=f"has schema {revision} .*type: flowctx ledger upgrade"):
        ledger.list_runs()
    ledger.upgrade()
    with engine_at(populated).connect() as at:
        context = MigrationContext.configure(at, opts={"version_table": VERSION_TABLE})
        assert (compare_metadata(context, metadata), context.get_current_revision()) == ([], REVISION)
    runs = {run.run_id: run for run in ledger.list_runs(limit=100)}
    assert set(runs) == RUNS
    for run in runs.values():
        assert ledger.get_run(run.run_id, workflow=run.workflow, partition=run.context.partition) == run
        assert ledger.context(run.key, 1) == run.context
        assert ledger.statuses(run.key) == {record.step: record.status for record in ledger.steps(run.key)}
    assert {name for name, run in runs.items() if run.is_part} == ({"head", "tail"} if revision < PARTS else set())
    assert (runs["failed"].status, runs["failed"].error) == (RunStatus.FAILED, "no rows")
    assert {capture.run_id for capture in ledger.captures()} == RUNS
    assert ledger.artifact_paths() == set()
    assert ledger.artifact_prefix.startswith("ledger-")
    assert {batch.batch_id for batch in ledger.batches.all()} == {"b1", "b2", "b3", "g1", "g2", "restate"}
    assert BatchStatus.of(ledger, "restate").counts == {"ok": 1, "failed": 1}
    noted = revision > "0001"  # what an engine said of one more partition
    status = BatchStatus.of(ledger, "b2", flow)
    assert (status.total, sum(status.counts.values()), status.unclear) == (4, 4 + noted, noted)
    ledger.close()


@pytest.mark.parametrize("revision", OLDER)
def test_what_an_older_version_began_goes_on(populated, revision):
    """A run that failed or died before the migration is resumed after it, and what is old is pruned."""
    ledger = SqlLedger(populated)
    ledger.upgrade()
    for run_id in ("failed", "dead"):
        assert resume(run_id, flow, ledger=ledger, accept_changes=True).status == "ok"
        assert ledger.get_run(run_id).attempt == 2
    would, _ = ledger.would_prune(NOON.replace(year=2027))
    assert ledger.prune(NOON.replace(year=2027)) == would
    assert {run.run_id for run in ledger.list_runs()} >= {"failed", "dead"}
    ledger.close()


def test_a_skip_of_an_older_version_says_since_when(sqlite_url):
    """A capture that says that there is nothing gets the time at which its run ended."""
    engine = engine_at(sqlite_url)
    with engine.begin() as at:
        make_schema(at, "0010")
        tables = MetaData()
        tables.reflect(at)
        for name, row in written_rows("0010"):
            if name == "flowctx_run" and row["run_id"] == "failed":
                row |= {"status": "skipped", "finished_at": "2026-01-09T12:00:00.000000+00:00"}
            at.execute(tables.tables[name].insert(), row)
    engine.dispose()
    ledger = SqlLedger(sqlite_url)
    ledger.upgrade()
    times = {capture.run_id: capture.completed_at for capture in ledger.captures() if capture.state == "released"}
    assert times["failed"] == NOON
    assert {time for run_id, time in times.items() if run_id != "failed"} <= {None}
    ledger.close()


def test_a_time_that_an_older_version_has_not_kept_up_says_nothing(sqlite_url):
    """Its workers may be under way while a ledger is upgraded, and grant a capture again."""
    clock = FakeClock()
    with closing(SqlLedger(sqlite_url, clock=clock)) as ledger:
        for number, status in enumerate([RunStatus.OK, RunStatus.FAILED, RunStatus.OK]):
            ledger.finish(ledger.begin(a_run(f"r{number}", batch_id="b")), status)
            clock.advance(MINUTE)
        [capture], [version] = ledger.captures(), ledger.versions("flow", "a", [None])
        assert capture.let_go == (NOON + MINUTE, NOON + 2 * MINUTE)
        assert (capture.let_go_at, version.let_go_at) == (NOON + MINUTE, stamp(NOON + MINUTE))
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as raw, raw:
            raw.execute("UPDATE flowctx_capture SET claimed_at = ?", (stamp(NOON + 9 * MINUTE),))
        [capture], [version] = ledger.captures(), ledger.versions("flow", "a", [None])
        assert (capture.let_go_at, version.let_go_at) == (NOON + 9 * MINUTE, None)
