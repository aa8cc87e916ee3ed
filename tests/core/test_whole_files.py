"""Files that are written all or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowctx.core.whole_files import WholeFile, whole_file, write_whole


def test_a_file_takes_its_place_in_one_step(tmp_path: Path) -> None:
    """Until it is committed, the former content is there; then the new one, and nothing beside it."""
    place = tmp_path / "file"
    place.write_bytes(b"old")
    new = WholeFile(place)
    new.file.write(b"new")
    new.file.flush()
    assert place.read_bytes() == b"old"
    new.commit()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"new")]


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    """It is a link as before, and the file has the bytes."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_whole(tmp_path / "link", b"new")
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").read_bytes()) == (True, b"new")


def test_a_pipe_or_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    """A file of its name would take the place of /dev/null for everybody."""
    os.mkfifo(pipe := tmp_path / "pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"new")
    assert (os.read(reader, 9), pipe.is_fifo()) == (b"new", True)
    os.close(reader)


def test_a_file_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    """What was written is gone, and the place is as it was."""
    new = WholeFile(tmp_path / "file")
    new.file.write(b"new")
    new.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_former_file(tmp_path: Path) -> None:
    """Where the bytes do not fit, the error is the system's, and the former file is whole."""
    place = tmp_path / "file"
    place.write_bytes(b"old")
    code = (
        "import resource, signal, sys\n"
        "from flowctx.core.whole_files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(sys.argv[1], b'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_who_may_read_it_is_said(tmp_path: Path) -> None:
    """The mode holds, less the umask."""
    before = os.umask(0o022)
    try:
        with whole_file(tmp_path / "mine", mode=0o600):
            pass
        write_whole(tmp_path / "everybody's", b"")
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("mine", "everybody's")] == ["0o600", "0o644"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Nobody makes folders by the way."""
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "file", b"")
