"""``flowctx resume --on``: what an engine is told, and what is said of it."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from adapters.engine_servers import Airflow, Dagster, serving
from flowctx.core.durability.records import RunStatus
from flowctx.core.workflow.run_request import TAG_PREFIX, RunRequest
from flowctx.ledger import ledger_from_env


class Elsewhere(Dagster):
    """A Dagster that has the workflow of these tests."""

    def answer(self, method, path, body):
        status, found = super().answer(method, path, body)
        return status, json.loads(json.dumps(found).replace("filled_job", "prices_job"))


@pytest.fixture(params=[Airflow, Elsewhere], ids=["airflow", "dagster"])
def engine(request):
    with serving(request.param()) as server:
        server.name = request.node.callspec.id
        yield server


def failed(shell, *args):
    """Return the id of a run that failed."""
    return shell("run", "cli_flows:prices", "--partition", "IBM", "--json", *args, exit_code=1)["context"]["run_id"]


def request_of(engine):
    """Return the request that the only run carries, as the engine's adapter reads it."""
    (run,) = engine.runs.values()
    if engine.name == "airflow":
        return RunRequest.parse(run["conf"].get)
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    return RunRequest.parse(lambda name: tags.get(TAG_PREFIX + name))


def test_the_engine_is_told_what_to_continue(shell, engine):
    """The run carries the id that it continues and the batch; the command says how it ended, and where."""
    run_id = failed(shell, "--batch", "b")
    done = shell("resume", run_id, "--on", engine.name, "--url", engine.url, "--json")
    request = request_of(engine)
    assert (request.resume_from, request.batch_id) == (run_id, "b")
    assert (done["status"], done["resumed_from"], done["engine"]) == ("ok", run_id, engine.name)
    assert done["run_id"] in engine.runs


def test_here_the_run_is_named_at_the_same_place(shell):
    """What ``--json`` prints has the run's id and how it ended at the top here as well, and of a first run."""
    run_id = shell("run", "cli_flows:prices", "--partition", "IBM", "--json", exit_code=1)["run_id"]
    shell.mend()
    done = shell("resume", run_id, "--json")
    assert (done["run_id"], done["status"]) == (run_id, "ok")


def test_the_request_travels(shell, engine):
    """A step to begin at, and leave to go on though the workflow has changed."""
    how = ("--from-step", "fetch", "--accept-changes", "-p", "limit=5")
    shell("resume", failed(shell), "--on", engine.name, "--url", engine.url, *how)
    request = request_of(engine)
    assert (request.from_step, request.accept_changes, request.batch_id) == ("fetch", True, None)
    (run,) = engine.runs.values()
    params = run["conf"] if engine.name == "airflow" else run["config"]["resources"]["prices_params"]["config"]
    assert params["limit"] == 5


def test_asked_twice_it_is_one_run(shell, engine):
    """Who asks again, because the first answer was lost, follows the same run."""
    run_id = failed(shell)
    for _ in range(2):
        shell("resume", run_id, "--on", engine.name, "--url", engine.url)
    assert len(engine.runs) == 1


def test_a_run_that_died_before_it_began_is_started_again(shell):
    """It is over, and nothing of it is recorded: Dagster is asked for another one, until one ends well."""
    with serving(Elsewhere()) as engine:
        how = (failed(shell), "--on", "dagster", "--url", engine.url)
        for engine.status, exit_code, runs in (
            ("FAILURE", 1, 1),
            ("FAILURE", 1, 2),
            ("SUCCESS", 0, 3),
            ("SUCCESS", 0, 3),
        ):
            shell("resume", *how, exit_code=exit_code)
            assert len(engine.runs) == runs


def test_a_complete_run_is_not_started(shell, engine):
    """There is nothing to continue, and the command says what would run something again."""
    shell.mend()
    run_id = shell("run", "cli_flows:prices", "--partition", "IBM", "--json")["context"]["run_id"]
    said = shell("resume", run_id, "--on", engine.name, "--url", engine.url, exit_code=2)
    assert "is complete; to run part of it again, add --from-step" in said
    assert engine.runs == {}


def test_a_run_that_died_after_its_last_step_is_started(shell, engine):
    """All steps are complete, and nothing is captured: the engine ends it."""
    shell.mend()
    run_id = shell("run", "cli_flows:prices", "--partition", "IBM", "--json")["run_id"]
    with closing(ledger_from_env()) as ledger:
        ledger.finish(ledger.get_run(run_id), RunStatus.FAILED, "its worker process ended by signal SIGKILL")
    shell("resume", run_id, "--on", engine.name, "--url", engine.url)
    assert request_of(engine).resume_from == run_id


def test_a_changed_workflow_is_explained_before_anything_starts(shell, engine):
    """The engine is not asked for what cannot be."""
    run_id = failed(shell)
    source = shell.file.read_text().replace("def fetch", "def read")
    shell.folder.joinpath("changed.py").write_text(source)
    how = ("--on", engine.name, "--url", engine.url, "--workflow", "changed.py:prices")
    assert "step 'fetch' was renamed to 'read'" in shell("resume", run_id, *how, exit_code=2)
    assert engine.runs == {}
