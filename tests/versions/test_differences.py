"""What differs between two versions of plain outputs: paths, kinds, tolerances; and what is refused."""

from __future__ import annotations

import json
import math
import re
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from flowctx import (
    ArtifactError,
    ContextError,
    PartitionScheme,
    PlainDataError,
    StepResult,
    UnknownBatch,
    VersionChoice,
    VersionGone,
    Workflow,
    WorkflowContext,
    diff,
    outputs,
    resume,
    run,
    stale,
)
from flowctx.core.data.plain import freeze
from flowctx.ledger import open_ledger
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import FakeClock
from flowctx.versions import diff_replay, render_html
from flowctx.versions.changes import Tolerance, changes
from flowctx.versions.choosing import StepVersions
from flowctx.versions.differences import Outcome
from flowctx.versions.page_of_versions import Comparison
from flowctx.versions.shown import lines, step_data, step_lines, to_data

FIRST, SECOND = VersionChoice(batch_id="b1"), VersionChoice(batch_id="b2")
flow = Workflow("tiers", partitions=PartitionScheme(tier=["T1", "T2", "T3"]), extra_params=True)
SOURCE = {"now": 1}


@flow.step()
def rate(ctx: WorkflowContext) -> StepResult:
    """What the parameters say."""
    return StepResult.skip("none") if ctx.params.get("skip") else StepResult.ok(ctx.params.get("out") or {})


@flow.step()
def rows(ctx: WorkflowContext) -> StepResult:
    """A table of the parameter, and a value from outside."""
    columns = {"k": [1, 2], "v": ctx.params.get("v", [1.0, 2.0]), **ctx.params.get("columns", {})}
    return StepResult.ok({"t": pa.table({k: v for k, v in columns.items() if v}), "source": SOURCE["now"]})


@pytest.fixture
def ledger():
    return MemoryLedger()


def make(ledger, batch_id, tier="T1", **params):
    return run(flow, partition={"tier": tier}, batch_id=batch_id, params=params, ledger=ledger)


def found(old, new, **how):
    """Return what differs between two outputs: path, kind, old and new."""
    some = changes(freeze(old), freeze(new), Tolerance(**how))
    return [(c.path, c.kind, *(v for v in (c.old, c.new) if type(v) is not object)) for c in some]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [("a.b[1].c", "changed", 2, 3)]),
        ({"a": 1}, {"b": None}, [("a", "removed", 1), ("b", "added", None)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a[1]", "added", 2)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", "changed", [1], {"b": 1})]),
        ({"a": float("nan"), "b": 0.1 + 0.2}, {"a": float("nan"), "b": 0.1 + 0.2}, []),
        ({"a": 1}, {"a": 1.0}, [("a", "changed", 1, 1.0)]),
        ({"a": Decimal("1.0")}, {"a": Decimal("1.00")}, [("a", "changed", Decimal("1.0"), Decimal("1.00"))]),
        ({"a": True}, {"a": 1}, [("a", "changed", True, 1)]),
        ({"a": date(2026, 1, 9)}, {"a": date(2026, 1, 9)}, []),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, []),
    ],
)
def test_each_value_that_differs_is_named_by_the_way_to_it(old, new, expected):
    """Of nested data, lists and other types; the order of keys does not count."""
    assert found(old, new) == expected


def test_numbers_within_a_tolerance_are_equal():
    """Of any number, but never of what is no number, not finite, or a truth value."""
    assert found({"a": 100.0, "b": Decimal("1.1")}, {"a": 100.4, "b": Decimal("1.2")}, atol=0.5) == []
    assert found({"a": 100}, {"a": 100.5}, rtol=0.01) == []
    assert len(found({"a": 1.0, "b": True, "c": "1"}, {"a": float("inf"), "b": False, "c": "2"}, atol=9, rtol=9)) == 3


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (10**18, 10**18 + 17, 17.0),
        (Decimal("123456789012345678.01"), Decimal("123456789012345678.03"), 0.02),
        (Decimal(10**18), 10**18 + 1, 1.0),
        (10**400, 10**400 + 1, 1.0),
        (Decimal("1E+400"), Decimal(10**400 + 2), 2.0),
        (Decimal("1.0"), Decimal("1.3"), 0.3),
    ],
    ids=["whole", "decimals", "both", "large", "large decimals", "as written"],
)
def test_numbers_are_subtracted_exactly(old, new, change):
    """Whole numbers and decimals of more digits than a float has, or more than a float can be."""
    assert next(changes({"a": old}, {"a": new}, Tolerance())).delta == change
    assert len(found({"a": old}, {"a": new}, atol=change * 0.99)) == 1
    assert found({"a": old}, {"a": new}, atol=change) == []


