"""Launching batches on a Dagster that drops connections, where nobody can choose a run's id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.engine_servers import Dagster, serving
from backfill.flows import flow
from flowctx import Backfill
from flowctx.backfill import Tally
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.core.batches import PartitionState
from flowctx.core.ports import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02"  # 3 partitions


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    with serving(Dagster()) as server:
        assert isinstance(server, Dagster)
        yield server


@pytest.fixture
def ledger() -> Ledger:
    return open_ledger("memory://")


def fill(dagster: Dagster, ledger: Ledger) -> Tally:
    return Backfill(flow, SOME, "b", ledger=ledger).launch(DagsterLauncher(dagster.url))


def test_each_partition_is_one_run(dagster: Dagster, ledger: Ledger) -> None:
    """A run has Dagster's key of its partition and the batch id as tags."""
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in dagster.runs.values()]
    assert [tag["dagster/partition"] for tag in tags] == [f"2012-01-02|T{n}" for n in (1, 2, 3)]
    assert {tag["dagster/partition/tier"] for tag in tags} == {"T1", "T2", "T3"}
    assert {tag["flowctx/batch_id"] for tag in tags} == {"b"}


@pytest.mark.parametrize("trouble", [503, "drop", "lose"])
def test_a_lost_answer_is_not_a_second_run(dagster: Dagster, ledger: Ledger, trouble: int | str) -> None:
    """After a call that failed it is looked for the run before it is started again."""
    dagster.troubles = [("launchRun(", trouble)]
    assert fill(dagster, ledger).ended == {PartitionState.OK: 3}
    assert len(dagster.runs) == 3


def test_runs_of_a_launch_that_was_killed_are_found(dagster: Dagster, ledger: Ledger) -> None:
    """Runs that nobody could note are found by their tags: nothing is left to run."""
    fill(dagster, open_ledger("memory://"))
    assert fill(dagster, ledger).before == {PartitionState.OK: 3}
    assert len(dagster.runs) == 3
