"""The SQL ledger: its tables, its connections, and what it asks of a database."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, func, inspect, select
from sqlalchemy.engine import Connection, make_url

from durable_flow import flow, run_or_resume
from flowctx import ContextError, run
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import default_ledger_url, ledger_from_env, open_ledger, strict_from_env
from flowctx.ledger.ledger_urls import POSTGRES_DRIVER, ledger_url
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from flowctx.ledger.tables import REVISION, VERSION_TABLE, metadata
from forking import processes


@pytest.fixture
def params(tmp_path):
    return {"effects": str(tmp_path / "effects"), "pause": 0}


def engine_at(url):
    parsed = make_url(url)
    return create_engine(
        parsed.set(drivername=f"postgresql+{POSTGRES_DRIVER}") if "postgres" in parsed.drivername else parsed
    )


def test_the_tables_are_made_on_first_use(sql_url):
    """A new database gets the ledger's tables when it is first used, and not before."""
    ledger = SqlLedger(sql_url)
    assert inspect(engine_at(sql_url)).get_table_names() == []
    ledger.list_runs()
    assert set(inspect(engine_at(sql_url)).get_table_names()) == {*metadata.tables, VERSION_TABLE}
    ledger.close()


def test_the_migrations_make_what_the_tables_say(sql_url):
    """The scripts and the tables agree: alembic finds nothing to do."""
    ledger = SqlLedger(sql_url)
    ledger.list_runs()
    with engine_at(sql_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    ledger.upgrade()
    ledger.close()


def test_other_tables_are_left_alone(sqlite_url):
    """The ledger may live in a database that has tables of its own."""
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        raw.execute("CREATE TABLE dag_run (id INTEGER)")
    ledger = SqlLedger(sqlite_url)
    assert ledger.list_runs() == []
    ledger.close()
    assert "dag_run" in inspect(engine_at(sqlite_url)).get_table_names()


def test_a_step_is_recorded_by_one_statement(sqlite_url, params):
    """A step costs one statement: one round trip and one commit."""
    statements = []
    ledger = SqlLedger(sqlite_url)
    ledger.list_runs()
    event.listen(ledger._database._connection.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    run(flow, params=params, ledger=ledger)
    steps = [text for text in statements if text.startswith("INSERT INTO flowctx_step")]
    assert len(steps) == 20
    assert len(statements) - len(steps) < 15
    ledger.close()


def test_a_sqlite_commit_is_on_the_disk(sqlite_url):
    """SQLite runs with a write-ahead log and full synchronisation: a recorded step survives a power cut."""
    ledger = SqlLedger(sqlite_url)

    def pragmas(at):
        return [at.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]

    assert ledger._database.autocommit(pragmas) == ["wal", 2]
    ledger.close()


def test_a_forked_process_has_a_connection_of_its_own(sql_url, params):
    """After a fork, parent and child go on with the same ledger, each over its own connection."""
    ledger = SqlLedger(sql_url)
    run(flow, params=params, ledger=ledger, run_id="parent")
    child = os.fork()
    if child == 0:
        try:
            run(flow, params=params, ledger=ledger, run_id="child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert {found.run_id: found.status for found in ledger.list_runs()} == {
        "parent": RunStatus.OK,
        "child": RunStatus.OK,
    }
    ledger.close()


def test_many_processes_use_a_new_ledger_at_once(sql_url, params):
    """Processes that all find no tables make them once, and all record their runs."""
    pipes, children = [], []
    for number in range(6):
        ours, theirs = processes.Pipe()
        child = processes.Process(target=run_or_resume, args=(sql_url, f"r{number}", params, theirs))
        child.start()
        pipes.append(ours)
        children.append(child)
    assert [(pipe.recv(), pipe.recv()) for pipe in pipes] == [("begun", "ok")] * 6
    for child in children:
        child.join()
    ledger = SqlLedger(sql_url)
    assert len(ledger.list_runs(status=RunStatus.OK)) == 6
    ledger.close()


def test_pruning_keeps_what_is_young(sql_url, params):
    """Pruning forgets what is older than asked for, in all tables, and nothing else."""
    ledger = SqlLedger(sql_url)
    done = [run(flow, params=params, batch_id=batch, ledger=ledger).run_id for batch in ("b1", "b2")]
    assert ledger.prune(datetime.now(UTC) - timedelta(days=1)).runs == 0
    assert ledger.prune(datetime.now(UTC) + timedelta(minutes=5)).runs == 1
    assert [found.run_id for found in ledger.list_runs()] == done[1:]
    ledger.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "is no URL of a ledger"),
        ("postgresql+asyncpg://u@h/db", "names the driver 'asyncpg', which the ledger cannot use; write postgresql://"),
        ("postgresql+pg8000://u@h/db", "or postgresql\\+psycopg2://"),
        ("mysql://host/db", "lives in SQLite or PostgreSQL, not in 'mysql'"),
        ("postgresql://[bad/db", "is no URL of a ledger"),
        ("postgresql://host:99999/db", "is no URL of a ledger"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "or memory:// for none"),
    ],
)
def test_a_wrong_url_is_explained(url, why):
    """A URL that no ledger can have is an error that shows one it can."""
    with pytest.raises(ContextError, match=why):
        open_ledger(url)


