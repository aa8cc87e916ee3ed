"""A step reads other partitions and workflows from the ledger, and what is not there is said in a sentence."""

import pytest

from flowctx import (
    ContextError,
    Daily,
    ErrorCategory,
    Monthly,
    Outputs,
    PartitionKey,
    PartitionScheme,
    StepResult,
    Workflow,
    outputs,
    replay,
)
from flowctx import resume as resume_run
from flowctx import run as run_here
from flowctx.backfill import Backfill
from flowctx.ledger import open_ledger
from flowctx.ledger.memory import MemoryLedger

DAYS = ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08"]


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    """A ledger in memory, and one in a file."""
    return open_ledger("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def world():
    """What the steps see beside their context: values, days to skip, and days to fail."""
    return {"value": 1, "skip": set(), "fail": set(), "seen": []}


@pytest.fixture
def nav(world):
    """A value for each day and fund, from the one before."""
    scheme = PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS"), fund=["A", "B"])
    flow = Workflow("nav", partitions=scheme, params={"step": 1})

    @flow.step(inputs={"yesterday": flow.output("value").previous()})
    def value(ctx, *, yesterday):
        world["seen"].append(yesterday)
        if ctx.key.date in world["fail"]:
            raise ValueError("no price")
        if ctx.key.date in world["skip"]:
            return StepResult.skip("closed")
        return {"n": ctx.params["step"] + (yesterday["n"] if yesterday is not None else 0)}

    return flow


@pytest.fixture
def desk(nav):
    """The sum over the funds of a day."""
    flow = Workflow("desk", partitions=PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS")))

    @flow.step(inputs={"funds": nav.output("value")})
    def total(ctx, *, funds):
        assert isinstance(funds, Outputs)
        return {"sum": sum(o["n"] for o in funds.values()), "funds": [key.fund for key in funds]}

    return flow


def run(flow, day, fund="A", **how):
    """Run a partition here."""
    key = {"date": day, "fund": fund} if "fund" in flow.partitions.dimensions else {"date": day}
    return run_here(flow, partition=key, **how)


def fill(nav, ledger, days=DAYS, **how):
    """Run some days of both funds, in order."""
    for day in days:
        for fund in "AB":
            run(nav, day, fund, ledger=ledger, **how).raise_for_failure()


def test_a_chain_of_days_reads_each_day_before(nav, ledger):
    """On the first date there is none, and each other date has the output of the one before."""
    fill(nav, ledger)
    assert run(nav, DAYS[3], ledger=ledger).context.get_output("value", "n") == 4


def test_a_fan_in_and_a_roll_up_read_all_that_lies_in_their_window(nav, desk, ledger):
    """Every fund of the date, and every date of the month, in the scheme's order."""
    month = Workflow("month", partitions=PartitionScheme(month=Monthly(start="2026-01-01")))

    @month.step(inputs={"days": desk.output("total").optional()})
    def report(ctx, *, days):
        return {"sums": [o["sum"] for o in days.values()], "days": [key.date for key in days]}

    fill(nav, ledger)
    for day in DAYS:
        made = run(desk, day, ledger=ledger).raise_for_failure()
        assert made.context.get_output("total", "funds") == ["A", "B"]
    rolled = run_here(month, partition="2026-01-31", ledger=ledger).raise_for_failure()
    assert rolled.context.get_output("report") == {"sums": [2, 4, 6, 8], "days": DAYS}


def test_a_batch_reads_its_own_versions_and_else_the_current_ones(nav, ledger):
    """What a restatement has not made itself it takes from the current version, and other runs from the newest."""
    fill(nav, ledger, batch_id="v1")
    fill(nav, ledger, DAYS[1:3], batch_id="v2", params={"step": 10})
    assert run(nav, DAYS[3], ledger=ledger, batch_id="v2").context.get_output("value", "n") == 22
    assert run(nav, DAYS[3], ledger=ledger, batch_id="v1").context.get_output("value", "n") == 4
    assert run(nav, DAYS[3], ledger=ledger).context.get_output("value", "n") == 22


def test_a_skipped_day_is_a_hole(nav, desk, world, ledger):
    """It is left out of several outputs, None for the date before, and skips the step that reads only it."""
    single = Workflow("single", partitions=nav.partitions)
    single.step(name="copy", inputs={"own": nav.output("value")})(lambda ctx, *, own: {"own": own})
    maybe = Workflow("maybe", partitions=nav.partitions)
    maybe.step(name="copy", inputs={"own": nav.output("value").optional()})(lambda ctx, *, own: {"own": own})
    fill(nav, ledger, DAYS[:1])
    world["skip"] = {DAYS[1]}
    run(nav, DAYS[1], "A", ledger=ledger)
    world["skip"] = set()
    run(nav, DAYS[1], "B", ledger=ledger)
    assert run(desk, DAYS[1], ledger=ledger).context.get_output("total", "funds") == ["B"]
    assert run(nav, DAYS[2], ledger=ledger).context.get_output("value", "n") == 1
    skipped = run(single, DAYS[1], ledger=ledger)["copy"]
    assert skipped.status == "skipped"
    assert skipped.error == ("input 'own': partition date=2026-01-06|fund=A of workflow 'nav' was skipped: closed")
    assert run(maybe, DAYS[1], ledger=ledger).context.get_output("copy") == {"own": None}


def test_an_optional_step_that_failed_has_no_output(ledger):
    """It counts as one that was skipped, and is not said to be; the reason is its own, not that of another one."""
    flow = Workflow("prices", partitions=PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS")))

    @flow.step(after=[], optional=True)
    def load(ctx):
        raise ValueError("feed is down")

    @flow.step(after=[], optional=True)
    def tell(ctx):
        raise ValueError("no mail")

    run(flow, DAYS[0], ledger=ledger).raise_for_failure()
    what = f"partition date={DAYS[0]} of workflow 'prices' has no output, for a step failed: optional step"
    for step, why in (("load", "'load': ValueError: feed is down"), ("tell", "'tell'")):
        reader = Workflow("reader", partitions=flow.partitions)
        reader.step(name="copy", inputs={"own": flow.output(step)})(lambda ctx, *, own: None)
        read = run(reader, DAYS[0], ledger=ledger)["copy"]
        assert (read.status, read.error) == ("skipped", f"input 'own': {what} {why}")


def test_what_nobody_has_captured_is_a_dependency_with_the_command(nav, desk, ledger):
    """The message names the partitions and says how to make them; a retry may help."""
    one = run(nav, DAYS[1], ledger=ledger)["value"]
    assert one.category is ErrorCategory.DEPENDENCY
    assert "partition date=2026-01-05|fund=A of workflow 'nav', which nobody has captured" in one.error
    assert 'flowctx run MODULE:nav --partition "date=2026-01-05|fund=A"' in one.error
    several = run(desk, DAYS[0], ledger=ledger)["total"].error
    assert "needs 2 partitions date=2026-01-05|fund=A, date=2026-01-05|fund=B" in several
    assert 'flowctx backfill MODULE:nav --batch NEW_ID --select "date=2026-01-05,fund=A|B"' in several


def test_what_was_let_go_is_not_said_to_be_captured_by_nobody(nav, desk, world, ledger):
    """A run that was complete ran again and failed: the message names it, and says why; also as of a time before."""
    _, made = [run(nav, DAYS[0], fund, ledger=ledger) for fund in "AB"]
    then = ledger.now()
    world["fail"] = {DAYS[0]}
    resume_run(made.run_id, nav, from_step="value", ledger=ledger)
    error = run(desk, DAYS[0], ledger=ledger)["total"].error
    why = f"of which no capture is complete: run {made.run_id} failed: step 'value': ValueError: no price; make it: "
    assert f"date=2026-01-05|fund=B of workflow 'nav', {why}flowctx run" in error
    gone = run(desk, DAYS[0], ledger=ledger, known_at=then)["total"].error
    assert "was written over in its batch at " in gone
    assert f"(run {made.run_id}, which failed), so what it held before is not known any more" in gone


def test_what_is_under_way_is_waited_for(nav, desk, ledger):
    """The message advises no second run beside the one that is at it, also where others failed."""
    run(nav, DAYS[0], "B", ledger=ledger)
    reads = []

    @nav.step()
    def look(ctx):
        reads.append(run(desk, DAYS[0], ledger=ledger)["total"])

    made = run(nav, DAYS[0], "A", ledger=ledger)
    (read,) = reads
    why = f"of which no capture is complete: run {made.run_id} is under way; wait for it"
    assert f"needs partition date=2026-01-05|fund=A of workflow 'nav', {why}" in read.error
    assert "make it" not in read.error


def test_what_is_optional_is_left_out(nav, ledger):
    """None for one output, and missing among several."""
    flow = Workflow("maybe", partitions=nav.partitions)
    inputs = {
        "own": nav.output("value").optional(),
        "window": nav.output("value").previous(3).optional(),
    }
    flow.step(name="copy", inputs=inputs)(lambda ctx, *, own, window: {"own": own, "n": len(window)})
    fill(nav, ledger, DAYS[:1])
    assert run(flow, DAYS[1], ledger=ledger).context.get_output("copy") == {"own": None, "n": 1}


def test_a_partition_that_the_other_workflow_cannot_have_is_said_to_be(ledger):
    """It will never be captured, so no command is named."""
    old = Workflow("old", partitions=PartitionScheme(date=Daily(start="2026-01-07", calendar="WEEKDAYS")))
    old.step(name="value")(lambda ctx: None)
    flow = Workflow("new", partitions=PartitionScheme(date=Daily(start="2026-01-05", calendar="WEEKDAYS")))
    flow.step(name="copy", inputs={"own": old.output("value")})(lambda ctx, *, own: None)
    error = run(flow, "2026-01-05", ledger=ledger)["copy"].error
    assert "workflow 'old' has no partition for date=2026-01-05" in error


@pytest.mark.parametrize("which", ["own", "previous", "window", "roll-up"])
def test_a_value_that_the_other_workflow_does_not_have_is_no_first_date(nav, ledger, which):
    """It is said, with the nearest one, whatever is read of the dates; an input that is optional has nothing there."""
    fill(nav, ledger, DAYS[:2])
    dates = {"month": Monthly(start="2026-01-01")} if which == "roll-up" else {"date": Daily(start=DAYS[0])}
    item = nav.output("value")
    item = {"previous": item.previous(), "window": item.previous(2)}.get(which, item)
    read = []
    for one in (item, item.optional()):
        flow = Workflow("use", partitions=PartitionScheme(**dates, fund=["A", "b"]))
        flow.step(name="copy", inputs={"nav": one})(lambda ctx, *, nav: read.append(nav))
        key = f"{'2026-01-31' if which == 'roll-up' else DAYS[1]}|b"
        made = run_here(flow, partition=key, ledger=ledger)
        if one is item:
            words = (
                f"workflow 'nav' has no partition for {made.context.partition} (fund has no value 'b', did you mean B?)"
            )
            assert words in made["copy"].error
        else:
            assert not read.pop()
    assert read == []


@pytest.mark.parametrize("which", ["own", "previous", "window", "roll-up"])
def test_what_a_workflow_that_has_ended_does_not_have_is_no_first_date(ledger, which):
    """It is said, with the end, and not that nothing was there before; an input that is optional has less."""
    ended = Workflow("ended", partitions=PartitionScheme(date=Daily(start=DAYS[0], end=DAYS[1])))
    ended.step(name="value")(lambda ctx: {"n": 1})
    for day in DAYS[:2]:
        run(ended, day, ledger=ledger).raise_for_failure()
    item, dates = ended.output("value"), {"date": Daily(start=DAYS[0])}
    if which == "roll-up":
        dates = {"month": Monthly(start="2026-01-01")}
    item = {"previous": item.previous(), "window": item.previous(3)}.get(which, item)
    there, late = {
        "own": (DAYS[:2], DAYS[2]),
        "previous": (DAYS[:3], DAYS[3]),
        "window": (DAYS[:3], DAYS[3]),
        "roll-up": (["2026-01-31"], "2026-02-28"),
    }[which]
    for one in (item, item.optional()):
        flow = Workflow("use", partitions=PartitionScheme(**dates))
        flow.step(name="copy", inputs={"n": one})(lambda ctx, *, n: {"found": n is not None and len(n)})
        for key in there:
            run_here(flow, partition=key, ledger=ledger).raise_for_failure()
        made = run_here(flow, partition=late, ledger=ledger)
        if one is item:
            words = f"has no partition for {made.context.partition} (its dates end on {DAYS[1]}); extend it, or declare"
            assert words in made["copy"].error
        else:
            assert made.context.get_output("copy", "found") == (2 if which == "window" else 0)


def test_a_workflow_without_partitions_is_read_as_one(ledger):
    """The last one that was captured."""
    rates = Workflow("rates", params={"n": 1})
    rates.step(name="load")(lambda ctx: {"n": ctx.params["n"]})
    flow = Workflow("use", partitions=PartitionScheme(tier=["T1"]))
    flow.step(name="copy", inputs={"rates": rates.output("load")})(lambda ctx, *, rates: rates)
    assert "needs workflow 'rates'" in run_here(flow, partition="T1", ledger=ledger)["copy"].error
    for n in (1, 2):
        run_here(rates, params={"n": n}, as_of_date=None, ledger=ledger, batch_id=f"b{n}").raise_for_failure()
    assert run_here(flow, partition="T1", ledger=ledger).context.get_output("copy") == {"n": 2}


def test_a_batch_of_several_dates_reads_the_last_one_that_it_has_begun(ledger):
    """Of a workflow without partitions: a date that failed does not stand before the dates after it."""
    load, use = Workflow("load", params={"bad": False}), Workflow("use")
    load.step("rows")(lambda ctx: StepResult.fail("no") if ctx.params["bad"] else {"of": f"{ctx.as_of_date}"})
    use.step("line", inputs={"rows": load.output("rows")})(lambda ctx, *, rows: rows)
    nightly = {"batch_id": "nightly", "ledger": ledger}
    for day, is_bad in zip(DAYS[:3], [True, False, True], strict=True):
        run_here(load, as_of_date=day, params={"bad": is_bad}, **nightly)
        made = run_here(use, as_of_date=day, **nightly)
        if is_bad:
            assert "in the same batch 'nightly', which failed" in made["line"].error
        else:
            assert made.context.get_output("line") == {"of": day}


def test_without_a_ledger_inputs_cannot_be_read(nav):
    """The step says so, and that no retry helps."""
    failed = run(nav, DAYS[1])["value"]
    assert failed.category is ErrorCategory.CONFIGURATION
    assert "an input is read from the ledger, and there is none" in failed.error


def test_what_the_own_batch_is_to_make_is_waited_for(nav, ledger):
    """A version of another batch never stands in: neither for what has not run, nor for what failed or runs."""
    fill(nav, ledger, batch_id="v1")
    ledger.batches.put(Backfill(nav, f"date={DAYS[1]}..{DAYS[3]}", "v2", ledger=ledger).record())
    waits = run(nav, DAYS[2], ledger=ledger, batch_id="v2")["value"]
    assert waits.category is ErrorCategory.DEPENDENCY
    assert f"waits for partition date={DAYS[1]}|fund=A of workflow 'nav' in the same batch 'v2', which has not run" in (
        waits.error
    )
    assert run(nav, DAYS[1], ledger=ledger, batch_id="v2").context.get_output("value", "n") == 2
    assert run(nav, DAYS[2], ledger=ledger, batch_id="v2", run_id="again").context.get_output("value", "n") == 3


def test_what_the_own_batch_had_and_was_pruned_is_not_called_to_come(nav, ledger):
    """It has run; no version of another batch stands in, and the error says how to read what is current."""
    ledger.batches.put(Backfill(nav, f"date={DAYS[0]}..{DAYS[1]}", "v1", ledger=ledger).record())
    for batch_id in ("v1", "v2"):
        run(nav, DAYS[0], ledger=ledger, batch_id=batch_id, run_id=batch_id).raise_for_failure()
    run(nav, DAYS[0], "B", ledger=ledger, batch_id="v1").raise_for_failure()
    assert ledger.prune(ledger.now()).runs == 1
    failed = run(nav, DAYS[1], ledger=ledger, batch_id="v1")["value"]
    assert (
        f"reads partition date={DAYS[0]}|fund=A of workflow 'nav' in the same batch 'v1', whose version was pruned"
        in (failed.error)
    )
    assert "run it in another batch (--batch NEW_ID)" in failed.error
    assert run(nav, DAYS[1], ledger=ledger, batch_id="v3", run_id="v3").context.get_output("value", "n") == 2


def test_what_failed_in_the_own_batch_is_waited_for(nav, world, ledger):
    """Also where nobody planned the batch: its run is known."""
    fill(nav, ledger, batch_id="v1")
    world["fail"] = {DAYS[1]}
    run(nav, DAYS[1], ledger=ledger, batch_id="v2")
    waits = run(nav, DAYS[2], ledger=ledger, batch_id="v2")["value"].error
    assert (
        "in the same batch 'v2', which failed: step 'value': ValueError: no price; no older version stands in" in waits
    )


def test_an_equal_run_id_makes_no_batch(nav, desk, world, ledger):
    """Whoever runs two workflows may give them one id: what is current is read, and a failure blocks nothing."""
    fill(nav, ledger, DAYS[:1], run_id="eod")
    fill(nav, ledger, DAYS[:1], batch_id="restate", params={"step": 10})
    read = run(desk, DAYS[0], ledger=ledger, run_id="eod").raise_for_failure()
    assert read.context.get_output("total", "sum") == 20
    world["fail"] = {DAYS[1]}
    run(nav, DAYS[1], ledger=ledger, run_id="late")
    world["fail"] = set()
    fill(nav, ledger, DAYS[1:2])
    assert run(desk, DAYS[1], ledger=ledger, run_id="late").context.get_output("total", "sum") == 22


def test_what_was_read_is_recorded(nav, desk, ledger):
    """Each partition with its capture, revision and digest, holes too."""
    fill(nav, ledger, DAYS[:1])
    fill(nav, ledger, DAYS[:1], batch_id="v2")
    made = run(desk, DAYS[0], ledger=ledger)
    [record] = ledger.steps(ledger.get_run(made.context.run_id).key)
    found = [(r.workflow, r.step, str(r.partition), r.capture_id, r.revision) for r in record.inputs["funds"]]
    assert found == [("nav", "value", f"date={DAYS[0]}|fund={fund}", f"{DAYS[0]}|{fund}|v2", 2) for fund in "AB"]


def test_a_resumed_run_reads_the_same_versions_again(nav, world, ledger):
    """What has been captured since does not go into a run that began before it, unless the step is to run anew."""
    fill(nav, ledger, DAYS[:2])
    world["fail"] = {DAYS[2]}
    failed = run(nav, DAYS[2], ledger=ledger)
    world["fail"] = set()
    fill(nav, ledger, DAYS[:2], batch_id="v2", params={"step": 10})
    world["fail"] = {DAYS[2]}
    resume_run(failed.context.run_id, nav, ledger=ledger)
    world["fail"] = set()
    done = resume_run(failed.context.run_id, nav, ledger=ledger).raise_for_failure()
    assert done.context.get_output("value", "n") == 3
    anew = resume_run(failed.context.run_id, nav, from_step="value", ledger=ledger).raise_for_failure()
    assert anew.context.get_output("value", "n") == 21


def test_a_replay_reads_the_same_versions_again(nav, ledger):
    """Exactly what the step saw, whatever is current by now."""
    fill(nav, ledger, DAYS[:2])
    made = run(nav, DAYS[2], ledger=ledger)
    fill(nav, ledger, DAYS[:2], batch_id="v2", params={"step": 10})
    again = replay(made.context.run_id, "value", nav, ledger=ledger)
    assert (again.result.output, again.diff) == ({"n": 3}, "")


def test_a_version_that_was_overwritten_is_not_replaced_in_silence(nav, world, ledger):
    """The same capture with other content is another version; the message says how to run anew."""
    fill(nav, ledger, DAYS[:2], batch_id="v1")
    world["fail"] = {DAYS[2]}
    failed = run(nav, DAYS[2], ledger=ledger)
    world["fail"] = set()
    fill(nav, ledger, DAYS[:2], batch_id="v1", params={"step": 10})
    for _ in range(2):
        error = resume_run(failed.context.run_id, nav, ledger=ledger)["value"].error
        assert "read from capture 2026-01-06|A|v1 of workflow 'nav', which has been captured again" in error
        assert "--from-step value" in error
    done = resume_run(failed.context.run_id, nav, from_step="value", ledger=ledger).raise_for_failure()
    assert done.context.get_output("value", "n") == 21


@pytest.mark.parametrize("again", [10, 1])
def test_what_is_loaded_is_what_is_recorded_as_read(nav, ledger, again):
    """A run that makes a partition again while a step reads it gives it no other content than it has recorded."""
    first = [run(nav, DAYS[0], fund, ledger=ledger) for fund in "AB"]
    flow = Workflow("sums", partitions=PartitionScheme(date=Daily(start=DAYS[0])))

    @flow.step(inputs={"funds": nav.output("value")})
    def total(ctx, *, funds):
        for made in first:
            resume_run(made.run_id, nav, from_step="value", params={"step": again}, ledger=ledger).raise_for_failure()
        return {"sum": sum(output["n"] for output in funds.values())}

    made = run(flow, DAYS[0], ledger=ledger)
    if again == 1:  # the same once more
        assert made.context.get_output("total") == {"sum": 2}
    else:
        assert made["total"].category is ErrorCategory.DEPENDENCY
        words = f"input 'funds' of step 'total' was read from capture {first[0].context.capture_id} of workflow 'nav'"
        assert f"{words}, which has been captured again, with other content" in made["total"].error
        assert "--from-step total" in made["total"].error


def test_a_try_again_reads_the_same_versions(nav, ledger):
    """Within one run a step that is tried again sees what it saw."""
    seen = []
    flow = Workflow("retried", partitions=nav.partitions)

    @flow.step(retries=1, inputs={"own": nav.output("value")})
    def copy(ctx, *, own):
        seen.append(own["n"])
        if len(seen) == 1:
            fill(nav, ledger, DAYS[:1], batch_id="v2", params={"step": 10})
            raise ConnectionError("gone")
        return own

    fill(nav, ledger, DAYS[:1])
    run(flow, DAYS[0], ledger=ledger).raise_for_failure()
    assert seen == [1, 1]


def reading(inputs, *, fails):
    """A workflow whose step reads some inputs, and may fail then."""
    flow = Workflow("reader", partitions=PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS")))

    @flow.step(inputs=inputs)
    def copy(ctx, **found):
        if fails:
            raise ValueError("wrong input")
        return {"n": len(found)}

    return flow


def mended(ledger, before, after):
    """Run a step that fails with some inputs, go on with others, and return what of which date those have read."""
    failed = run(reading(before, fails=True), DAYS[3], ledger=ledger)
    done = resume_run(failed.run_id, reading(after, fails=False), ledger=ledger).raise_for_failure()
    [record] = ledger.steps(ledger.get_run(done.run_id).key)
    return {name: [(one.workflow, one.partition.date) for one in reads] for name, reads in record.inputs.items()}


def test_an_input_that_was_mended_is_read_anew(ledger):
    """What was read before counts as long as it is what the input asks for; names that are gone are forgotten."""
    days = PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS"))
    first, second = Workflow("first", partitions=days), Workflow("second", partitions=days)
    for flow in (first, second):
        flow.step(name="value")(lambda ctx: {"n": 1})
        for day in DAYS:
            run(flow, day, batch_id="b", ledger=ledger).raise_for_failure()
    own, before = first.output("value"), first.output("value").previous
    read = [("first", day) for day in DAYS]
    assert mended(ledger, {"a": before(3)}, {"a": before()}) == {"a": read[2:3]}
    assert mended(ledger, {"a": before(2)}, {"a": before(3)}) == {"a": read[:3]}
    assert mended(ledger, {"a": before()}, {"a": own}) == {"a": read[3:]}
    assert mended(ledger, {"a": before(2).optional()}, {"a": own.optional()}) == {"a": read[3:]}
    assert mended(ledger, {"a": own}, {"a": second.output("value")}) == {"a": [("second", DAYS[3])]}
    assert mended(ledger, {"a": own}, {"b": before()}) == {"b": read[2:3]}


def test_a_step_whose_condition_does_not_hold_reads_nothing(nav, ledger):
    """It is skipped before anything is looked for."""
    flow = Workflow("conditional", partitions=nav.partitions)
    flow.step(name="copy", when=lambda ctx: False, inputs={"own": nav.output("value")})(lambda ctx, *, own: None)
    assert run(flow, DAYS[0], ledger=ledger)["copy"].status == "skipped"


def test_a_large_output_and_a_table_are_read_from_the_store(ledger):
    """Whatever its size, an output arrives as the step before sees it."""
    import pyarrow as pa

    flow = Workflow("large", partitions=PartitionScheme(date=Daily(start=DAYS[0])))

    @flow.step(inputs={"window": flow.output("load").previous(5)})
    def load(ctx, *, window):
        rows = window.table("rows").to_arrow().column("x").to_pylist() if window else []
        return {"text": "x" * 60_000, "rows": pa.table({"x": [ctx.key.date]}), "found": rows, "n": len(window)}

    for day in DAYS:
        last = run_here(flow, partition=day, ledger=ledger).raise_for_failure()
    assert last.context.get_output("load", "found") == DAYS[:3]


def test_outputs_are_keyed_by_partition(nav, ledger):
    """A step looks one up by its key."""
    flow = Workflow("keyed", partitions=PartitionScheme(date=Daily(start=DAYS[0], calendar="WEEKDAYS")))
    key = PartitionKey(date=DAYS[0], fund="B")
    flow.step(name="copy", inputs={"funds": nav.output("value")})(lambda ctx, *, funds: funds[key])
    fill(nav, ledger, DAYS[:1])
    assert run(flow, DAYS[0], ledger=ledger).context.get_output("copy") == {"n": 1}


def test_a_step_that_is_new_is_missing_in_older_captures(nav, ledger):
    """It is not taken for one that was skipped."""
    fill(nav, ledger, DAYS[:1], batch_id="v1")
    nav.step(name="extra")(lambda ctx: {"n": 7})
    flow = Workflow("reader", partitions=nav.partitions)
    flow.step(name="copy", inputs={"own": nav.output("extra")})(lambda ctx, *, own: own)
    for batch_id in (None, "v1"):
        error = run(flow, DAYS[0], ledger=ledger, batch_id=batch_id)["copy"].error
        assert "capture 2026-01-05|A|v1 (revision 1, batch v1), has no step 'extra': it has 'value'; make it" in error
    fill(nav, ledger, DAYS[:1], batch_id="v2")
    assert run(flow, DAYS[0], ledger=ledger).context.get_output("copy") == {"n": 7}


def test_a_step_after_one_that_was_skipped_is_a_hole(ledger):
    """Whether or not anything is recorded of it."""
    flow = Workflow("half", partitions=PartitionScheme(date=Daily(start=DAYS[0])))
    flow.step(name="first", after=[])(lambda ctx: {"n": 1})
    flow.step(name="gate", after=[])(lambda ctx: StepResult.skip("closed"))
    flow.step(name="last", after=["gate"])(lambda ctx: {"n": 2})
    reader = Workflow("reader", partitions=flow.partitions)
    reader.step(name="copy", inputs={"own": flow.output("last").optional()})(lambda ctx, *, own: {"own": own})
    run(flow, DAYS[0], ledger=ledger)
    assert run(reader, DAYS[0], ledger=ledger).context.get_output("copy") == {"own": None}


def test_inputs_are_read_as_they_were_known(desk, nav, world, ledger):
    """What was restated since is read in the version of that time, and a resumed run goes on with it."""
    run(nav, DAYS[0], ledger=ledger)
    run(nav, DAYS[0], "B", ledger=ledger)
    before = ledger.now()
    run(nav, DAYS[0], batch_id="restated", params={"step": 10}, ledger=ledger)
    assert run(desk, DAYS[0], ledger=ledger).context.get_output("total", "sum") == 11
    then = run(desk, DAYS[0], ledger=ledger, known_at=before.isoformat())
    assert then.context.get_output("total", "sum") == 2
    assert then.context.metadata["known_at"] == before.isoformat()
    again = resume_run(then.run_id, desk, from_step="total", ledger=ledger)
    assert again.context.get_output("total", "sum") == 2


def test_what_was_not_known_then_is_missing(desk, nav, ledger):
    """It is there now, which is no answer; a time that lies ahead is none either."""
    before = ledger.now()
    for fund in "AB":
        run(nav, DAYS[0], fund, ledger=ledger)
    failed = run(desk, DAYS[0], ledger=ledger, known_at=before)["total"]
    assert failed.category is ErrorCategory.DEPENDENCY
    assert f"of which no capture was complete at {before}; choose a later known_at" in failed.error
    with pytest.raises(ContextError, match="lies ahead"):
        run(desk, DAYS[0], ledger=ledger, known_at="2999-01-01T00:00:00Z")
    with pytest.raises(ContextError, match="has no time zone"):
        run(desk, DAYS[0], ledger=ledger, known_at="2026-01-01T00:00:00")


def test_a_ledger_whose_outputs_have_no_digest_is_read(nav, desk):
    """What it does not say is not taken for other content."""

    class Older(MemoryLedger):
        def step_outputs(self, step, run_keys):
            return {key: one._replace(digest=None) for key, one in super().step_outputs(step, run_keys).items()}

    ledger = Older()
    for fund in "AB":
        run(nav, DAYS[0], fund, ledger=ledger)
    assert run(desk, DAYS[0], ledger=ledger)["total"].status == "ok"
    assert [output["n"] for output in outputs(nav, "value", ledger=ledger).values()] == [1, 1]
