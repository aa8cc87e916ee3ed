"""Engines that are started once, for the first test that wants them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.sharing import shared
from flowctx.dagster import WorkflowIOManager


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all processes that run tests of this session."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "engines"


@pytest.fixture(scope="session")
def airflow(session: Path) -> Iterator[AirflowStack]:
    """The Airflow of all tests."""
    with shared("airflow", session) as facts:
        yield AirflowStack.from_dict(facts)


@pytest.fixture(scope="session")
def dagster(session: Path) -> Iterator[DagsterStack]:
    """The Dagster of all tests."""
    with shared("dagster", session) as facts:
        yield DagsterStack.from_dict(facts)


@pytest.fixture(scope="session")
def outputs(dagster: DagsterStack) -> WorkflowIOManager:
    """Where workflows keep their outputs by default."""
    return WorkflowIOManager(base_path=str(dagster.home / "storage" / "flowctx"))


@pytest.fixture(scope="session")
def ledger_url(session: Path) -> Iterator[str]:
    """The ledger, on PostgreSQL, that both engines know."""
    with shared("postgres", session) as facts:
        yield facts["ledger"]
