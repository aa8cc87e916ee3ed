"""``flowctx stale`` and ``backfill --stale``: what was built on what has changed, and running exactly that again."""

from __future__ import annotations

import importlib
import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from adapters.engine_servers import Airflow, Dagster, serving
from flowctx.cli import cli
from flowctx.core.durability.records import RunStatus
from flowctx.ledger import open_ledger
from flowctx.versions.mending import ParamsAgain

SOURCE = """
from flowctx import Daily, PartitionScheme, Workflow

DAYS = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-07"))
source = Workflow("source", partitions=DAYS, params={"price": 1.0})
double = Workflow("double", partitions=DAYS, params={"by": 2.0})
total = Workflow("total", partitions=DAYS)

@source.step()
def price(ctx):
    return {"price": ctx.params["price"]}

@double.step(inputs={"now": source.output("price")})
def twice(ctx, *, now):
    return {"twice": now["price"] * ctx.params["by"]}

@total.step(inputs={"days": double.output("twice")})
def all_of_them(ctx, *, days):
    return {"total": days["twice"]}
"""


@pytest.fixture
def chain(shell):
    """Three dates of three workflows, of which the source of one date was captured again."""
    (shell.folder / "chained.py").write_text(SOURCE)
    for workflow, params in {"source": (), "double": ("-p", "by=3"), "total": ()}.items():
        for day in ("2026-01-05", "2026-01-06", "2026-01-07"):
            shell("run", f"chained:{workflow}", "--partition", day, "--batch", "first", *params)
    shell("run", "chained:source", "--partition", "2026-01-06", "-p", "price=5", "--batch", "restate")
    yield shell
    sys.modules.pop("chained", None)


def test_stale_partitions_are_listed_and_run_again_in_order(chain):
    """With the parameters that they had; what reads them comes after, and then nothing is stale."""
    why = "source date=2026-01-06 was captured again by 2026-01-06|restate after 2026-01-06|first, with other content"
    shown = chain("stale", "chained:double").splitlines()
    assert shown[0] == "stale: 1 partition of double"
    assert shown[2].split(maxsplit=2) == ["date=2026-01-06", "2026-01-06|first", why]
    [found] = chain("stale", "chained:total", "--json")
    assert [link["workflow"] for link in found["chain"]] == ["double", "source"]
    assert found["chain"][1]["captured_again"] == "2026-01-06|restate"
    early = chain("backfill", "chained:total", "--batch", "both", "--stale", "--dry-run", "--json")
    assert (early["total"], early["would_run"]) == (2, 2)
    chain("backfill", "chained:double", "--batch", "refresh-double", "--stale", "--workers", "1")
    [row] = [line for line in chain("output", "chained:double", "twice").splitlines() if "2026-01-06" in line]
    assert row.split() == ["2026-01-06", "15.0"]
    dry = ("--stale", "--dry-run", "--json")
    again = chain("backfill", "chained:double", "--batch", "refresh-double", *dry)
    assert (again["total"], again["would_run"]) == (1, 0)
    assert chain("backfill", "chained:total", "--batch", "refresh", *dry)["would_run"] == 1
    chain("run", "chained:total", "--partition", "2026-01-06", "--batch", "by-hand")
    assert chain("stale", "chained:total") == "nothing of total is stale\n"
    assert chain("backfill", "chained:total", "--batch", "none", "--stale") == "nothing of total is stale\n"
    for more, keys in (((), {"total", "ended", "left"}), (("--dry-run",), {"total", "would_run", "states"})):
        none = chain("backfill", "chained:total", "--batch", "none", "--stale", "--json", *more)
        assert (none["total"], keys - none.keys()) == (0, set())


def test_stale_partitions_are_there_as_they_are_found(chain, monkeypatch):
    """As JSON: the first one is written before the next partition is looked at."""
    monkeypatch.setattr(importlib.import_module("flowctx.versions.staleness"), "_PAGE", 1)
    monkeypatch.setattr("flowctx.cli.output._BLOCK", 1)
    with sqlite3.connect(chain.folder / "ledger.db") as raw:
        which = "SELECT run_key FROM flowctx_run WHERE workflow = 'total' AND partition LIKE '%07'"
        raw.execute(f"UPDATE flowctx_step SET digest = 'other' WHERE run_key IN ({which})")
    done = CliRunner().invoke(cli, ["stale", "chained:total", "--json"])
    assert (done.exit_code, "is damaged" in done.output) == (1, True)
    assert done.output.startswith('[\n  {\n    "partition": "date=2026-01-06"')


