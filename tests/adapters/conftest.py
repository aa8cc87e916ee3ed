"""Set-up of the adapters' tests."""

import importlib

import pytest

import adapters.airflow_support  # noqa: F401  # before any test module imports Airflow


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the engine that is installed cannot do: ``@pytest.mark.needs("airflow", "retry policies")``."""
    for mark in item.iter_markers("needs"):
        name, ability = mark.args
        engine = getattr(importlib.import_module(f"flowctx.{name}._versions"), name.upper())
        if not engine.able(ability):
            pytest.skip(f"{engine.name} {engine.found} has no {ability}; {engine.abilities[ability].since} has")
