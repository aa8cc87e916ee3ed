"""What Airflow is still to make is waited for and not read from an older version."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.utils.types import DagRunType

from adapters.input_flows import workflows
from flowctx import PartitionScheme, Workflow, run
from flowctx.airflow import StepOperator, _compat, waiting, workflow_dag
from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.ordering import await_runs
from flowctx.airflow.planned_runs import DagRuns, together
from flowctx.airflow.waiting import InputsTrigger
from flowctx.core.batches.records import batch_run_id
from flowctx.core.durability import reading
from flowctx.testing import run_dag

DAY = datetime(2026, 1, 5, tzinfo=UTC)


class Waits(Exception):
    """Stands for what makes Airflow let go of a worker."""


def plan(dag, text, state, *, conf=None, ended=None, run_id=None):
    """Make a run of Airflow's own backfill for a key, as Airflow would, or one that somebody gives an id."""
    key = text if AIRFLOW.able("partitioned runs") else None
    infos = dag.timetable.iter_partition_dagrun_infos(earliest=DAY, latest=DAY)
    dates = {dag.timetable.key_at(info.data_interval.start): info.data_interval.start for info in infos if not key}
    run_type = "manual" if run_id else "backfill"
    run_id = run_id or dag.timetable.generate_run_id(
        run_type=DagRunType.BACKFILL_JOB, run_after=DAY, data_interval=None, partition_key=text
    )
    with _compat.open_session() as session:
        made = _compat.start_run(
            dag,
            run_id=run_id,
            conf=conf or {},
            logical_date=dates.get(text),
            partition_key=key,
            run_type=run_type,
            session=session,
        )
        made.state, made.end_date = state, ended
    return run_id


def asked(reader, item, keys, ledger, *, dag_id="asks", batch_id="b", run_type="backfill"):
    """Ask inside a real task, on behalf of a run of a batch."""
    answers = []

    def wait_for(runs):
        raise Waits(*runs)

    operator = SimpleNamespace(
        workflow=reader, context_of=lambda context: SimpleNamespace(batch_id=batch_id), wait_for=wait_for
    )
    with DAG(dag_id) as dag:

        @task
        def ask():
            context = get_current_context()
            seen = {"ti": context["ti"], "dag": context["dag"], "dag_run": SimpleNamespace(run_type=run_type)}
            try:
                answers.append(await_runs(operator, seen, item, keys, ledger))
            except Waits as waits:
                answers.append(waits)

        ask()
    run_dag(dag).raise_for_failure()
    return answers[0]


def test_what_a_backfill_is_to_make_is_waited_for(ledger):
    """Only runs of the partitions that are read count, of every DAG of the workflow, whatever its id is."""
    nav, desk = workflows("planned")
    dag = workflow_dag(nav, dag_id="funds")
    a, b = (nav.partition_key(f"2026-01-05|{fund}") for fund in "AB")
    run_dag(dag, partition=a)
    run_id = plan(dag, "2026-01-05|A", "queued")
    item = desk["report"].inputs["funds"]
    waits = asked(desk, item, [a, b], ledger)
    (found,) = waits.args
    assert found.dag_id == "funds"
    assert found.run_ids == (run_id,) if AIRFLOW.able("partitioned runs") else found.logical_dates
    assert asked(desk, item, [b], ledger) == {}
    assert asked(desk, item, [a], ledger, run_type="scheduled") == {}
    assert asked(desk, item, [a], ledger, run_type="manual") == {}


@pytest.mark.needs("airflow", "partitioned runs")
@pytest.mark.parametrize("who", ["a batch", "its second try", "a person", "one who reads ours"])
def test_whatever_began_a_run_it_is_waited_for(ledger, who):
    """A run of a launched batch has another id, and one by hand has any; what fails of the same batch is said, too."""
    nav, desk = workflows(f"begun_by_{who.replace(' ', '_')}")
    dag = workflow_dag(nav)
    a, b = (nav.partition_key(f"2026-01-05|{fund}") for fund in "AB")
    run_dag(dag, partition=a)
    of_batch = batch_run_id(nav.name, "b", a, "2026-01-05|A")
    ids = {"a batch": of_batch, "its second try": f"{of_batch}__0a1b2c3d", "a person": "fix-of-monday"}
    run_id = ids.get(who, "batch__ours__2026-01-05~A")
    plan(dag, "2026-01-05|A", "queued", run_id=run_id)
    item = desk["report"].inputs["funds"]
    assert asked(desk, item, [a, b], ledger).args == (DagRuns(nav.name, (run_id,)),)
    assert asked(desk, item, [b], ledger) == {}
    with _compat.open_session() as session:
        made = session.query(DagRun).filter_by(run_id=run_id).one()
        made.state, made.end_date, made.conf = "failed", DAY, {"batch_id": "b"}
    found = asked(desk, item, [a, b], ledger)
    assert (list(found), run_id in found[a].why) == ([a], True)
    assert asked(desk, item, [a], ledger, batch_id="other") == {}


