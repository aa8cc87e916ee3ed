"""What stands for a table or file in a payload, and what cannot."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import PayloadError
from flowctx.core.data.references import FileReference, TableReference, check_path
from flowctx.core.hashing import sha256

NAME = "0123456789abcdef" * 2
PATH = f"shared/tables/01/{NAME}.parquet"
TABLE = TableReference(digest="a" * 64, size=5, path=PATH, rows=2, checksum="b" * 64, columns=(("x", "int64"),))
FILE = FileReference(digest=sha256(b"bytes"), size=5, data=b"bytes", name="report.pdf")


@pytest.mark.parametrize("reference", [TABLE, FILE, replace(TABLE, columns=None)])
def test_a_reference_comes_back(reference):
    """What is written is read back and nothing but JSON's own types, and what is not known is left out."""
    data = reference.to_json()
    assert json.loads(json.dumps(data)) == data
    assert type(reference).from_json(data) == reference
    assert None not in data.values()


def test_bytes_travel_as_text():
    """Data inside is base64, so that the reference is JSON."""
    assert FILE.to_json()["data"] == "Ynl0ZXM="


@pytest.mark.parametrize("kind", ["tables", "outputs", "files"])
def test_a_path_is_of_one_form(kind):
    """A prefix, a kind, two characters, a random name and an ending: nothing else."""
    path = f"my-flow/{kind}/01/{NAME}.json"
    assert check_path(path) == path
    for wrong in (path.upper(), f"/{path}", f"../{path}", path.replace(kind, "other"), f"{path}/", f"{path}\n"):
        with pytest.raises(PayloadError, match="is no path in an artifact store"):
            check_path(wrong)


@given(st.text(st.sampled_from("abc019/.-\\:\n "), max_size=30))
def test_no_other_path_leads_anywhere(text):
    """What is taken for a path has no parent, no scheme and no root."""
    try:
        check_path(text)
    except PayloadError:
        return
    assert not text.startswith(("/", "."))
    assert ".." not in text
    assert ":" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": -1}, "size is -1; it must be a count"),
        ({"size": True}, "size is True"),
        ({"rows": 2**53}, "rows is"),
        ({"digest": "A" * 64}, "digest is .*; it must be a SHA-256"),
        ({"checksum": "b"}, "checksum is"),
        ({"path": None}, "either a path or data"),
        ({"path": "/etc/passwd"}, "no path in an artifact store"),
        ({"columns": [["x"]]}, "pairs of name and type"),
        ({"columns": [["x", 1]]}, "pairs of name and type"),
        ({"colour": "red"}, "a reference has no colour"),
    ],
)
def test_a_table_s_reference_is_checked(change, message):
    """Each field that cannot be is refused by name."""
    data = {name: value for name, value in {**TABLE.to_json(), **change}.items() if value is not None}
    with pytest.raises(PayloadError, match=message):
        TableReference.from_json(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 4}, "its data has 5 bytes, not 4"),
        ({"digest": "0" * 64}, "not what was written"),
        ({"name": ""}, "no name of a file"),
        ({"name": ".."}, "no name of a file"),
        ({"name": "a/b"}, "no name of a file"),
        ({"name": 7}, "no name of a file"),
        ({"path": PATH}, "either a path or data"),
    ],
)
def test_a_file_s_reference_is_checked(change, message):
    """A file's name leads nowhere, and its data is what was written."""
    with pytest.raises(PayloadError, match=message):
        FileReference.from_json({**FILE.to_json(), **change})


def test_a_table_s_data_is_what_was_written():
    """The checksum of a table is that of its bytes; its digest is that of its content."""
    inside = {"digest": "a" * 64, "size": 5, "data": "Ynl0ZXM=", "rows": 1, "checksum": sha256(b"bytes")}
    assert TableReference.from_json(inside).data == b"bytes"
    with pytest.raises(PayloadError, match="not what was written"):
        TableReference.from_json({**inside, "checksum": "c" * 64})


def test_columns_are_tuples_again():
    """JSON has lists for them; a reference that is read back has tuples, as a value that cannot be changed."""
    data = {**TABLE.to_json(), "columns": [["x", "int64"]]}
    assert TableReference.from_json(data).columns == (("x", "int64"),)


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_a_reference_is_a_dict(data):
    """Anything else is damaged."""
    with pytest.raises(PayloadError, match="a reference is a dict"):
        FileReference.from_json(data)