@pytest.mark.parametrize("new", [10**400, Decimal("1E+400")], ids=["whole", "decimal"])
def test_a_change_that_no_float_can_be_is_infinite(ledger, new):
    """It is shown, as the largest one; nothing else is kept from being compared."""
    make(ledger, "b1", out={"a": 1, "b": 1})
    make(ledger, "b2", out={"a": 2, "b": new})
    for how in ({}, {"atol": 0.5}, {"rtol": 0.1}):
        shown = diff(flow, FIRST, SECOND, ledger=ledger, **how)
        assert [(line.path, line.delta) for line in lines(shown)][:2] == [("b", math.inf), ("a", 1.0)]
    assert to_data(shown)["steps"][0]["changes"][1]["delta"] == "Infinity"


def test_outputs_that_are_only_in_one_version_are_added_or_removed(ledger):
    """Because the partition is, or because it was skipped in the other; --common leaves the former out."""
    make(ledger, "b1", "T1", out={"a": 1})
    make(ledger, "b1", "T2", out={"a": 1})
    make(ledger, "b2", "T1", skip=True)
    make(ledger, "b2", "T3", out={"a": 1})
    there = diff(flow, FIRST, SECOND, ledger=ledger)
    assert [(one.partition.tier, one.step, str(one.outcome)) for one in there.steps] == [
        ("T1", "rate", "removed"),
        ("T1", "rows", "removed"),
        ("T2", "rate", "removed"),
        ("T2", "rows", "removed"),
        ("T3", "rate", "added"),
        ("T3", "rows", "added"),
    ]
    assert [one.partition.tier for one in diff(flow, FIRST, SECOND, step="rate", common=True, ledger=ledger).steps] == [
        "T1"
    ]


def test_the_same_content_is_equal_however_it_came(ledger):
    """Another run, another batch, a table in another file: no difference."""
    make(ledger, "b1", out={"a": 1})
    make(ledger, "b2", out={"a": 1})
    there = diff(flow, FIRST, SECOND, ledger=ledger)
    assert (there.equal, bool(there), dict(there.counts)) == (True, False, {"equal": 2})


def test_captures_and_the_current_version_can_be_compared(ledger):
    """A capture with another; and any version with the current one, which is meant if no other is."""
    one, two = make(ledger, "b1", out={"a": 1}), make(ledger, "b2", out={"a": 2})
    make(ledger, "b1", "T2", out={"a": 1})
    captures = [VersionChoice(capture_id=made.context.capture_id) for made in (one, two)]
    assert [step.partition.tier for step in diff(flow, *captures, ledger=ledger).steps] == ["T1"]
    assert [step.changes[0].new for step in diff(flow, FIRST, ledger=ledger).steps] == [2]


def test_a_run_and_its_replay_differ_where_the_source_does(ledger):
    """Each step is run again on what it saw, and nothing is written."""
    made = make(ledger, "b1")
    assert diff_replay(flow, made.run_id, ledger=ledger).equal
    SOURCE["now"] = 2
    try:
        [step] = diff_replay(flow, made.run_id, ledger=ledger).steps
    finally:
        SOURCE["now"] = 1
    assert [(step.step, change.path, change.old, change.new) for change in step.changes] == [("rows", "source", 1, 2)]


