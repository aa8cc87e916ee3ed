"""What every ledger calls current, now and as it was known at a time, as tests; part of ``LedgerContract``."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from flowctx.core.durability.current import versions_to_read
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.durability.versions import version_to_read
from flowctx.core.errors import AlreadyCaptured, VersionGone
from flowctx.core.partitions.key import PartitionKey
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.records import MINUTE, a_key, a_run, a_step

_KEY = PartitionKey(tier="T1")


def _run(run_id: str, batch_id: str) -> RunRecord:
    return a_run(run_id, batch_id=batch_id, partition=_KEY)


def _ended(ledger: Ledger, run: RunRecord, status: RunStatus = RunStatus.OK) -> RunRecord:
    begun = ledger.begin(run)
    ledger.record(begun, [a_step()])
    ledger.finish(begun, status)
    return begun


def _current(ledger: Ledger) -> str | None:
    """Return the run whose version is current, as all that tell it do; ``"pruned"`` where that is not there."""
    versions, pruned = ledger.versions("flow", "a", [_KEY]), ledger.pruned_versions("flow", [_KEY])
    found = [versions_to_read(ledger, "flow", versions).get(_KEY)]
    for choice in (VersionChoice(), VersionChoice(known_at=ledger.now())):
        try:
            found.append(choice.version(versions, pruned))
        except VersionGone as exc:
            found.append(exc)
    captures = ledger.captures(workflow="flow")
    current = ledger.current_revisions({one.key.idempotency_key for one in captures})
    listed = [one.run_id for one in captures if current.get(one.key.idempotency_key) == one.revision]
    runs = {"pruned" if isinstance(one, VersionGone) else one.run_id if one is not None else None for one in found}
    assert (listed or [None]) == [None if one == "pruned" else one for one in runs]
    return next(iter(runs))


def _known(ledger: Ledger, time: datetime) -> str | None:
    choice = VersionChoice(known_at=time)
    found = choice.version(ledger.versions("flow", "a", [_KEY]), ledger.pruned_versions("flow", [_KEY]))
    return None if found is None else found.run_id


class CurrentContract:
    """The facts that hold for which version is current: whoever tells it tells the same."""

    @pytest.mark.parametrize("part", [False, True])
    @pytest.mark.parametrize("first", [RunStatus.OK, RunStatus.SKIPPED])
    @pytest.mark.parametrize("last", [RunStatus.OK, RunStatus.SKIPPED, RunStatus.FAILED, RunStatus.PARTIAL])
    def test_a_run_that_ends_twice_says_what_was_known(
        self, ledger: Ledger, clock: FakeClock, first: RunStatus, last: RunStatus, part: bool
    ) -> None:
        """Alike, as of two last steps that say so, or of one whose answer was lost: it is known since the first time.

        Otherwise, what was current between its two ends is not what is older, nor what there is now.
        """
        _ended(ledger, _run("r1", "b1"))
        clock.advance(MINUTE)
        run = _ended(ledger, replace(_run("r2", "b2"), selected=("a",) if part else ()), first)
        clock.advance(MINUTE)
        ledger.finish(run, last)
        assert _current(ledger) == ("r2" if last in (RunStatus.OK, RunStatus.SKIPPED) else "r1")
        assert _known(ledger, NOON) == "r1"
        *_, capture = ledger.captures()
        if first is last:
            assert (capture.completed_at, capture.first_completed_at) == (NOON + MINUTE, None)
            assert _known(ledger, NOON + MINUTE) == "r2"
            return
        assert (capture.first_completed_at, capture.claimed_at) == (NOON + MINUTE, NOON + 2 * MINUTE)
        with pytest.raises(VersionGone, match="written over"):
            _known(ledger, NOON + MINUTE)

    def test_without_partitions_a_run_that_ended_otherwise_was_there_twice(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        """When it is written over, nobody knows which of two dates was the newer one in between."""

        def of(run_id: str, days: int) -> RunRecord:
            return a_run(run_id, batch_id="b1", as_of_date=NOON.date() + timedelta(days=days))

        run = _ended(ledger, of("r1", 0))
        clock.advance(MINUTE)
        _ended(ledger, of("r2", 1))
        clock.advance(MINUTE)
        ledger.finish(run, RunStatus.SKIPPED)
        clock.advance(MINUTE)
        ledger.begin(of("r3", 0))
        with pytest.raises(VersionGone, match="written over"):
            VersionChoice(known_at=NOON + 2 * MINUTE).version(ledger.versions("flow", "a", [None]))

    def test_without_partitions_a_batch_has_the_version_that_it_began_last(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        """Whoever reads in the batch, or of it, is told the same: no other date stands in while that is not done."""

        def both() -> tuple[str | None, str | None]:
            clock.advance(MINUTE)
            versions, pruned = ledger.versions("flow", "a", [None]), ledger.pruned_versions("flow", [None])
            read, named = version_to_read(versions, "b1"), VersionChoice(batch_id="b1").version(versions, pruned)
            return (read.run_id if read else None), (named.run_id if named else None)

        dates = [a_run(f"r{days}", batch_id="b1", as_of_date=NOON.date() + timedelta(days=days)) for days in (0, 1)]
        first = ledger.begin(dates[0])
        clock.advance(MINUTE)
        _ended(ledger, dates[1])
        assert both() == ("r1", "r1")
        ledger.record(first, [a_step()])
        ledger.finish(first, RunStatus.OK)
        assert both() == ("r1", "r1")
        again = ledger.begin(dates[0])
        assert both() == ("r0", None)
        ledger.finish(again, RunStatus.OK)
        assert both() == ("r0", "r0")
        _ended(ledger, a_run("other", batch_id="b2", as_of_date=NOON.date()))
        ledger.prune(clock.now() + timedelta(days=1))
        [found] = versions_to_read(ledger, "flow", ledger.versions("flow", "a", [None]), "b1").values()
        assert isinstance(found, VersionGone)
        with pytest.raises(VersionGone, match=r"b1 \(revision 1, .* was pruned"):
            both()

    @pytest.mark.parametrize("failures", [1, 2])
    def test_between_a_run_that_failed_and_the_next_one_what_is_older_was_known(
        self, ledger: Ledger, clock: FakeClock, failures: int
    ) -> None:
        """What was written over is not known until it was let go; then it was not there, until it is complete again."""
        for number, status in enumerate([RunStatus.OK, RunStatus.OK, *[RunStatus.FAILED] * failures, RunStatus.OK], 1):
            _ended(ledger, _run(f"r{number}", "b1" if number == 1 else "b2"), status)
            clock.advance(MINUTE)
        known = {minute: NOON + minute * MINUTE for minute in range(failures + 3)}
        with pytest.raises(VersionGone, match="written over"):
            _known(ledger, known.pop(1))
        assert [_known(ledger, time) for time in known.values()] == ["r1"] * (failures + 1) + [f"r{failures + 3}"]

    def test_without_partitions_what_was_pruned_may_have_been_complete_again(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        """It was newer then than another date, which does not stand in; before that it was not."""

        def at(run_id: str, batch_id: str, days: int) -> None:
            _ended(ledger, a_run(run_id, batch_id=batch_id, as_of_date=NOON.date() + timedelta(days=days)))
            clock.advance(MINUTE)

        for run_id, batch_id, days in (("r1", "b1", 0), ("r2", "b1", 1), ("r3", "b1", 0), ("r4", "b2", 0)):
            at(run_id, batch_id, days)
        ledger.prune(clock.now())

        def known(minutes: int) -> str | None:
            choice = VersionChoice(known_at=NOON + minutes * MINUTE)
            found = choice.version(ledger.versions("flow", "a", [None]), ledger.pruned_versions("flow", [None]))
            return None if found is None else found.run_id

        assert [known(minutes) for minutes in (1, 3)] == ["r2", "r4"]
        for minutes in (0, 2):
            with pytest.raises(VersionGone, match="was pruned"):
                known(minutes)

    def test_a_capture_that_is_closed_twice_is_complete_since_the_first_time(
        self, ledger: Ledger, clock: FakeClock
    ) -> None:
        """To say the same again changes nothing of that."""
        owned = ledger.claim(a_key(), holder="me", lease=MINUTE)
        for _ in range(2):
            ledger.close_capture(owned, complete=True)
            clock.advance(MINUTE)
        [capture] = ledger.captures()
        assert (capture.state, capture.completed_at) == (CaptureState.COMPLETE, NOON)

    def test_a_skip_of_which_a_step_is_forgotten_is_not_current(self, ledger: Ledger, clock: FakeClock) -> None:
        """Its run still says that it was skipped, and its capture does not."""
        _ended(ledger, _run("r1", "b1"))
        clock.advance(MINUTE)
        hole = _ended(ledger, _run("r2", "b2"), RunStatus.SKIPPED)
        assert _current(ledger) == "r2"
        clock.advance(MINUTE)
        ledger.forget(hole, ["a"])
        assert _current(ledger) == "r1"
        statuses = {version.run_id: version.status for version in ledger.versions("flow", "a", [_KEY])}
        assert statuses == {"r1": RunStatus.OK, "r2": RunStatus.PARTIAL}
        with pytest.raises(VersionGone):
            _known(ledger, NOON + MINUTE)

    @pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.CANCELED, RunStatus.RUNNING])
    def test_what_failed_when_it_was_made_again_is_pruned_when_something_newer_is_there(
        self, ledger: Ledger, clock: FakeClock, status: RunStatus
    ) -> None:
        """Until then what is current is older, and is known to be so."""
        _ended(ledger, _run("r1", "b1"))
        _ended(ledger, _run("r2", "b2"))
        again = ledger.begin(_run("r3", "b2"))
        if status is not RunStatus.RUNNING:
            ledger.finish(again, status)
        for newer, runs in ((None, ["r1", "r3"]), ("r4", ["r4"])):
            if newer is not None:
                _ended(ledger, _run(newer, "b3"))
            clock.advance(timedelta(days=1))
            would, _ = ledger.would_prune(clock.now())
            assert ledger.prune(clock.now()) == would
            assert [capture.run_id for capture in ledger.captures()] == runs
            assert _current(ledger) == (newer or "r1")

    @pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.PARTIAL, RunStatus.CANCELED, RunStatus.RUNNING])
    @pytest.mark.parametrize("again", [RunStatus.OK, RunStatus.FAILED])
    def test_nothing_older_is_current_instead_of_what_was_pruned(
        self, ledger: Ledger, clock: FakeClock, status: RunStatus, again: RunStatus
    ) -> None:
        """A version that is kept stays; what came after it was pruned, and the last one is being made again, or failed.

        What was pruned and is made again is judged by what becomes of that.
        """
        for number in (1, 2, 3):
            _ended(ledger, _run(f"r{number}", f"b{number}"))
            clock.advance(MINUTE)
        ledger.batches.keep("b1")
        ledger.prune(clock.now())
        assert _current(ledger) == "r3"
        assert [ledger.count_superseded(f"b{number}", "flow", limit=9) for number in (1, 3)] == [1, 0]
        begun = ledger.begin(_run("r4", "b3"))
        if status is not RunStatus.RUNNING:
            ledger.finish(begun, status)
        assert [capture.run_id for capture in ledger.captures()] == ["r1", "r4"]
        assert (_current(ledger), ledger.count_superseded("b1", "flow", limit=9)) == ("pruned", 1)
        clock.advance(MINUTE)
        _ended(ledger, _run("r5", "b2"), again)
        for _ in range(2):
            assert _current(ledger) == ("r5" if again is RunStatus.OK else "r1")
            assert ledger.count_superseded("b1", "flow", limit=9) == (again is RunStatus.OK)
            clock.advance(timedelta(days=1))
            ledger.prune(clock.now() - MINUTE)
        with pytest.raises(VersionGone):
            _known(ledger, NOON + MINUTE)

    @pytest.mark.parametrize("again", [RunStatus.OK, RunStatus.SKIPPED, RunStatus.FAILED])
    def test_what_is_older_than_what_was_pruned_is_not_left_at_that(
        self, ledger: Ledger, clock: FakeClock, again: RunStatus
    ) -> None:
        """With ``skip``, a run begins where none of what is complete is current, until there is a newer one."""
        for number in (1, 2, 3):
            _ended(ledger, _run(f"r{number}", f"b{number}"))
            clock.advance(MINUTE)
        ledger.batches.keep("b1")
        ledger.prune(clock.now())
        with pytest.raises(AlreadyCaptured, match=r"T1\|2026-01-09\|b1\) is captured already"):
            ledger.begin(_run("r4", "b4"), on_captured="skip")
        _ended(ledger, _run("r5", "b3"), RunStatus.FAILED)
        assert _current(ledger) == "pruned"
        with pytest.raises(AlreadyCaptured):  # which would be older still if it were made again
            ledger.begin(_run("r6", "b1"), on_captured="skip")
        begun = ledger.begin(_run("r6", "b4"), on_captured="skip")
        clock.advance(MINUTE)
        ledger.finish(begun, again)
        if again is RunStatus.FAILED:
            assert begun.capture is not None
            assert ledger.claim(begun.capture, holder="me", lease=MINUTE, on_captured="skip").revision == 4
            return
        with pytest.raises(AlreadyCaptured):
            ledger.begin(_run("r7", "b5"), on_captured="skip")

    def test_what_is_let_go_was_heard_of_then(self, ledger: Ledger, clock: FakeClock) -> None:
        """A prune of what is older leaves it with its run: else an older version would pass for what was known."""
        for number in (1, 2, 3):
            latest = _ended(ledger, _run(f"r{number}", f"b{number}"))
            clock.advance(MINUTE)
        run = replace(ledger.get_run("r2"), fencing_token=latest.fencing_token)
        ledger.forget(run, ["a"])
        ledger.prune(clock.now())
        assert [capture.run_id for capture in ledger.captures()] == ["r2", "r3"]
        with pytest.raises(VersionGone, match="written over"):
            _known(ledger, NOON + MINUTE)
        clock.advance(MINUTE)
        ledger.prune(clock.now())
        assert [capture.run_id for capture in ledger.captures()] == ["r3"]
        with pytest.raises(VersionGone, match="pruned"):
            _known(ledger, NOON + MINUTE)
