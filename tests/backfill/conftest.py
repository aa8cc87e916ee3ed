"""A ledger in a file, and batches that run in processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """That ledger."""
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """The file in which steps note that they were called."""
    return tmp_path / "notes"
