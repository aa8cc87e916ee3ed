"""Runs the blocks of one page in their order, as a reader would who types them; a program of its own.

* ``python`` with a title is a file, and is imported; without one it is typed into one session that lasts for the page.
  A comment that begins with a value, after an expression or a name that is assigned, is compared with the value.
* ``pycon`` is a session with its output.
* ``console`` with ``$`` before its commands is run, and the output shown is compared; ``# exit code 1`` is meant.
  Without ``$`` its commands are only looked at, since they have placeholders or start servers.
* ``sql`` is asked of the page's ledger. Other files are parsed by what they are.
"""

from __future__ import annotations

import ast
import configparser
import doctest
import io
import json
import os
import re
import runpy
import sqlite3
import subprocess
import sys
import tokenize
import tomllib
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from documentation.commands import check_commands
from documentation.pages import Block, blocks, first_workflow

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: What a comment may hold beside literals.
VALUES = {"date": date, "datetime": datetime, "timedelta": timedelta, "Decimal": Decimal}


class Session:
    """What the blocks of a page share: a folder, the names typed so far, and the environment."""

    def __init__(self, page: str) -> None:
        self.page = page
        # A module of its own, so that classes and functions that are typed have one.
        self.module = ModuleType("page")
        sys.modules["page"] = self.module
        self.names = self.module.__dict__

    def run(self, block: Block) -> None:
        """Run one block."""
        kind = getattr(self, f"run_{block.language or 'text'}", None)
        assert kind is not None, f"{block.where}: nothing runs blocks of {block.language!r}"
        if block.title:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        kind(block)

    def run_python(self, block: Block) -> None:
        if block.title is None:
            self.typed(block)
        elif Path(block.title).name.startswith("test_"):
            code = pytest.main(["-q", "-s", "-p", "no:cacheprovider", block.title])
            assert code == 0, f"{block.where}: {block.title}: exit code {code}"
        elif "/" in block.title:
            runpy.run_path(block.title)
        else:
            sys.modules.pop(Path(block.title).stem, None)
            __import__(Path(block.title).stem)

    def typed(self, block: Block) -> None:
        """Type a block into the session; then call the tests that it defines."""
        tree = ast.parse(block.text)
        comments = _comments(block.text)
        for statement in tree.body:
            shift(statement, block.line - 1)
            self.statement(statement, comments.get((statement.end_lineno or 0) - block.line + 1), block)
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                self.names[statement.name]()

    def statement(self, statement: ast.stmt, comment: str | None, block: Block) -> None:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), block.page, "eval", dont_inherit=True), self.names)
        else:
            exec(compile(ast.Module([statement], []), block.page, "exec", dont_inherit=True), self.names)
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            if len(targets) != 1 or not isinstance(targets[0], ast.Name):
                return
            value = self.names[targets[0].id]
        if comment is not None:
            compare(value, comment, f"{block.page}:{statement.lineno}")

    def run_pycon(self, block: Block) -> None:
        examples = doctest.DocTestParser().get_doctest(block.text, self.names, block.where, block.page, block.line - 1)
        examples.globs = self.names
        report = io.StringIO()
        failed, _ = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(
            examples, out=report.write, clear_globs=False
        )
        assert not failed, f"{block.where}:\n{report.getvalue()}"

    def run_console(self, block: Block) -> None:
        transcript = _transcript(block.text)
        if not transcript:
            check_commands(block)
        for command, wanted, code in transcript:
            export = re.fullmatch(r"export (\w+)=(\S+)", command)
            if export:
                os.environ[export[1]] = export[2]
                continue
            done = subprocess.run(
                ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            assert done.returncode == code, f"{block.where}: {command}: exit code {done.returncode}\n{done.stdout}"
            shown = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
            if wanted.strip():
                fits = doctest.OutputChecker().check_output(wanted.replace("…", "..."), shown, FLAGS)
                assert fits, f"{block.where}: {command}\n--- printed\n{shown}\n--- the page has\n{wanted}"

    def run_sql(self, block: Block) -> None:
        with sqlite3.connect("ledger.db") as ledger:
            ledger.execute(block.text).fetchall()

    def run_json(self, block: Block) -> None:
        json.loads(block.text)

    def run_yaml(self, block: Block) -> None:
        assert yaml.safe_load(block.text), block.where

    def run_toml(self, block: Block) -> None:
        tomllib.loads(block.text)

    def run_ini(self, block: Block) -> None:
        configparser.ConfigParser().read_string(block.text)

    def run_text(self, block: Block) -> None:
        """Pictures and messages do nothing."""


def compare(value: Any, comment: str, where: str) -> None:
    """Compare a value with what its comment says, as far as the comment begins with a value."""
    for end in [len(comment), *(m.start() for m in reversed(list(re.finditer(r"[,:;]| {2,}", comment))))]:
        text = comment[:end].strip()
        try:
            said = eval(text, dict(VALUES))
        except Exception:  # prose
            continue
        if isinstance(said, type) or callable(said):
            return
        assert value == said or repr(value) == text, f"{where}: the comment says {text}, and it is {value!r}"
        return


def shift(statement: ast.stmt, lines: int) -> None:
    """Let tracebacks point into the page."""
    ast.increment_lineno(statement, lines)


def _comments(code: str) -> dict[int, str]:
    """Return the comments at the ends of lines of code, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
    }


def _transcript(text: str) -> list[tuple[str, str, int]]:
    """Return the commands after ``$``, what each one prints, and the exit code that is meant."""
    found: list[tuple[str, str, int]] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        command = [lines.pop(0)]
        while command[-1].endswith("\\"):
            command.append(lines.pop(0))
        line = "\n".join(command)
        code = re.search(r"#.*exit code (\d)", line)
        found.append((line.partition("  #")[0].strip(), "\n".join(lines), int(code[1]) if code else 0))
    return found


def main(page: str) -> None:
    """Run a page in the current folder."""
    sys.path.insert(0, os.getcwd())
    Path("flows.py").write_text(first_workflow())
    session = Session(page)
    for block in blocks(page):
        try:
            session.run(block)
        except BaseException as exc:
            exc.add_note(f"in the block at {block.where}")
            raise


if __name__ == "__main__":
    main(sys.argv[1])
