"""Tables: for wide and narrow terminals, and for pipes."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from flowctx.cli.blocks import Block, Cell, Paragraph
from flowctx.cli.output import blocks, print_table, wider
from flowctx.cli.standard_output import write_data

COLUMNS = ("run", "partition", "why")
ROWS = [["batch__b__2012-10-26~IBM__1", "date=2012-10-26|symbol=IBM", "3 rows of 4 are missing from the file"]]


def lines(width, rows=ROWS):
    out = Console(file=io.StringIO(), width=width)
    for block in blocks(COLUMNS, [[row] for row in rows], wider(list(map(len, COLUMNS)), rows), width):
        out.print(block)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def test_a_wide_terminal_shows_a_table():
    """Where there is room, a row is a line."""
    assert lines(120)[1].split("  ") == ROWS[0]


def test_ids_are_never_broken():
    """Where there is less room, only the last column is folded: ids can be copied."""
    header, first, second = lines(90)
    assert header.split() == list(COLUMNS)
    assert first.split("  ")[:2] == ROWS[0][:2]
    assert second.split() == ["file"]


def test_a_narrow_terminal_shows_a_block_for_each_row():
    """Where a table could not be read, each row is a block of names and values, without the empty ones."""
    assert lines(60, [*ROWS, ["r2", "date=2012-10-31|symbol=IBM", ""]]) == [
        "run        batch__b__2012-10-26~IBM__1",
        "partition  date=2012-10-26|symbol=IBM",
        "why        3 rows of 4 are missing from the file",
        "",
        "run        r2",
        "partition  date=2012-10-31|symbol=IBM",
        "",
    ]


@pytest.mark.parametrize("columns", ["40", "200"])
def test_a_pipe_gets_a_line_for_each_row(capsys, monkeypatch, columns):
    """What is piped is not folded, whatever the terminal, and has no blanks at the ends of its lines."""
    monkeypatch.setenv("COLUMNS", columns)
    print_table("runs", COLUMNS, [[*ROWS[0][:2], "a long reason, " * 30 + "\nin lines"]])
    title, header, row = capsys.readouterr().out.splitlines()
    assert (title, header) == ("runs", header.rstrip())
    assert row.startswith("  ".join(ROWS[0][:2]))
    assert row.endswith("a long reason, in lines")


WORDS = st.text(st.sampled_from("ab [/]=日é✗"), max_size=6).map(str.strip)
CELLS = st.builds(Cell, WORDS, st.sampled_from(["", "red", "bold yellow"]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1), st.tuples(WORDS, WORDS, WORDS), st.booleans())
def test_a_pipe_gets_what_a_wide_terminal_shows(rows, headings, right):
    """Columns are as wide, and each text is where it is, whatever characters are in it."""
    facts = Block(rows=[row[:2] for row in rows if row[1].text] or [(Cell("a"), Cell("b"))])
    for block in (
        Block(rows=rows, headings=headings, right=right),
        facts,
        Paragraph([cell for row in rows for cell in row]),
    ):
        out = Console(file=io.StringIO(), width=1000)
        out.print(block)
        assert [line.rstrip() for line in block.lines()] == [
            line.rstrip() for line in out.file.getvalue().removesuffix("\n").split("\n")
        ]


def test_headings_are_text(capsys):
    """A heading may be a name from data: control characters are shown as escapes, and nothing is taken for markup."""
    print_table("rows", ["\x1b]0;own\x07", "[red]m[/red]"], [["a", "b"]])
    assert capsys.readouterr().out.splitlines()[1] == r"\x1b]0;own\x07  [red]m[/red]"


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self):
        return True


def test_data_is_exact_unless_somebody_looks_at_it(capsys, monkeypatch):
    """What goes to a pipe or a file is the data; a terminal is sent nothing that acts on it."""
    write_data("a\x1b[2J\x9b\tb\n")
    assert capsys.readouterr().out == "a\x1b[2J\x9b\tb\n"
    monkeypatch.setattr(sys, "stdout", Terminal())
    write_data("a\x1b[2J\x9b\tb\n")
    assert sys.stdout.getvalue() == "a\\x1b[2J\\x9b\tb\n"
