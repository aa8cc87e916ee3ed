"""The tree: a test for each file of core, the sizes of files and functions, and the names in them."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src/flowctx/core"
SOURCES = {str(path.relative_to(ROOT / "src/flowctx")): path for path in sorted((ROOT / "src").rglob("*.py"))}

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 40
SIGNATURE = "a public call whose parameters take a line each"
#: Functions that are longer, and why they may be.
LONG_FUNCTIONS = {
    "airflow/context.py: run_context": SIGNATURE,
    "airflow/running.py: run_dag": SIGNATURE,
    "cli/batches.py: backfill": "one decorator a line for each option of the command",
    "core/workflow/run_context.py: begin": SIGNATURE,
    "dagster/run_facts.py: context": "what a run begins with, an argument a line",
    "dagster/definitions.py: workflow_assets": SIGNATURE,
    "dagster/running.py: run_assets": SIGNATURE,
    "local/__init__.py: run": SIGNATURE,
    "ledger/migrations/versions/v0001_ledger.py: upgrade": "all tables of the first version, which never changes",
}
#: Participles, pronouns and pictures, where a noun of the field is meant.
UNCLEAR_NAMES = {"said", "told", "wishes", "about", "mine", "whole", "book", "lap"}


def functions(path):
    """Yield the functions in a file."""
    return (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of_code(function):
    """Count the lines of a function beside its docstring."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if docstring else 0)


def declares_only(path):
    """Say whether a file has no code to test: it is a port, or values without methods."""
    return all(
        isinstance(f.body[-1], ast.Expr) and getattr(f.body[-1].value, "value", 0) is ... for f in functions(path)
    )


@cache
def identifiers(path):
    """Return the names in a file: of variables, parameters, attributes, functions, classes and modules."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {getattr(node, field, None) for node in nodes for field in ("id", "arg", "attr", "name", "asname")}


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("core/") and "__init__" not in name])
def test_every_file_of_core_has_a_test_file(name):
    """What a file of core does is tested in the file of the same name, unless it only declares."""
    tests = ROOT / "tests" / Path(name).with_name(f"test_{Path(name).name}")
    assert tests.exists() or declares_only(SOURCES[name]), f"write {tests.relative_to(ROOT)}"


def test_no_file_is_too_long():
    """Whoever opens a file can read it in one go."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_no_function_is_too_long():
    """Longer functions have a reason that stands above, and none stands there that is gone."""
    found = {f"{name}: {f.name}": lines_of_code(f) for name, path in SOURCES.items() for f in functions(path)}
    longer = {name: lines for name, lines in found.items() if lines > MOST_LINES_OF_A_FUNCTION}
    assert {name: lines for name, lines in longer.items() if name not in LONG_FUNCTIONS} == {}
    assert LONG_FUNCTIONS.keys() <= found.keys()


@pytest.mark.parametrize("name", sorted(UNCLEAR_NAMES))
def test_names_are_words_of_the_field(name):
    """No variable, parameter, attribute or function has a name that says nothing of what it is."""
    assert [source for source, path in SOURCES.items() if name in identifiers(path)] == []
