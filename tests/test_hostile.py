"""Who writes into a ledger, an XCom, a conf or a tag cannot make a reader open, import, run or reach anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a program that reads the whole corpus was made to do, as an audit hook saw it."""
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile.py")), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,  # a FIFO, a device or an endless number would hang it
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_opened_imported_run_or_reached(told):
    """Of thousands of payloads, rows and names none opens a file outside the store, imports, runs code or connects."""
    assert told["count"] > 5000
    assert told["canaries"] == ["open", "import"]  # the hook sees what it looks for
    assert told["seen"] == {}
    assert told["files"] == ["store"]


def test_every_error_is_ours_and_short(told):
    """What cannot be read is refused in our words, and quotes little of it."""
    assert told["raw"] == {}
