"""Items that wait in a temporary file."""

from __future__ import annotations

import sqlite3
import tempfile

import pytest

from flowctx.core import temporary_files
from flowctx.core.errors import ArtifactUnavailable, FlowctxError
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
    """It names the folder, and the variable that says where temporary files are."""
    monkeypatch.setattr(temporary_files, "_IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    words = rf"temporary files in {tmp_path}/nowhere cannot be written \(No such .*\); set TMPDIR to a folder"
    with WaitingItems() as waiting, pytest.raises(FlowctxError, match=words):
        waiting.put("long")


def test_where_there_is_no_folder_at_all_the_reason_names_those_that_were_tried(monkeypatch):
    """Python's own words for that are shown."""

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(temporary_files, "gettempdir", none)
    with pytest.raises(FlowctxError, match=r"^temporary files cannot be written \(No usable .*'/tmp'"), having_room():
        none()


def test_no_room_is_said_of_what_others_write():
    """An error of theirs is one of the file; any other goes through."""
    words = r"cannot be written \(database or disk is full\); set TMPDIR"
    with pytest.raises(FlowctxError, match=words), having_room(sqlite3.OperationalError):
        raise sqlite3.OperationalError("database or disk is full")
    with pytest.raises(ValueError, match="no"), having_room(sqlite3.OperationalError):
        raise ValueError("no")
    with pytest.raises(ArtifactUnavailable, match="^the store does not answer$"), having_room():
        raise ArtifactUnavailable("the store does not answer")
