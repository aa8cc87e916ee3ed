"""Commands say what they have to say in whatever encoding standard output and the locale have."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SOURCE = """
from flowctx import PartitionScheme, Workflow

prices = Workflow("prices", partitions=PartitionScheme(city=["Zürich"]))

@prices.step()
def load(ctx):
    print("Zürich €")
    return {"text": "Zürich € \U0001f600"}
"""
LOAD = ("output", "wide_flows:prices", "load")


@pytest.fixture
def wide(shell):
    """A shell with a batch of which the ids, keys and values are beyond ASCII."""
    (shell.folder / "wide_flows.py").write_text(SOURCE, encoding="utf-8")
    shell("run", "wide_flows:prices", "--partition", "Zürich", "--run-id", "rün", "--batch", "bätch")
    yield shell
    sys.modules.pop("wide_flows", None)


def flowctx(*args, **environment):
    """Run the command as a process, and return its exit code, its output and its errors."""
    how = {"env": os.environ | environment, "capture_output": True, "check": False}
    done = subprocess.run([sys.executable, "-m", "flowctx", *args], **how)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize(
    "command", [("status", "bätch", "--json"), ("runs", "--json"), (*LOAD, "--to", "json")], ids=" ".join
)
def test_json_is_the_same_in_every_encoding(wide, encoding, command):
    """What an encoding does not hold is an escape of JSON's."""
    code, text, errors = flowctx(*command, PYTHONIOENCODING=encoding)
    assert (code, errors) == (0, b"")
    assert not repr(json.loads(text.decode(encoding))).isascii()
    assert json.loads(text.decode(encoding)) == json.loads(flowctx(*command, PYTHONIOENCODING="utf-8")[1])


@pytest.mark.parametrize("command", [("status", "bätch"), LOAD, ("run", "--help")], ids=" ".join)
def test_people_read_escapes_of_what_an_encoding_does_not_hold(wide, command):
    """No text ends half-way, that of --help included."""
    lines = flowctx(*command, PYTHONIOENCODING="utf-8")[1].decode().splitlines()
    code, text, errors = flowctx(*command, PYTHONIOENCODING="latin-1")
    assert (code, errors) == (0, b"")
    assert len(text.splitlines()) == len(lines)
    assert b"\\u" in text


def test_csv_ends_at_a_character_that_the_encoding_does_not_hold(wide):
    """It has no escapes: a reader would take them for the text; a file is UTF-8 everywhere."""
    code, text, errors = flowctx(*LOAD, "--to", "csv", PYTHONIOENCODING="latin-1")
    assert (code, text) == (2, b"city,text\n")
    assert b"which does not hold '\\u20ac': what is written is not whole" in errors
    assert b"set PYTHONIOENCODING=utf-8, or name a file: --file NAME" in errors
    assert flowctx(*LOAD, "--file", "load.csv", PYTHONIOENCODING="latin-1")[0] == 0
    assert "Zürich" in (wide.folder / "load.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["cp1252", "gb18030"])
def test_csv_that_an_encoding_holds_is_written(wide, encoding):
    """Other characters, which it does not hold, are no reason to refuse it."""
    end = "" if encoding == "cp1252" else " \U0001f600"
    file = wide.folder / "wide_flows.py"
    file.write_text(SOURCE.replace(" \U0001f600", end), encoding="utf-8")
    flowctx("run", "wide_flows:prices", "--partition", "Zürich", "--batch", "bätch")
    code, text, errors = flowctx(*LOAD, "--to", "csv", PYTHONIOENCODING=encoding)
    assert (code, errors) == (0, b"")
    assert text.decode(encoding) == f"city,text\nZürich,Zürich €{end}\n"


@pytest.mark.parametrize("command", [("status", "bätch"), ("runs", "--batch", "bätch")], ids=" ".join)
def test_an_id_that_the_locale_cannot_read_is_refused(wide, command):
    """Its bytes are those of another name: nothing would be found under it."""
    code, text, errors = flowctx(*command, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (code, text) == (2, b"")
    assert b"cannot be read in the encoding of the locale, ascii; set PYTHONUTF8=1" in errors


def test_a_program_that_calls_the_command_has_its_stream_back(wide):
    """Escapes are the command's own: what the program prints goes on to fail as it did."""
    code = "import sys; from flowctx.cli import cli; cli(['runs'], standalone_mode=False); print(sys.stdout.errors)"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.endswith(b"\nstrict\n")


def test_a_step_prints_in_whatever_encoding_there_is(wide):
    """In this process as in a worker of a batch."""
    run = ("run", "wide_flows:prices", "--partition", "Zürich")
    batch = ("backfill", "wide_flows:prices", "--batch", "printed", "--workers", "1")
    for command in (run, batch):
        code, text, errors = flowctx(*command, PYTHONIOENCODING="ascii")
        assert (code, b"Z\\xfcrich \\u20ac" in text + errors) == (0, True), errors
