"""A version that was made without the step that is read hides what is older, in every ledger and by every reader."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from flowctx import (
    Daily,
    InputMissing,
    PartitionScheme,
    StepResult,
    VersionChoice,
    VersionGone,
    Workflow,
    WorkflowError,
    diff,
    outputs,
    read_input,
    resume,
    run,
    stale,
)
from flowctx.core.durability.readiness import Readiness
from flowctx.ledger import open_ledger
from flowctx.testing import make_context
from flowctx.versions.outputs import output_pages

DAY, BEFORE = "2026-01-06", "2026-01-05"
SCHEME = PartitionScheme(date=Daily(start=BEFORE))
FIRST, SECOND = VersionChoice(batch_id="first"), VersionChoice(batch_id="second")


def made_of(*steps: str, skipped: bool = False) -> Workflow:
    """Return the workflow by the code that has these steps."""
    flow = Workflow("n", partitions=SCHEME)
    for step in steps:
        flow.step(name=step, after=[])(lambda ctx: StepResult.skip("closed") if skipped else {"v": ctx.batch_id})
    return flow


OLD, NEW = made_of("a"), made_of("a2", "b")
REFUSED = (
    f"partition date={DAY} of workflow 'n', of which the version that is meant, capture {DAY}|second (revision 2, "
    f"batch second), has no step 'a': it has 'a2', 'b'; capture {DAY}|first (revision 1) has it, and does not stand "
    "in: make it again with code that has the step, or read a step that it has, or read the older one as of its time: "
    "known_at='"
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request, tmp_path):
    """A ledger in which a day has a version with the step, and then one of later code without it."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.db"
    made = open_ledger(url)
    for day in (BEFORE, DAY):
        run(OLD, partition=day, batch_id="first", ledger=made).raise_for_failure()
    yield made
    made.close()


@pytest.fixture
def renamed(ledger):
    """The same, after the later code has run."""
    run(NEW, partition=DAY, batch_id="second", ledger=ledger).raise_for_failure()
    return ledger


def reader(item):
    """Return a workflow that reads an input."""
    flow = Workflow("reader", partitions=SCHEME)
    flow.step(name="copy", inputs={"found": item})(lambda ctx, *, found: {"found": str(found)})
    return flow


def known_at(ledger):
    """Return when the older version was completed."""
    return ledger.captures(workflow="n", partition=SCHEME.parse(DAY))[0].completed_at


@pytest.mark.parametrize("item", [OLD.output("a"), OLD.output("a").optional()])
def test_no_older_version_is_an_input(renamed, item):
    """Optional or not; the message says what there is and what to do."""
    failed = run(reader(item), partition=DAY, ledger=renamed)["copy"]
    assert failed.category == "DEPENDENCY"
    assert REFUSED in failed.error
    with pytest.raises(InputMissing, match=re.escape(REFUSED)):
        read_input(make_context(as_of_date=DAY), item, ledger=renamed)
    later = run(reader(item), partition=DAY, known_at=renamed.now(), ledger=renamed)["copy"]
    assert REFUSED in later.error
    assert run(reader(item), partition=DAY, known_at=known_at(renamed), ledger=renamed).status == "ok"
    assert run(reader(item), partition=DAY, batch_id="first", ledger=renamed).status == "ok"


@pytest.mark.parametrize("item", [OLD.output("a").previous(), OLD.output("a").previous(2).optional()])
def test_no_older_version_is_looked_back_at(renamed, item):
    """The day before is read in its current version, too."""
    failed = run(reader(item), partition="2026-01-07", ledger=renamed)["copy"]
    assert REFUSED in failed.error
    assert run(reader(item), partition=DAY, ledger=renamed).status == "ok"


def test_a_batch_is_told_what_its_own_version_has(renamed):
    """What is complete in a batch is not launched again, and nothing else is advised."""
    failed = run(reader(OLD.output("a").optional()), partition=DAY, batch_id="second", ledger=renamed)["copy"]
    assert "(revision 2, batch second), has no step 'a': it has 'a2', 'b'" in failed.error
    assert "--retry-failed" not in failed.error


