"""The linter of arrows sees what it is there for: each import that may not be is planted, and found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = "The rooms of core: what may import what"
HOUSE = "The house: what may import what"
CIRCLES = "No two files import each other"


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources and of the contracts."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(folder):
    """Return the contracts that the linter finds broken in a folder."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    broken = [line.removesuffix(" BROKEN") for line in done.stdout.splitlines() if line.endswith(" BROKEN")]
    assert done.returncode == bool(broken), done.stdout + done.stderr
    return broken


def test_as_it_is_no_contract_is_broken(copy):
    """The sources keep all contracts, so that what the tests below find is what they plant."""
    assert broken_contracts(copy) == []


@pytest.mark.parametrize(
    ("file", "imported", "contract"),
    [
        ("core/workflow/checkpoint.py", "flowctx.core.workflow.context", CIRCLES),
        ("core/data/references.py", "flowctx.core.data.encoding", CIRCLES),
        ("core/dates/zones.py", "flowctx.core.workflow.result", ROOMS),
        ("core/execution/execute.py", "flowctx.core.durability.recorder", ROOMS),
        ("core/batches/records.py", "flowctx.core.execution.envelope", ROOMS),
        ("core/clock.py", "flowctx.ledger", HOUSE),
        ("core/attic.py", "json", ROOMS),
        ("core/hashing.py", "sqlalchemy", "Core does no I/O and knows no library but msgspec"),
    ],
)
def test_a_planted_import_is_caught(copy, file, imported, contract):
    """A circle, an import of a room above or beside, of the house around core, or of a library, and a new room."""
    with (copy / "src/flowctx" / file).open("a") as source:
        source.write(f"\nimport {imported}\n")
    assert contract in broken_contracts(copy)
