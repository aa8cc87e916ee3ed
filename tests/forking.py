"""Fresh processes that share nothing with the tests', made in milliseconds because the imports are done."""

from multiprocessing import get_context

#: Forked from one process, which has done nothing yet. It finds what is installed, and what `make test` has on the
#: path: the tests' own modules would be left out without a word. The last one keeps the collector of garbage away.
processes = get_context("forkserver")
processes.set_forkserver_preload(
    [
        "alembic.command",
        "flowctx.artifacts.frames",
        "flowctx.artifacts.library",
        "flowctx.backfill.worker",
        "flowctx.ledger.sql",
        "flowctx.local",
        "flowctx.testing",
        "pandas",
        "psycopg",
        "pyarrow.parquet",
        "s3fs",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite.pysqlite",
        "time_machine",
        "upath",
        "imports_stay",
    ]
)