@pytest.mark.parametrize("password", ["p@ss/w", "p@ss", "p@ss:w", "p@ss?w", "p@s/s@w", "p:/ss@w", "p@ss/w?a=1"])
def test_a_password_that_is_not_escaped_is_shown_in_no_part(password):
    """It would be taken for a host in part, and sent to name servers: the URL is refused, with all of it hidden."""
    with pytest.raises(ContextError, match="write %40 for @, .* in its user, its password") as refused:
        open_ledger(f"postgresql://u:{password}@127.0.0.1:1/x")
    assert "'postgresql://u:***@127.0.0.1:1/x'" in str(refused.value)


@pytest.mark.parametrize("more", ["me@corp:p%40ss%2Fw@h/x", "u:pa/s?s@h/x", "u:p@h/x?options=a%40b", "u:p@[::1]:1/x"])
def test_what_a_password_does_not_end_is_taken(more):
    """An @ in a user stands before the password, and one that is escaped ends nothing."""
    assert "p%40ss" not in open_ledger(f"postgresql://{more}")._database.shown


def test_the_environment_names_one_ledger_per_process(monkeypatch, sqlite_url):
    """FLOWCTX_LEDGER_URL names the ledger, which is opened once."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    assert ledger_from_env() is None
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", sqlite_url)
    assert ledger_from_env() is ledger_from_env()


def test_the_mode_is_strict_unless_said(monkeypatch):
    """FLOWCTX_LEDGER_MODE is strict or lenient, and nothing else."""
    monkeypatch.delenv("FLOWCTX_LEDGER_MODE", raising=False)
    assert strict_from_env() is True
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "lenient")
    assert strict_from_env() is False
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "sloppy")
    with pytest.raises(ContextError, match="must be 'strict' or 'lenient'"):
        strict_from_env()


def test_a_users_own_ledger_is_in_the_state_folder(monkeypatch, tmp_path):
    """The default ledger is where the XDG specification puts state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Path(default_ledger_url().removeprefix("sqlite:///")) == tmp_path / "flowctx" / "ledger.db"


def test_a_relative_state_folder_is_ignored(monkeypatch, tmp_path):
    """As the XDG specification has it: the ledger would be another one in each folder."""
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_ledger_url() == f"sqlite:///{tmp_path}/.local/state/flowctx/ledger.db"


def test_a_ledger_may_be_in_memory():
    """``memory://`` is a ledger that nothing outlives."""
    assert isinstance(open_ledger("memory://"), MemoryLedger)


def test_asking_for_the_revision_makes_no_tables(sql_url: str) -> None:
    """An empty database says that it has no ledger, and stays empty; one with a ledger says its revision."""
    ledger = SqlLedger(sql_url)
    assert ledger.revision() is None
    assert ledger.revision() is None
    ledger.list_runs()
    assert ledger.revision() == REVISION
    ledger.close()


