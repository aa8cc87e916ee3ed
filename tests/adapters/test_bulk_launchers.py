"""Starting slices on an Airflow or a Dagster that loses answers, has slices under way, or sees them die."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.engine_servers import Airflow, Dagster, serving
from adapters.test_dagster_launcher import GONE, UNREACHABLE, answer_first
from backfill.flows import flow
from flowctx import Backfill, EngineError
from flowctx.backfill import LaunchProgress, http
from flowctx.backfill.airflow import AirflowLauncher
from flowctx.backfill.airflow_bulk import AirflowBulkLauncher
from flowctx.backfill.dagster import DagsterLauncher
from flowctx.backfill.dagster_bulk import DagsterBulkLauncher
from flowctx.backfill.leading import LEASE
from flowctx.core.batches.bulk import GOT_THROUGH_TAG, BulkRequest, Slice
from flowctx.core.batches.records import PartitionState
from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

SOME = "date=2012-01-02..2012-01-06"  # 15 partitions
#: The REST API that the server here has.
AIRFLOW = pytest.mark.needs("airflow", "partitioned runs")


class BulkDagster(Dagster):
    """A Dagster with the bulk job."""

    def repositoriesOrError(self, info: Any) -> Any:
        """Return one repository with two jobs."""
        nodes = super().repositoriesOrError(info)["nodes"]
        nodes[0]["jobs"].append({"name": "filled__bulk"})
        return {"__typename": "RepositoryConnection", "nodes": nodes}


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    """A Dagster that has the bulk job."""
    with serving(BulkDagster()) as server:
        assert isinstance(server, Dagster)
        yield server


@pytest.fixture
def ledger() -> Ledger:
    """A ledger: nothing really runs."""
    return open_ledger("memory://")


def on_airflow(airflow: Airflow, ledger: Ledger) -> LaunchProgress:
    """Launch a batch in bulk on an Airflow."""
    launcher = AirflowBulkLauncher(AirflowLauncher(airflow.url), 2)
    return Backfill(flow, SOME, "b", params={"number": 7}, ledger=ledger).launch(launcher)


def on_dagster(dagster: Dagster, ledger: Ledger) -> LaunchProgress:
    """Launch a batch in bulk on a Dagster."""
    launcher = DagsterBulkLauncher(DagsterLauncher(dagster.url), 2)
    return Backfill(flow, SOME, "b", params={"number": 7}, ledger=ledger).launch(launcher)


@AIRFLOW
@pytest.mark.parametrize("trouble", [None, 503, "drop", "lose"])
def test_a_batch_is_one_run_of_the_bulk_dag(airflow: Airflow, ledger: Ledger, trouble: int | str | None) -> None:
    """Its conf has the batch, the parameters and twice as many slices as lanes; a lost answer makes no second run."""
    airflow.troubles = [("POST", trouble)] if trouble else []
    on_airflow(airflow, ledger)
    (run,) = airflow.runs.values()
    bulk = run["conf"]["bulk"]
    request = BulkRequest.from_dict(bulk)
    assert (request.batch_id, dict(request.params)) == ("b", {"number": 7})
    assert [part["left"] for part in bulk["slices"]] == [3, 4, 4, 4]
    assert run["dag_run_id"].startswith("bulk__b__")
    assert any(call == "POST /api/v2/dags/filled__bulk/dagRuns" for call in airflow.calls)


@AIRFLOW
def test_what_ran_under_a_dag_of_another_name_is_found(airflow: Airflow, ledger: Ledger) -> None:
    """The launcher of partitions knows the name, and is asked in bulk, too."""
    airflow.most = 100
    native, backfill = AirflowLauncher(airflow.url, dag_id="funds"), Backfill(flow, SOME, "b", ledger=ledger)
    backfill.launch(native)
    airflow.troubles = [("GET /api/v2/dags/filled ", 404)]
    found = list(AirflowBulkLauncher(native).find(backfill.record(), flow))
    assert len(found) == len(list(native.find(backfill.record(), flow))) == 15


@AIRFLOW
def test_slices_under_way_are_followed_by_the_next_launch(airflow: Airflow, ledger: Ledger) -> None:
    """They run in the name of the launch that was cut off; what they leave is started in that of the next."""
    request = BulkRequest(batch_id="b", launcher="gone:1:ab", launched_at=datetime(2026, 1, 9, tzinfo=UTC))
    batch = Backfill(flow, SOME, "b", params={"number": 7}, ledger=ledger)
    ledger.batches.lead("b", "gone:1:ab", LEASE, lambda known: batch.record())
    # The server lists runs that have a certain word in their conf.
    conf = {"bulk": {**request.to_dict(), "slices": []}, "note": "nothing"}
    airflow.most, airflow.runs = 10, {"theirs": {"dag_run_id": "theirs", "conf": conf, "state": "running"}}
    on_airflow(airflow, ledger)
    theirs, ours = airflow.runs.values()
    assert [part["left"] for part in ours["conf"]["bulk"]["slices"]] == [3, 4, 4, 4]
    assert ours["conf"]["bulk"]["launcher"] != theirs["conf"]["bulk"]["launcher"]
    assert ledger.batches.acquire_launch_lease("b", "next", LEASE) == "next"


def test_no_slice_runs_what_is_under_way_with_other_parameters(dagster: Dagster, ledger: Ledger) -> None:
    """The partitions fail, and say so; what is done stays done though somebody runs it otherwise."""
    day = Backfill(flow, "date=2012-01-02", "b", params={"number": 7}, ledger=ledger)
    day.launch(DagsterLauncher(dagster.url))
    other = Backfill(flow, "date=2012-01-02..2012-01-03", "b", params={"number": 1}, ledger=open_ledger("memory://"))
    other.launch(DagsterLauncher(dagster.url))
    own = list(dagster.runs)[:3]
    for run_id, run in dagster.runs.items():
        run["status"] = "SUCCESS" if run_id in own else "STARTED"
    batch = Backfill(flow, SOME, "b", params={"number": 7}, ledger=ledger)
    done = batch.launch(DagsterBulkLauncher(DagsterLauncher(dagster.url), 2), extend=True)
    assert (done.ended, done.before) == ({PartitionState.FAILED: 3}, {PartitionState.OK: 3})
    slices = [run["config"]["ops"]["run_slice"]["config"]["slice"] for run in list(dagster.runs.values())[9:]]
    assert sum(part["left"] for part in slices) == 9


@AIRFLOW
def test_slices_that_do_not_get_through_are_logged(
    airflow: Airflow, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """With how many there are, and where their logs are."""
    airflow.tasks = [{"task_id": "run_slice", "state": "failed", "map_index": n, "try_number": 3} for n in range(2)]
    with caplog.at_level(logging.ERROR):
        assert not on_airflow(airflow, ledger).complete
    assert "2 slices did not get through; see their logs in run bulk__b__" in caplog.text


def test_each_slice_is_a_run_of_the_bulk_job(dagster: Dagster, ledger: Ledger) -> None:
    """Its configuration has the batch and its slice, its tags the batch's id and in whose name it runs."""
    on_dagster(dagster, ledger)
    configs = [run["config"]["ops"]["run_slice"]["config"] for run in dagster.runs.values()]
    assert [config["slice"]["left"] for config in configs] == [3, 4, 4, 4]
    assert {BulkRequest.from_dict(config["bulk"]).batch_id for config in configs} == {"b"}
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in dagster.runs.values()]
    assert {tag["flowctx/batch_id"] for tag in tags} == {"b"}
    assert len({tag["flowctx/launcher"] for tag in tags}) == 1