def test_a_chain_of_workflows_is_mended_under_one_batch_id(chain):
    """Exactly what is stale, what is read first; each with the parameters that it had, and once."""
    mend = ("backfill", "chained:total", "--batch", "mend", "--stale", "--workers", "1", "--json")
    assert chain(*mend)["ended"] == {"ok": 2}
    assert chain("stale", "chained:total", "--json") == chain("stale", "chained:double", "--json") == []
    rows = chain("output", "chained:total", "all_of_them", "--batch", "mend").splitlines()
    assert [row.split() for row in rows[2:]] == [["2026-01-06", "15.0"]]
    assert chain(*mend, "--dry-run")["would_run"] == 0
    chain("run", "chained:source", "--partition", "2026-01-05", "-p", "price=7", "--batch", "later")
    chain("backfill", "chained:double", "--batch", "alone", "--stale", "--workers", "1")
    other = chain("backfill", "chained:total", "--batch", "alone", "--stale", exit_code=2)
    assert "batch 'alone' is one of workflow 'double'" in other
    assert len(chain("runs", "--batch", "mend", "--json")) == 2
    chain("backfill", "chained:double", "--batch", "plain", "--select", "date=2026-01-05", "--workers", "1")
    plain = chain("backfill", "chained:double", "--batch", "plain", "--stale", exit_code=2)
    assert plain == "Error: batch 'plain' was not made by --stale; take another id for what is stale\n"


def test_a_batch_of_another_workflow_is_named_where_dates_have_no_end(chain):
    """It is the batch that is not right, and not the partitions, of which there is no end."""
    (chain.folder / "endless.py").write_text(SOURCE.replace(', end="2026-01-07"', ""))
    chain("backfill", "chained:source", "--batch", "b", "--select", "date=2026-01-05", "--workers", "1")
    for more in (("--stale",), ("--stale", "--extend"), ("--stale", "--until", "2026-01-07"), ()):
        refused = chain("backfill", "endless:total", "--batch", "b", *more, "--dry-run", exit_code=2)
        assert refused == "Error: batch 'b' is one of workflow 'source', not of 'total'; take another id\n"
    both = chain("backfill", "endless:source", "endless:total", "--batch", "b", exit_code=2)
    assert "batch 'b' is one of source, and has no partitions of total; leave out total, or add it" in both


def test_a_batch_of_what_is_stale_goes_on_with_its_own_parameters(chain):
    """Launched again with others, it is refused, unless it is told to: its partitions would not be of one kind."""
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale", "--workers", "1")
    done = chain(*mend, "-p", "by=4", "--json")
    assert done["ended"] == {"ok": 1}
    assert "batch 'mend' has the parameters {'by': 4" in chain(*mend, "-p", "by=5", exit_code=2)
    assert '{"by": 4.0}, and those that each partition had' in chain("status", "mend")
    for params in ((), ("-p", "by=4"), ("-p", "by=5", "--extend"), ()):
        again = chain(*mend, *params, "--json")
        assert (again["before"], again["params_kept"]) == ({"ok": 1}, "--extend" in params)
    assert '{"by": 4.0}, and those that each partition had' in chain("status", "mend")


def test_a_batch_of_what_was_stale_does_not_take_others_in_silence(chain):
    """What is stale now is told, and added where it is asked for; a selection that leaves out its own is refused."""
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale", "--workers", "1")
    assert chain(*mend, "--select", "date=2026-01-06..2026-01-07", "--json")["ended"] == {"ok": 1}
    assert chain(*mend, "--select", "date=2026-01-06..2026-01-07", "--json")["before"] == {"ok": 1}
    chain("run", "chained:source", "--partition", "2026-01-05", "-p", "price=7", "--batch", "later")
    assert "1 stale partition of double is not of batch 'mend'; --extend adds what is stale now" in chain(*mend)
    for others in (("--select", "date=2026-01-05"), ("--until", "2026-01-05")):
        refused = chain(*mend, *others, exit_code=2)
        assert "batch 'mend' has 1 partition of double that were stale, of which 1 is not selected" in refused
    assert chain(*mend, "--extend", "--until", "2026-01-05", "--json")["ended"] == {"ok": 1}
    assert chain("stale", "chained:double", "--json") == []