def test_a_file_may_be_named_from_home(monkeypatch, tmp_path):
    """``~`` in the URL of a file is the user's home, and no folder of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("sqlite:///~/ledger.db")
    assert ledger.list_runs() == []
    ledger.close()
    assert [path.name for path in tmp_path.iterdir() if path.name in ("~", "ledger.db")] == ["ledger.db"]


def test_behind_a_pooler_nothing_outlives_a_transaction(postgres_url: str) -> None:
    """With pgbouncer=true no statement is prepared and no setting made but within a transaction, nor in a copy's."""
    ledger = SqlLedger(f"{postgres_url}&pgbouncer=true" if "?" in postgres_url else f"{postgres_url}?pgbouncer=true")

    def shown(at: Connection) -> str:
        return str(at.exec_driver_sql("SHOW lock_timeout").scalar_one())

    for one in (ledger, SqlLedger(ledger.address)):
        for _ in range(10):
            one.list_runs(workflow="flow")
        prepared = one._database.autocommit(
            lambda at: at.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
        )
        assert prepared == 0
        assert (one._database.autocommit(shown), one._database.transaction(shown)) == ("0", "15s")
        one.close()


@pytest.mark.parametrize("pooled", [False, True])
def test_what_a_server_prefers_does_not_keep_claims_apart(postgres_url: str, pooled: bool) -> None:
    """A claim sees what whoever came before has written, also where transactions are to see what was there before."""
    ledger = SqlLedger(postgres_url)
    name = ledger._database.autocommit(lambda at: at.exec_driver_sql("SELECT current_database()").scalar_one())
    prefers = f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    ledger._database.autocommit(lambda at: at.exec_driver_sql(prefers))
    ledger.close()
    ledger = SqlLedger(f"{postgres_url}{'&' if '?' in postgres_url else '?'}pgbouncer=true" if pooled else postgres_url)
    level = select(func.current_setting("transaction_isolation").label("level"))
    assert ledger._database.rows(level) == [{"level": "read committed"}]
    assert ledger._database.transaction(lambda at: at.execute(level).scalar_one()) == "read committed"
    ledger.close()


@pytest.mark.parametrize("pooled", ["", "pgbouncer=true"])
def test_no_question_is_compiled_for_itself(postgres_url: str, pooled: str) -> None:
    """PostgreSQL does not compile what is read, nor what is asked within a transaction; behind a pooler neither."""
    ledger = SqlLedger(f"{postgres_url}{'&' if '?' in postgres_url else '?'}{pooled}" if pooled else postgres_url)
    jit = select(func.current_setting("jit").label("jit"))
    assert ledger._database.rows(jit) == [{"jit": "off"}]
    assert ledger._database.tuples(jit) == [("off",)]
    assert ledger._database.transaction(lambda at: at.execute(jit).scalar_one()) == "off"
    ledger.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("x=1.db", "has an option 'x' that no ledger in SQLite takes; leave it out"),
        ("timeout=5&Mode=ro", "has an option 'Mode'"),
        ("mode=ro", "has an option 'mode' that no ledger in SQLite takes; it needs uri=true and file: before the path"),
    ],
)
def test_an_option_of_a_file_that_would_be_dropped_is_refused(options, says):
    """What stands behind the ? is taken, or is a mistake."""
    with pytest.raises(ContextError, match=re.escape(says)):
        open_ledger(f"sqlite:///rel ative?{options}")
    assert open_ledger("sqlite:////tmp/a.db?timeout=5") is not None
    assert open_ledger("sqlite:///file:/tmp/a.db?mode=ro&uri=true") is not None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("postgresql://u:p@h1:1,h2:2/db", "h1,h2", "1,2"),
        ("postgresql://u:p@h1,h2:5433/db?target_session_attrs=read-write", "h1,h2", ",5433"),
        ("postgresql://u:p@[::1]:1,h2/db", "::1,h2", "1,"),
        ("postgresql://u:p@h1,h2/db", "h1,h2", None),
        ("postgresql://u:p@/db?host=h1,h2&port=1,2", "h1,h2", "1,2"),
    ],
)
def test_a_url_may_have_several_hosts(text, host, port):
    """As PostgreSQL's own library takes it: each host has its own port."""
    url = ledger_url(text)
    assert (url.query["host"], url.query.get("port"), url.host, url.database) == (host, port, None, "db")
    assert (url.username, url.password) == ("u", "p")


def test_the_first_of_several_hosts_that_answers_is_used(postgres_url):
    """A server that is away is passed over."""
    folder = make_url(postgres_url).query["host"]
    database = make_url(postgres_url).database
    ledger = SqlLedger(f"postgresql://postgres@127.0.0.1:1,{quote(str(folder), safe='')}:5432/{database}")
    assert ledger.list_runs() == []
    ledger.close()
