"""Rows as CSV: as if all were known at once, with few of them in memory."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import os
import tempfile
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx.core import temporary_files
from flowctx.core.errors import FlowctxError
from flowctx.versions import waiting_rows
from flowctx.versions.rows import text
from flowctx.versions.waiting_rows import csv_blocks

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text('a,"\n\r é\ud800', max_size=4)
    | st.lists(st.integers(), max_size=2)
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1), min_size=1, max_size=10)


@settings(deadline=None)
@given(ROWS, st.sampled_from([1, 2, 500]), st.sampled_from([1, 1 << 20]))
def test_rows_are_written_as_if_all_were_known(rows, block, in_memory):
    """Whichever row a column first comes in, its name is in the first line, and it is empty in the rows before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting_rows, "_BLOCK", block)
        patch.setattr(temporary_files, "_IN_MEMORY", in_memory)
        found = "".join(csv_blocks(rows))
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    writer = csv.writer(made := io.StringIO(), lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text(row.get(name)) for name in columns] for row in rows)
    assert found == made.getvalue().replace("\ud800", "\\ud800")


class Row(dict):
    """A row that one can watch."""

    def __hash__(self):
        return id(self)


def test_few_rows_are_in_memory():
    """Of five thousand rows, no more than a block are there at any time."""
    alive, most = weakref.WeakSet(), 0

    def rows():
        nonlocal most
        for number in range(5000):
            row = Row(number=number)
            alive.add(row)
            most = max(most, len(alive))
            yield row

    assert sum(block.count("\n") for block in csv_blocks(rows())) == 5001
    assert most <= 1002


def test_a_full_disk_is_said_where_it_is(monkeypatch, tmp_path):
    """Rows that wait need room in another folder than the file that is written."""
    monkeypatch.setattr(temporary_files, "_IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(FlowctxError, match="set TMPDIR to a folder that has room"):
        list(csv_blocks([{"a": "long"}]))


def test_a_disk_that_is_full_in_the_end_leaves_no_rows(monkeypatch):
    """What is left in a buffer is written before the names of the columns are given."""
    monkeypatch.setattr(temporary_files, "_IN_MEMORY", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: io.TextIOWrapper(io.BufferedRandom(Full())))
    found = csv_blocks([{"a": "long"}])
    with pytest.raises(FlowctxError, match="No space left on device"):
        next(found)


class Full(io.RawIOBase):
    """A file on a disk without room."""

    def readable(self):
        return True

    writable = seekable = readable

    def seek(self, offset, whence=0):
        return 0

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
