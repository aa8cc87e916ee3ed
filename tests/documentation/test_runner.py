"""What runs the pages notices what is wrong in them."""

import sqlite3

import pytest

from documentation import commands, runner
from documentation.pages import Block


def block(language, text, title=None):
    return Block(page="page.md", line=10, language=language, title=title, text=text)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("python", "1 + 1    # 3", "page.md:10: the comment says 3, and it is 2"),
        ("python", "x = 'a'\nx    # 'b', on every engine", "page.md:11: the comment says 'b', and it is 'a'"),
        ("python", "n = 2    # 3: counted", "the comment says 3"),
        ("python", "def test_it() -> None:\n    assert 1 == 2", ""),
        ("pycon", ">>> 1 + 1\n3", "Got:"),
        ("console", "$ echo one\ntwo", "--- printed\none"),
        ("console", "$ false", "exit code 1"),
        ("console", "flowctx run flows:nav --partitoin x", "No such option"),
        ("console", "flowctx runn flows:nav", "No such command"),
        ("console", "airflow backfill create --dag x", "2"),
        ("console", "make tset", "the Makefile has no tset"),
        ("console", "pip install 'flowctx[arflow]'", "there is no extra 'arflow'"),
        ("console", "frobnicate", "nothing can say whether"),
        ("rust", "fn main() {}", "nothing runs blocks of 'rust'"),
        ("json", '{"a": ', ""),
        ("sql", "SELECT x FROM nowhere", "no such table"),
    ],
)
def test_what_is_wrong_in_a_page_is_found(language, text, words, tmp_path, monkeypatch):
    """A wrong value, output, option, command or language fails, with the place in the page where there is one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AssertionError, ValueError, sqlite3.Error)) as caught:
        runner.Session("page.md").run(block(language, text))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "2    # 2, and prose\n3    # prose that is no value\n'x'    # 'x'"),
        ("python", "from datetime import date\nday = date(2026, 1, 9)    # date(2026, 1, 9)"),
        ("pycon", ">>> 1 + 1\n2"),
        ("console", "$ echo one two  # a remark\none …\n$ exit 3    # exit code 3"),
        ("console", "flowctx run flows:nav --partition date=2026-01-09,fund=GROWTH    # a remark"),
        ("text", "any picture"),
    ],
)
def test_what_is_right_in_a_page_passes(language, text, tmp_path, monkeypatch):
    """Values, outputs with holes, meant exit codes and remarks are as a reader takes them."""
    monkeypatch.chdir(tmp_path)
    runner.Session("page.md").run(block(language, text))


def test_each_program_that_is_parsed_can_be():
    """A right command of every program passes."""
    for line in ("dagster dev -f x.py", "dg launch --assets a/b", "airflow dags list", "make test PYTHON=python3.12"):
        commands.check_commands(block("console", line))