def test_runs_that_do_several_values_are_waited_for_by_the_rest_of_the_key(ledger):
    """A DAG that is mapped over funds makes both in the run of the date."""
    nav, desk = workflows("mapped_planned")
    dag = workflow_dag(nav, map_over=["fund"])
    run_dag(dag, partition="2026-01-05")
    plan(dag, "2026-01-05", "running")
    item, key = desk["report"].inputs["funds"], nav.partition_key("2026-01-05|B")
    assert [runs.dag_id for runs in asked(desk, item, [key], ledger).args] == [nav.name]
    assert asked(desk, item, [nav.partition_key("2026-01-06|B")], ledger) == {}


@pytest.mark.parametrize("batch_id", ["b", None])
def test_what_failed_in_the_same_backfill_is_said_with_its_run(ledger, batch_id):
    """A failure of another batch is none of this one; a backfill that names no batch is one with others like it."""
    nav, desk = workflows(f"failing_{batch_id}")
    dag = workflow_dag(nav)
    run_dag(dag, partition="2026-01-05|A")
    plan(dag, "2026-01-05|A", "failed", conf={"batch_id": "other"}, ended=DAY)
    run_id = plan(dag, "2026-01-05|B", "failed", conf={"batch_id": batch_id} if batch_id else {}, ended=DAY)
    a, b = (nav.partition_key(f"2026-01-05|{fund}") for fund in "AB")
    found = asked(desk, desk["report"].inputs["funds"], [a, b], ledger, batch_id=batch_id)
    assert list(found) == [b]
    assert found[b].ended_at == DAY
    if AIRFLOW.able("partitioned runs"):
        assert run_id in found[b].why


def test_a_schedule_that_tells_no_partition_is_waited_for_as_a_whole(ledger):
    """Of one's own DAG that would be for ever: the message says what to do."""
    nav, desk = workflows("whole")
    dag = workflow_dag(nav, dag_id="any", schedule=None)
    item, key = desk["report"].inputs["funds"], nav.partition_key("2026-01-05|A")
    run_dag(dag, partition="2026-01-05|A")
    assert asked(desk, item, [key], ledger) == {}
    with _compat.open_session() as session:
        made = _compat.start_run(dag, run_id="q", conf={}, logical_date=None, partition_key=None, session=session)
        made.state = "queued"
    assert asked(desk, item, [key], ledger).args == (DagRuns("any"),)
    assert "give it a PartitionTimetable" in asked(nav, item, [key], ledger, dag_id="any")[key].why


@pytest.mark.parametrize(("ended", "reads"), [("2026-01-01", True), ("2999-01-01", False)])
def test_nothing_older_than_the_failure_is_read(ledger, ended, reads):
    """What was captured after the engine's run failed is no older version; what was before, is."""
    nav, desk = workflows(f"stand_in_{reads}")
    for fund in "AB":
        run(nav, partition=f"2026-01-05|{fund}").raise_for_failure()
    failed = reading.Unmade(datetime.fromisoformat(f"{ended}T00:00+00:00"), "whose run failed")
    step, ctx = desk["report"], run(desk, partition="2026-01-05").context
    inputs = reading.StepInputs(
        ledger, step, ctx, await_made=lambda item, keys: {nav.partition_key("2026-01-05|A"): failed}
    )
    if reads:
        assert len(inputs.load()["funds"]) == 2
        return
    with pytest.raises(reading.InputMissing, match=r"needs partition date=2026-01-05\|fund=A .*, whose run failed"):
        inputs.load()


def test_the_trigger_fires_when_all_runs_have_ended(monkeypatch, caplog):
    """It asks until nothing is to come, and again when Airflow gives no answer; why is logged without secrets."""
    runs = [DagRuns("nav", ("r1",)), DagRuns("desk", (), (DAY,))]
    answers = {"nav": [1, ConnectionError("token=hunter2\x1b[2J"), 0], "desk": [1, 0]}

    def count(dag_id, states, **which):
        assert states == ["queued", "running"]
        assert which == ({"run_ids": ["r1"]} if dag_id == "nav" else {"logical_dates": [DAY]})
        answer = answers[dag_id].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", staticmethod(count))
    path, arguments = InputsTrigger([one.to_dict() for one in runs], 0, first_seconds=0).serialize()
    assert path == "flowctx.airflow.waiting.InputsTrigger"

    async def first():
        return [event async for event in InputsTrigger(**arguments).run()]

    assert [event.payload for event in asyncio.run(first())] == [{"ended": True}]
    assert answers == {"nav": [], "desk": []}
    assert "ConnectionError: token=***" in caplog.messages[-1]
    assert "\x1b" not in caplog.text


