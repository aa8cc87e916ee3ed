"""The same workflow on every engine."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import pytest

from flowctx import run
from flowctx.airflow import workflow_dag
from flowctx.airflow.running import run_dag
from flowctx.dagster.running import run_assets
from flowctx.examples.prices import prices
from flowctx.testing.engines import EngineContract

#: An ordinary day, one before the stock was traded, and one that does not pass a strict gate.
PRICES = [
    ({"partition": "2012-10-26|IBM"}, "ok"),
    ({"partition": "2004-08-18|GOOG"}, "skipped"),
    ({"partition": "2000-09-29|AAPL", "params": {"max_move": 0.25}}, "failed"),
]


class PricesContract(EngineContract):
    """Every engine runs the example alike, too."""

    @pytest.mark.parametrize(("about", "status"), PRICES)
    def test_the_example(self, about, status):
        """Real prices: an ordinary, a skipped and a failing partition."""
        assert self.assert_same_as_local(prices, **about).status == status


class TestHere(PricesContract):
    """The local runner, against itself: the contract is not empty, and running has no effect on the next run."""

    def run_on_engine(self, workflow, **about):
        return run(workflow, **about)


class TestAirflow(PricesContract):
    """Airflow, as ``dag.test()`` runs it."""

    def run_on_engine(self, workflow, **about):
        return run_dag(workflow_dag(workflow), **about)


class TestDagster(PricesContract):
    """Dagster, as ``materialize()`` runs it."""

    def run_on_engine(self, workflow, **about):
        return run_assets(workflow, **about)
