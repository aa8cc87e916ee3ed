"""Set-up of the adapters' tests."""

from pathlib import Path

import pytest

import adapters.airflow_support  # noqa: F401  # before any test module imports Airflow
from adapters.abilities import require
from flowctx.ledger import open_ledger


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the engine that is installed cannot do: ``@pytest.mark.needs("airflow", "retry policies")``.

    What a test needs is written into the report, by which ``make test-reach`` counts.
    """
    for mark in item.iter_markers("needs"):
        engine, ability = mark.args
        require(engine, ability)
        item.user_properties.append(("needs", ability))


@pytest.fixture
def airflow():
    """A server with the API of Airflow."""
    from adapters.engine_servers import Airflow, serving

    with serving(Airflow()) as server:
        yield server


@pytest.fixture
def dagster():
    """A server with the API of Dagster."""
    from adapters.engine_servers import Dagster, serving

    with serving(Dagster()) as server:
        yield server


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger in a file, which the environment names."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def jobs_by_name(monkeypatch):
    """Let Dagster import the tests by the names that they have here, as it does to run a job again."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
