"""A deployment that moves from Airflow 3.1, which has no partitioned runs, to one that has: nothing runs again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import adapters.airflow_support  # noqa: F401 - before Airflow

# isort: split
import pytest
from airflow.dag_processing.collection import _RunInfo
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task
from airflow.timetables.base import TimeRestriction

from adapters.airflow_names import DagSerialization
from flowctx import Daily, PartitionScheme, Workflow
from flowctx.airflow import _compat, workflow_context, workflow_dag
from flowctx.airflow.partitions import PartitionTimetable, id_text
from flowctx.airflow.run_order import lanes_of
from flowctx.airflow.running import run_dag
from flowctx.core.errors import CalendarError

pytestmark = pytest.mark.needs("airflow", "partitioned runs")  # it is the newer Airflow that goes on
SCHEME = PartitionScheme(
    date=Daily(start="2012-10-15", calendar="XNYS", timezone="America/New_York"), tier=["T1", "T2"]
)


def flow(name: str) -> Workflow:
    workflow = Workflow(name, partitions=SCHEME)
    workflow.step(name="s")(lambda ctx: {})
    return workflow


def with_history(dag: DAG, keys: list[str], *, run_id: str = "scheduled__{key}__0a1b2c3d") -> None:
    """Leave in Airflow's database what Airflow 3.1 leaves: a run by its logical date, the key's own instant."""
    run_dag(dag, partition="2012-10-15|T1")  # Airflow knows the DAG; this run, by hand, is none of its schedule
    instants = {lane.text(p): lane._instant(p) for lane in lanes_of(SCHEME) for p in map(lane_position(lane), keys)}
    with _compat.open_session() as session:
        for number, key in enumerate(keys):
            run = DagRun(
                dag_id=dag.dag_id,
                run_id=run_id.format(key=id_text(key), number=number),
                run_type="scheduled",
                logical_date=instants[key],
                run_after=instants[key],
                state="success",
            )
            run.data_interval_start = run.data_interval_end = instants[key]
            session.add(run)


def lane_position(lane):
    return lambda key: lane.position_of(key, SCHEME.period(SCHEME.parse(key)))


def next_key(dag: DAG, *, catchup: bool = True) -> str | None:
    """Return the key that Airflow schedules next, found as its DAG processor finds it."""
    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    with _compat.open_session() as session:
        latest = _RunInfo.calculate(stored, session=session).latest_run
    assert latest is None  # the fault that this is about: it looks at runs with a partition key only
    restriction = TimeRestriction(_compat.timezone.coerce_datetime(dag.start_date), None, catchup=catchup)
    info = stored.timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    return None if info is None else info.partition_key


def made(name: str, **how) -> DAG:
    return workflow_dag(flow(name), start_date=datetime(2012, 10, 15, tzinfo=UTC), catchup=True, **how)


def ordered(count: int) -> list[str]:
    """Return the first keys in the order of their runs."""
    [lane] = lanes_of(SCHEME)
    return [
        lane.text(type(lane.after(lane.info(lane_position(lane)("2012-10-15|T1"))))(n // 2, n % 2))
        for n in range(count)
    ]


@pytest.mark.parametrize("done", [2, 5])
def test_the_schedule_goes_on_after_what_ran_before_the_update(done: int) -> None:
    """The next key is the one after the latest run of the old Airflow, in the middle of a date too."""
    dag = made(f"moved_{done}")
    with_history(dag, ordered(done))
    assert next_key(dag) == ordered(done + 1)[-1]


def test_without_a_history_the_schedule_begins_at_its_start() -> None:
    """A DAG that is new begins with its first key."""
    dag = made("never_moved")
    run_dag(dag, partition="2012-10-15|T1")
    assert next_key(dag) == ordered(1)[0]


def test_runs_of_another_schedule_are_no_history() -> None:
    """A DAG that had a plain schedule before begins at its start: its old runs were about no partition."""
    dag = made("was_plain")
    with_history(dag, ordered(3), run_id="scheduled__2012-10-1{number}T00:00:00+00:00")
    assert next_key(dag) == ordered(1)[0]


def test_a_run_from_before_that_runs_again_knows_its_partition() -> None:
    """An old run that is cleared, or that was still queued, is about the key of its id and its logical date."""
    [lane] = lanes_of(SCHEME)
    key, seen = "2012-10-16|T2", []
    with DAG("cleared", schedule=PartitionTimetable(SCHEME), start_date=datetime(2012, 10, 15, tzinfo=UTC)) as dag:

        @task
        def about():
            seen.append(workflow_context(scheme=SCHEME).partition)

        about()
    instant = lane._instant(lane_position(lane)(key))
    run_dag(dag, logical_date=instant, run_id=f"manual__{id_text(key)}__0a1b2c3d").raise_for_failure()
    with pytest.raises(CalendarError, match="say the zone in the rule"):  # nothing says what another run is about
        run_dag(dag, logical_date=instant, run_id="by-hand").raise_for_failure()
    assert seen == [SCHEME.parse(key)]


def test_a_timetable_of_an_own_dag_is_told_its_dag() -> None:
    """`PartitionTimetable(scheme, dag_id=...)` goes on too; without the name it begins at the start."""
    for named, wanted in ((True, ordered(4)[-1]), (False, ordered(1)[0])):
        dag_id = f"own_{named}"
        schedule = PartitionTimetable(SCHEME, dag_id=dag_id if named else None)
        dag = made(dag_id, schedule=schedule)
        with_history(dag, ordered(3))
        assert next_key(dag) == wanted
