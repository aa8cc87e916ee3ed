"""In what an input asks for something else than was read by it: one rule for all who ask."""

from flowctx import Daily, PartitionKey, PartitionScheme, StepStatus, Workflow
from flowctx.core.durability.asking import asked, asked_now
from flowctx.core.durability.records import VersionRead
from flowctx.testing.records import a_step

DAYS = PartitionScheme(date=Daily(start="2026-01-05", end="2026-01-09"))
KEYS = list(DAYS.keys())


def read(key, step="value", digest="1" * 32):
    """Return what was read of a partition."""
    return VersionRead(
        workflow="nav", step=step, partition=key, capture_id="c", revision=1, run_key="2" * 32, digest=digest
    )


def test_what_is_added_and_what_is_removed_are_told_apart():
    """In whatever order it was read; of another step, all of it is removed."""
    assert not asked("nav", "value", KEYS[:2], [read(KEYS[1]), read(KEYS[0])])
    found = asked("nav", "value", KEYS[1:3], [read(KEYS[0]), read(KEYS[1])])
    assert (found.added, found.removed) == ((KEYS[2],), (read(KEYS[0]),))
    other = read(KEYS[0], step="other")
    assert asked("nav", "value", KEYS[:1], [other]) == ("nav", "value", (KEYS[0],), (other,))


def test_a_step_is_asked_by_the_inputs_that_it_had_and_has():
    """Nobody knows what one asks for that is gone, or for a partition that the scheme has no more."""
    nav = Workflow("nav", partitions=DAYS)
    nav.step(name="value", inputs={"window": nav.output("value").previous(2)})(lambda ctx, *, window: {})
    window = (read(KEYS[0]), read(KEYS[1]))
    record = a_step("value", inputs={"window": window, "gone": ()})
    assert list(asked_now(nav, KEYS[2], record)) == []
    [found] = asked_now(nav, KEYS[3], record)
    assert (found.added, found.removed) == ((KEYS[2],), window[:1])
    assert list(asked_now(nav, PartitionKey(date="2027-01-05"), record)) == []
    assert list(asked_now(nav, KEYS[3], a_step("other", inputs={"window": window}))) == []
    assert list(asked_now(Workflow("nav"), KEYS[3], record)) == []


def test_what_was_skipped_gave_a_step_nothing_unless_it_is_why_it_was_skipped():
    """So it is missed by a step alone that was skipped for it."""
    nav = Workflow("nav", partitions=DAYS)
    nav.step(name="value", inputs={"window": nav.output("value").previous(1)})(lambda ctx, *, window: {})
    holes = {"window": (read(KEYS[0], digest=None), read(KEYS[1]))}
    assert list(asked_now(nav, KEYS[2], a_step("value", inputs=holes))) == []
    [found] = asked_now(nav, KEYS[2], a_step("value", status=StepStatus.SKIPPED, inputs=holes))
    assert found.removed == holes["window"][:1]
