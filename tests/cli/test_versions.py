"""``flowctx output``: what a step made of many partitions, for people and for other tools."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sqlite3
import sys

import pyarrow.parquet as pq
import pytest

from flowctx.cli.output import json_list, json_text

SOURCE = """
import datetime, decimal
import pyarrow as pa
from flowctx import Daily, PartitionScheme, StepResult, Workflow

nav = Workflow(
    "fund_nav", partitions=PartitionScheme(date=Daily(start="2026-01-05"), fund=["A", "B"]), params={"nav": 1.0}
)

@nav.step()
def value(ctx):
    own = {"nav": ctx.params["nav"], "exact": decimal.Decimal("1.10"), "of": {"day": ctx.as_of_date}, "tags": ["x"]}
    held = pa.table({"asset": ["a", "b"], "day": [ctx.as_of_date, None]})
    return StepResult.ok({**own, "held": held, "nested": pa.table({"list": [[1]]})})
"""


@pytest.fixture
def funds(shell, monkeypatch):
    """Two partitions of a workflow, one of them twice."""
    (shell.folder / "funds.py").write_text(SOURCE)
    (shell.folder / "pyproject.toml").write_text('[tool.flowctx]\nfund_nav = "funds:nav"\n')
    for key, nav, batch in [("2026-01-06|A", 2, "b1"), ("2026-01-05|B", 1, "b1"), ("2026-01-05|B", 5, "b2")]:
        shell("run", "funds:nav", "--partition", key, "-p", f"nav={nav}", "--batch", batch)
    yield shell
    sys.modules.pop("funds", None)


def test_outputs_are_a_row_for_each_partition(funds):
    """For people a table, as CSV and JSON for other tools; by place of the workflow and by its name in the project."""
    shown = funds("output", "funds:nav", "value")
    assert shown.splitlines()[0] == "2 partitions"
    assert shown.splitlines()[2].split() == ["2026-01-05", "B", "5.0", "1.10", "2026-01-05", '["x"]']
    lines = list(csv.DictReader(io.StringIO(funds("output", "fund_nav", "value", "--to", "csv"))))
    own = {"exact": "1.10", "tags": '["x"]'}
    assert lines == [
        {"date": "2026-01-05", "fund": "B", "nav": "5.0", "of.day": "2026-01-05", **own},
        {"date": "2026-01-06", "fund": "A", "nav": "2.0", "of.day": "2026-01-06", **own},
    ]
    as_json = json.loads(funds("output", "fund_nav", "value", "--batch", "b1", "--to", "json"))
    assert [(row["nav"], row["tags"]) for row in as_json] == [(1.0, ["x"]), (2.0, ["x"])]
    assert json.loads(funds("output", "fund_nav", "value", "--revision", "2", "--to", "json"))[0]["nav"] == 5.0


def test_a_table_of_all_partitions_is_one(funds):
    """With the dimensions as columns, in each form; what a form cannot hold is refused."""
    table = ("output", "fund_nav", "value", "--table", "held")
    first = {"date": "2026-01-05", "fund": "B", "asset": "a", "day": "2026-01-05"}
    assert json.loads(funds(*table, "--to", "json"))[0] == first
    lines = list(csv.DictReader(io.StringIO(funds(*table, "--to", "csv"))))
    assert (lines[0], lines[1]["day"]) == (first, "")
    assert funds(*table, "--file", "held.parquet") == "2 partitions written to held.parquet\n"
    read = pq.read_table(funds.folder / "held.parquet")
    assert (read.column_names, read.num_rows) == (["date", "fund", "asset", "day"], 4)
    assert funds(*table).splitlines()[2].split() == list(first.values())
    wrong = funds("output", "fund_nav", "value", "--table", "nested", "--to", "csv", exit_code=2)
    assert "column 'list' is list" in wrong
    assert "write Parquet or JSON" in wrong


def test_plain_outputs_become_parquet_with_their_types(funds):
    """Dates, decimals and lists stay what they are."""
    funds("output", "fund_nav", "value", "--file", "nav.parquet")
    [first, _] = pq.read_table(funds.folder / "nav.parquet").to_pylist()
    assert (str(first["exact"]), str(first["of.day"]), first["tags"]) == ("1.10", "2026-01-05", ["x"])


def test_json_is_the_same_however_it_is_written():
    """Row by row it is the text of the whole list: nested values, signs that no terminal should get, or none."""
    flat = [{"day": "2026-01-05", "rate": 1e16, "n": None}, {"text": 'a"b\n\x9b\u2028', "ok": True}, {}]
    nested = [{"of": {"a": [1, {"b": []}]}, "empty": {}}]
    for items in ([], flat, nested, [*nested, *flat]):
        assert "".join(json_list(items)) == json_text(items) + "\n"


def test_json_is_written_as_it_is_read(funds, monkeypatch):
    """A row is there before the next partition is read; a file has all of them, or is what it was."""
    monkeypatch.setattr(importlib.import_module("flowctx.versions.outputs"), "_PAGE", 1)
    monkeypatch.setattr("flowctx.cli.output._BLOCK", 1)
    printed = funds("output", "fund_nav", "value", "--file", "nav.json")
    assert printed == "2 partitions written to nav.json\n"
    written = (funds.folder / "nav.json").read_text()
    assert written == funds("output", "fund_nav", "value", "--to", "json")
    with sqlite3.connect(funds.folder / "ledger.db") as raw:
        raw.execute("UPDATE flowctx_step SET payload = '{}' WHERE payload LIKE '%2026-01-06%'")
    shown = funds("output", "fund_nav", "value", "--to", "json", exit_code=1)
    assert shown.startswith(written[: written.index("},\n")])
    assert "is damaged" in shown
    assert "is damaged" in funds("output", "fund_nav", "value", "--file", "nav.json", exit_code=1)
    assert (funds.folder / "nav.json").read_text() == written
    assert not list(funds.folder.glob("*.part"))


def test_a_name_in_the_ledger_imports_nothing(funds):
    """What a row says of where a workflow is is shown, for the user to write, and not imported."""
    (funds.folder / "pyproject.toml").unlink()
    sys.modules.pop("funds", None)
    for command in (("output", "fund_nav", "value"), ("diff", "fund_nav", "--batch", "b1"), ("stale", "fund_nav")):
        assert "as module:name or file.py:name (its runs say funds:nav)" in funds(*command, exit_code=2)
    assert "funds" not in sys.modules


@pytest.mark.parametrize(
    ("args", "exit_code", "says"),
    [
        (("nowhere", "value"), 2, "as module:name or file.py:name"),
        (("fund_nav", "value", "--batch", "no"), 2, "remembers no batch 'no'; see: flowctx batches"),
        (("fund_nav", "value", "--batch", "b1b", "--select", "fund=A"), 2, "no batch 'b1b'; did you mean 'b1'?"),
        (("fund_nav", "value", "--known-at", "noon"), 2, "known_at='noon' is no time"),
        (("fund_nav", "value", "--known-at", "2999-01-01T00:00Z"), 2, "lies ahead: it is 20"),
        (
            ("fund_nav", "value", "--known-at", "2020-01-01T00:00Z"),
            1,
            "no partition of fund_nav that is meant has a version that was current at 2020-01-01T00:00Z with an output "
            "of step 'value'; see: flowctx captures fund_nav",
        ),
        (("fund_nav", "value", "--revision", "99"), 1, "no partition of fund_nav that is meant has a revision 99 with"),
        (("fund_nav", "value", "--to", "parquet"), 2, "say where it goes: --file NAME.parquet"),
        (("fund_nav", "value", "--file", "nav.xls"), 2, "say what nav.xls is to be"),
        (("fund_nav", "value", "--file", "no/nav.csv"), 2, "no/nav.csv cannot be written"),
        (("fund_nav", "value", "--table", "no"), 2, "has no table 'no'; its tables: held, nested"),
    ],
)
def test_what_cannot_be_is_one_line(funds, args, exit_code, says):
    """It says what is wrong and what to do."""
    assert says in funds("output", *args, exit_code=exit_code)


def test_a_key_that_no_table_has_is_refused(funds):
    """The command was wrong, whatever differs."""
    both = ("diff", "fund_nav", "--batch", "b1", "--with", "b2")
    assert "has a column 'no' to be a key; they have" in funds(*both, "--key", "no", exit_code=2)


def test_what_differs_is_shown_and_ends_with_1(funds):
    """As text, as JSON and as a page; what is equal ends with 0."""
    both = ("diff", "fund_nav", "--batch", "b1", "--with", "b2")
    shown = funds(*both, "--common", "--html", "diff.html", exit_code=1)
    assert shown.splitlines()[0] == "fund_nav: batch b1 and batch b2: 1 changed"
    assert "date=2026-01-05|fund=B  value  nav   changed  1.0  5.0  +4" in shown
    assert "batch b1 and batch b2" in (funds.folder / "diff.html").read_text()
    found = funds(*both, "--json", exit_code=1)
    assert (found["equal"], found["counts"]) == (False, {"changed": 1, "removed": 1})
    assert found["steps"][0]["changes"] == [{"path": "nav", "kind": "changed", "old": 1.0, "new": 5.0, "delta": 4.0}]
    assert funds("diff", "fund_nav", "--revision", "1", "--with", "1").splitlines() == [
        "fund_nav: revision 1 and revision 1: 2 equal"
    ]
    assert "there is more" in funds(*both, "--limit", "1", exit_code=1)
    assert "1 equal" in funds(*both, "--common", "--atol", "4")


def test_of_what_both_have_a_pruned_one_is_said_to_be_gone(funds):
    """It counts neither as equal nor as different, and is refused where not only that is compared."""
    funds("ledger", "prune", "--days", "0")
    one = ("diff", "fund_nav", "--batch", "b1")
    shown = funds(*one, "--common")
    assert shown.splitlines()[0] == "fund_nav: batch b1 and current: 1 equal, 1 gone"
    assert "capture 2026-01-05|B|b1 (revision 1, of 20" in shown
    found = funds(*one, "--common", "--json")
    assert (found["equal"], found["counts"], len(found["steps"])) == (True, {"gone": 1, "equal": 1}, 1)
    assert "was pruned" in funds(*one, exit_code=2)
    assert "was pruned" in funds(*one, "--with", "b2", "--common", exit_code=2)


def test_a_run_is_compared_with_its_replay(funds):
    """What it returns now on what it saw then is what it returned."""
    run_id = funds("runs", "--json")[0]["run_id"]
    assert funds("diff", "fund_nav", "--replay", run_id) == f"fund_nav: run {run_id} and its replay: 1 equal\n"
    assert funds("diff", "fund_nav", "--replay", run_id[:20]) == f"fund_nav: run {run_id} and its replay: 1 equal\n"
    key = funds("show", run_id, "--json")["context"]["partition"]
    assert "1 equal" in funds("diff", "fund_nav", "--replay", run_id, "--partition", "|".join(key.values()))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "say which version is compared"),
        (("--batch", "b1", "--revision", "1"), "batch_id= (--batch) and revision= (--revision) exclude each other"),
        (("--revision", "1", "--with", "b2"), "--with 'b2' is no number of a revision"),
        (("--batch", "b1", "--with", "b9"), "remembers no batch 'b9'"),
        (("--batch", "b1", "--with", "b2x", "--select", "fund=A"), "no batch 'b2x'; did you mean 'b2'?"),
        (("--revision", "2", "--with", "7"), "no partition of workflow 'fund_nav' that is meant has both versions"),
        (("--replay", "r", "--batch", "b1"), "--replay compares a run with itself; leave out --batch"),
        (("--replay", "r", "--common", "--select", "fund=A"), "with itself; leave out --select and --common"),
        (("--replay", "r", "--partition", "Z9"), "the ledger remembers no run 'r'"),
        (("--batch", "b1", "--partition", "Z9"), "for versions write --select"),
        (("--batch", "b1", "--step", "worth"), "has no step 'worth'"),
    ],
)
def test_versions_that_cannot_be_compared_are_one_line(funds, args, says):
    """It says what is wrong and what to do."""
    assert says in funds("diff", "fund_nav", *args, exit_code=2)


HOSTILE = """
from flowctx import PartitionScheme, Workflow