def test_what_status_advises_of_a_batch_that_was_added_to_goes_on_with_it(chain, monkeypatch):
    """The workflow that was to be mended is named, although the batch was of it alone at first."""
    chain("backfill", "chained:double", "--batch", "refresh", "--stale", "--workers", "1")
    (chain.folder / "chained.py").write_text(SOURCE.replace('days["twice"]}', "1 / 0}"))
    mend = ("backfill", "chained:total", "--batch", "mend", "--stale", "--workers", "1")
    chain(*mend, exit_code=1)
    chain("run", "chained:source", "--partition", "2026-01-05", "-p", "price=7", "--batch", "later")
    chain(*mend, "--extend", "--retry-failed", exit_code=1)
    (chain.folder / "chained.py").write_text(SOURCE)
    (line,) = [line for line in chain("status", "mend").splitlines() if "--retry-failed" in line]
    command = line.partition(": flowctx ")[2].partition(" (")[0].split()
    assert command[1] == "chained:total"
    source = [word.replace("total", "double") for word in command]
    refused = chain(*source, exit_code=2)
    assert "made by --stale for total, and not for double; name that workflow: chained:total" in refused
    assert chain(*command, "--workers", "1", "--json")["ended"] == {"ok": 2}


def test_what_a_batch_has_mended_and_is_stale_again_is_told(chain):
    """The batch has made it, and does not make it again, also when it is added to."""
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale", "--workers", "1")
    assert "stale again" not in chain(*mend) + chain(*mend)
    chain("run", "chained:source", "--partition", "2026-01-06", "-p", "price=7", "--batch", "later")
    for more in ((), ("--extend",), ("--extend", "--dry-run")):
        printed = chain(*mend, *more)
        assert "1 partition of double is done in batch 'mend', and stale again; take another id to mend that" in printed
    assert "stale again" not in chain("backfill", "chained:double", "--batch", "other", *mend[4:])
    assert chain("stale", "chained:double", "--json") == []


def test_each_workflow_of_a_batch_that_is_stale_again_is_told(chain):
    """Of what is read, too, since nothing of the batch is made again."""
    mend = ("backfill", "chained:total", "--batch", "mend", "--stale", "--workers", "1")
    chain(*mend)
    chain("run", "chained:source", "--partition", "2026-01-06", "-p", "price=7", "--batch", "later")
    for more in ((), ("--extend", "--dry-run")):
        printed = chain(*mend, *more)
        for name in ("total", "double"):
            assert f"1 partition of {name} is done in batch 'mend', and stale again; take another id" in printed


def test_a_batch_whose_source_is_read_no_more_is_refused_by_its_name(chain):
    """The workflow that it was made for is the right one, and the batch cannot go on."""
    mend = ("backfill", "chained:total", "--batch", "mend", "--stale", "--workers", "1")
    chain(*mend)
    sys.modules.pop("chained")
    alone = SOURCE.replace('inputs={"days": double.output("twice")}', "").replace("ctx, *, days", "ctx, days=None")
    (chain.folder / "chained.py").write_text(alone)
    refused = chain(*mend, exit_code=2)
    assert refused == (
        "Error: batch 'mend' has partitions of double, which total does not read; take another id for what is stale\n"
    )


def test_a_batch_of_what_is_stale_goes_on_after_flowctx_has_changed(chain, monkeypatch):
    """The ledger knows such a batch by a name that does not hang on our code."""
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale", "--workers", "1", "--json")
    assert chain(*mend)["ended"] == {"ok": 1}
    monkeypatch.setattr(ParamsAgain, "__call__", lambda self, key: {})
    assert chain(*mend)["before"] == {"ok": 1}


