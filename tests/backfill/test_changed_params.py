"""Batches that go on with a workflow that declares other parameters by then."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner

from backfill.changing import new, old, other
from flowctx import Backfill, BatchError, BatchStatus, PartitionScheme, Workflow, backfill, outputs, resume, run
from flowctx.backfill import LocalLauncher
from flowctx.backfill.same_batch import with_params_taken
from flowctx.backfill.worker import _Runs
from flowctx.cli import cli
from flowctx.ledger import open_ledger
from flowctx.local import plan_new_run, run_begun


@pytest.fixture
def again(ledger):
    """Launches the batch that the old workflow began, with another one, and returns how its partition ended."""
    Backfill(old, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1))

    def launched(workflow):
        Backfill(workflow, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1), retry_failed=True)
        return BatchStatus.of(ledger, "b", workflow).counts

    return launched


def test_a_batch_does_not_go_on_with_other_parameters(ledger, again):
    """A partition that was begun with other parameters fails with what has changed, until that is accepted."""
    assert again(new) == {"failed": 1}
    status = BatchStatus.of(ledger, "b", new)
    ((why, count),) = status.refused.items()
    assert (status.failures[0].error, count) == ("no file", 1)
    assert why.startswith("WorkflowChanged: workflow 'changing' has changed since run RUN ran: - parameter ")
    (run,) = ledger.list_runs(batch_id="b")
    runs = _Runs(resume, plan_new_run, run_begun, [new], ledger, "b")
    refused = runs.outcome({"partition": "tier=T1", "run_id": run.run_id, "known": True})
    assert "WorkflowChanged" in refused["error"]
    assert "parameter 'y' was added" in refused["error"]
    assert "parameter 'x' was removed" in refused["error"]
    assert ledger.get_run(run.run_id).attempt == 1
    done = resume(run.run_id, new, ledger=ledger, accept_changes=True).raise_for_failure()
    assert done.context.get_output("fetch") == {"params": {"y": 7}}


def test_a_batch_goes_on_with_its_own_values(ledger, again):
    """A parameter that merely has another default keeps the value that the run began with."""
    assert again(other) == {"ok": 1}
    assert [dict(found) for found in outputs(other, "fetch", ledger=ledger).values()] == [{"params": {"x": 1}}]


def test_partitions_that_were_made_with_others_are_counted_once(ledger, url, caplog):
    """The run that counts does, of partitions that are selected; a damaged context hides none of the others."""
    flow = Workflow("counted", partitions=PartitionScheme(n=list("123456")), params={"x": 0})
    flow.step("load")(lambda ctx: None)

    def ask(selection, x):
        batch = Backfill(flow, f"n={selection}", "b", params={"x": x}, ledger=ledger)
        ledger.batches.put(batch.reconcile(extend=True))

    def made(partitions, x):
        for n in partitions:
            run(flow, partition=n, batch_id="b", params={"x": x}, ledger=ledger, on_captured="recapture")

    ask("1|2|3|4", 1)
    made("1234", 1)
    ask("5", 2)
    made("51", 2)
    made("2", 3)
    made("6", 7)
    found = BatchStatus.of(ledger, "b", flow)
    assert (found.counts, found.outside, found.other_params) == ({"ok": 5}, {"ok": 1}, 3)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        in_3 = "run_key = (SELECT run_key FROM flowctx_run WHERE partition = 'n=3')"
        raw.execute(f"UPDATE flowctx_attempt SET context = substr(context, 1, 50) WHERE {in_3}")
        raw.execute('UPDATE flowctx_attempt SET context = replace(context, \'"x":7\', \'"x":{"$date":[]}\')')
    found = BatchStatus.of(ledger, "b", flow)
    assert (found.counts, found.other_params) == ({"ok": 5}, 2)
    assert "batch b: for which dates its runs were is not known" in caplog.text


FUND = {"proxy_fund": "GROWTH", "limit": 3}


def secret_batch(ledger, params, selection="n=1"):
    flow = Workflow("hidden", partitions=PartitionScheme(n=list("12")))
    flow.step("load")(lambda ctx: None)
    return flow, Backfill(flow, selection, "b", params=params, ledger=ledger)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda value: {"proxy_fund": value},
        lambda value: {"proxy_funds": [value], "limit": 3},
        lambda value: {"lake": f"postgresql://me:{value}@host/db"},
        lambda value: {"lake": [{"user": "me", "password": value}]},
    ],
)
def test_a_batch_has_one_value_of_a_hidden_parameter(ledger, url, hidden):
    """The value is not in the row, the same one goes on, and another one is refused, and counted where it is added."""
    flow, first = secret_batch(ledger, hidden("GROWTH"))
    ledger.batches.put(first.record())
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert "GROWTH" not in str(raw.execute("SELECT * FROM flowctx_batch").fetchall())
    assert secret_batch(ledger, hidden("GROWTH"))[1].reconcile().total == 1
    with pytest.raises(BatchError, match="[*]{3}.* with other secrets; ask for the same, .* extend=True"):
        secret_batch(ledger, hidden("VALUE"))[1].plan()
    run(flow, partition="1", batch_id="b", params=hidden("GROWTH"), ledger=ledger)
    assert BatchStatus.of(ledger, "b", flow).other_params == 0
    ledger.batches.put(secret_batch(ledger, hidden("VALUE"), "n=2")[1].reconcile(extend=True))
    status = BatchStatus.of(ledger, "b", flow)
    assert status.other_params == 1
    assert "***~" not in str(status.to_dict())


def test_a_batch_that_hid_values_without_a_digest_takes_any(ledger):
    """Of a batch of an older flowctx nobody knows the value; what it hides by then, it has as it was."""
    _, first = secret_batch(ledger, FUND)
    ledger.batches.put(replace(first.record(), params={"proxy_fund": "***", "limit": 3}))
    assert secret_batch(ledger, {**FUND, "proxy_fund": "VALUE"})[1].reconcile().total == 1
    ledger.batches.put(replace(first.record(), params=FUND))
    assert secret_batch(ledger, FUND)[1].reconcile().total == 1
    with pytest.raises(BatchError, match="with other secrets"):
        secret_batch(ledger, {**FUND, "proxy_fund": "VALUE"})[1].plan()


def test_a_value_is_compared_where_it_is_hidden_and_where_it_is_not(ledger, monkeypatch):
    """What only the environment of one launcher calls secret is the same value for another one."""
    monkeypatch.setenv("FLOWCTX_AIRFLOW_PASSWORD", "hunter2hunter2")
    hidden = secret_batch(ledger, {"note": "hunter2hunter2"})[1].record()
    assert "hunter2" not in str(hidden)
    monkeypatch.delenv("FLOWCTX_AIRFLOW_PASSWORD")
    ledger.batches.put(hidden)
    assert secret_batch(ledger, {"note": "hunter2hunter2"})[1].reconcile().total == 1
    with pytest.raises(BatchError, match="extend=True"):
        secret_batch(ledger, {"note": "hunter3hunter3"})[1].plan()


def test_a_batch_goes_on_with_what_is_declared_now_where_that_is_accepted(ledger, again):
    """Each partition that failed does, in one command, from its complete steps."""
    assert again(new) == {"failed": 1}
    plan = Backfill(new, "tier=T1", "b", ledger=ledger)
    plan.launch(LocalLauncher(ledger, 1), retry_failed=True, accept_changes=True)
    assert [dict(found) for found in outputs(new, "fetch", ledger=ledger).values()] == [{"params": {"y": 7}}]


def test_a_batch_whose_own_parameter_is_gone_goes_on_without_it(ledger):
    """The refusal says what to do; after that the batch has what its workflow takes, or what is given anew."""
    Backfill(old, "tier=T1", "b", params={"x": 5}, ledger=ledger).launch(LocalLauncher(ledger, 1))
    how = {"batch_id": "b", "retry_failed": True, "workers": 1, "ledger": ledger}
    for options in ({}, {"params": {"y": 8}, "extend": True}):
        with pytest.raises(BatchError, match=r"has no parameter 'x'.* without x, by .* \(--accept-changes\)"):
            backfill(new, **how, **options)
    assert backfill(new, **how, accept_changes=True, params={"y": 8}, extend=True).complete
    assert [dict(found) for found in outputs(new, "fetch", ledger=ledger).values()] == [{"params": {"y": 8}}]
    assert backfill(new, batch_id="b", workers=1, ledger=ledger).complete
    assert dict(ledger.find_batch("b").params) == {"y": 8}


def test_a_batch_without_what_is_gone_has_the_rest(ledger):
    """What the workflow still takes stays, of each type that it has now; secrets are known by their names."""
    params = {"a": 1, "b": 2, "api_token": "hunter2hunter2"}
    before = Workflow("rest", partitions=PartitionScheme(n=["1"]), params={"a": 0, "b": 0, "api_token": ""})
    after = Workflow("rest", partitions=PartitionScheme(n=["1"]), params={"a": "", "b": 0, "api_token": ""})
    ledger.batches.put(Backfill(before, None, "b", params=params, ledger=ledger).record())
    known = ledger.find_batch("b")
    with pytest.raises(BatchError, match="or go on without a, by accept_changes=True"):
        with_params_taken(known, after, accept_changes=False)
    assert with_params_taken(known, after, accept_changes=False, anew=["a"]).params["b"] == 2
    assert set(with_params_taken(known, after, accept_changes=True).params) == {"b", "api_token"}


def test_a_rule_of_parameters_is_asked_of_all_that_are_taken(ledger):
    """What is taken beside the others only is no parameter that is gone, and is not lost with one that is."""

    @dataclass
    class Limits:
        low: int = 1
        high: int = 2

        def __post_init__(self):
            if self.high < self.low:
                raise ValueError("high below low")

    @dataclass
    class Before(Limits):
        gone: int = 3

    after, before = (
        Workflow("limits", partitions=PartitionScheme(n=["1"]), params=kind()) for kind in (Limits, Before)
    )
    known = Backfill(before, None, "b", params={"low": 5, "high": 9, "gone": 4}, ledger=ledger).record()
    with pytest.raises(BatchError, match="no parameter 'gone'.*; or go on without gone, by"):
        with_params_taken(known, after, accept_changes=False)
    assert with_params_taken(known, after, accept_changes=True).params == {"low": 5, "high": 9}


def test_status_names_the_command_that_goes_on(url):
    """It is of the whole batch, and works when it is typed."""
    with closing(open_ledger(url)) as ledger:
        Backfill(old, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1))
        Backfill(new, "tier=T1", "b", ledger=ledger).launch(LocalLauncher(ledger, 1), retry_failed=True)
    shell, env = CliRunner(), {"FLOWCTX_LEDGER_URL": url}
    last = shell.invoke(cli, ["status", "b"], env=env).output.splitlines()[-1]
    command = re.search(
        r"flowctx (backfill .* --accept-changes) keeps what they have, and takes the parameters as", last
    )
    assert shell.invoke(cli, command[1].split(), env=env).exit_code == 0
