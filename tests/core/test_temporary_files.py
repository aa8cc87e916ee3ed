"""Items that wait in a temporary file."""

from __future__ import annotations

import sqlite3
import tempfile

import pytest

from flowctx.core import temporary_files
from flowctx.core.errors import FlowctxError
from flowctx.core.temporary_files import WaitingItems, having_room


@pytest.mark.parametrize("in_memory", [1, 1 << 20])
def test_items_come_back_in_order_each_time(monkeypatch, in_memory):
    """Whatever text is in them, and whether they are in a file yet."""
    monkeypatch.setattr(temporary_files, "_IN_MEMORY", in_memory)
    items = [["a\nb\u2028", None], [1.5, "\ud800é"], []]
    with WaitingItems() as waiting:
        for item in items:
            waiting.put(item)
        assert list(waiting) == list(waiting) == items


def test_no_room_is_said_where_it_is(monkeypatch, tmp_path):
    """It names the variable that says where temporary files are."""
    monkeypatch.setattr(temporary_files, "_IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with WaitingItems() as waiting, pytest.raises(FlowctxError, match="set TMPDIR to a folder that has room"):
        waiting.put("long")


def test_no_room_is_said_of_what_others_write():
    """An error of theirs is one of the file; any other goes through."""
    words = r"cannot be written \(database or disk is full\); set TMPDIR"
    with pytest.raises(FlowctxError, match=words), having_room(sqlite3.OperationalError):
        raise sqlite3.OperationalError("database or disk is full")
    with pytest.raises(ValueError, match="no"), having_room(sqlite3.OperationalError):
        raise ValueError("no")
