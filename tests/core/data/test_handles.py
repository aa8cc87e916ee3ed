"""Tables, files and artifacts wherever they are in plain data."""

from hypothesis import given

from flowctx import ArtifactRef, File
from flowctx.core.data.encoding import decode, encode
from flowctx.core.data.files import FileReference
from flowctx.core.data.handles import artifacts_in, bind, paths_in, replaced
from flowctx.core.data.plain import FrozenDict, freeze
from flowctx.core.data.references import TableReference
from flowctx.core.data.tables import Table
from flowctx.core.hashing import sha256
from strategies import plain_data

PATH = f"shared/tables/ab/{'0' * 32}.parquet"
HELD = f"shared/files/cd/{'1' * 32}.pdf"
REF = ArtifactRef(uri="shared/outputs/ab/x.json", digest="0" * 64, size=3, holds=(HELD,))
TABLE = Table(TableReference(digest="1" * 64, size=3, path=PATH, rows=2, checksum="2" * 64))
FILE = File.of(FileReference(digest=sha256(b"pdf"), size=3, data=b"pdf", name="a.pdf"))


def test_artifacts_in_finds_references():
    """References are found wherever they are, in order."""
    value = freeze({"a": [REF, {"b": TABLE}], "c": 1, "d": FILE})
    assert list(artifacts_in(value)) == [REF, TABLE, FILE]
    assert decode(encode(value)) == value


def test_paths_in_says_what_has_to_be_kept():
    """The paths are those of artifacts, of what they hold in turn, and of stored tables; data inside has none."""
    assert list(paths_in(freeze({"a": [REF], "b": TABLE, "c": FILE}))) == [REF.uri, HELD, PATH]


def test_bind_says_where_they_are():
    """A table is bound to the first store that it is read from, and stays there."""
    table = Table(TABLE.reference)
    bind(freeze({"a": [table, REF]}), "one store")
    bind(freeze({"a": [table]}), "another store")
    assert table.store == "one store"


def test_replaced_changes_tables_and_files_only():
    """Every table and file is replaced wherever it is; what is around them stays equal and read-only."""
    value = freeze({"a": [TABLE, 1], "b": {"c": FILE}, "d": REF})
    found = replaced(value, lambda handle: type(handle).__name__)
    assert found == {"a": ["Table", 1], "b": {"c": "File"}, "d": REF}
    assert type(found) is FrozenDict


@given(plain_data())
def test_what_has_no_table_stays_the_same_object(value):
    """Data without tables and files is not copied."""
    frozen = freeze(value)
    assert replaced(frozen, lambda handle: None) is frozen
