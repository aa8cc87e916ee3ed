"""Ctrl-C while the command imports what it needs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: What Python imports first of all: Ctrl-C comes as a module is looked for that only flowctx needs.
STARTUP = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""
COMMAND = str(Path(sys.executable).with_name("flowctx"))


@pytest.mark.parametrize("at", ["flowctx.core.errors", "click"])
@pytest.mark.parametrize(
    "command", [[COMMAND], [sys.executable, "-m", "flowctx"], [sys.executable, "-m", "flowctx.cli"]]
)
def test_the_command_ends_by_the_signal(tmp_path, monkeypatch, command, at):
    """Which is 130 to a shell; a traceback would tell nobody anything."""
    assert interrupted(tmp_path, monkeypatch, [*command, "--version"], at) == (-signal.SIGINT, "")


def test_other_programs_are_left_alone(tmp_path, monkeypatch):
    """They may catch it."""
    code = "try:\n import flowctx\nexcept KeyboardInterrupt:\n print('caught')"
    assert interrupted(tmp_path, monkeypatch, [sys.executable, "-c", code], "flowctx.core.errors") == (0, "")


def test_a_command_that_has_begun_says_so(tmp_path, monkeypatch):
    """It ends in order, with 130."""
    code, printed = interrupted(tmp_path, monkeypatch, [COMMAND, "runs"], "flowctx.cli.inspecting")
    assert (code, printed.strip()) == (130, "Aborted!")


def interrupted(folder, monkeypatch, command, at):
    """Interrupt a command as it imports a module; return how it ended, and what it said."""
    (folder / "sitecustomize.py").write_text(STARTUP)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("AT", at)

    def as_in_a_shell():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, preexec_fn=as_in_a_shell)
    return done.returncode, done.stderr
