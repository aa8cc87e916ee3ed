"""What every ledger does for several who are at one run, as tests; part of ``LedgerContract``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.errors import RunAlive, RunExists, Superseded
from flowctx.core.workflow.result import StepStatus
from flowctx.testing.clock import FakeClock
from flowctx.testing.records import MINUTE, a_run, a_step


class OwnersContract:
    """The facts that hold for whoever begins a run, or goes on with it."""

    def test_of_two_who_resume_one_does(self, ledger: Ledger) -> None:
        """A run that somebody else has resumed since it was read is not resumed again."""
        run = ledger.begin(a_run())
        ledger.begin(replace(a_run(params={"by": 1}), attempt=2), resumes=run)
        with pytest.raises(Superseded):
            ledger.begin(replace(a_run(params={"by": 2}), attempt=2), resumes=run)

    def test_a_run_is_begun_once_where_that_is_asked(self, ledger: Ledger) -> None:
        """Steps on an engine join a run that is there; who begins one of its own is refused, and nothing is written."""
        begun = ledger.begin(a_run(), exclusive=True)
        with pytest.raises(RunExists):
            ledger.begin(a_run(params={"other": 1}), exclusive=True)
        assert ledger.get_run("run-1") == begun

    def test_of_many_who_begin_a_run_one_does(self, ledger: Ledger) -> None:
        """Whatever they do at the same moment, exactly one is granted it."""

        def begin(number: int) -> int | None:
            try:
                return int(ledger.begin(a_run(params={"by": number}), exclusive=True).context.params["by"])
            except RunExists:
                return None

        with ThreadPoolExecutor(8) as pool:
            granted = [number for number in pool.map(begin, range(8)) if number is not None]
        assert granted == [ledger.get_run("run-1").context.params["by"]]

    def test_a_run_that_somebody_is_at_is_left_alone(self, ledger: Ledger, clock: FakeClock) -> None:
        """It is resumed by force, or when its lease has run out."""
        run = ledger.begin(a_run(batch_id="b1"), lease=MINUTE)
        again = replace(a_run(batch_id="b1"), attempt=2)
        with pytest.raises(RunAlive):
            ledger.begin(again, resumes=run, take_over=False)
        assert ledger.get_run("run-1") == run
        clock.advance(2 * MINUTE)
        resumed = ledger.begin(again, resumes=run, take_over=False)
        forced = ledger.begin(replace(again, attempt=3), resumes=resumed, take_over=True)
        assert forced.fencing_token > resumed.fencing_token > run.fencing_token

    def test_a_run_that_has_begun_again_since_it_was_read_is_left_alone(self, ledger: Ledger) -> None:
        """It is alive, whatever it was: its engine runs a step of it again."""
        ledger.finish(ledger.begin(a_run(batch_id="b1")), RunStatus.FAILED)
        read = ledger.get_run("run-1")
        begun = ledger.begin(a_run(batch_id="b1"))
        with pytest.raises(RunAlive):
            ledger.begin(replace(a_run("other", batch_id="b1"), attempt=2), resumes=read, take_over=False)
        assert ledger.get_run("run-1") == begun

    def test_each_step_of_a_run_that_continues_another_may_begin_it(self, ledger: Ledger) -> None:
        """Who comes later with what it read of the other one finds the run begun."""
        ledger.finish(ledger.begin(a_run("old", batch_id="b1")), RunStatus.FAILED)
        read, new = ledger.get_run("old"), replace(a_run("new", batch_id="b1"), attempt=2)
        begun = ledger.begin(new, resumes=read)
        assert ledger.begin(new, resumes=read, take_over=False) == begun

    def test_a_run_that_begins_again_goes_on_itself(self, ledger: Ledger) -> None:
        """Whoever continued it has lost its capture to it, and nobody is sent there any more."""
        first = ledger.begin(a_run("first", batch_id="b1"))
        ledger.finish(first, RunStatus.FAILED)
        other = replace(a_run("other", batch_id="b1"), attempt=2)
        ledger.finish(ledger.begin(other, resumes=ledger.get_run("first")), RunStatus.OK)
        assert ledger.get_run("first").continued_by == "other"
        again = ledger.begin(a_run("first", batch_id="b1"))
        assert again.continued_by is ledger.get_run("first").continued_by is None
        assert [capture.run_id for capture in ledger.captures()] == ["first"]

    def test_a_part_that_begins_again_is_followed_while_the_other_is_under_way(self, ledger: Ledger) -> None:
        """A part has no capture that it could take from it."""
        first = replace(a_run("first", batch_id="b1"), selected=("a",))
        ledger.finish(ledger.begin(first), RunStatus.FAILED)
        other = replace(a_run("other", batch_id="b1"), selected=("a",), attempt=2)
        begun = ledger.begin(other, resumes=ledger.get_run("first"))
        again = ledger.begin(first)
        assert again.continued_by == ledger.get_run("first").continued_by == "other"
        for run in (again, begun):
            ledger.finish(run, RunStatus.FAILED)
        assert ledger.begin(first).continued_by is ledger.get_run("first").continued_by is None

    @pytest.mark.parametrize("status", [RunStatus.OK, RunStatus.SKIPPED])
    def test_a_part_that_was_taken_over_is_told_so(self, ledger: Ledger, status: RunStatus) -> None:
        """Also where its capture is refused: to wait for that, or to end as partial, would be no remedy."""
        part = ledger.begin(replace(a_run("part", batch_id="b1"), selected=("a",)))
        ledger.begin(replace(a_run("part", batch_id="b1"), selected=("a",), attempt=2), resumes=part)
        ledger.begin(a_run("whole", batch_id="b1"))
        before = ledger.get_run("part"), ledger.captures()
        with pytest.raises(Superseded):
            ledger.finish(part, status)
        assert (ledger.get_run("part"), ledger.captures()) == before

    def test_a_plan_holds_for_the_steps_that_it_has_seen(self, ledger: Ledger) -> None:
        """Who has planned without a step that was recorded meanwhile is told to plan again."""
        run = ledger.begin(a_run())
        ledger.record(run, [a_step()])
        ledger.finish(run, RunStatus.FAILED)
        ended, again = ledger.get_run("run-1"), replace(a_run(), attempt=2)
        with pytest.raises(Superseded):
            ledger.begin(again, resumes=ended, seen={})
        assert ledger.get_run("run-1") == ended
        resumed = ledger.begin(again, resumes=ended, completed=["a"], seen={"a": StepStatus.OK})
        assert [record.step for record in ledger.steps(resumed.key)] == ["a"]
