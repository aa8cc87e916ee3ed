"""Airflow's own database, where DAGs run in this process: that of the environment, or a temporary one."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Final

from flowctx.airflow import _compat
from flowctx.core.errors import EngineError

#: How the address of a database in a file begins.
_FILE: Final = "sqlite:///"
#: What names a database beside ``AIRFLOW_HOME``, and goes before it.
_OTHER_NAMES: Final = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN",
    "AIRFLOW_CONFIG",
)


def prepare() -> None:
    """Make sure that there is a migrated database: the one that the environment names, else a temporary one.

    Raises:
        EngineError: It is that of a deployment; nothing has been written there.
    """
    _make_once()
    if _make_once.cache_info().hits:  # it may be a deployment's since the last call
        _refuse_deployment()


@cache
def _make_once() -> None:
    if not any(name in os.environ for name in ("AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")):
        home = Path(tempfile.mkdtemp(prefix="flowctx-airflow-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ.update(
            AIRFLOW_HOME=str(home),
            AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home / 'airflow.db'}",
            AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(home / "logs"),
        )
        # Whoever made the DAG has imported Airflow, which then read its settings.
        _compat.read_settings_again()
    with warnings.catch_warnings(action="ignore"):  # what Airflow warns of as it starts is its own business
        _migrate_alone()
        _compat.warm_up()


def _migrate_alone() -> None:
    """Create or migrate the database, once no other process is at it. Airflow itself locks those of servers alone."""
    address = str(_compat.conf.get("database", "sql_alchemy_conn"))
    file = Path(address.removeprefix(_FILE).partition("?")[0])
    if not address.startswith(_FILE) or not file.name:
        _refuse_deployment()
        _compat.migrate()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(file.parent, os.O_RDONLY)  # a lock of the folder's leaves no file behind
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _refuse_deployment()
        _compat.migrate()
    finally:
        os.close(held)


def _refuse_deployment() -> None:
    """Refuse a database on which a scheduler, a triggerer or a DAG processor has ever run: those alone leave a row.

    A scheduler would go by the DAG that is stored for the run, and run its tasks, too.
    """
    server, database = _compat.server_and_database()
    if server is None:
        return
    others = [name for name in _OTHER_NAMES if name in os.environ]
    unset = f"unset {' and '.join(others)}, and " if others else ""
    raise EngineError(
        f"run_dag refuses {database}: servers of Airflow's have run there ({server}), so it is a deployment's; a "
        f"scheduler would go by this run's DAG, and run its tasks, too; {unset}set AIRFLOW_HOME to a new folder of "
        "your tests before Airflow is imported, or unset it: run_dag then makes an Airflow in a temporary folder"
    )