@pytest.mark.parametrize(("status", "runs"), [("FAILURE", 3), ("CANCELED", 1), ("SUCCESS", 1)])
def test_a_slice_whose_run_dies_is_started_again(
    dagster: Dagster, ledger: Ledger, status: str, runs: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Three times in all; one that somebody stopped is not."""
    dagster.status = status
    on_dagster(dagster, ledger)
    slices = Counter(run["config"]["ops"]["run_slice"]["config"]["slice"]["select"] for run in dagster.runs.values())
    assert set(slices.values()) == {runs}
    assert ("4 slices did not get through" in caplog.text) is (status != "SUCCESS")


@pytest.mark.parametrize("answer", [GONE, UNREACHABLE])
def test_a_slice_waits_for_code_that_is_away(dagster: Dagster, ledger: Ledger, answer: Any) -> None:
    """A code location that is deployed anew: each slice is started once, when it is back."""
    answer_first(dagster, answer)
    on_dagster(dagster, ledger)
    assert len(dagster.runs) == 4


def test_code_that_stays_away_starts_no_slice(
    dagster: Dagster, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the launch, and the same command goes on."""
    monkeypatch.setattr(http, "_PATIENCE_SECONDS", 0.0)
    dagster.instead = [("launchRun(", {"data": {"launchRun": GONE}})]
    with pytest.raises(
        EngineError, match="does not start a slice of batch 'b': Could not find Pipeline .*code location"
    ):
        on_dagster(dagster, ledger)
    dagster.instead = []
    on_dagster(dagster, ledger)
    assert len(dagster.runs) == 4


def test_each_launch_starts_dying_slices_as_often(dagster: Dagster, ledger: Ledger) -> None:
    """One launcher may launch several batches."""
    dagster.status = "FAILURE"
    launcher = DagsterBulkLauncher(DagsterLauncher(dagster.url), 2)
    for batch_id in ("one", "two"):
        Backfill(flow, SOME, batch_id, ledger=ledger).launch(launcher)
    assert len(dagster.runs) == 2 * 3 * 4


def test_a_slice_that_got_through_is_not_started_again(dagster: Dagster, ledger: Ledger) -> None:
    """Its run fails if partitions of it have, and its tag says that there is no more to run."""
    dagster.status = "FAILURE"
    real = dagster.launchRun

    def tagged(info: Any, executionParams: Any) -> Any:
        answer = real(info, executionParams)
        dagster.runs[answer["run"]["runId"]]["tags"].append({"key": GOT_THROUGH_TAG, "value": "yes"})
        return answer

    dagster.launchRun = tagged  # type: ignore[method-assign]
    on_dagster(dagster, ledger)
    assert len(dagster.runs) == 4


def test_a_slice_that_somebody_re_executes_is_followed(dagster: Dagster) -> None:
    """What its worker is at is under way: the slices are not over before it is."""
    dagster.status = "STARTED"
    request = BulkRequest(batch_id="b", launcher="me", launched_at=datetime(2026, 1, 9, tzinfo=UTC))
    bulk = DagsterBulkLauncher(DagsterLauncher(dagster.url), 1)
    bulk.check(flow)
    bulk.start(request, [Slice(select=SOME, digest="d", partitions=1, left=1)])
    (first,) = dagster.runs.values()
    again = dagster.runs["again"] = {**first, "runId": "again"}
    first["status"] = "CANCELED"
    assert not bulk.is_over()
    assert "1 slice did not get through" in str(bulk.failure())
    again["status"] = "SUCCESS"
    assert (bulk.is_over(), bulk.failure()) == (True, None)


def test_more_lanes_than_a_page_of_runs(dagster: Dagster, ledger: Ledger) -> None:
    """All slices under way are asked for, by whoever has started them and by whoever follows them."""
    dagster.status = "STARTED"
    request = BulkRequest(batch_id="b", launcher="me", launched_at=datetime(2026, 1, 9, tzinfo=UTC))
    first, second = (DagsterBulkLauncher(DagsterLauncher(dagster.url), 150) for _ in range(2))
    first.check(flow)
    first.start(request, [Slice(select=SOME, digest="d", partitions=1, left=1)] * 200)
    assert not first.is_over()
    assert (len(dagster.runs), first.failure()) == (150, None)
    assert second.launcher_under_way(Backfill(flow, SOME, "b", ledger=ledger).record()) == "me"
    oldest, *others = dagster.runs.values()
    for run in others:
        run["status"] = "SUCCESS"
    assert not second.is_over()
    oldest["status"] = "SUCCESS"
    assert second.is_over()


def test_without_a_bulk_job_nothing_is_remembered(ledger: Ledger) -> None:
    """The message says what to put into a code location."""
    with serving(Dagster()) as server:
        assert isinstance(server, Dagster)
        with pytest.raises(EngineError, match=r"put workflow_bulk_job\(filled\), or `bulk: true` in its YAML, into"):
            on_dagster(server, ledger)
    assert ledger.find_batch("b") is None