class Asked(MemoryLedger):
    """Counts how often versions are looked up."""

    times = 0

    def versions_meant(self, *args):
        self.times += 1
        return super().versions_meant(*args)


def test_versions_are_looked_up_once_for_all_steps():
    """Which version of a partition is meant does not depend on the step; what differs comes by partition and step."""
    ledger = Asked()
    for tier in ("T2", "T1"):
        make(ledger, "b1", tier, out={"a": 1}, v=[1.0, 2.0])
        make(ledger, "b2", tier, out={"a": 2}, v=[1.0, 3.0])
    there = diff(flow, FIRST, SECOND, ledger=ledger)
    assert [(one.partition.tier, one.step) for one in there.steps] == [
        ("T1", "rate"),
        ("T1", "rows"),
        ("T2", "rate"),
        ("T2", "rows"),
    ]
    assert ledger.times == 1


def test_secrets_are_hidden_wherever_differences_are_shown(ledger):
    """By the way to the value, in lines, data and the page."""
    make(ledger, "b1", out={"db": {"password": "hunter21"}, "limit": 1})
    make(ledger, "b2", out={"db": {"password": "hunter22"}, "limit": 2})
    there = diff(flow, FIRST, SECOND, ledger=ledger)
    shown = [str(list(lines(there))), json.dumps(to_data(there)), render_html(there)]
    assert not any("hunter2" in text for text in shown)
    assert all("***" in text and "db.password" in text for text in shown)


def test_the_page_is_one_file_that_fetches_nothing(ledger):
    """What differs is in it as data, which cannot end its script."""
    make(ledger, "b1", v=[1.0, 2.0], out={"<b>": "</script><script>alert(1)</script>"})
    make(ledger, "b2", v=[1.0, 9.0], out={"<b>": "&"})
    page = render_html(diff(flow, FIRST, SECOND, key=["k"], ledger=ledger))
    assert not re.search(r"""(src|href)=|url\(|@import|https?:""", page)
    assert page.count("</script>") == 2
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert ["tier=T1", "rows", "t[k=2].v", "changed", "2.0", "9.0", 7.0] in data
    assert any(line[2] == "<b>" for line in data)


def test_the_largest_changes_come_first(ledger):
    """Of partitions, and within each."""
    for batch, small, large in (("b1", 1, 1), ("b2", 2, 100)):
        make(ledger, batch, "T1", out={"a": small})
        make(ledger, batch, "T2", out={"a": small, "b": large})
    there = list(lines(diff(flow, FIRST, SECOND, step="rate", ledger=ledger)))
    assert [(line.partition, line.path, line.delta) for line in there] == [
        ("tier=T2", "b", 99.0),
        ("tier=T2", "a", 1.0),
        ("tier=T1", "a", 1.0),
    ]


def test_what_cannot_be_compared_is_one_sentence(ledger):
    """Unknown batches, and versions of nothing in common."""
    make(ledger, "b1", "T1")
    make(ledger, "b2", "T2")
    with pytest.raises(UnknownBatch, match="remembers no batch 'b9'"):
        diff(flow, FIRST, VersionChoice(batch_id="b9"), ledger=ledger)
    with pytest.raises(VersionGone, match="no partition of workflow 'tiers' .* both versions, batch b1 and batch b2"):
        diff(flow, FIRST, SECOND, ledger=ledger)


@pytest.mark.parametrize("v", [[1.0, 3.0], [1.0, 2.0]])
def test_a_key_that_no_table_has_is_refused(ledger, v, monkeypatch):
    """Rows would be compared by position; where all tables are equal, too. One text is one column."""
    make(ledger, "b1")
    monkeypatch.setitem(SOURCE, "now", "another value")
    make(ledger, "b2", v=v)
    with pytest.raises(PlainDataError, match=r"no table .* has a column 'K' to be a key; did you mean 'k'\?"):
        diff(flow, FIRST, SECOND, key="K", ledger=ledger)
    with pytest.raises(PlainDataError, match=r"column 'nosuch' to be a key; they have k, v"):
        diff(flow, FIRST, SECOND, key=["nosuch"], ledger=ledger)
    assert diff(flow, FIRST, SECOND, key="k", ledger=ledger)