def test_a_partition_without_a_current_version_keeps_no_other_from_being_mended(chain):
    """It is made again with the parameters that it had last, and what is known of older versions does not count."""
    one = ("chained:double", "--partition", "2026-01-06")
    for batch_id, by in (("second", "by=4"), ("third", "by=5")):
        chain("run", *one, "--batch", batch_id, "-p", by)
    chain("ledger", "keep", "first")
    with closing(open_ledger(f"sqlite:///{chain.folder}/ledger.db")) as ledger:
        ledger.prune(ledger.now() + timedelta(days=1))
        [third] = ledger.list_runs(workflow="double", batch_id="third")
        assert [gone.revision for gone in ledger.pruned_versions("double", [third.context.partition])] == [2]
    for day in ("2026-01-05", "2026-01-06"):
        chain("run", "chained:source", "--partition", day, "-p", "price=7", "--batch", "later")
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale", "--workers", "1", "--json")
    (chain.folder / "chained.py").write_text(SOURCE.replace('["price"] * ctx', '["gone"] * ctx'))
    sys.modules.pop("chained")
    assert chain(*mend, exit_code=1)["ended"] == {"failed": 2}
    chain("resume", third.run_id, "--from-step", "twice", exit_code=1)
    assert "capture 2026-01-06|second (revision 2, of " in chain("output", "chained:double", "twice", exit_code=2)
    (chain.folder / "chained.py").write_text(SOURCE)
    sys.modules.pop("chained")
    assert chain(*mend, "--retry-failed")["ended"] == {"ok": 2}
    rows = [line.split() for line in chain("output", "chained:double", "twice", "--batch", "mend").splitlines()[2:]]
    assert rows == [["2026-01-05", "21.0"], ["2026-01-06", "35.0"]]


def lose(chain, workflow, how):
    """Let no version of a partition be current any more: the last one fails where it is made again."""
    one = ("--partition", "2026-01-07")
    source = (chain.folder / "chained.py").read_text()
    if how == "pruned":
        for batch_id in ("second", "third"):
            chain("run", f"chained:{workflow}", *one, "--batch", batch_id)
        chain("ledger", "keep", "first")
        with closing(open_ledger(f"sqlite:///{chain.folder}/ledger.db")) as ledger:
            ledger.prune(ledger.now() + timedelta(days=1))
    last = chain("runs", "--workflow", workflow, "--json", *one)[0]["run_id"]
    sys.modules.pop("chained")
    (chain.folder / "chained.py").write_text(source.replace("return {", "return 1 / 0 or {"))
    step = {"double": "twice", "total": "all_of_them"}[workflow]
    chain("resume", last, "--from-step", step, "--accept-changes", exit_code=1)
    sys.modules.pop("chained")
    (chain.folder / "chained.py").write_text(source)
    return last


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("pruned", "capture 2026-01-07|second (revision 2, of "),
        ("failed", "what 2026-01-07|first held is there no more"),
    ],
)
def test_a_partition_without_a_current_version_is_named_and_made_again(chain, how, why):
    """Else what reads it, and is stale for that, would fail; nothing of it is stale once it is made."""
    lose(chain, "double", how)
    (row,) = [line for line in chain("stale", "chained:double").splitlines() if line.startswith("date=2026-01-07")]
    assert why in row
    found = chain("stale", "chained:double", "--json")
    assert [(one["partition"], bool(one["missing"]), len(one["chain"])) for one in found] == [
        ("date=2026-01-06", False, 1),
        ("date=2026-01-07", True, 0),
    ]
    assert [one["partition"] for one in chain("stale", "chained:total", "--json")] == [
        "date=2026-01-06",
        "date=2026-01-07",
    ]
    mend = ("backfill", "chained:total", "--batch", "mend", "--stale", "--workers", "1", "--json")
    assert chain(*mend)["ended"] == {"ok": 4}
    assert chain("stale", "chained:total", "--json") == chain("stale", "chained:double", "--json") == []


def test_a_partition_that_a_run_is_at_is_not_listed_until_that_has_failed(chain):
    """It is being made again in its own batch, so that no version of it is current; the end of that run decides."""
    run_id = lose(chain, "total", "failed")
    with closing(open_ledger(f"sqlite:///{chain.folder}/ledger.db")) as ledger:
        [lost] = [run for run in ledger.list_runs(workflow="total") if run.run_id == run_id]
        ledger.begin(replace(lost, status=RunStatus.RUNNING), resumes=lost)
        assert [one["partition"] for one in chain("stale", "chained:total", "--json")] == ["date=2026-01-06"]


