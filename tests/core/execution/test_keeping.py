"""Where the tables and files of an output go before it is handed on."""

import pyarrow as pa
import pytest

from flowctx import File, OutputTooLarge, StepResult
from flowctx.artifacts import PathArtifactStore
from flowctx.core.data.tables import MAX_INLINE_BYTES
from flowctx.core.execution.keeping import keep_tables

ROWS = pa.table({"n": [1, 2, 3]})


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * (MAX_INLINE_BYTES + 1))
    return File(path)


def test_with_a_store_they_are_stored(tmp_path):
    """Tables and files go to the store, wherever in the output they are."""
    (tmp_path / "a.txt").write_text("hello")
    store = PathArtifactStore(str(tmp_path / "store"), inline_bytes=0)
    output = StepResult.ok({"rows": ROWS, "files": [File(tmp_path / "a.txt")]}).output
    kept = keep_tables(output, store, "load")
    assert (kept["rows"].stored_in(store), kept["files"][0].stored_in(store)) == (True, True)
    assert (kept["rows"].head(1), kept["files"][0].read_bytes()) == ([{"n": 1}], b"hello")


def test_a_tiny_table_needs_no_file_of_its_own(tmp_path):
    """A table that is smaller than a file would be travels inside, with a store too."""
    store = PathArtifactStore(str(tmp_path / "store"))
    kept = keep_tables(StepResult.ok({"rows": ROWS}).output, store, "load")
    assert kept["rows"].reference.data is not None


def test_without_a_store_small_ones_travel_inside():
    """A small table is handed on as it is, in the output itself."""
    output = StepResult.ok({"rows": ROWS}).output
    kept = keep_tables(output, None, "load")
    assert kept is output
    assert kept["rows"].reference.data is not None


def test_without_a_store_large_ones_are_refused(large):
    """What is over the limit needs a store; the message names the step, the size and the remedy."""
    output = StepResult.ok({"report": large}).output
    with pytest.raises(OutputTooLarge, match=r"a file .* 'load' hands on takes 49,153 bytes.*set FLOWCTX_ARTIFACTS"):
        keep_tables(output, None, "load")


def test_the_limit_itself_is_allowed(tmp_path):
    """A file of exactly the limit travels inside."""
    (tmp_path / "a.bin").write_bytes(b"x" * MAX_INLINE_BYTES)
    output = StepResult.ok({"file": File(tmp_path / "a.bin")}).output
    assert keep_tables(output, None, "load")["file"].bytes == MAX_INLINE_BYTES


def test_what_is_stored_already_is_not_refused(large, tmp_path):
    """A large file that a step before stored is handed on, with or without a store."""
    kept = keep_tables(StepResult.ok({"file": large}).output, PathArtifactStore(str(tmp_path / "store")), "load")
    assert keep_tables(kept, None, "use") is kept


def test_plain_data_is_returned_as_it_is():
    """An output without tables and files is not copied."""
    output = StepResult.ok({"a": [1, {"b": 2}]}).output
    assert keep_tables(output, None, "load") is output
