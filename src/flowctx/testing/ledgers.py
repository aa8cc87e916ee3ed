"""What every ledger does, as tests: inherit :class:`LedgerContract` and say how to make one.

::

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        def ledger(self, clock): return MyLedger(clock=clock)
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flowctx.core.data.plain import freeze
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunStatus
from flowctx.core.errors import AlreadyCaptured, CaptureHeld, CaptureRefused, Superseded, UnknownRun
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepStatus
from flowctx.testing.batches import BatchesContract
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.current import CurrentContract
from flowctx.testing.housekeeping import HousekeepingContract
from flowctx.testing.owners import OwnersContract
from flowctx.testing.records import EVERYTHING, MINUTE, a_key, a_run, a_step
from flowctx.testing.versions import VersionsContract


class LedgerContract(BatchesContract, CurrentContract, HousekeepingContract, OwnersContract, VersionsContract):
    """The facts that hold for every ledger; ``ledger`` must be empty and use ``clock``."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The time that the ledger sees."""
        return FakeClock()

    @pytest.fixture
    def ledger(self, clock: FakeClock) -> Ledger:
        """Make the ledger under test."""
        raise TypeError("override the fixture `ledger` to return an empty ledger that uses `clock`")

    # -- runs -----------------------------------------------------------------------------------------------------

    def test_a_run_comes_back_as_it_was_begun(self, ledger: Ledger) -> None:
        """A run comes back as it was begun, with its context."""
        run = a_run(partition={"date": "2026-01-09", "tier": "O T|C"}, params=EVERYTHING, batch_id="b1")
        begun = ledger.begin(replace(run, import_path="flows:flow"))
        assert ledger.get_run("run-1") == begun
        assert begun.context == run.context
        assert (begun.status, begun.fencing_token, begun.import_path) == (RunStatus.RUNNING, 1, "flows:flow")

    def test_beginning_a_run_again_changes_nothing(self, ledger: Ledger) -> None:
        """Any step of a run may begin it: the first one does, and the others find it begun."""
        begun = ledger.begin(a_run())
        ledger.record(begun, [a_step()])
        assert ledger.begin(a_run(params={"other": 1})) == begun
        assert [record.step for record in ledger.steps(begun.key)] == ["a"]

    def test_everything_about_a_step_comes_back(self, ledger: Ledger) -> None:
        """Every field of a step's record comes back equal, whatever plain data it holds."""
        run = ledger.begin(a_run())
        record = a_step(
            after=("x", "y"),
            output=EVERYTHING,
            updates=freeze(EVERYTHING),
            quality=QualityMetrics(counts={"rows": 1}, rates={"null": 0.5}, passed=False, reasons=("why",)),
            error="bad \0 \ud800",
            category=ErrorCategory.DATA_QUALITY,
            config=freeze({"limit": 3}),
            version="abc",
            attempts=3,
            seconds=1.5,
        )
        ledger.record(run, [record])
        assert ledger.steps(run.key) == [record]

    def test_a_step_recorded_again_replaces_itself(self, ledger: Ledger) -> None:
        """A step has one record: its latest."""
        run = ledger.begin(a_run())
        ledger.record(run, [a_step(status=StepStatus.FAILED, error="no"), a_step("b")])
        ledger.record(run, [a_step(output={"n": 1}, attempts=2)])
        assert ledger.statuses(run.key) == {"a": StepStatus.OK, "b": StepStatus.OK}
        assert ledger.steps(run.key, ["a"]) == [a_step(output={"n": 1}, attempts=2)]

    def test_steps_come_in_the_order_in_which_they_began(self, ledger: Ledger) -> None:
        """Steps are listed by when they began."""
        run = ledger.begin(a_run())
        for number, name in enumerate(["c", "a", "b"]):
            ledger.record(run, [a_step(name, started_at=NOON + number * MINUTE)])
        assert [record.step for record in ledger.steps(run.key)] == ["c", "a", "b"]

    def test_a_run_says_how_it_ended(self, ledger: Ledger, clock: FakeClock) -> None:
        """A finished run has its status, its error and when."""
        run = ledger.begin(a_run())
        clock.advance(MINUTE)
        ledger.finish(run, RunStatus.FAILED, "step 'a': no \0")
        found = ledger.get_run("run-1")
        assert (found.status, found.finished_at) == (RunStatus.FAILED, NOON + MINUTE)
        assert found.error is not None
        assert found.error.startswith("step 'a': no")

    def test_runs_are_found_by_what_they_are(self, ledger: Ledger) -> None:
        """Runs are listed the latest first, and by workflow, batch, status, partition and id."""
        for number in range(3):
            run = ledger.begin(a_run(f"r{number}", batch_id=f"b{number % 2}", started_at=NOON + number * MINUTE))
            ledger.finish(run, RunStatus.FAILED)
        apart = ledger.begin(a_run("r9", partition={"tier": "OTC"}, started_at=NOON - MINUTE))
        ledger.finish(apart, RunStatus.OK)
        assert [run.run_id for run in ledger.list_runs()] == ["r2", "r1", "r0", "r9"]
        assert [run.run_id for run in ledger.list_runs(batch_id="b0", workflow="flow")] == ["r2", "r0"]
        assert [run.run_id for run in ledger.list_runs(status=RunStatus.OK)] == ["r9"]
        assert [run.run_id for run in ledger.list_runs(partition=PartitionKey(tier="OTC"))] == ["r9"]
        assert [run.run_id for run in ledger.list_runs(limit=1)] == ["r2"]
        assert [run.run_id for run in ledger.list_runs(run_id="r1")] == ["r1"]

    def test_a_run_says_when_it_was_last_heard_of(self, ledger: Ledger, clock: FakeClock) -> None:
        """A run has the time of its last sign of life, by which a dead one is told from a slow one."""
        run = ledger.begin(a_run())
        assert ledger.get_run("run-1").last_seen_at == NOON
        clock.advance(MINUTE)
        ledger.renew(run, MINUTE)
        assert ledger.list_runs()[0].last_seen_at == NOON + MINUTE

    def test_an_unknown_run_is_an_error(self, ledger: Ledger) -> None:
        """An unknown run is an error that says where to look."""
        with pytest.raises(UnknownRun, match="no run 'nope'.*flowctx runs"):
            ledger.get_run("nope")

    def test_a_run_of_another_partition_is_not_unknown(self, ledger: Ledger) -> None:
        """Who asks for a run of another workflow or partition than it is of is told which that is."""
        ledger.begin(a_run(partition={"tier": "T1"}))
        for workflow in (None, "flow"):
            with pytest.raises(UnknownRun, match=r"run 'run-1', but as flow run-1 \(tier=T1\)"):
                ledger.get_run("run-1", workflow=workflow, partition=PartitionKey(tier="T2"))
        with pytest.raises(UnknownRun):
            ledger.get_run("\ud800", workflow="flow", partition=PartitionKey(tier="T1"))
        assert ledger.get_run("run-1", workflow="flow", partition=PartitionKey(tier="T1")).run_id == "run-1"

    def test_run_ids_are_found_by_their_beginning(self, ledger: Ledger) -> None:
        """Ids that begin so come sorted, each once; what stands for anything elsewhere stands for itself."""
        for run_id, tier in (("ab_2", "T1"), ("ab%1", "T1"), ("ab%1", "T2"), ("AB%3", "T1"), ("abc", "T1")):
            ledger.begin(a_run(run_id=run_id, partition={"tier": tier}))
        assert sorted(ledger.run_ids("ab")) == ["ab%1", "ab_2", "abc"]
        assert (ledger.run_ids("ab%"), len(ledger.run_ids("ab", limit=2)), ledger.run_ids("x")) == (["ab%1"], 2, [])

    def test_one_run_id_may_serve_several_partitions(self, ledger: Ledger) -> None:
        """Runs of one id differ by workflow and partition, and the ledger asks which is meant."""
        for tier in ("T1", "T2"):
            ledger.begin(a_run(partition={"tier": tier}))
        with pytest.raises(UnknownRun, match="2 runs have the id 'run-1'.*--partition"):
            ledger.get_run("run-1")
        assert ledger.get_run("run-1", partition=PartitionKey(tier="T2")).context.partition == PartitionKey(tier="T2")

    # -- resuming -------------------------------------------------------------------------------------------------

    def test_a_resumed_run_keeps_what_it_is_told_to(self, ledger: Ledger) -> None:
        """The next attempt has the kept steps, a higher fence, and every attempt's own context."""
        run = ledger.begin(a_run())
        ledger.record(run, [a_step(), a_step("b", status=StepStatus.FAILED, error="no")])
        ledger.finish(run, RunStatus.FAILED, "no")
        again = replace(a_run(params={"x": 1}), attempt=2)
        resumed = ledger.begin(again, resumes=ledger.get_run("run-1"), completed=["a"])
        assert (resumed.attempt, resumed.fencing_token, resumed.status) == (2, 2, RunStatus.RUNNING)
        assert list(ledger.statuses(run.key)) == ["a"]
        assert (ledger.context(run.key, 1).params, ledger.context(run.key, 2).params) == ({}, {"x": 1})
        assert ledger.get_run("run-1") == resumed

    def test_a_late_write_to_a_resumed_run_is_refused(self, ledger: Ledger) -> None:
        """Whoever still writes to an attempt that was resumed elsewhere is told so, and changes nothing."""
        late = ledger.begin(a_run())
        now = ledger.begin(replace(a_run(), attempt=2), resumes=late)
        with pytest.raises(Superseded, match="resumed or taken over elsewhere"):
            ledger.record(late, [a_step()])
        with pytest.raises(Superseded):
            ledger.record(late, [a_step(), a_step("b")])
        with pytest.raises(Superseded):
            ledger.finish(late, RunStatus.OK)
        with pytest.raises(Superseded):
            ledger.renew(late, MINUTE)
        assert ledger.statuses(now.key) == {}
        assert ledger.get_run("run-1") == now

    def test_a_run_goes_on_under_another_id(self, ledger: Ledger) -> None:
        """A run that continues another takes its steps, its contexts and its capture, and fences it off."""
        old = ledger.begin(a_run("old", batch_id="b1", params={"x": 1}))
        ledger.record(old, [a_step(output={"n": 1}), a_step("b", status=StepStatus.FAILED)])
        new = ledger.begin(replace(a_run("new", batch_id="b1"), attempt=2), resumes=old, completed=["a"])
        assert ledger.steps(new.key) == [a_step(output={"n": 1})]
        assert ledger.context(new.key, 1).params == {"x": 1}
        with pytest.raises(Superseded):
            ledger.record(old, [a_step("c")])
        assert "taken over by run new" in str(ledger.get_run("old").error)
        assert len(ledger.steps(old.key)) == 2

    def test_an_attempt_that_was_not_is_unknown(self, ledger: Ledger) -> None:
        """Asking for an attempt that never was is an error."""
        run = ledger.begin(a_run())
        with pytest.raises(UnknownRun, match="no attempt 7"):
            ledger.context(run.key, 7)

    # -- captures -------------------------------------------------------------------------------------------------

    def test_a_claim_is_granted_once(self, ledger: Ledger) -> None:
        """A claimed capture is nobody else's while its lease runs; the refusal says whose it is and until when."""
        owned = ledger.claim(a_key(), holder="me", lease=MINUTE)
        assert (owned.revision, owned.fencing_token, owned.state) == (1, 1, CaptureState.HELD)
        with pytest.raises(CaptureHeld, match="by me, and the lease runs until 2026-01-09 12:01:00 UTC"):
            ledger.claim(a_key(), holder="you", lease=MINUTE)

    def test_of_many_who_claim_one_gets_it(self, ledger: Ledger) -> None:
        """Of many threads that claim the same captures, exactly one gets each."""

        def claim(holder: int) -> int:
            granted = 0
            for number in range(10):
                try:
                    ledger.claim(a_key(idempotency_key=f"s{number}"), holder=str(holder), lease=MINUTE)
                    granted += 1
                except CaptureRefused:
                    continue
            return granted

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(claim, range(8))) == 10

    def test_a_lease_that_ran_out_is_taken_over(self, ledger: Ledger, clock: FakeClock) -> None:
        """After its lease, a capture goes to who asks, and the former holder is fenced off."""
        stalled = ledger.claim(a_key(), holder="stalled", lease=MINUTE)
        clock.advance(2 * MINUTE)
        taken = ledger.claim(a_key(), holder="quick", lease=MINUTE)
        assert (taken.fencing_token, taken.revision) == (2, 1)
        with pytest.raises(Superseded, match="no longer held with token 1"):
            ledger.close_capture(stalled, complete=True)
        with pytest.raises(Superseded):
            ledger.renew_capture(stalled, MINUTE)
        assert ledger.close_capture(taken, complete=True).state is CaptureState.COMPLETE

    @pytest.mark.parametrize("complete", [True, False])
    def test_a_capture_may_be_closed_again_the_same_way(self, ledger: Ledger, complete: bool) -> None:
        """The answer to the first time may be lost; what it was closed as, it stays."""
        owned = ledger.claim(a_key(), holder="me", lease=MINUTE)
        closed = [ledger.close_capture(owned, complete=complete).state for _ in range(2)]
        assert closed == [CaptureState.COMPLETE if complete else CaptureState.RELEASED] * 2
        with pytest.raises(Superseded):
            ledger.close_capture(owned, complete=not complete)
        assert [capture.state for capture in ledger.captures()] == closed[:1]

    def test_a_renewed_lease_holds(self, ledger: Ledger, clock: FakeClock) -> None:
        """A lease that is renewed in time is not taken over."""
        owned = ledger.claim(a_key(), holder="me", lease=MINUTE)
        clock.advance(MINUTE / 2)
        owned = ledger.renew_capture(owned, MINUTE)
        clock.advance(MINUTE * 0.9)
        with pytest.raises(CaptureHeld):
            ledger.claim(a_key(), holder="you", lease=MINUTE)
        assert ledger.close_capture(owned, complete=True).completed_at == clock.now()

    def test_a_released_capture_is_free(self, ledger: Ledger) -> None:
        """A capture that its holder let go of is anybody's at once."""
        ledger.close_capture(ledger.claim(a_key(), holder="me", lease=MINUTE), complete=False)
        assert ledger.claim(a_key(), holder="you", lease=MINUTE).holder == "you"

    def test_the_holder_may_claim_again(self, ledger: Ledger) -> None:
        """A holder that claims anew, perhaps after a restart, gets a new token; the old one is worth nothing."""
        before = ledger.claim(a_key(), holder="me", lease=MINUTE)
        after = ledger.claim(a_key(), holder="me", lease=MINUTE)
        assert after.fencing_token == before.fencing_token + 1
        with pytest.raises(Superseded):
            ledger.close_capture(before, complete=True)

    def test_captures_of_a_subject_are_revisions(self, ledger: Ledger) -> None:
        """Each new capture of a subject is its next revision, and the former ones stay readable."""
        for batch in ("b1", "b2", "b3"):
            ledger.close_capture(
                ledger.claim(a_key(batch), holder=batch, lease=MINUTE, workflow="flow", run_id=batch), complete=True
            )
        found = ledger.captures(idempotency_key="subject")
        assert [(c.revision, c.key.capture_id, c.run_id) for c in found] == [
            (1, "b1", "b1"),
            (2, "b2", "b2"),
            (3, "b3", "b3"),
        ]
        assert ledger.captures(workflow="flow") == found
        assert ledger.captures(workflow="other") == []

    def test_the_captures_that_were_granted_last(self, ledger: Ledger, clock: FakeClock) -> None:
        """With a limit, those that were granted last come back, in the order of their revisions."""
        for batch in ("b1", "b2", "b3", "b1"):
            clock.advance(MINUTE)
            ledger.close_capture(ledger.claim(a_key(batch), holder=batch, lease=MINUTE), complete=True)
        assert [c.key.capture_id for c in ledger.captures(limit=2)] == ["b1", "b3"]

    def test_the_current_revisions_of_subjects(self, ledger: Ledger) -> None:
        """Of each subject the last complete capture counts; one without any is left out."""
        for batch, complete in (("b1", True), ("b2", True), ("b3", False)):
            ledger.close_capture(ledger.claim(a_key(batch), holder=batch, lease=MINUTE), complete=complete)
        ledger.claim(a_key("b1", "other"), holder="one", lease=MINUTE)
        assert ledger.current_revisions(["subject", "other", "none"]) == {"subject": 2}

    def test_a_capture_whose_run_was_skipped_is_current(self, ledger: Ledger) -> None:
        """Nothing older is read instead; one whose run failed, or is under way again, is not current."""
        for number, ended in enumerate([RunStatus.OK, RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.FAILED]):
            begun = ledger.begin(a_run(f"r{number}", batch_id=f"b{number}"))
            ledger.finish(begun, ended)
        found = ledger.captures()
        assert [capture.is_hole for capture in found] == [False, False, True, False]
        subject = found[0].key.idempotency_key
        assert ledger.current_revisions([subject]) == {subject: 3}
        ledger.begin(a_run("again", batch_id="b2"))
        assert ledger.current_revisions([subject]) == {subject: 1}

    def test_a_batch_that_runs_again_after_another_is_superseded(self, ledger: Ledger) -> None:
        """Once the other's capture is complete, and in the older batch alone; to run it again changes nothing."""

        def counts(**limit: int) -> list[int]:
            return [ledger.count_superseded(batch, "flow", **({"limit": 10} | limit)) for batch in ("b1", "b2")]

        ledger.finish(ledger.begin(a_run("r1", batch_id="b1")), RunStatus.OK)
        later = ledger.begin(a_run("r2", batch_id="b2"))
        assert counts() == [0, 0]
        ledger.finish(later, RunStatus.OK)
        assert (counts(), counts(limit=0)) == ([1, 0], [0, 0])
        ledger.finish(ledger.begin(a_run("r1", batch_id="b1")), RunStatus.OK)
        assert counts() == [1, 0]
        assert ledger.count_superseded("b1", "other", limit=10) == 0

    def test_what_is_captured_can_be_left_at_that(self, ledger: Ledger) -> None:
        """With ``skip``, a subject that is captured or being captured under any id is refused."""
        held = ledger.claim(a_key("b1"), holder="one", lease=MINUTE)
        with pytest.raises(CaptureHeld):
            ledger.claim(a_key("b2"), holder="two", lease=MINUTE, on_captured="skip")
        ledger.close_capture(held, complete=True)
        with pytest.raises(AlreadyCaptured, match="pass on_captured='recapture'"):
            ledger.claim(a_key("b2"), holder="two", lease=MINUTE, on_captured="skip")
        assert ledger.claim(a_key("b2"), holder="two", lease=MINUTE).revision == 2

    def test_a_run_claims_its_capture(self, ledger: Ledger) -> None:
        """A run that begins claims its capture, and one that ends well completes it."""
        run = ledger.begin(a_run(batch_id="b1"))
        with pytest.raises(CaptureHeld, match="flowctx resume run-1"):
            ledger.begin(a_run("run-2", batch_id="b1"))
        ledger.finish(run, RunStatus.OK)
        (capture,) = ledger.captures()
        assert (capture.state, capture.run_id, capture.key) == (CaptureState.COMPLETE, "run-1", run.capture)
        with pytest.raises(UnknownRun):
            ledger.get_run("run-2")

    def test_a_failed_run_lets_go_of_its_capture(self, ledger: Ledger) -> None:
        """A run that failed does not stand in the way of the next one in its batch."""
        ledger.finish(ledger.begin(a_run(batch_id="b1")), RunStatus.FAILED, "no")
        assert ledger.begin(a_run("run-2", batch_id="b1")).run_id == "run-2"

    def test_a_run_whose_lease_ran_out_is_fenced_off(self, ledger: Ledger, clock: FakeClock) -> None:
        """A run that stalls past its lease loses its capture, and with it the right to write."""
        stalled = ledger.begin(a_run(batch_id="b1"), lease=MINUTE)
        clock.advance(2 * MINUTE)
        ledger.begin(a_run("run-2", batch_id="b1"))
        with pytest.raises(Superseded):
            ledger.record(stalled, [a_step()])
        assert ledger.get_run("run-1").error == "its capture was taken over by run run-2"

    def test_a_run_that_renews_its_lease_keeps_its_capture(self, ledger: Ledger, clock: FakeClock) -> None:
        """A run that gives signs of life keeps its capture."""
        run = ledger.begin(a_run(batch_id="b1"), lease=MINUTE)
        clock.advance(MINUTE / 2)
        ledger.renew(run, MINUTE)
        clock.advance(MINUTE * 0.9)
        with pytest.raises(CaptureHeld):
            ledger.begin(a_run("run-2", batch_id="b1"))

    def test_a_run_forgets_steps_that_do_not_count(self, ledger: Ledger) -> None:
        """Steps are forgotten by their run's owner alone, and a capture that it has completed is let go with them."""
        run = ledger.begin(a_run(batch_id="b1"))
        ledger.record(run, [a_step(), a_step("b"), a_step("c")])
        ledger.finish(run, RunStatus.OK)
        with pytest.raises(Superseded):
            ledger.forget(replace(run, fencing_token=run.fencing_token - 1), ["b"])
        (complete,) = ledger.captures()
        ledger.forget(run, ["b", "c", "unknown"])
        assert list(ledger.statuses(run.key)) == ["a"]
        (capture,) = ledger.captures()
        assert (capture.state, capture.completed_at) == (CaptureState.RELEASED, None)
        assert capture.first_completed_at == complete.completed_at

    def test_a_finished_run_that_goes_on_claims_its_capture_anew(self, ledger: Ledger) -> None:
        """A step that an engine runs again in a finished run reopens it, and nobody else gets the capture meanwhile."""
        run = ledger.begin(a_run(batch_id="b1"))
        ledger.finish(run, RunStatus.FAILED, "no")
        assert ledger.begin(a_run(batch_id="b1")) == run
        with pytest.raises(CaptureHeld):
            ledger.begin(a_run("run-2", batch_id="b1"))