def test_a_key_is_looked_for_where_all_is_equal(ledger):
    """Outputs that are equal are not read to be compared, but one of each step for its columns."""
    make(ledger, "b1")
    make(ledger, "b2")
    assert not diff(flow, FIRST, SECOND, key="k", ledger=ledger)
    with pytest.raises(PlainDataError, match=r"no column|has a column 'nosuch'"):
        diff(flow, FIRST, SECOND, key="nosuch", ledger=ledger)


@pytest.mark.parametrize(
    ("columns", "key", "says"),
    [
        ({"v": ["a", "b"]}, (), "column 'v' is float64 in the old table and string in the new one; compare tables of"),
        ({"v": None}, (), "only the old table has the column 'v'; compare tables of the same columns"),
        ({"w": [1, 2]}, ("k",), "only the new table has the column 'w'; compare tables of the same columns"),
        ({"k": [1, 1]}, ("k",), "1 key not unique in the new table, such as k=1; name more columns"),
    ],
)
def test_tables_that_cannot_be_compared_say_why(ledger, columns, key, says):
    """One line, in the place of what differs."""
    make(ledger, "b1")
    make(ledger, "b2", columns=columns)
    [line] = lines(diff(flow, FIRST, SECOND, key=key, ledger=ledger))
    assert (line.kind, line.path.partition(": ")[2][: len(says)]) == ("differs", says)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["atol", "rtol"])
def test_a_tolerance_is_a_finite_number(ledger, name, value):
    """With another one, tables would differ in every cell, or in none."""
    how = {name: value, "ledger": ledger}
    for ask in (
        lambda: diff(flow, FIRST, SECOND, **how),
        lambda: stale(flow, **how),
        lambda: diff_replay(flow, "r", **how),
    ):
        with pytest.raises(ContextError, match=f"{name}={value} is no tolerance; pass a finite number"):
            ask()


def test_a_table_whose_file_is_gone_keeps_nothing_else_from_being_compared(tmp_path):
    """It differs, since its digest does, and what was built on it is stale; only to read it is an error."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/l.db")
    tiers = PartitionScheme(tier=["T1", "T2"])
    source, reader = (Workflow(name, partitions=tiers, extra_params=True) for name in ("source", "reader"))
    source.step(name="make")(lambda ctx: {"t": pa.table({"v": list(range(ctx.params["first"], 20_000))})})
    reader.step(name="read", inputs={"read": source.output("make")})(lambda ctx, *, read: {"rows": read["t"].rows})
    files = []
    for tier, first in (("T1", 0), ("T2", 1)):
        run(source, partition=tier, batch_id="b1", params={"first": first}, ledger=ledger).raise_for_failure()
        files.append(set(tmp_path.glob("l.db.artifacts/**/*.parquet")))
        run(reader, partition=tier, batch_id="b1", ledger=ledger).raise_for_failure()
    for tier in tiers:
        run(source, partition=tier, batch_id="b2", params={"first": 2}, ledger=ledger).raise_for_failure()
    files[0].pop().unlink()
    assert [str(one.partition) for one in stale(reader, ledger=ledger)] == ["tier=T1", "tier=T2"]
    [*others, gone] = lines(diff(source, FIRST, SECOND, ledger=ledger))
    assert (str(gone.partition), gone.kind) == ("tier=T1", "differs")
    assert re.match("t: cannot read .* it is not there", gone.path)
    assert {str(line.partition) for line in others} == {"tier=T2"}
    with pytest.raises(ArtifactError, match="the table of tier=T1: cannot read .* it is not there"):
        outputs(source, "make", batch_id="b1", ledger=ledger).table("t").to_arrow()


def test_what_is_damaged_keeps_nothing_else_from_being_compared(tmp_path):
    """A large output that is gone, and a table with a damaged page, differ and are named; in a replay, too."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/l.db")
    source = Workflow("source", partitions=PartitionScheme(tier=["T1", "T2"]), extra_params=True)
    source.step(name="numbers")(lambda ctx: {"n": str(ctx.params["first"]) * 60_000})
    source.step(name="table")(
        lambda ctx: {"t": pa.table({"v": [n**5 % 99_991 for n in range(ctx.params["first"], 20_000)]})}
    )

    def made(tier, batch_id, first):
        before = {*tmp_path.glob("l.db.artifacts/**/*.*")}
        how = {"partition": tier, "batch_id": batch_id, "params": {"first": first}, "run_id": f"{tier}-{batch_id}"}
        run(source, ledger=ledger, **how).raise_for_failure()
        return {file.suffix: file for file in {*tmp_path.glob("l.db.artifacts/**/*.*")} - before}

    files = made("T1", "b1", 0)
    for tier, batch_id, first in (("T2", "b1", 1), ("T1", "b2", 2), ("T2", "b2", 3)):
        made(tier, batch_id, first)
    table = files.pop(".parquet")
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 255
    table.write_bytes(data)
    files.popitem()[1].unlink()
    differences = diff(source, FIRST, SECOND, ledger=ledger)
    found = {
        (str(one.partition), one.step, line.kind): line.path for one in differences.steps for line in step_lines(one)
    }
    assert re.match("cannot read .* it is not there", found["tier=T1", "numbers", "differs"])
    assert re.match("t: .* is damaged", found["tier=T1", "table", "differs"])
    assert {(tier, step) for tier, step, kind in found if kind != "differs"} == {
        ("tier=T2", "numbers"),
        ("tier=T2", "table"),
    }
    [lost] = [one for step in to_data(differences)["steps"] for one in step["changes"] if "problem" in one]
    assert (lost["kind"], lost["problem"]) == ("changed", found["tier=T1", "numbers", "differs"])
    again = [
        (step.step, change.problem)
        for step in diff_replay(source, "T1-b1", ledger=ledger).steps
        for change in step.changes
    ]
    assert [step for step, problem in again if problem] == ["numbers"]


