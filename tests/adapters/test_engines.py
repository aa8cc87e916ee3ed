"""The same workflow on every engine."""

import adapters.airflow_support  # noqa: F401  # before Airflow is imported

# isort: split
import pytest

from flowctx import Workflow, run
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


class Panic(BaseException):
    """What a library raises that is written in Rust."""


def panicking() -> Workflow:
    """A workflow whose first step panics."""
    flow = Workflow("panicking")

    @flow.step(retries=1)
    def load(ctx):
        raise Panic("no Int256")

    flow.step(name="use")(lambda ctx: {})
    flow.step(name="beside", after=[])(lambda ctx: {"n": 0})
    return flow


class PricesContract(EngineContract):
    """Every engine runs the example alike, too."""

    @pytest.mark.parametrize(("about", "status"), PRICES)
    def test_the_example(self, about, status):
        """Real prices: an ordinary, a skipped and a failing partition."""
        assert self.assert_same_as_local(prices, **about).status == status

    def test_a_panic_is_a_failure(self):
        """An exception that is no Exception is tried again, and other branches go on."""
        load, use, beside = self.assert_same_as_local(panicking()).steps
        assert (load.status, load.error, load.attempts) == ("failed", "Panic: no Int256", 2)
        assert (use.status, beside.status) == ("not_run", "ok")


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
