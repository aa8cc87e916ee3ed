"""Dagster's runs in the ledger: what is recorded of them, and what happens when it cannot be."""

import os
from collections import Counter
from datetime import timedelta

import dagster as dg
import pytest

from adapters.dagster_support import QUIET, Bench, persistent_instance
from flowctx import Daily, PartitionScheme, QualityMetrics, RetryPolicy, StepResult, Workflow, resume, run
from flowctx.core.durability.records import CaptureKey, RunStatus
from flowctx.dagster import WorkflowIOManager, partitions_def, workflow_context, workflow_definitions, workflow_job
from flowctx.dagster.running import run_assets
from flowctx.ledger import open_ledger

DAYS = PartitionScheme(date=Daily(start="2012-10-01", end="2012-10-31"))
FLAG = "FLOWCTX_TEST_FAILS"

flow = Workflow("kept", partitions=DAYS, params={"limit": 1})


@flow.step()
def fetch(ctx):
    """Say who fetched."""
    return StepResult.ok({"run": ctx.run_id}, context_updates={"cursor": 7})


@flow.step()
def load(ctx):
    """Fail while the flag is set, for each day or for the one that it names."""
    if os.environ.get(FLAG) in ("1", str(ctx.as_of_date)):
        raise ValueError("not yet")
    return {"fetched_by": ctx.get_output("fetch", "run"), "cursor": ctx.params["cursor"], "limit": ctx.params["limit"]}


def asset_job() -> dg.JobDefinition:
    """Return the workflow's asset job."""
    defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
    return defs.resolve_job_def("kept_job")


def ranged_job() -> dg.JobDefinition:
    """Return the workflow's asset job, which has many days in a run."""
    assets = workflow_definitions(flow, backfill_policy=dg.BackfillPolicy.single_run())
    return dg.Definitions.merge(assets, dg.Definitions(executor=dg.in_process_executor)).resolve_job_def("kept_job")