def test_the_trigger_never_fires_at_once(monkeypatch):
    """Airflow fails a task that is woken before it has heard that the task waits; triggers stored earlier wait too."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(waiting.asyncio, "sleep", sleep)

    async def first():
        return [event async for event in InputsTrigger(runs=[], poll_seconds=5.0).run()]

    assert len(asyncio.run(first())) == 1
    assert waits == [waiting.FIRST_SECONDS]


def test_many_runs_are_asked_about_in_few_questions():
    """Each question is short enough for a URL."""
    runs = [DagRuns("nav", (f"r{n:03}",)) for n in range(250)] + [DagRuns("desk", (), (DAY,))]
    assert [(one.dag_id, len(one.run_ids)) for one in together(runs)] == [
        ("nav", 100),
        ("nav", 100),
        ("nav", 50),
        ("desk", 0),
    ]


def restated(name, ledger):
    """Return a workflow that is captured again as its step runs, and one that reads it."""
    nav = Workflow(f"{name}_nav", partitions=PartitionScheme(fund=["A"]), params={"price": 100.0})
    rep = Workflow(f"{name}_rep", partitions=nav.partitions)

    @nav.step()
    def value(ctx):
        if ctx.params["price"] == 100.0:
            run(nav, partition="A", batch_id="restate", params={"price": 200.0}, ledger=ledger).raise_for_failure()
        if ctx.params["price"] < 0:
            raise ValueError("feed is down")
        return {"nav": ctx.params["price"]}

    @rep.step(inputs={"read": nav.output("value")})
    def line(ctx, *, read):
        return read

    return nav, rep


def test_two_dags_with_one_run_id_make_no_batch(ledger):
    """Airflow gives all DAGs of a schedule the same ids; each reads what is current of the others."""
    nav, rep = restated("equal_ids", ledger)
    of_nav, of_rep = workflow_dag(nav), workflow_dag(rep)
    run_dag(of_nav, partition="A", run_id="eod").raise_for_failure()
    done = run_dag(of_rep, partition="A", run_id="eod").raise_for_failure()
    assert done.context.get_output("line") == {"nav": 200.0}


def test_two_workflows_in_one_dag_are_one_run(ledger):
    """What the run itself has made is read, or waited for, whatever is current."""
    nav, rep = restated("one_dag", ledger)
    with DAG("one_dag") as dag:
        value = StepOperator(step=nav["value"], workflow=nav)
        value >> StepOperator(step=rep["line"], workflow=rep, trigger_rule="all_done")
    done = run_dag(dag, partition="fund=A", run_id="both").raise_for_failure()
    assert done.context.get_output("line") == {"nav": 100.0}
    failed = run_dag(dag, partition="fund=A", run_id="late", params={"price": -1.0})["line"].error
    assert "in the same run 'late', which failed: step 'value': ValueError: feed is down; no older version" in failed


# -- which DAGs make a workflow ---------------------------------------------------------------------------------------


def written_down(dag):
    """Write a DAG down as the dag-processor does before Airflow knows it."""
    _compat.dag_serialization().to_dict(dag)


@pytest.mark.parametrize(("map_over", "dimensions"), [([], ("date", "fund")), (["fund"], ("date",))])
def test_a_dag_with_another_name_is_known_to_make_its_workflow(ledger, map_over, dimensions):
    """Whatever its id is, and before any of its runs begins."""
    nav, _ = workflows(f"named_{len(map_over)}")
    written_down(workflow_dag(nav, dag_id=f"funds_{len(map_over)}", map_over=map_over))
    assert ledger.engine_names("airflow", nav.name) == {f"funds_{len(map_over)}": dimensions}


def test_a_dag_that_is_called_like_its_workflow_needs_no_note(ledger):
    """Parsing it opens no ledger."""
    nav, _ = workflows("own_name")
    written_down(workflow_dag(nav))
    assert ledger.engine_names("airflow", nav.name) == {}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("FLOWCTX_LEDGER_URL", "postgresql://nobody@127.0.0.1:1/none"),
        ("AIRFLOW__FLOWCTX__LEDGER_CONN_ID", "there_is_none"),
    ],
)
def test_a_ledger_that_cannot_be_reached_does_not_keep_a_dag_from_being_stored(monkeypatch, caplog, setting, value):
    """The log of the dag-processor says what that means."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    monkeypatch.setenv(setting, value)
    nav, _ = workflows(f"lost_{setting.lower()}")
    written_down(workflow_dag(nav, dag_id=f"{nav.name}_funds"))
    assert f"does not know that DAG {nav.name}_funds makes workflow {nav.name}" in caplog.text
