"""Set-up of the adapters' tests."""

import pytest

import adapters.airflow_support  # noqa: F401  # before any test module imports Airflow
from adapters.abilities import require


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the engine that is installed cannot do: ``@pytest.mark.needs("airflow", "retry policies")``."""
    for mark in item.iter_markers("needs"):
        require(*mark.args)
