"""Secrets that are planted in a workflow, and what finds them again in whatever was written."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import create_engine, inspect, text

from flowctx import StepResult, Workflow

#: Given as a parameter, in a step's configuration, as an engine's connection, and made up by a step as it goes.
PARAM, CONFIG, CONNECTION, TOKEN = "param-hunter2-a", "config-hunter2-b", "conn-hunter2-c", "token-hunter2-d"
ALL = (PARAM, CONFIG, CONNECTION, TOKEN)


def spied(name: str) -> Workflow:
    """Return a workflow whose steps use secrets, say them in errors, and raise with them in their variables."""
    flow = Workflow(name, params={"db_password": "", "limit": 3})

    @flow.step(config={"api_token": CONFIG, "url": f"https://me:{CONFIG}@host/x"}, retries=1)
    def connect(ctx, config):
        return {"rows": len(ctx.params["db_password"]) + len(config["api_token"])}

    @flow.step(config={"api_token": CONFIG})
    def query(ctx, config):
        password, url = ctx.params["db_password"], os.environ["AIRFLOW_CONN_LAKE"]
        statement = f"SET password = '{password}'"
        raise ConnectionRefusedError(
            f"{url} refused {statement} with token={TOKEN} and Authorization: Bearer {TOKEN} of {config['api_token']}"
        )

    @flow.step(after=[])
    def gate(ctx):
        return StepResult.fail(f"no: {os.environ['AIRFLOW_CONN_LAKE']}?password={TOKEN}", category="DATA_QUALITY")

    return flow


def found_in_tables(file: Path) -> dict[str, set[str]]:
    """Return which secrets stand in which column of a SQLite file, whatever their type."""
    return found_in_database(f"sqlite:///{file}")


def found_in_database(url: str) -> dict[str, set[str]]:
    """Return which secrets stand in which column of a database, whatever their type."""
    found: dict[str, set[str]] = {}
    engine = create_engine(url)
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            quoted = engine.dialect.identifier_preparer.quote(table)
            for row in connection.execute(text(f"SELECT * FROM {quoted}")).mappings():
                for name, value in row.items():
                    for secret in found_in(value):
                        found.setdefault(f"{table}.{name}", set()).add(secret)
    engine.dispose()
    return found


def found_in(value: object) -> set[str]:
    """Return which secrets stand in a value or in its text."""
    shown = value.tobytes() if isinstance(value, memoryview) else value
    readable = shown.decode("latin-1") if isinstance(shown, bytes) else str(shown)
    return {secret for secret in ALL if secret in readable}


def found_in_files(folder: Path) -> dict[str, set[str]]:
    """Return which secrets stand in which files below a folder, as bytes; databases are :func:`found_in_tables`'s."""
    found: dict[str, set[str]] = {}
    for file in folder.rglob("*"):
        if file.is_file() and ".db" not in file.name:
            for secret in found_in(file.read_bytes()):
                found.setdefault(str(file.relative_to(folder)), set()).add(secret)
    return found
