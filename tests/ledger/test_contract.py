"""Every ledger keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowctx.core.durability.ledger import Ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.ledger.sql import SqlLedger
from flowctx.testing import FakeClock, LedgerContract


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, clock: FakeClock) -> Ledger:
        return MemoryLedger(clock)


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, clock: FakeClock, sqlite_url: str) -> Iterator[Ledger]:
        ledger = SqlLedger(sqlite_url, clock=clock)
        yield ledger
        ledger.close()


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, clock: FakeClock, postgres_url: str) -> Iterator[Ledger]:
        ledger = SqlLedger(postgres_url, clock=clock)
        yield ledger
        ledger.close()
