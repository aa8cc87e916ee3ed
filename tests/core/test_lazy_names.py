"""Names that a package imports when they are first used."""

import importlib
import subprocess
import sys

import pytest

import flowctx.testing
from flowctx import MissingExtra

PACKAGES = ["flowctx", "flowctx.airflow", "flowctx.backfill", "flowctx.dagster", "flowctx.testing"]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_found_and_listed(name: str) -> None:
    """What ``__all__`` says is there, and ``dir`` says it before anybody has asked for it."""
    package = importlib.import_module(name)
    assert set(package.__all__) <= set(dir(package))
    assert [public for public in package.__all__ if not hasattr(package, public)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """It says the package and the name, as Python does."""
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'workflow_dagg'"):
        _ = package.workflow_dagg


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once found, it is the package's own, so that ``__getattr__`` is not asked again."""
    package = importlib.import_module("flowctx.backfill")
    monkeypatch.delitem(vars(package), "Plan", raising=False)
    found = package.Plan
    assert vars(package)["Plan"] is found


def test_importing_a_package_imports_no_engine() -> None:
    """Only what is used is imported."""
    code = (
        "import sys, flowctx.airflow, flowctx.backfill, flowctx.dagster, flowctx.testing;"
        "print(sorted({'airflow', 'dagster', 'pytest', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_contract_says_that_it_needs_pytest(monkeypatch):
    """Where pytest is not installed, it is named, with what to type."""
    monkeypatch.delitem(sys.modules, "flowctx.testing.ledgers", raising=False)
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(MissingExtra, match=r"flowctx\.testing\.LedgerContract needs pytest.*pip install pytest"):
        flowctx.testing.__getattr__("LedgerContract")