flow = Workflow("hostile", partitions=PartitionScheme(tier=["T1", "T2"]), params={"n": 1})

@flow.step()
def value(ctx):
    n = ctx.params["n"]
    return {"\\x1b]0;own\\x07[red]": n, "half": f"\\ud800 {n}", "api_token": f"hunter2-{n}", "seen": f"\\x9b2J {n}"}

@flow.step()
def mixed(ctx):
    return {"api_token": "hunter2-x" if ctx.partition.tier == "T1" else 1, "large": 2**70}
"""


@pytest.fixture
def hostile(shell):
    """Two partitions, each twice, of a workflow that returns what acts on a terminal, and secrets."""
    (shell.folder / "hostile_flows.py").write_text(HOSTILE)
    for tier, batch in [("T1", "b1"), ("T2", "b1"), ("T1", "b2")]:
        at = ("--partition", f"tier={tier}", "--batch", batch)
        shell("run", "hostile_flows:flow", *at, "-p", f"n={batch[1]}")
    yield shell
    sys.modules.pop("hostile_flows", None)


def test_what_is_shown_of_versions_is_text_without_secrets(hostile):
    """Names and values of outputs, on a terminal, as JSON and in a page."""
    target = "hostile_flows:flow"
    shown = [hostile("output", target, "value"), hostile("stale", target)]
    shown.append(hostile("diff", target, "--batch", "b1", "--html", "diff.html", exit_code=1))
    shown.append(str(hostile("diff", target, "--batch", "b1", "--json", exit_code=1)["steps"][0]["changes"][2]))
    shown.append((hostile.folder / "diff.html").read_text("utf-8"))
    for text in shown:
        assert not any(part in text for part in ("hunter2", "\x1b", "\x07", "\x9b", "\ud800")), text
    assert r"\x1b]0;own\x07[red]" in shown[0]


def test_other_tools_get_what_the_step_returned(hostile):
    """Half a surrogate pair stays in JSON, and is an escape where the form has none; what no table holds is refused."""
    target = "hostile_flows:flow"
    as_json = json.loads(hostile("output", target, "value", "--to", "json"))
    assert [(row["half"], row["api_token"]) for row in as_json] == [
        ("\ud800 2", "hunter2-2"),
        ("\ud800 1", "hunter2-1"),
    ]
    lines = list(csv.DictReader(io.StringIO(hostile("output", target, "value", "--to", "csv"))))
    assert [line["half"] for line in lines] == ["\\ud800 2", "\\ud800 1"]
    for step, why in (("value", "the values 'half' fit in no table"), ("mixed", "'api_token' are not of one type")):
        refused = hostile("output", target, step, "--file", "o.parquet", exit_code=2)
        assert why in refused
        assert "hunter2" not in refused


def test_a_selection_without_dates_is_of_all_that_is_captured(funds):
    """So is one from a date on: of dates that go on for ever, those count that anybody has captured."""
    assert "1 partition\n" in funds("output", "fund_nav", "value", "--select", "fund=B")
    assert "1 partition\n" in funds("output", "fund_nav", "value", "--select", "date=2026-01-06..")
    assert "2 partitions\n" in funds("output", "fund_nav", "value", "--select", "date=2026-01..2026-03")
    assert "1 changed" in funds("diff", "fund_nav", "--batch", "b1", "--select", "fund=B", exit_code=1)
    assert "1 equal" in funds("diff", "fund_nav", "--batch", "b1", "--select", "fund=A")
    assert "nothing of fund_nav is stale" in funds("stale", "fund_nav", "--select", "fund=B")
    says = "no partition of fund_nav that is meant has a version with an output of step 'value'; see: flowctx captures"
    assert says in funds("output", "fund_nav", "value", "--select", "date=2027-01-01..", exit_code=1)


def test_until_is_the_last_date_of_what_is_read(funds):
    """Of output, diff and stale, also where the date is named; what holds nothing up to it is refused."""
    both = ("--select", "date=2026-01-05|2026-01-06", "--until", "2026-01-05")
    assert [row["date"] for row in json.loads(funds("output", "fund_nav", "value", "--to", "json", *both))] == [
        "2026-01-05"
    ]
    assert "2026-01-06" not in funds("diff", "fund_nav", "--batch", "b1", *both, exit_code=1)
    nothing = ("--select", "date=2026-01-06", "--until", "2026-01-05")
    for command in (("output", "fund_nav", "value"), ("diff", "fund_nav", "--batch", "b1"), ("stale", "fund_nav")):
        assert "date=2026-01-06 holds no as-of date up to 2026-01-05" in funds(*command, *nothing, exit_code=2)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_values_of_one_column_are_not_written(funds, form):
    """Whatever it is written as, a value is not lost in silence, and no file is left."""
    source = funds.folder / "shared.py"
    source.write_text(SOURCE.replace('"of": {"day": ctx.as_of_date}', '"of.day": 1, "of": {"day": 2}'))
    place = f"{source}:nav"
    funds("run", place, "--partition", "2026-01-07|A", "--batch", "b3")
    errors = funds("output", place, "value", "--batch", "b3", "--file", f"out.{form}", exit_code=2)
    assert "two values that would both be the column 'of.day'" in errors
    assert not (funds.folder / f"out.{form}").exists()
    sys.modules.pop("shared", None)