def test_a_skip_by_later_code_hides_too(ledger):
    """That the partition was skipped says nothing of a step that its code did not have."""
    run(made_of("a2", skipped=True), partition=DAY, batch_id="second", ledger=ledger)
    assert "has no step 'a': it has 'a2'" in run(reader(OLD.output("a")), partition=DAY, ledger=ledger)["copy"].error
    with pytest.raises(VersionGone, match="has no step 'a': it has 'a2'"):
        outputs(OLD, "a", ledger=ledger)


def test_what_failed_or_runs_hides_nothing(ledger):
    """Only what is complete is current."""
    broken = Workflow("n", partitions=SCHEME)
    broken.step(name="a2")(lambda ctx: StepResult.fail("no", category="DATA_QUALITY"))
    run(broken, partition=DAY, batch_id="second", ledger=ledger)
    assert run(reader(OLD.output("a")), partition=DAY, ledger=ledger).status == "ok"
    assert [output["v"] for output in outputs(OLD, "a", ledger=ledger).values()] == ["first", "first"]


def test_no_older_version_is_an_output(renamed):
    """Without a choice as at a time; a version that is named has to have the step."""
    words = re.escape(REFUSED.removeprefix(f"partition date={DAY} of workflow 'n', "))
    for which in ({}, {"known_at": renamed.now()}):
        with pytest.raises(VersionGone, match=f"date={DAY}, {words}"):
            outputs(OLD, "a", ledger=renamed, **which)
        with pytest.raises(VersionGone, match=f"date={DAY}, {words}"):
            list(output_pages(OLD, "a", ledger=renamed, **which))
    for which in ({"batch_id": "second"}, {"revision": 2}):
        with pytest.raises(VersionGone, match=f"date={DAY}, .* has no step 'a': it has 'a2', 'b'"):
            outputs(OLD, "a", ledger=renamed, **which)
    assert len(outputs(OLD, "a", f"date={BEFORE}", ledger=renamed)) == 1
    for which in ({"batch_id": "first"}, {"revision": 1}, {"known_at": known_at(renamed)}):
        assert len(outputs(OLD, "a", ledger=renamed, **which)) == 2


def test_a_step_that_is_gone_is_read_by_its_old_name(renamed):
    """The code that is here now has only the new one; what is the ledger's is told by its versions."""
    for which in ({"batch_id": "first"}, {"revision": 1}, {"known_at": known_at(renamed)}):
        assert [output["v"] for output in outputs(NEW, "a", ledger=renamed, **which).values()] == ["first", "first"]
        assert [len(page) for page in output_pages(NEW, "a", ledger=renamed, **which)] == [2]
    with pytest.raises(VersionGone, match="has no step 'a': it has 'a2', 'b'; .* read the older one as of its time"):
        outputs(NEW, "a", ledger=renamed)
    with pytest.raises(WorkflowError, match="workflow 'n' has no step 'no'; it has a2, b"):
        outputs(NEW, "no", batch_id="first", ledger=renamed)


def test_a_step_that_is_new_is_left_out_where_it_never_was(renamed):
    """There nothing is hidden: many outputs are without it, and an optional input is None."""
    assert [str(key) for key in outputs(NEW, "a2", ledger=renamed)] == [f"date={DAY}"]
    assert [str(key) for key in outputs(NEW, "a2", known_at=renamed.now(), ledger=renamed)] == [f"date={DAY}"]
    maybe = run(reader(NEW.output("a2").optional()), partition=BEFORE, ledger=renamed)
    assert maybe.context.get_output("copy") == {"found": "None"}
    needed = run(reader(NEW.output("a2")), partition=BEFORE, ledger=renamed)["copy"].error
    assert "has no step 'a2': it has 'a'; make it again with code that has the step" in needed


def test_the_step_that_is_there_again_is_read(renamed):
    """The last version counts, whatever was between."""
    run(OLD, partition=DAY, batch_id="third", ledger=renamed).raise_for_failure()
    assert [output["v"] for output in outputs(OLD, "a", ledger=renamed).values()] == ["first", "third"]
    assert run(reader(OLD.output("a")), partition=DAY, ledger=renamed).status == "ok"


