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

#: How the address of a database in a file begins.
_FILE: Final = "sqlite:///"


@cache
def prepare() -> None:
    """Make sure that there is a migrated database: the one that the environment names, else a temporary one."""
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
        read_settings_again()
    with warnings.catch_warnings(action="ignore"):  # what Airflow warns of as it starts is its own business
        _migrate_alone()
        _compat.warm_up()


def _migrate_alone() -> None:
    """Create or migrate the database, once no other process is at it. Airflow itself locks those of servers alone."""
    address = str(_compat.conf.get("database", "sql_alchemy_conn"))
    file = Path(address.removeprefix(_FILE).partition("?")[0])
    if not address.startswith(_FILE) or not file.name:
        migrate()
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(file.parent, os.O_RDONLY)  # a lock of the folder's leaves no file behind
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        migrate()
    finally:
        os.close(held)


def migrate() -> None:
    """Create or migrate the database."""
    from airflow.utils.db import initdb

    initdb()


def read_settings_again() -> None:
    """Make Airflow use the database that the environment names now; it reads its settings when it is imported."""
    from airflow import settings

    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.dispose_orm()
    settings.configure_orm()  # type: ignore[no-untyped-call]
