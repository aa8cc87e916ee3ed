"""``File``: a handle of bytes that are on this machine, or in a store."""

import copy
import pickle

import pytest

from flowctx import File
from flowctx.core.data.references import FileReference
from flowctx.core.hashing import sha256


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "report.pdf"
    found.write_bytes(b"bytes")
    return found


def test_a_file_is_known_by_its_name_and_content(path):
    """The last part of its path, its size and its digest say what it is."""
    file = File(path)
    assert (file.name, file.bytes, file.digest) == ("report.pdf", 5, sha256(b"bytes"))
    assert repr(file) == "<File report.pdf: 5 bytes>"


def test_a_file_is_not_read_before_it_has_to_be(path):
    """Until somebody asks what is in it, it is a path on this machine; then its bytes are kept."""
    file = File(path)
    assert (file.source, repr(file)) == (str(path), f"File({str(path)!r})")
    path.write_bytes(b"later")
    assert file.read_bytes() == b"later"
    path.unlink()
    assert (file.source, file.read_bytes()) == (None, b"later")


def test_files_are_equal_if_name_and_content_are(path, tmp_path):
    """Where a file is does not count; what it is called does."""
    (tmp_path / "copy").mkdir()
    same, renamed, other = tmp_path / "copy" / "report.pdf", tmp_path / "a.pdf", tmp_path / "copy" / "b.pdf"
    same.write_bytes(b"bytes")
    renamed.write_bytes(b"bytes")
    other.write_bytes(b"other")
    assert File(path) == File(same)
    assert len({File(path), File(same), File(renamed), File(other)}) == 3
    assert File(path) != "report.pdf"


def test_a_file_survives_pickle_and_copies(path):
    """A pickle has the content; a copy is the handle itself."""
    file = File(path)
    assert pickle.loads(pickle.dumps(file)) == file
    assert copy.copy(file) is file
    assert copy.deepcopy(file) is file


def test_a_file_stays_in_its_store(path):
    """The first store that is named is where it is; one whose bytes travel inside is in none."""
    kept = File.of(FileReference(digest="0" * 64, size=5, path=f"shared/files/01/{'0' * 32}.pdf", name="a.pdf"))
    kept.bind("one")
    kept.bind("other")
    assert (kept.stored_in("one"), kept.stored_in("other")) == (True, False)
    assert File(path).stored_in("one") is False
    assert File.of(File(path).reference).stored_in("one") is False


def test_a_file_that_is_not_there_is_said(tmp_path):
    """A path without a file is an error when it is looked at."""
    with pytest.raises(OSError, match=r"gone\.pdf"):
        _ = File(tmp_path / "gone.pdf").digest