class Doubling(Dagster):
    """A Dagster that has one of these workflows."""

    def answer(self, method, path, body):
        status, found = super().answer(method, path, body)
        return status, json.loads(json.dumps(found).replace("filled_job", "double_job"))


@pytest.mark.parametrize("end", ["", ', end="2999-12-31"'])
def test_the_last_dates_of_versions_are_those_that_are_due(shell, end):
    """As those of a batch are, whether or not the scheme has an end; each command says which dates these are."""
    sys.modules.pop("going_on", None)
    (shell.folder / "going_on.py").write_text(SOURCE.replace(', end="2026-01-07"', end))
    source, double, some = "going_on:source", "going_on:double", ("--select", "date=last:3")
    both = shell("backfill", source, double, "--batch", "first", *some, "--workers", "1")
    assert re.search(r"date=last:3 is date=\S+ of source\n.*date=last:3 is date=\S+ of double", both, re.DOTALL)
    shell("backfill", source, "--batch", "restate", *some, "-p", "price=5", "--workers", "1")
    for command, words in (
        (("stale", double, *some), "was captured again by"),
        (("output", source, "price", *some), "5.0"),
        (("diff", source, "--batch", "first", *some), "changed"),
        (("backfill", double, "--stale", "--batch", "mend", *some, "--dry-run"), "would run"),
    ):
        printed = shell(*command, exit_code=int(command[0] == "diff"))
        assert re.search(r"^date=last:3 is date=", printed, re.MULTILINE), printed
        assert words in printed


@pytest.mark.parametrize(("name", "server"), [("airflow", Airflow), ("dagster", Doubling)])
def test_an_engine_is_told_to_run_what_is_stale(chain, name, server):
    """That partition alone, under the new batch id, with the parameters that it had."""
    with serving(server()) as engine:
        done = chain("backfill", "chained:double", "--batch", "mend", "--stale", "--on", name, "--url", engine.url)
    assert "1 ok" in done
    (run,) = engine.runs.values()
    if name == "airflow":
        assert (run["partition_key"], run["conf"]["batch_id"], run["conf"]["by"]) == ("2026-01-06", "mend", 3.0)
        return
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert (tags["dagster/partition"], tags["flowctx/batch_id"]) == ("2026-01-06", "mend")
    assert run["config"]["resources"]["double_params"]["config"] == {"by": 3.0}


WEIGHED = (
    SOURCE.replace("@double.step(", '@double.step(config={"weight": 1.0}, ')
    .replace("(ctx, *, now)", "(ctx, config, *, now)")
    .replace('ctx.params["by"]', 'ctx.params["by"] * config["weight"]')
)


def test_a_parameter_that_is_called_otherwise_now_is_refused(chain):
    """Nothing runs with a default in its place, and a dry run says so, too; with the new name it runs."""
    mend = ("backfill", "chained:double", "--batch", "mend", "--stale")
    sys.modules.pop("chained", None)
    (chain.folder / "chained.py").write_text(SOURCE.replace('"by"', '"factor"'))
    for more in ((), ("--dry-run",)):
        refused = chain(*mend, *more, exit_code=2)
        assert "partition date=2026-01-06 of double had parameters that are gone (by), and the workflow has" in refused
    assert "(factor): say what those are to be (-p factor=VALUE)" in refused
    refused = chain("backfill", "chained:total", *mend[2:], exit_code=2)
    assert "run the stale partitions of a workflow that is only read before, without --stale" in refused
    assert chain(*mend, "-p", "factor=3", "--workers", "1", "--json")["ended"] == {"ok": 1}
    assert chain("backfill", "chained:total", "--batch", "next", "--stale", "--json")["ended"] == {"ok": 1}


def test_a_parameter_that_is_only_gone_is_left_out(chain):
    """Nothing takes its place, so that no value is made up."""
    sys.modules.pop("chained", None)
    alone = SOURCE.replace(', params={"by": 2.0}', "").replace('ctx.params["by"]', "2.0")
    (chain.folder / "chained.py").write_text(alone)
    assert chain("backfill", "chained:double", "--batch", "mend", "--stale", "--json")["ended"] == {"ok": 1}


