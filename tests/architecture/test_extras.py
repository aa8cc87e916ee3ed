"""What is imported is installed: with flowctx alone, or by the extra that the error names."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

from flowctx.core.extras import EXTRAS
from flowctx.ledger.database_errors import no_driver

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/flowctx"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: The extra that a room needs: without it, nothing of the room is imported.
ROOMS = {
    "artifacts": "tables",
    "airflow": "airflow",
    "dagster": "dagster",
    "calendars": "calendars",
    "examples": "examples",
}
INSTALLED = packages_distributions()
#: What only code of somebody who has it imports: of frames of theirs, or in tests of theirs.
THEIRS = {"artifacts": {"pandas"}, "testing": {"pytest"}}


def distribution(requirement):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def modules(requirements):
    """Return the modules of distributions, as they are installed here."""
    wanted = {distribution(each) for each in requirements}
    return {name for name, owners in INSTALLED.items() if wanted & {*map(distribution, owners)}}


def brought(requirements):
    """Return distributions and all that they require without an extra of theirs."""
    found, left = set(), [distribution(each) for each in requirements]
    while left:
        if (name := left.pop()) in found:
            continue
        found.add(name)
        try:
            left += [distribution(each) for each in requires(name) or () if "extra ==" not in each]
        except PackageNotFoundError:  # for another platform
            continue
    return found


def imported(room):
    """Return the modules of other projects that a room imports, each with a file that does."""
    found = {}
    for path in [*(SOURCE / room).rglob("*.py"), *SOURCE.glob(f"{room}.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0]: path.name for name in names}
    return {name: file for name, file in found.items() if name not in {*sys.stdlib_module_names, "flowctx", ""}}


@pytest.mark.parametrize("room", sorted(path.stem for path in SOURCE.iterdir() if not path.name.startswith("__py")))
def test_what_a_room_imports_is_installed_with_its_extra(room):
    """Each module of another project comes with flowctx, or with the extra that the room needs."""
    extra = PROJECT["optional-dependencies"].get(ROOMS.get(room), [])
    there = modules(brought([*PROJECT["dependencies"], *extra])) | THEIRS.get(room, set())
    missing = {name: file for name, file in imported(room).items() if name not in there}
    assert missing == {}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_brings_the_modules_that_its_error_names(extra):
    """Who types what the error says has the module then."""
    assert set(EXTRAS[extra]) <= modules(brought(PROJECT["optional-dependencies"][extra]))


def test_every_extra_is_known():
    """An extra that is added says what it brings."""
    assert {*PROJECT["optional-dependencies"]} - {"all"} == {*EXTRAS}


def test_a_driver_that_is_missing_is_named():
    """For psycopg the extra, for another driver its own package, and for a broken one what it says."""
    errors = ModuleNotFoundError(name="psycopg"), ModuleNotFoundError(name="psycopg2"), ImportError("libx")
    assert [str(no_driver("postgresql://db/x", error)) for error in errors] == [
        "the ledger postgresql://db/x needs psycopg, which is not installed; type: pip install 'flowctx[postgres]'",
        "the ledger postgresql://db/x needs psycopg2, which is not installed; type: pip install psycopg2-binary",
        "the driver of the ledger postgresql://db/x cannot be imported: libx",
    ]