def test_what_has_read_the_step_is_stale(ledger):
    """What it was built on is not current any more, and the reason says why."""
    run(reader(OLD.output("a")), partition=DAY, ledger=ledger).raise_for_failure()
    assert stale(reader(OLD.output("a")), ledger=ledger) == []
    run(NEW, partition=DAY, batch_id="second", ledger=ledger).raise_for_failure()
    [found] = stale(reader(OLD.output("a")), ledger=ledger)
    assert found.reason == (f"n date={DAY} was captured again by {DAY}|second after {DAY}|first, without the step 'a'")
    assert found.chain[0].without_step


def test_a_reader_whose_first_step_is_new_may_be_stale(ledger):
    """The current version of a partition counts, whichever steps it has."""
    run(reader(OLD.output("a")), partition=DAY, ledger=ledger).raise_for_failure()
    run(OLD, partition=DAY, batch_id="second", ledger=ledger).raise_for_failure()
    later = Workflow("reader", partitions=SCHEME)
    later.step(name="first")(lambda ctx: {})
    later.step(name="copy", inputs={"found": OLD.output("a")})(lambda ctx, *, found: {})
    assert [str(one.partition) for one in stale(later, ledger=ledger)] == [f"date={DAY}"]


def test_a_difference_names_the_version_without_the_step(renamed):
    """Both versions are there, and nothing of them can be compared."""
    words = (
        f"no partition of workflow 'n' that is meant has a step in both versions, batch first and {{}}: capture "
        f"{DAY}|second, {{}}, has no step 'a': it has 'a2', 'b'; see: flowctx captures n"
    )
    for after, text in ((SECOND, "batch second"), (None, "current")):
        with pytest.raises(VersionGone, match=re.escape(words.format(text, text))):
            diff(OLD, FIRST, after, f"date={DAY}", ledger=renamed)
    both = made_of("a", "a2", "b")
    run(both, partition=DAY, batch_id="third", ledger=renamed).raise_for_failure()
    found = diff(both, SECOND, VersionChoice(batch_id="third"), ledger=renamed)
    assert [(one.step, str(one.outcome)) for one in found.steps] == [
        ("a", "added"),
        ("a2", "changed"),
        ("b", "changed"),
    ]
    assert diff(both, SECOND, VersionChoice(batch_id="third"), ledger=renamed, common=True).counts.total() == 2


def test_a_version_without_the_step_makes_nothing_ready(renamed):
    """A run that begins when its inputs are there does not begin with one that it cannot read."""
    flow = reader(OLD.output("a"))
    now = datetime(2026, 1, 9, tzinfo=UTC)
    since = SCHEME.as_of_date(SCHEME.parse(BEFORE))
    ready = Readiness.of(flow).ready(renamed, now, since, restated=False)
    assert [str(one.key) for one in ready] == [f"date={BEFORE}"]


def test_a_workflow_without_partitions_is_read_in_its_last_version(ledger):
    """The last one that was completed, of any date, has to have the step."""
    rates, later = Workflow("rates"), Workflow("rates")
    rates.step(name="a")(lambda ctx: {})
    later.step(name="a2")(lambda ctx: {})
    for flow, batch_id in ((rates, "one"), (later, "two")):
        run(flow, batch_id=batch_id, as_of_date=None, ledger=ledger).raise_for_failure()
    assert "has no step 'a': it has 'a2'" in run(reader(rates.output("a")), partition=DAY, ledger=ledger)["copy"].error


def test_a_run_that_went_on_with_other_code_has_its_steps(ledger):
    """The steps of a version are those of the code that completed it."""
    broken = Workflow("n", partitions=SCHEME)
    broken.step(name="a", after=[])(lambda ctx: {})
    broken.step(name="b", after=[])(lambda ctx: StepResult.fail("no", category="DATA_QUALITY"))
    run(broken, partition=DAY, batch_id="second", run_id="r1", ledger=ledger)
    mended = Workflow("n", partitions=SCHEME)
    mended.step(name="a", after=[])(lambda ctx: {})
    mended.step(name="gate", after=[])(lambda ctx: StepResult.skip("closed"))
    mended.step(name="c", after=["gate"])(lambda ctx: {})
    resume("r1", mended, accept_changes=True, ledger=ledger)
    maybe = run(reader(mended.output("c").optional()), partition=DAY, ledger=ledger)
    assert maybe.context.get_output("copy") == {"found": "None"}
