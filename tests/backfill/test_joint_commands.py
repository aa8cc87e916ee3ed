"""The commands for a batch of several workflows, as people type them."""

from __future__ import annotations

import json
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfill import desk
from flowctx.backfill import Backfill, JointBackfill
from flowctx.cli import cli
from flowctx.ledger import open_ledger

NAV, DESK, MONTH, ALONE = (f"backfill.desk:{name}" for name in ("nav", "desk", "month", "alone"))
BAD = "date=2013-01-30|fund=A"


def flowctx(url: str, *args: str) -> Result:
    return CliRunner().invoke(cli, list(args), env={"FLOWCTX_LEDGER_URL": url})


def test_three_workflows_in_one_batch_from_the_dry_run_to_the_page(url: str, tmp_path: Path) -> None:
    """One selection for all of them; status, its JSON and the page have each, and the printed command goes on."""
    broken, page = tmp_path / "broken", tmp_path / "b.html"
    broken.write_text(BAD)
    fill = ["backfill", MONTH, NAV, DESK, "--batch", "b", "--select", "date=2013-01", "-p", f"fail={broken}"]
    dry = flowctx(url, *fill, "--dry-run")
    assert re.search(r"would run +67", dry.output)
    assert re.search(r"desk +22 +date=2013-01-02 +date=2013-01-31 +22", dry.output)
    failed = flowctx(url, *fill, "--workers", "2")
    assert failed.exit_code == 1
    assert f"failed: {BAD} of nav at value: no price" in failed.stderr
    status = flowctx(url, "status", "b", "--html", str(page), *(f"--workflow={place}" for place in (NAV, DESK, MONTH)))
    assert re.search(r"workflow +nav, desk, month\n", status.output)
    assert re.search(
        r"workflow +desk\nselection +date=2013-01-02..2013-01-31\npartitions +22: 20 ok, 2 waiting", status.output
    )
    data = json.loads(flowctx(url, "status", "b", "--json").output)
    assert (data["total"], data["counts"]) == (67, {"ok": 62, "failed": 1, "waiting": 4})
    assert [(one["workflow"], one["total"]) for one in data["workflows"]] == [("nav", 44), ("desk", 22), ("month", 1)]
    assert data["failures"][0]["workflow"] == "nav"
    assert data["waits"] == {f"waits for {BAD} of nav, which failed at step value": 4}
    shown = json.loads(re.search(r'type="application/json">(.*?)</script>', page.read_text())[1])  # type: ignore[index]
    assert [one["grid"]["cells"] for one in shown["workflows"][1:]] == ["o" * 20 + "ww", "w"]
    assert re.findall(r'Built from <span class="dim">of (\w+) date=2013-01-', page.read_text()) == ["nav", "desk"]
    (listed,) = json.loads(flowctx(url, "batches", "--json").output)
    assert (listed["workflows"], listed["total"], listed["counts"]["waiting"]) == (["nav", "desk", "month"], 67, 4)
    broken.unlink()
    command = re.search(r"flowctx (backfill .* --retry-failed)", status.output)[1].split()  # type: ignore[index]
    assert command[:4] == ["backfill", NAV, DESK, MONTH]
    assert flowctx(url, *command).exit_code == 0
    assert json.loads(flowctx(url, "status", "b", "--json").output)["counts"] == {"ok": 67}
    assert "batch b is canceled" in flowctx(url, "cancel", "b").output


def test_what_hangs_on_a_selection_is_found_in_the_same_module(url: str) -> None:
    """The rest of the chain, its sums and the months; typed again without a selection, the batch is the same."""
    fill = ["backfill", NAV, "--batch", "b", "--downstream"]
    first = flowctx(url, *fill, "--select", "date=2013-03-28,fund=B", "--dry-run", "--json")
    assert json.loads(first.stdout)["workflows"] == {
        name: {"total": total, "would_run": total} for name, total in (("nav", 2), ("desk", 2), ("month", 1))
    }
    assert "with all that hangs on it: nav (2), desk (2), month (1)" in first.stderr
    assert (
        flowctx(url, "backfill", NAV, DESK, "--batch", "all", "--select", "date=2013-03-28..2013-03-29").exit_code == 1
    )
    downstream = ["backfill", NAV, "--batch", "all", "--downstream", "--select", "date=2013-01-02"]
    assert "is one of nav, desk, and this asks for nav, desk, month" in flowctx(url, *downstream).stderr


