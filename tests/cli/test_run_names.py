"""The run that a command is about, as people type it."""

import re

import pytest

from cli.conftest import SOURCE
from flowctx import PartitionScheme, UnknownRun, Workflow, run
from flowctx.cli.options import CommandError
from flowctx.cli.run_names import meant_workflow, partition_named, run_named
from flowctx.core.partitions.key import PartitionKey
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing.records import a_run

flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2"], venue=["N"]))
flow.step("only")(lambda ctx: None)


@pytest.fixture
def ledger():
    """Four runs, two of which are of one id."""
    found = MemoryLedger()
    for run_id, partition in (("abc1", "T1|N"), ("abc2", "T1|N"), ("xyz", "T1|N"), ("abc", "T2|N")):
        run(flow, partition=partition, run_id=run_id, ledger=found)
    return found


def test_the_beginning_of_an_id_is_enough(ledger):
    """One run that begins so is meant; a whole id is, whatever begins with it."""
    assert run_named(ledger, "x", None) == ("xyz", None)
    assert run_named(ledger, "abc", None) == ("abc", None)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("nope", "no run 'nope'; see: flowctx runs"),
        ("T1|N|xyz", "its capture was written by a run: flowctx show xyz"),
        ("batch-2012", "a batch has this id: flowctx status batch-2012"),
        ("long-name-off-a-run", "did you mean 'long-name-of-a-run'? see: flowctx runs"),
    ],
)
def test_an_id_of_something_else_is_told(ledger, typed, says):
    """A capture, which a run prints, and a batch have other commands; a slip has a near id."""
    run(flow, partition="T2|N", run_id="long-name-of-a-run", batch_id="batch-2012", ledger=ledger)
    with pytest.raises(UnknownRun, match=re.escape(says)):
        run_named(ledger, typed, None)


def test_a_capture_is_taken_where_it_may_be_meant(ledger):
    """Its id is returned as it is; what is neither is called so."""
    assert run_named(ledger, "T1|N|xyz", None, or_capture=True) == ("T1|N|xyz", None)
    with pytest.raises(UnknownRun, match="no run or capture 'T1[|]N[|]xy'; did you mean"):
        run_named(ledger, "T1|N|xy", None, or_capture=True)


def test_a_workflow_that_is_nearly_called_so_is_asked_about(ledger):
    """Of those that have runs."""
    assert (meant_workflow(ledger, f"{flow.name}s"), meant_workflow(ledger, "another")) == (
        f"did you mean {flow.name!r}? ",
        "",
    )


def test_a_beginning_of_several_names_them(ledger):
    """Nothing is guessed."""
    with pytest.raises(CommandError, match="several runs begin with 'ab': abc, abc1, abc2; type more of it"):
        run_named(ledger, "ab", None)


def test_a_partition_may_be_its_values(ledger):
    """Values in the scheme's order say which partition; others are refused with those that there are."""
    assert run_named(ledger, "xyz", "T1|N") == ("xyz", PartitionKey(tier="T1", venue="N"))
    assert run_named(ledger, "xyz", "T1, N") == ("xyz", PartitionKey(tier="T1", venue="N"))
    with pytest.raises(CommandError, match=r"run xyz has no partition 'T9'; it has tier=T1\|venue=N"):
        run_named(ledger, "xyz", "T9")


def test_runs_tell_the_dimensions_of_values(ledger):
    """Where no run is named, the partitions of all runs say which value is of which dimension; nothing is guessed."""
    key = PartitionKey(tier="T2", venue="N")
    for typed in ("T2|N", "T2,N", " T2 | %4E ", key):
        assert partition_named(ledger, None, typed) == partition_named(ledger, "tiers", typed) == key
    assert partition_named(ledger, "tiers", None) is None
    for typed, workflow, known in (
        ("T9|N", "tiers", "tier=…,venue=…"),
        ("N|T2", "tiers", "tier=…,venue=…"),
        ("T2", None, "tier=…,venue=…"),
        ("T2|N", "x", "date=…"),
    ):
        with pytest.raises(CommandError, match=f"no run is known of a partition with the values '.*with its .*{known}"):
            partition_named(ledger, workflow, typed)


def test_values_of_several_partitions_name_them(ledger):
    """Two workflows have the same values in other dimensions: which one is meant is for the user to say."""
    other = Workflow("desks", partitions=PartitionScheme(desk=["T1"], venue=["N"]))
    other.step("only")(lambda ctx: None)
    run(other, partition="T1|N", run_id="d1", ledger=ledger)
    with pytest.raises(
        CommandError, match=r"several partitions have the values 'T1\|N' in .*; those are desk=T1\|venue=N, tier="
    ):
        partition_named(ledger, None, "T1|N")
    assert partition_named(ledger, "desks", "T1|N") == PartitionKey(desk="T1", venue="N")


