"""Ledgers to test: an own SQLite file or PostgreSQL database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowctx.core.durability.ledger import Ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock
from postgres import postgres_database, postgres_server


@pytest.fixture(scope="session", name="postgres_server")
def _postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    with postgres_server() as url:
        yield url


@pytest.fixture(name="postgres_url")
def _postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the ledgers of a test."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Ledger]:
    """A ledger of each kind."""
    if request.param == "memory":
        yield MemoryLedger(clock)
        return
    ledger = SqlLedger(request.getfixturevalue(f"{request.param}_url"), clock=clock)
    yield ledger
    ledger.close()