@pytest.mark.parametrize("place", ["near_desk:nav", "near_desk.py:nav"])
def test_what_hangs_on_a_selection_is_found_where_it_was_typed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A module that imports the workflow and reads it is looked into, although the workflow is another module's."""
    (tmp_path / "near_desk.py").write_text(
        "from backfill.desk import nav\n"
        "from flowctx import Workflow\n"
        "near = Workflow('near', partitions=nav.partitions)\n"
        "@near.step(inputs={'value': nav.output('value')})\n"
        "def read(ctx, *, value):\n"
        "    return value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    dry = flowctx(url, "backfill", place, "--batch", "b", "--select", "date=2013-03-29", "--downstream", "--dry-run")
    sys.modules.pop("near_desk")
    assert "with all that hangs on it: nav (2), " in dry.stderr
    assert "near (2)" in dry.stderr


def test_until_is_the_last_date_of_the_whole_batch(url: str) -> None:
    """A workflow may end before the others; what it cuts of one, or what is due after all of them, is refused."""
    selections = {desk.nav: "date=2013-01", desk.desk: "date=2013-01-30", desk.month: "month=2013-01-31"}
    with closing(open_ledger(url)) as ledger:
        plans = [Backfill(workflow, some, "b", ledger=ledger) for workflow, some in selections.items()]
        ledger.batches.put(JointBackfill(plans).record())
    fill = ["backfill", NAV, DESK, MONTH, "--batch", "b", "--dry-run"]
    assert flowctx(url, *fill, "--until", "2013-01-31").exit_code == 0
    assert "until='2013-01-30' leaves out 2" in flowctx(url, *fill, "--until", "2013-01-30").stderr
    assert "adds none to batch 'b'" in flowctx(url, *fill, "--until", "2013-02-01").stderr


def test_until_cuts_what_a_batch_of_single_runs_is_filled_with(url: str) -> None:
    """It has no selection of its own, so that all partitions are meant."""
    single = flowctx(url, "run", NAV, "--partition", "date=2013-01-02|fund=A", "--batch", "b")
    assert single.exit_code == 0, single.output
    fill = ["backfill", NAV, "--batch", "b", "--until", "2013-01-03", "--dry-run", "--json"]
    assert json.loads(flowctx(url, *fill).stdout)["total"] == 4


def dry_run(url: str, *args: str) -> dict[str, int]:
    plan = json.loads(flowctx(url, "backfill", *args, "--dry-run", "--json").stdout)
    return {name: one["total"] for name, one in plan["workflows"].items()}


def test_a_workflow_is_added_with_a_selection_of_its_own(url: str) -> None:
    """Without one it is refused, so that nobody runs all partitions of all workflows by it."""
    again, some = ["--batch", "b"], ["--select", "date=2013-01-02"]
    assert flowctx(url, "backfill", NAV, DESK, *again, *some, "--workers", "1").exit_code == 0
    for more in ([], ["--extend"]):
        refused = flowctx(url, "backfill", NAV, DESK, MONTH, *again, *more)
        assert "batch 'b' is one of nav, desk, and has no partitions of month; leave out month" in refused.stderr
    assert "add the others to it" in flowctx(url, "backfill", NAV, DESK, MONTH, *again, *some).stderr
    assert dry_run(url, NAV, DESK, MONTH, *again, *some, "--extend") == {"nav": 2, "desk": 1, "month": 1}


def test_what_hangs_on_a_batch_that_is_there_is_added_to_it(url: str) -> None:
    """Where it has none of it yet, that has to be said; and where it has all, it just goes on."""
    again = [NAV, "--batch", "b", "--downstream"]
    with closing(open_ledger(url)) as ledger:
        ledger.batches.put(Backfill(desk.nav, "date=2013-03-28", "b", ledger=ledger).record())
    refused = flowctx(url, "backfill", *again)
    assert "with all that hangs on it: nav (4), desk (2), month (1)" in refused.stderr
    assert "this asks for nav, desk, month; add the others to it" in refused.stderr
    assert dry_run(url, *again, "--extend") == (everything := {"nav": 4, "desk": 2, "month": 1})
    assert flowctx(url, "backfill", *again, "--extend", "--workers", "1").exit_code == 1  # the date before is missing
    assert dry_run(url, *again) == everything


def test_what_has_become_due_since_is_told_and_left_out(url: str) -> None:
    """The same command goes on with the batch as it is, though later dates of a chain hang on it by now."""
    with closing(open_ledger(url)) as ledger:
        plans = [Backfill(one, "date=2013-03-27", "b", ledger=ledger) for one in (desk.nav, desk.desk)]
        month = Backfill(desk.month, "month=2013-03-31", "b", ledger=ledger)
        ledger.batches.put(JointBackfill([*plans, month]).record())
    again = ["backfill", NAV, "--batch", "b", "--downstream", "--dry-run", "--json"]
    warning = "goes on as it is, nav (2), desk (1), month (1); with all that hangs on it by now that would be nav (6)"
    for selection in ((), ("--select", "date=2013-03-27")):
        done = flowctx(url, *again, *selection)
        totals = {name: one["total"] for name, one in json.loads(done.stdout)["workflows"].items()}
        assert totals == {"nav": 2, "desk": 1, "month": 1}
        assert warning in done.stderr
    for other in ("date=2013-03-26", "date=2013-03-28"):  # that is not in it, and what it has does not all hang on it
        refused = flowctx(url, *again, "--select", other)
        assert (refused.exit_code, "ask for the same" in refused.stderr) == (2, True)


def test_a_workflow_of_which_nothing_is_due_stays_in_its_batch(url: str) -> None:
    """Who names it, and adds to the others, is not told to name it; what nobody adds to is as it was."""
    with closing(open_ledger(url)) as ledger:
        days = [Backfill(flow, "date=2013-01-30..2013-01-31", "b", ledger=ledger) for flow in (desk.nav, desk.desk)]
        months = Backfill(desk.month, "month=2013-01-31", "b", ledger=ledger)
        ledger.batches.put(JointBackfill([*days, months]).record())
    more = [
        "backfill",
        NAV,
        DESK,
        MONTH,
        "--batch",
        "b",
        "--select",
        "date=2013-02-01",
        "--until",
        "2013-02-01",
        "--dry-run",
    ]
    done = flowctx(url, *more, "--extend", "--json")
    totals = {name: one["total"] for name, one in json.loads(done.stdout)["workflows"].items()}
    assert totals == {"nav": 6, "desk": 3, "month": 1}
    notice = "nothing of month is due that reads the selection, up to 2013-02-01; it stays as the batch has it"
    assert notice in done.stderr
    assert "; ask for the same, take another id, or add this to it" in flowctx(url, *more).stderr


def test_a_run_outside_of_a_batch_of_several_is_told(url: str) -> None:
    """No selection would add this partition of one workflow alone, so that no command is advised."""
    assert flowctx(url, "backfill", NAV, DESK, "--batch", "b", "--select", "date=2013-01-02").exit_code == 0
    outside = flowctx(url, "run", DESK, "--partition", "2013-01-03", "--batch", "b")
    assert outside.stderr.endswith("has not selected date=2013-01-03: the run counts for nothing in it\n")


def test_what_was_left_out_is_left_out_again(url: str) -> None:
    """The same command goes on with a batch for which nothing of one workflow was due."""
    fill = ["backfill", NAV, MONTH, DESK, "--batch", "b", "--select", "date=2013-01-02", "--until", "2013-01-30"]
    for _ in range(2):
        done = flowctx(url, *fill, "--workers", "1")
        assert "nothing of month is due that reads the selection, up to 2013-01-30; it is left out" in done.stderr
        assert done.exit_code == 0, done.stderr
    hanging = [*fill, "--batch", "c", "--downstream", "--workers", "1"]
    for _ in range(2):
        done = flowctx(url, *hanging)
        assert "with all that hangs on it: nav (42), desk (21)" in done.stderr
        assert done.exit_code == 0, done.stderr


def test_what_cannot_be_is_a_sentence(url: str) -> None:
    """Nothing that reads it, a parameter of none, a selection of none, and options for one workflow."""
    some = ["--batch", "b", "--select", "date=2013-01-02"]
    for args, words in (
        ([ALONE, "--batch", "b", "--downstream"], "nothing that is known here reads alone: --downstream looks into"),
        ([NAV, DESK, *some, "-p", "speed=1"], "none of the workflows nav, desk has a parameter 'speed'"),
        ([NAV, ALONE, *some], "workflow 'alone': 'date=2013-01-02' names 'date'"),
        ([NAV, NAV, *some], "workflow 'nav' stands twice in the batch"),
        ([NAV, DESK, *some, "--stale"], "--stale and --params-from are for one workflow"),
    ):
        refused = flowctx(url, "backfill", *args)
        assert (words in refused.stderr, refused.exit_code) == (True, 2), refused.output


def test_two_files_of_one_name_are_refused(url: str, tmp_path: Path) -> None:
    """The second takes the place of the first in this process, so that no worker would find that one."""
    source = (
        "from flowctx import *\nflow = Workflow({!r}, partitions=PartitionScheme(t=['1']))\nflow.step('s')(print)\n"
    )
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "named_twice.py").write_text(source.format(name))
    places = [f"{tmp_path / name / 'named_twice.py'}:flow" for name in ("left", "right")]
    refused = flowctx(url, "backfill", *places, "--batch", "b")
    sys.modules.pop("named_twice")
    assert "two files of one batch need two names" in refused.stderr
    assert "no batch 'b'" in flowctx(url, "status", "b").output


def test_a_batch_of_several_needs_all_its_names(url: str) -> None:
    """One of them alone is refused with the names of all, and is not run."""
    assert (
        flowctx(url, "backfill", DESK, NAV, "--batch", "b", "--select", "date=2013-01-02", "--workers", "1").exit_code
        == 0
    )
    alone = flowctx(url, "backfill", NAV, "--batch", "b", "--select", "date=2013-01-03")
    assert "batch 'b' is one of the workflows nav, desk; launch it with all of them" in alone.stderr