def test_a_pruned_version_is_not_compared():
    """It is said to be pruned; nothing older stands in for it."""
    clock = FakeClock()
    ledger = MemoryLedger(clock)
    for batch in ("b1", "b2", "b3"):
        run(flow, partition="T1", batch_id=batch, params={"out": {"a": batch}}, ledger=ledger, clock=clock)
    ledger.prune(clock.now() + timedelta(days=1))
    with pytest.raises(VersionGone, match=r"tier=T1: capture T1\|b2 .* was pruned, and nothing older stands in for it"):
        diff(flow, SECOND, ledger=ledger)


def test_of_what_both_versions_have_a_pruned_one_is_gone():
    """It is told and counted, neither as equal nor as different; where nothing is left to compare, it says why."""
    clock = FakeClock()
    ledger = MemoryLedger(clock)
    for tier, batch in [("T1", "b1"), ("T1", "b2"), ("T2", "b1"), ("T3", "b1"), ("T3", "b2")]:
        run(flow, partition=tier, batch_id=batch, ledger=ledger, clock=clock)
        clock.advance(timedelta(seconds=1))
        if (tier, batch) == ("T1", "b2"):
            ledger.prune(clock.now())
    found = diff(flow, FIRST, ledger=ledger, common=True)
    assert found.equal
    assert found.counts == {Outcome.GONE: 2, Outcome.EQUAL: 4}
    first = next(lines(found))
    assert (first.partition, first.kind) == ("tier=T1", "gone")
    assert first.path.endswith("was pruned, and nothing older stands in for it")
    assert step_data(found.steps[0])["outcome"] == "gone"
    with pytest.raises(
        VersionGone, match=r"tier=T1: capture T1\|b1 .* was pruned.* to compare the others: common=True"
    ):
        diff(flow, FIRST, ledger=ledger)
    with pytest.raises(
        VersionGone, match=r"has both versions, batch b1 and current: tier=T1: capture T1\|b1 .* pruned"
    ):
        diff(flow, FIRST, select="tier=T1", ledger=ledger, common=True)
    with pytest.raises(VersionGone, match=r"tier=T1: capture T1\|b1 .* was pruned"):
        diff(flow, VersionChoice(capture_id="T1|b1"), ledger=ledger)