@pytest.mark.parametrize(("name", "server"), [("local", None), ("airflow", Airflow), ("dagster", Doubling)])
def test_what_a_run_was_told_of_its_steps_is_kept(shell, name, server):
    """Numbers change by what they were built on, and not because a setting is gone."""
    sys.modules.pop("weighed", None)
    (shell.folder / "weighed.py").write_text(WEIGHED)
    one = ("--partition", "2026-01-06")
    shell("run", "weighed:source", *one, "--batch", "first")
    shell("run", "weighed:double", *one, "--batch", "first", "-p", "by=3", "--step-config", "twice.weight=0.5")
    shell("run", "weighed:source", *one, "--batch", "restate", "-p", "price=5")
    mend = ("backfill", "weighed:double", "--batch", "mend", "--stale")
    if server is None:
        sys.modules.pop("weighed")
        (shell.folder / "weighed.py").write_text(WEIGHED.replace("def twice", "def doubled"))
        assert "had a configuration of step 'twice', which the workflow does not have" in shell(*mend, exit_code=2)
        sys.modules.pop("weighed")
        (shell.folder / "weighed.py").write_text(WEIGHED)
        shell(*mend)
        assert "7.5" in shell("output", "weighed:double", "twice", "--to", "csv")
        return
    with serving(server()) as engine:
        shell(*mend, "--on", name, "--url", engine.url)
    (run,) = engine.runs.values()
    request = run["conf"] if name == "airflow" else {tag["key"][len("flowctx/") :]: tag["value"] for tag in run["tags"]}
    config = request["step_config"]
    assert (config if name == "airflow" else json.loads(config)) == {"twice": {"weight": 0.5}}


def test_a_changed_step_is_listed_where_it_is_asked_for(chain):
    """The code of a step is said apart from its inputs; parameters are those that each partition had."""
    sys.modules.pop("chained")
    (chain.folder / "chained.py").write_text(SOURCE.replace('["price"] * ctx', '["price"] * 1.0 * ctx'))
    assert len(chain("stale", "chained:double", "--json")) == 1
    found = chain("stale", "chained:double", "--code", "--json")
    assert [(one["partition"], one["code"], len(one["chain"])) for one in found] == [
        ("date=2026-01-05", ["twice"], 0),
        ("date=2026-01-06", ["twice"], 1),
        ("date=2026-01-07", ["twice"], 0),
    ]
    wrong = ("backfill", "chained:double", "--batch", "b", "--stale", "--params-from", "os:getcwd")
    assert "leave out --params-from" in chain(*wrong, exit_code=2)


def test_show_says_what_a_capture_was_built_from(chain):
    """In words and as JSON, the nearest first."""
    shown = chain("show", "2026-01-06|first", "--workflow", "total", "--lineage").splitlines()
    assert shown[0] == "built from"
    assert [line.split()[:4] for line in shown[2:]] == [
        [str(depth), name, "date=2026-01-06", "2026-01-06|first"]
        for depth, name in enumerate(["total", "double", "source"])
    ]
    assert '{"by": 3.0}' in shown[3]
    told = chain("show", "2026-01-06|first", "--workflow", "total", "--lineage", "--json")
    assert [source["workflow"] for source in told] == ["total", "double", "source"]
    assert "several workflows" in chain("show", "2026-01-06|first", "--lineage", exit_code=2)


def test_a_batch_that_is_kept_is_not_pruned(chain):
    """The dry run says what would go; what is kept, or current, or what that was built from, is not among it."""
    dry = ("ledger", "prune", "--days", "0", "--dry-run")
    for price in ("6", "7"):
        chain("run", "chained:source", "--partition", "2026-01-06", "-p", f"price={price}", "--batch", f"again-{price}")
    told = chain(*dry, "--json")
    assert (told["runs"], {one["batch_id"] for one in told["of"]}) == (2, {"restate", "again-6"})
    assert chain("ledger", "keep", "restate") == "batch restate is kept\n"
    assert [one["batch_id"] for one in chain(*dry, "--json")["of"]] == ["again-6"]
    assert chain(*dry).splitlines()[2].split() == ["source", "again-6", "1"]
    assert chain(*dry, "--keep-versions", "2", "--json")["of"] == []
    assert chain("ledger", "keep", "restate", "--undo") == "batch restate is pruned as any other\n"
    assert chain("ledger", "prune", "--days", "0", "--json")["runs"] == 2
    assert "remembers no batch" in chain("ledger", "keep", "nothing", exit_code=2)