@dg.asset(partitions_def=partitions_def(DAYS))
def own(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Fail while the flag is set, and say what the run is about."""
    ctx = workflow_context(context, workflow=flow)
    if os.environ.get(FLAG):
        raise ValueError("not yet")
    return dg.MaterializeResult(metadata={"capture": ctx.capture_id, "limit": ctx.params["limit"]})


def own_job() -> dg.JobDefinition:
    """Return a job of an asset of one's own, in which no step is recorded."""
    jobs = [dg.define_asset_job("own_job", [own], executor_def=dg.in_process_executor)]
    return dg.Definitions([own], jobs=jobs).resolve_job_def("own_job")


def op_job() -> dg.JobDefinition:
    """Return the workflow as a job of ops."""
    return workflow_job(flow, executor_def=dg.in_process_executor)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(url, monkeypatch, jobs_by_name):
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


def execute(job, instance, parent=None, tags=None, again="from_failure"):
    """Run a job for a day, or run it again as Dagster does."""
    options = None
    if parent and again == "from_failure":
        options = dg.ReexecutionOptions.from_failure(parent, instance)
    elif parent:
        options = dg.ReexecutionOptions(parent)
    day = {} if parent and job is op_job else {"dagster/partition": "2012-10-26"}
    return dg.execute_job(
        dg.reconstructable(job), instance, run_config=QUIET, tags={**day, **(tags or {})}, reexecution_options=options
    )


def error_of(result):
    """Return why the first step of a run failed."""
    return next(event for event in result.all_events if event.is_step_failure).step_failure_data.error.message


@pytest.mark.parametrize("job", [asset_job, op_job])
def test_what_had_a_ledger_says_so(job, ledger, tmp_path):
    """The outputs of steps say so in their metadata, by which a launch knows what is missing in a ledger."""
    with persistent_instance(tmp_path) as instance:
        done = execute(job, instance, tags={"flowctx/partition": "2012-10-26"})
    outputs = [event.step_output_data for event in done.all_events if event.is_successful_output]
    assert ["flowctx/ledger" in output.metadata for output in outputs] == [True, True]


def test_each_step_is_recorded(ledger):
    """The run is there with its steps, its engine's own ids, and what it handed on."""
    done = run_assets(flow, partition="2012-10-26", params={"limit": 2}, batch_id="b").raise_for_failure()
    found = ledger.get_run(done.run_id)
    fetched, loaded = ledger.steps(found.key)
    assert (found.status, found.engine, found.steps) == (RunStatus.OK, "dagster", ("fetch", "load"))
    assert (fetched.updates, loaded.output["limit"], loaded.after) == ({"cursor": 7}, 2, ("fetch",))
    assert (found.context.capture_id, found.import_path) == ("2012-10-26|b", f"{__name__}:flow")


def test_the_tries_of_a_step_are_one_record(ledger):
    """A step that fails and is tried again keeps when it began; the run is not over before its last try."""
    tries, seen = Workflow("tries"), []

    @tries.step(retries=RetryPolicy(retries=2, delay=timedelta(milliseconds=10)))
    def fetch(ctx):
        found = ledger.get_run(ctx.run_id)
        seen.extend((record.status, record.attempts, found.status) for record in ledger.steps(found.key))
        if len(seen) < 2:
            raise ConnectionError("the line is down")

    done = run_assets(tries)
    assert seen == [("failed", 1, RunStatus.RUNNING), ("failed", 2, RunStatus.RUNNING)]
    found = ledger.get_run(done.run_id)
    assert (found.status, ledger.steps(found.key)[0].attempts) == (RunStatus.OK, 3)


@pytest.mark.parametrize("job", [asset_job, op_job])
def test_a_reexecution_continues_the_run(job, tmp_path, ledger, monkeypatch):
    """From failure: the next attempt at the run, with what the first one completed, and with its capture."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = execute(job, instance)
        assert ledger.get_run(first.run_id).error == "step 'load': ValueError: not yet"
        monkeypatch.delenv(FLAG)
        second = execute(job, instance, parent=first.run_id)
    found = ledger.get_run(second.run_id)
    assert (found.status, found.attempt, found.context.checkpoint.completed) == (RunStatus.OK, 2, ("fetch",))
    steps = {record.step: record for record in ledger.steps(found.key)}
    assert [record.run_attempt for record in steps.values()] == [1, 2]
    assert steps["load"].output["fetched_by"] == first.run_id
    assert [c.key.capture_id for c in ledger.captures(workflow="kept")] == [f"2012-10-26|{first.run_id}"]


@pytest.mark.parametrize("resumed", [False, True])
def test_from_failure_a_range_runs_what_is_not_complete(resumed, tmp_path, ledger, monkeypatch):
    """The op that failed for one day does not do the others again: they hand on what is recorded."""
    days = [f"2012-10-2{number}" for number in (4, 5, 6)]
    tags = {f"dagster/asset_partition_range_{end}": day for end, day in (("start", days[0]), ("end", days[2]))}
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, days[1])
        first = dg.execute_job(dg.reconstructable(ranged_job), instance, run_config=QUIET, tags=tags)
        if resumed:
            tags |= {"flowctx/resume_from": first.run_id}
            first = dg.execute_job(dg.reconstructable(ranged_job), instance, run_config=QUIET, tags=tags)
        monkeypatch.delenv(FLAG)
        again = dg.ReexecutionOptions.from_failure(first.run_id, instance)
        tags |= {"dagster/is_resume_retry": "true"}  # which Dagster sets, but for Python
        last = dg.execute_job(
            dg.reconstructable(ranged_job), instance, run_config=QUIET, tags=tags, reexecution_options=again
        )
        assert len(last.get_asset_materialization_events()) == 3
    runs = {str(one.context.partition): one for one in ledger.list_runs(run_id=last.run_id)}
    assert {str(one.status) for one in runs.values()} == {"ok"}
    attempts = [{record.step: record.run_attempt for record in ledger.steps(runs[f"date={day}"].key)} for day in days]
    assert [found["load"] for found in attempts] == [1, 3 if resumed else 2, 1]


def test_a_reexecution_of_all_runs_all(tmp_path, ledger):
    """Asked to run all steps again, Dagster does, and nothing is carried."""
    with persistent_instance(tmp_path) as instance:
        first = execute(asset_job, instance)
        second = execute(asset_job, instance, parent=first.run_id, again="all")
    steps = ledger.steps(ledger.get_run(second.run_id).key)
    assert [(record.run_attempt, record.output.get("run")) for record in steps] == [(2, second.run_id), (2, None)]


def test_a_reexecution_of_a_resumed_run_continues_that(tmp_path, ledger, monkeypatch):
    """The tag that a re-execution inherits does not send it back to the first run."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(flow, partition="2012-10-26", params={"limit": 5})
        second = execute(asset_job, instance, tags={"flowctx/resume_from": first.run_id})
        monkeypatch.delenv(FLAG)
        third = execute(asset_job, instance, parent=second.run_id)
    found = ledger.get_run(third.run_id)
    assert (found.status, found.attempt) == (RunStatus.OK, 3)
    steps = {record.step: record.output for record in ledger.steps(found.key)}
    assert steps["load"] == {"fetched_by": first.run_id, "cursor": 7, "limit": 5}
    assert found.context.capture_id == f"2012-10-26|{first.run_id}"


def test_a_resumed_run_may_be_made_again(tmp_path, ledger, monkeypatch):
    """Asked to run all steps of it again, Dagster does; capture and parameters are those of the run that it resumed."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(flow, partition="2012-10-26", params={"limit": 5})
        monkeypatch.delenv(FLAG)
        tags = {"flowctx/resume_from": first.run_id, "flowctx/from_step": "load"}
        second = execute(asset_job, instance, tags=tags)
        third = execute(asset_job, instance, parent=second.run_id, again="all")
    found = ledger.get_run(third.run_id)
    assert (found.status, found.context.capture_id) == (RunStatus.OK, f"2012-10-26|{first.run_id}")
    steps = {record.step: (record.run_attempt, record.output) for record in ledger.steps(found.key)}
    assert steps["fetch"] == (3, {"run": third.run_id})
    assert steps["load"] == (3, {"fetched_by": third.run_id, "cursor": 7, "limit": 5})


@pytest.mark.parametrize("dead", [1, 2])
def test_a_run_that_died_before_its_steps_is_executed_again(dead, tmp_path, ledger, monkeypatch):
    """One that was to resume a run, or its re-execution: nothing of it is recorded, and the next one resumes that."""
    with persistent_instance(tmp_path) as instance:
        monkeypatch.setenv(FLAG, "1")
        first = run(flow, partition="2012-10-26", params={"limit": 5})
        monkeypatch.delenv(FLAG)
        tags, before = {"dagster/partition": "2012-10-26", "flowctx/resume_from": first.run_id}, {}
        for _ in range(dead):
            died = instance.create_run_for_job(op_job(), run_config=QUIET, tags=tags, **before)
            instance.report_run_failed(died)
            before = {"parent_run_id": died.run_id, "root_run_id": died.root_run_id or died.run_id}
        last = execute(op_job, instance, parent=died.run_id, again="all")
    found = ledger.get_run(last.run_id)
    assert (found.status, found.context.capture_id) == (RunStatus.OK, f"2012-10-26|{first.run_id}")
    assert [record.run_attempt for record in ledger.steps(found.key)] == [1, 2]


def test_an_asset_of_ones_own_is_executed_again_before_any_step(tmp_path, ledger, monkeypatch):
    """Nothing is recorded of the run that failed in it: what its tag says it continues counts, however often."""
    monkeypatch.setenv(FLAG, "1")
    first = run(flow, partition="2012-10-26", params={"limit": 5})
    with persistent_instance(tmp_path) as instance:
        failed = execute(own_job, instance, tags={"flowctx/resume_from": first.run_id})
        failed = execute(own_job, instance, parent=failed.run_id, tags={"flowctx/resume_from": first.run_id})
        monkeypatch.delenv(FLAG)
        last = execute(own_job, instance, parent=failed.run_id, tags={"flowctx/resume_from": first.run_id})
    [event] = last.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata == {"capture": f"2012-10-26|{first.run_id}", "limit": 5}


def test_the_runs_before_a_range_are_asked_for_once(tmp_path, jobs_by_name, monkeypatch):
    """Not for each of its partitions."""
    asked, counts, known = [], [], dg.DagsterInstance.get_run_by_id
    with persistent_instance(tmp_path) as instance:
        for last in ("2012-10-03", "2012-10-09"):
            span = {"asset_partition_range_start": "2012-10-02", "asset_partition_range_end": last}
            how = {"run_config": QUIET, "tags": {f"dagster/{name}": day for name, day in span.items()}}
            first = dg.execute_job(dg.reconstructable(ranged_job), instance, **how)
            again = dg.ReexecutionOptions(first.run_id)
            with monkeypatch.context() as patch:
                patch.setattr(dg.DagsterInstance, "get_run_by_id", lambda *of: asked.append(of) or known(*of))
                assert dg.execute_job(
                    dg.reconstructable(ranged_job), instance, reexecution_options=again, **how
                ).success
            counts.append(len(asked))
            asked.clear()
    assert counts[0] == counts[1]


def test_a_run_of_some_assets_ends_with_them(tmp_path, ledger):
    """A run of a selection is a part when its own steps are done; the one that does the rest completes the capture."""
    bench = Bench(flow, tmp_path)
    for name, status in (("fetch", RunStatus.PARTIAL), ("load", RunStatus.OK)):
        done = bench.run("2012-10-26", tags={"batch_id": "b"}, selection=[dg.AssetKey(["kept", name])])
        found = ledger.get_run(done.run_id)
        assert (done.success, found.status, found.selected) == (True, status, (name,))


def test_each_partition_of_a_range_is_a_run(tmp_path, ledger):
    """One run of Dagster's for several days is recorded as one for each."""
    bench = Bench(flow, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    done = bench.run(span=("2012-10-25", "2012-10-26"), tags={"batch_id": "b"})
    found = {str(run.context.partition): run for run in ledger.list_runs(batch_id="b")}
    assert {key: run.status for key, run in found.items()} == {
        "date=2012-10-25": RunStatus.OK,
        "date=2012-10-26": RunStatus.OK,
    }
    assert {run.run_id for run in found.values()} == {done.run_id}


def asking(tries):
    """Return a workflow whose step says in Dagster's words how it ends, by day of October; it counts its tries."""
    made = Workflow("asking", partitions=DAYS)

    @made.step(retries=1)
    def load(ctx):
        tries[ctx.as_of_date.day] += 1
        if ctx.as_of_date.day == 2:
            raise dg.Failure("no rows", metadata={"table": "prices"}, allow_retries=False)
        if ctx.as_of_date.day == 3:
            raise dg.Failure("no line")
        if ctx.as_of_date.day in (4, 5) and tries[ctx.as_of_date.day] <= ctx.as_of_date.day - 2:
            raise dg.RetryRequested(max_retries=2)
        return {"tries": tries[ctx.as_of_date.day]}

    return made


@pytest.mark.parametrize("ranged", [True, False], ids=["range", "one by one"])
def test_what_a_step_says_in_dagsters_words_is_of_its_partition(ranged, ledger, tmp_path):
    """A failure or a retry that it asks for ends no range, is recorded, and Dagster hears it."""
    tries = Counter()
    bench = Bench(asking(tries), tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    days = [f"2012-10-0{day}" for day in range(1, 7)]
    done = [bench.run(span=(days[0], days[-1]))] if ranged else [bench.run(day) for day in days]
    assert tries == {1: 1, 2: 1, 3: 2, 4: 3, 5: 3, 6: 1}
    made = {key for result in done for _, key in bench.materializations(result)}
    assert made == {days[0], days[3], days[5]}
    runs = {str(run.context.partition): run for run in ledger.list_runs(workflow="asking")}
    ended = {day: runs[f"date={day}"] for day in days}
    assert {day: str(run.status) for day, run in ended.items() if run.status is not RunStatus.OK} == {
        days[1]: "failed",
        days[2]: "failed",
        days[4]: "failed",
    }
    assert [ended[day].error for day in days[1:3]] == [
        "step 'load': Failure: no rows",
        "step 'load': Failure: no line",
    ]
    failures = [
        event.step_failure_data.user_failure_data for result in done for event in result.get_step_failure_events()
    ]
    assert [failure.metadata["table"].value for failure in failures if "no rows" in failure.description] == ["prices"]
    assert len(failures) == (1 if ranged else 3)


def test_an_optional_step_may_fail_in_dagsters_words(ledger, tmp_path):
    """What is raised for Dagster is a failure as any other, and the run goes on."""
    made = Workflow("optional", partitions=DAYS)

    @made.step(optional=True)
    def load(ctx):
        raise dg.Failure("no rows")

    made.step("tell")(lambda ctx: {"n": 1})
    assert Bench(made, tmp_path).run("2012-10-01").success
    assert [str(run.status) for run in ledger.list_runs(workflow="optional")] == ["ok"]


def test_a_check_alone_is_not_recorded(tmp_path, ledger):
    """A run of an asset check captures nothing."""
    checked = Workflow("checked")
    checked.step("gate")(lambda ctx: StepResult.ok({}, quality=QualityMetrics(counts={"rows": 3})))
    bench = Bench(checked, tmp_path)
    bench.run(selection=dg.AssetSelection.checks_for_assets(dg.AssetKey(["checked", "gate"])))
    assert ledger.list_runs() == []


def test_a_resumed_run_is_found_by_its_batch(tmp_path, ledger, monkeypatch):
    """The run that continues one of a batch gets the batch's tag, so that Dagster shows it with the others."""
    monkeypatch.setenv(FLAG, "1")
    first = run(flow, partition="2012-10-26", batch_id="b")
    monkeypatch.delenv(FLAG)
    bench = Bench(flow, tmp_path)
    done = bench.run("2012-10-26", tags={"flowctx/resume_from": first.run_id})
    assert done.success
    assert [r.run_id for r in bench.instance.get_runs(dg.RunsFilter(tags={"flowctx/batch_id": "b"}))] == [done.run_id]
    assert bench.outputs.output("kept/load", "2012-10-26", "2012-10-26|b")["fetched_by"] == first.run_id


def test_what_is_captured_may_be_left_alone(tmp_path, ledger):
    """With ``skip``, a run of the same batch is skipped, and the capture stays as it is."""
    bench = Bench(flow, tmp_path)
    first = bench.run("2012-10-26", tags={"batch_id": "b"})
    second = bench.run("2012-10-26", tags={"batch_id": "b", "flowctx/on_captured": "skip"})
    assert (second.success, bench.materializations(second)) == (True, {})
    assert bench.outputs.output("kept/fetch", "2012-10-26") == {"run": first.run_id}


def test_a_capture_that_another_run_writes_is_refused(ledger):
    """Two runs of one batch do not write the same capture at once."""
    done = run(flow, partition="2012-10-26", batch_id="b")
    key = CaptureKey(idempotency_key=done.context.idempotency_key, capture_id="2012-10-26|b")
    ledger.claim(key, holder="somebody", lease=timedelta(hours=1))
    result = run_assets(flow, partition="2012-10-26", batch_id="b")
    assert result["fetch"].error.startswith("CaptureHeld: ")


def test_an_id_that_is_given_is_of_one_partition(ledger, tmp_path):
    """One that is given to a second partition is refused, in one run or two: steps tell by it whose rows are whose."""
    bench = Bench(flow, tmp_path, backfill_policy=dg.BackfillPolicy.single_run())
    assert bench.run("2012-10-26", tags={"flowctx/capture_id": "eod"}).success
    assert bench.run("2012-10-26", tags={"flowctx/capture_id": "eod"}).success
    other = error_of(bench.run("2012-10-29", tags={"flowctx/capture_id": "eod"}))
    assert "capture_id 'eod' is that of date=2012-10-26 of workflow 'kept' (run " in other
    assert "this run is about date=2012-10-29; each partition has its own: leave capture_id out" in other
    assert bench.run("2012-10-29", tags={"flowctx/idempotency_key": "eod"}).success
    other = error_of(bench.run("2012-10-26", tags={"flowctx/idempotency_key": "eod"}))
    assert "idempotency_key 'eod' is that of date=2012-10-29 of workflow 'kept' (run " in other
    for name in ("capture_id", "idempotency_key"):
        several = error_of(bench.run(span=("2012-10-29", "2012-10-30"), tags={f"flowctx/{name}": "eom"}))
        assert f"{name} is 'eom', and the run is about 2 partitions, 2012-10-29 to 2012-10-30; each has its" in several


def test_a_run_that_is_taken_over_stops(ledger):
    """A step whose run is resumed elsewhere meanwhile fails at once, whatever its retries, and what it did is void."""
    taken, calls = Workflow("taken"), []

    @taken.step(retries=2)
    def slow(ctx):
        calls.append(ctx.metadata["engine"]["name"])
        if calls == ["dagster"]:
            resume(ctx.run_id, taken, take_over=True)
        return {"by": ctx.metadata["engine"]["name"]}

    result = run_assets(taken)
    assert calls == ["dagster", "local"]
    assert "taken over elsewhere" in result["slow"].error
    found = ledger.get_run(result.run_id)
    assert (found.status, ledger.steps(found.key)[0].output) == (RunStatus.OK, {"by": "local"})


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_a_ledger_that_is_away(mode, tmp_path, monkeypatch, caplog):
    """Strict: the step fails before it runs, and says what is wrong. Lenient: it runs, and the log says so."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'nowhere' / 'ledger.db'}")
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", mode)
    calls, away = [], Workflow("away")
    away.step("only")(lambda ctx: calls.append(ctx.run_id))
    result = run_assets(away)
    if mode == "strict":
        assert result["only"].error.startswith("LedgerUnavailable: the ledger")
    else:
        assert f"run {result.run_id} is not recorded: the ledger" in caplog.text
    assert len(calls) == (mode == "lenient")


def test_the_io_manager_may_name_the_ledger(tmp_path, url, monkeypatch):
    """``ledger_url`` holds where the environment names none."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL", raising=False)
    bench = Bench(flow, tmp_path)
    bench.outputs = WorkflowIOManager(base_path=str(tmp_path), ledger_url=url)
    done = bench.run("2012-10-26")
    ledger = open_ledger(url)
    assert ledger.get_run(done.run_id).status is RunStatus.OK
    ledger.close()