def test_a_version_that_is_written_over_meanwhile_is_not_compared(ledger, monkeypatch):
    """What is compared is what was chosen, for each step: else it is said to be gone, and to read it again."""
    for batch in ("b1", "b2"):
        run(flow, partition="T1", batch_id=batch, run_id=batch, params={"v": [1.0, float(batch[1])]}, ledger=ledger)
    assert [step.step for step in diff(flow, FIRST, SECOND, ledger=ledger).steps] == ["rows"]
    recorded = ledger.digests_of

    def written_over(*asked):
        found = recorded(*asked)
        resume("b2", flow, from_step="rows", params={"v": [1.0, 3.0]}, ledger=ledger)
        return found

    monkeypatch.setattr(ledger, "digests_of", written_over)
    with pytest.raises(VersionGone, match="written over while it was read; read it again"):
        diff(flow, FIRST, SECOND, ledger=ledger)


def pair(look=lambda: None):
    """Return a workflow of two steps, of which the first one may make something else, and the second one may fail."""
    made = Workflow("pair", partitions=flow.partitions, params={"how": ""})
    made.step(name="one")(lambda ctx: {"n": ctx.params["how"] == "otherwise"})

    @made.step()
    def two(ctx):
        look()
        return StepResult.fail("no") if ctx.params["how"] == "fail" else {"n": 1 + (ctx.params["how"] == "more")}

    return made


@pytest.mark.parametrize(("from_step", "how"), [("one", "otherwise"), ("two", "fail"), ("two", "more")])
def test_a_version_that_is_made_again_before_its_steps_are_looked_up_is_not_compared(from_step, how):
    """It was complete when it was chosen: what has failed since is not removed, and what is new is not its own."""

    class Meanwhile(MemoryLedger):
        def digests_of(self, *asked):
            resume("b2", pair(), from_step=from_step, params={"how": how}, ledger=self)
            return super().digests_of(*asked)

    ledger = Meanwhile()
    for batch in ("b1", "b2"):
        run(pair(), partition="T1", batch_id=batch, run_id=batch, ledger=ledger)
    with pytest.raises(VersionGone, match="written over while it was read; read it again"):
        diff(pair(), FIRST, SECOND, ledger=ledger)


def test_a_step_that_is_under_way_again_is_not_called_removed():
    """Nothing is recorded of it, although its version was complete when it was chosen."""
    ledger, found = MemoryLedger(), []
    for batch in ("b1", "b2"):
        run(pair(), partition="T1", batch_id=batch, run_id=batch, ledger=ledger)
    comparison = Comparison(ledger=ledger, workflow="pair", steps=["one", "two"], how=Tolerance(), common=False)
    keys = flow.partitions.select("tier=T1")
    chosen = list(StepVersions(ledger, pair(), "one").chosen_or_gone(keys, FIRST, SECOND))

    def look():
        with pytest.raises(VersionGone, match="written over while it was read; read it again") as refused:
            list(comparison.page(chosen, (FIRST, SECOND)))
        found.append(refused)

    resume("b2", pair(look), from_step="two", ledger=ledger, accept_changes=True)
    assert len(found) == 1


def test_a_version_that_is_only_asked_for_its_columns_may_be_written_over(ledger, monkeypatch):
    """What was compared by then stands: it was equal."""
    for batch in ("b1", "b2"):
        run(flow, partition="T1", batch_id=batch, run_id=batch, ledger=ledger)
    check = Comparison.check

    def written_over(comparison, *choices):
        resume("b2", flow, from_step="rows", params={"v": [1.0, 3.0]}, ledger=ledger)
        check(comparison, *choices)

    monkeypatch.setattr(Comparison, "check", written_over)
    assert not diff(flow, FIRST, SECOND, key="k", ledger=ledger)