@pytest.mark.parametrize("first", ["USD|EUR", "EUR|USD"])
def test_values_are_in_the_order_of_the_scheme(ledger, first):
    """EUR|USD has the base first, although its key has the quote first; it is never taken for USD|EUR."""
    pairs = Workflow("fx", partitions=PartitionScheme(quote=["EUR", "USD", "GBP"], base=["USD", "EUR", "GBP"]))
    pairs.step("only")(lambda ctx: None)
    base, quote = reversed(first.split("|"))
    for partition in (first, "GBP|GBP"):
        run(pairs, partition=partition, run_id="several", ledger=ledger)
    for name in (lambda text: run_named(ledger, "several", text)[1], lambda text: partition_named(ledger, "fx", text)):
        assert name(first) == PartitionKey(base=base, quote=quote)
        assert name("GBP|GBP") == PartitionKey(base="GBP", quote="GBP")
        with pytest.raises(CommandError, match=r"in the order of .*; write it with its dimensions"):
            name(f"{base}|{quote}")


def test_a_capture_id_of_ones_own_tells_no_order(ledger):
    """The dimensions are asked for, and with them the run is found."""
    ledger.begin(a_run("own", partition={"tier": "T2", "venue": "N"}, capture_id="mine"))
    with pytest.raises(CommandError, match=r"run own does not have the values 'T2\|N' in .*; it has tier=T2\|venue=N"):
        run_named(ledger, "own", "T2|N")
    assert run_named(ledger, "own", PartitionKey(tier="T2", venue="N"))[1] == PartitionKey(tier="T2", venue="N")


def test_the_commands_take_both(shell):
    """`show`, `replay` and `resume` find a run by its beginning and its short key."""
    run_id = shell("run", "cli_flows:prices", "--partition", "IBM", "--json", exit_code=1)["run_id"]
    meant = (run_id[:8], "--partition", "IBM")
    assert shell("show", *meant, "--json")["run_id"] == run_id
    assert [one["run_id"] for one in shell("runs", "--partition", "IBM", "--json")] == [run_id]
    assert [one["run_id"] for one in shell("captures", "prices", "--partition", "IBM", "--json")] == [run_id]
    assert "the same as recorded" in shell("replay", run_id[:8], "fetch", "--partition", "IBM")
    shell.mend()
    assert shell("resume", *meant, "--json")["run_id"] == run_id


def test_what_continues_one_of_several_partitions_names_it(shell):
    """A run of Airflow that is mapped serves several: the hint is a command that works."""
    for symbol in ("IBM", "AAPL"):
        printed = shell("run", "cli_flows:prices", "--partition", symbol, "--run-id", "several", exit_code=1)
    assert "to continue: flowctx resume several --partition symbol=AAPL" in printed
    hint = "to continue: flowctx resume several --partition symbol=IBM"
    assert hint in shell("show", "several", "--partition", "symbol=IBM")
    shell.mend()
    shell(*hint.split()[3:])


def test_what_continues_one_of_several_workflows_names_it(shell):
    """Airflow gives one id to the runs of several DAGs at one time: what is advised of each works as it stands."""
    shell.file.write_text(f"{SOURCE}\nother = Workflow('other')\nother.step('only')(lambda ctx: 1 / 0)\n")
    shell("run", "cli_flows:prices", "--partition", "IBM", "--run-id", "both", exit_code=1)
    printed = shell("run", "cli_flows:other", "--run-id", "both", exit_code=1)
    assert "flowctx show both --workflow other --traceback" in printed
    assert "to continue: flowctx resume both --workflow cli_flows:other" in printed
    hint = "to continue: flowctx resume both --workflow cli_flows:prices"
    assert hint in shell("show", "both", "--workflow", "prices")
    shell.mend()
    shell(*hint.split()[3:])


def test_what_was_cut_is_of_the_partition_that_was_at_work(shell):
    """Not of another one that has the same run id, and began later."""
    stop = "pathlib.Path(__file__).with_name('stop').exists()"
    shell.file.write_text(
        SOURCE.replace("def check(ctx):", f"def check(ctx):\n    if {stop}:\n        raise SystemExit(3)")
    )
    for symbol in ("IBM", "AAPL"):
        shell("run", "cli_flows:prices", "--partition", symbol, "--run-id", "several", exit_code=1)
    (shell.folder / "stop").touch()
    printed = shell("resume", "several", "--partition", "IBM", exit_code=1)
    assert "a step called sys.exit(3); a step has ended the process" in printed
    assert "to continue: flowctx resume several --partition symbol=IBM" in printed


def test_a_workflow_is_meant_by_its_place_too(shell):
    """What other commands take as the workflow finds its runs and captures; a slip in it is told."""
    run_id = shell("run", "cli_flows:prices", "--partition", "IBM", "--json", exit_code=1)["run_id"]
    for place in ("cli_flows:prices", "cli_flows.py"):
        assert [one["run_id"] for one in shell("captures", place, "--json")] == [run_id]
        assert [one["run_id"] for one in shell("runs", "--workflow", place, "--json")] == [run_id]
        assert shell("show", run_id, "--workflow", place, "--json")["run_id"] == run_id
    assert "has no workflow 'price'; it has prices" in shell("captures", "cli_flows:price", exit_code=2)
