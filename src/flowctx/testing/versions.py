"""What every ledger does for steps that read the outputs of other runs, as tests; part of ``LedgerContract``."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from flowctx.core.batches.records import BatchRecord
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import CaptureState, RunRecord, RunStatus, StepRecord, VersionRead
from flowctx.core.durability.version_choice import VersionChoice
from flowctx.core.errors import AlreadyCaptured, CaptureHeld, VersionGone
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.result import StepStatus
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.contexts import make_context
from flowctx.testing.records import MINUTE, a_run

_KEY = PartitionKey(date="2026-01-09", fund="A")
_READ = VersionRead(
    workflow="nav",
    step="value",
    partition=_KEY,
    capture_id="2026-01-09|A|b1",
    revision=3,
    run_key="0" * 32,
    digest="f" * 32,
)


def _run(run_id: str, batch_id: str | None, partition: PartitionKey | None = _KEY, *, days: int = 0) -> RunRecord:
    day = NOON.date() + timedelta(days=days)
    context = make_context(workflow="nav", run_id=run_id, partition=partition, batch_id=batch_id, as_of_date=day)
    return RunRecord(workflow="nav", context=context, steps=("value",))


def _step(**fields: object) -> StepRecord:
    values = {"step": "value", "status": StepStatus.OK, "started_at": NOON, **fields}
    return StepRecord(**values)  # type: ignore[arg-type]


def _recorded(ledger: Ledger, run: RunRecord, ended: RunStatus = RunStatus.OK, **fields: object) -> RunRecord:
    begun = ledger.begin(run)
    ledger.record(begun, [_step(**fields)])
    ledger.finish(begun, ended, None if ended is RunStatus.OK else "a reason")
    return begun


class VersionsContract:
    """The facts that hold for what other runs have made."""

    def test_versions_are_all_captures_of_a_partition(self, ledger: Ledger) -> None:
        """Each batch has made one, whatever became of it, and says how the step ended that is read."""
        _recorded(ledger, _run("r1", "b1"))
        _recorded(ledger, _run("r2", "b2"), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        _recorded(ledger, _run("r3", "b3"), RunStatus.FAILED, status=StepStatus.FAILED)
        ledger.begin(_run("r4", "b4"))
        found = {version.batch_id: version for version in ledger.versions("nav", "value", [_KEY])}
        assert {batch: version.status for batch, version in found.items()} == {
            "b1": RunStatus.OK,
            "b2": RunStatus.SKIPPED,
            "b3": RunStatus.FAILED,
            "b4": RunStatus.RUNNING,
        }
        assert [found["b1"].revision, found["b2"].revision, found["b4"].step_status] == [1, 2, None]
        assert (found["b1"].step_status, found["b2"].error, found["b1"].run_id) == (StepStatus.OK, "a reason", "r1")
        assert found["b1"].is_hole is False
        assert found["b2"].is_hole is True

    def test_a_choice_finds_among_those_it_may_mean_the_version_it_means(self, ledger: Ledger) -> None:
        """Whatever became of later versions, and whether their runs have the step, what is left out is not meant."""
        other = PartitionKey(date="2026-01-09", fund="B")
        _recorded(ledger, _run("r1", "b1"))
        _recorded(ledger, _run("r2", "b2"))
        _recorded(ledger, replace(_run("r3", "b3"), steps=("total",)), step="total")
        _recorded(ledger, _run("r4", "b4"), RunStatus.FAILED, status=StepStatus.FAILED)
        _recorded(ledger, _run("r5", "b1", other))
        _recorded(ledger, _run("r6", "b2", other), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        for number in (7, 8):
            _recorded(ledger, _run(f"r{number}", f"b{number}", None))
        choices = [VersionChoice(), VersionChoice(known_at=ledger.now()), VersionChoice(capture_id="2026-01-09|A|b1")]
        choices += [VersionChoice(batch_id=f"b{number}") for number in range(9)]
        choices += [VersionChoice(revision=number) for number in range(1, 4)]
        for choice in choices:
            for key, step in itertools.product((_KEY, other, None), ("value", "total")):
                meant = choice.version(ledger.versions(step=step, workflow="nav", partitions=[key]))
                assert choice.version(ledger.versions_meant("nav", step, [key], [choice])) == meant
                assert choice.version(ledger.versions_meant("nav", step, [key], [choice, choices[-1]])) == meant

    def test_what_was_known_at_a_time_is_among_those_that_it_may_mean(self, ledger: Ledger, clock: FakeClock) -> None:
        """A version that is current no more was so then."""
        for number in (1, 2):
            _recorded(ledger, _run(f"r{number}", f"b{number}"))
            clock.advance(MINUTE)
        for known_at, run_id in ((NOON + MINUTE / 2, "r1"), (NOON + 3 * MINUTE / 2, "r2")):
            choice = VersionChoice(known_at=known_at)
            meant = choice.version(ledger.versions_meant("nav", "value", [_KEY], [choice]))
            assert meant is not None
            assert meant.run_id == run_id

    def test_without_partitions_each_date_has_its_current_version(self, ledger: Ledger, clock: FakeClock) -> None:
        """A batch that runs again after another one of its date is not current; of several dates, the last one is."""
        choice, none = VersionChoice(), [None]
        order = zip(("b1", "b2", "b1", "b1", "b2"), (0, 0, 0, 1, 0), ("r0", "r1", "r1", "r3", "r4"), strict=True)
        for number, (batch_id, days, current) in enumerate(order):
            _recorded(ledger, _run(f"r{number}", batch_id, None, days=days))
            clock.advance(MINUTE)
            assert [one.run_id for one in [choice.version(ledger.versions("nav", "value", none))] if one] == [current]
        subjects = {version.subject for version in ledger.versions("nav", "value", none)}
        assert subjects == {capture.key.idempotency_key for capture in ledger.captures()}
        assert sorted(ledger.current_revisions(subjects).values()) == [1, 2]
        ledger.prune(clock.now())
        assert [one.run_id for one in [choice.version(ledger.versions("nav", "value", none))] if one] == ["r4"]
        assert {one.subject for one in ledger.pruned_versions("nav", none)} < subjects

    def test_without_partitions_not_all_times_have_an_answer(self, ledger: Ledger, clock: FakeClock) -> None:
        """A capture that was written over may have been newer then than that of another date, or not."""
        for number, days in enumerate((0, 1, 0)):
            _recorded(ledger, _run(f"r{number}", "b1", None, days=days))
            clock.advance(MINUTE)
        before = VersionChoice(known_at=NOON + 5 * MINUTE / 2)
        assert [v.run_id for v in [before.version(ledger.versions("nav", "value", [None]))] if v] == ["r2"]
        first = VersionChoice(known_at=NOON + 3 * MINUTE / 2)
        assert [v.run_id for v in [first.version(ledger.versions("nav", "value", [None]))] if v] == ["r1"]
        _recorded(ledger, _run("r3", "b1", None), RunStatus.FAILED)
        with pytest.raises(VersionGone):
            before.version(ledger.versions("nav", "value", [None]))
        now = VersionChoice(known_at=clock.now())
        assert [v.run_id for v in [now.version(ledger.versions("nav", "value", [None]))] if v] == ["r1"]

    def test_a_version_without_the_step_says_which_steps_it_has(self, ledger: Ledger) -> None:
        """So does one that was skipped; of one that has the step, only that is said."""
        _recorded(ledger, replace(_run("r1", "b1"), steps=("total", "value")))
        _recorded(ledger, replace(_run("r2", "b2"), steps=("total", "later")), step="total")
        _recorded(ledger, replace(_run("r3", "b3"), steps=("later",)), RunStatus.SKIPPED, step="later")
        for found in (
            ledger.versions("nav", "value", [_KEY]),
            ledger.versions_meant("nav", "value", [_KEY], [VersionChoice(known_at=ledger.now())]),
        ):
            steps = [(one.has_step, one.other_steps) for one in sorted(found, key=lambda one: one.revision)]
            assert steps == [(True, ()), (False, ("total", "later")), (False, ("later",))]

    def test_versions_are_those_of_the_partitions_that_are_meant(self, ledger: Ledger) -> None:
        """Other partitions, workflows and runs without partitions are not among them, unless they are asked for."""
        other = PartitionKey(date="2026-01-09", fund="B")
        for number, key in enumerate([_KEY, other, None]):
            _recorded(ledger, _run(f"r{number}", "b", key))
        assert [v.partition for v in ledger.versions("nav", "value", [other])] == [other]
        assert [v.partition for v in ledger.versions("nav", "value", [None])] == [None]
        assert {v.partition for v in ledger.versions("nav", "value", [None, _KEY])} == {None, _KEY}
        assert ledger.versions("desk", "value", [_KEY]) == []
        assert ledger.versions("nav", "value", []) == []

    def test_runs_of_a_part_are_versions_of_their_own_batch(self, ledger: Ledger) -> None:
        """Until the capture is complete, the steps that parts have done are there for the batch that makes them."""
        part = replace(_run("r1", "b1"), steps=("value", "total"), selected=("value",))
        _recorded(ledger, part, RunStatus.PARTIAL)
        assert ledger.versions("nav", "value", [_KEY]) == []
        assert ledger.versions("nav", "value", [_KEY], batch_id="b2") == []
        assert ledger.versions("nav", "total", [_KEY], batch_id="b1") == []
        [found] = ledger.versions("nav", "value", [_KEY], batch_id="b1")
        assert (found.part, found.step_status, found.run_id) == (True, StepStatus.OK, "r1")
        begun = ledger.begin(replace(part, context=_run("r2", "b1").context))
        *_, last = ledger.versions("nav", "value", [_KEY], batch_id="b1")
        assert (last.run_id, last.status, last.step_status, last.is_read) == ("r2", RunStatus.RUNNING, None, False)
        assert [one.run_id for one in ledger.versions("nav", "total", [_KEY], batch_id="b1")] == []
        ledger.finish(begun, RunStatus.PARTIAL)
        assert [one.run_id for one in ledger.versions("nav", "value", [_KEY], batch_id="b1")] == ["r1"]
        assert found.is_read
        assert not found.ended_well

    def test_the_digest_of_a_version_is_that_of_what_its_step_recorded(self, ledger: Ledger) -> None:
        """Equal outputs have one digest whichever run made them, and others have another."""
        for number, nav in enumerate([100, 100, 101]):
            _recorded(ledger, _run(f"r{number}", f"b{number}"), output={"nav": nav})
        one, same, other = (version.digest for version in ledger.versions("nav", "value", [_KEY]))
        assert one == same != other

    def test_a_part_that_finds_nothing_hides_what_is_older(self, ledger: Ledger) -> None:
        """It says so as a whole run does, but not while it is made again, nor where another run has the capture."""
        _recorded(ledger, _run("r1", "b1"))
        part = replace(_run("r2", "b2"), steps=("value", "total"), selected=("value",))
        _recorded(ledger, part, RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        [first, hole] = ledger.captures()
        subject = first.key.idempotency_key
        assert (hole.is_hole, hole.revision, hole.run_id) == (True, 2, "r2")
        assert ledger.current_revisions([subject]) == {subject: 2}
        ledger.forget(ledger.begin(part), ["value"])
        assert ledger.current_revisions([subject]) == {subject: 1}
        late = ledger.begin(replace(_run("r3", "b2"), steps=part.steps, selected=part.selected))
        ledger.begin(_run("r4", "b2"))
        with pytest.raises(CaptureHeld):
            ledger.finish(late, RunStatus.SKIPPED)
        done, late = _recorded(ledger, _run("r5", "b3")), replace(part, context=_run("r6", "b3").context)
        with pytest.raises(AlreadyCaptured, match="complete by run r5 and stays so"):
            _recorded(ledger, late, RunStatus.SKIPPED)
        assert ledger.get_run("r5").fencing_token == done.fencing_token

    @pytest.mark.parametrize("anew", [True, False])
    def test_what_a_part_lets_go_of_was_known_until_then(self, ledger: Ledger, clock: FakeClock, anew: bool) -> None:
        """It does when it begins again; what is older is current from then on, and not before, however it ends."""
        _recorded(ledger, _run("r1", "b1"))
        clock.advance(MINUTE)
        part = replace(_run("r2", "b2"), steps=("value", "total"), selected=("value",))
        _recorded(ledger, part)
        clock.advance(MINUTE)
        begun = ledger.begin(part) if not anew else ledger.begin(replace(part, attempt=2), resumes=ledger.get_run("r2"))
        clock.advance(MINUTE)
        ledger.finish(begun, RunStatus.FAILED)
        [_, loose] = ledger.captures()
        assert (loose.state, loose.completed_at, loose.first_completed_at) == (
            CaptureState.RELEASED,
            None,
            NOON + MINUTE,
        )
        versions = ledger.versions("nav", "value", [_KEY])
        for known_at in (NOON, NOON + 2 * MINUTE):
            meant = VersionChoice(known_at=known_at).version(versions)
            assert meant is not None
            assert meant.run_id == "r1"
        with pytest.raises(VersionGone, match=r"written over in its batch at 2026-01-09T12:02"):
            VersionChoice(known_at=NOON + MINUTE).version(versions)

    def test_the_outputs_of_a_step_of_several_runs(self, ledger: Ledger) -> None:
        """They come by the digests of the runs' keys, and only of those that have it; so do their captures."""
        one, two = (_recorded(ledger, _run(f"r{n}", f"b{n}"), output={"nav": n}) for n in (1, 2))
        digests = [one.key.digest, two.key.digest]
        found = ledger.step_outputs("value", [*digests, "nothing"])
        assert [found[digest].output for digest in digests] == [{"nav": 1}, {"nav": 2}]
        assert ledger.step_outputs("other", digests) == {}
        versions = ledger.versions("nav", "value", [_KEY])
        assert {key: (one.status, one.digest) for key, one in found.items()} == {
            version.run_key: (version.step_status, version.digest) for version in versions
        }
        of_one = [version for version in versions if version.run_key == digests[1]]
        assert ledger.versions_of_runs("nav", "value", [digests[1], "nothing"]) == of_one

    def test_all_steps_of_several_runs(self, ledger: Ledger) -> None:
        """They come by the digests of the runs' keys, in their order; of what nobody knows there is none."""
        one, two = (_recorded(ledger, _run(f"r{n}", f"b{n}"), output={"nav": n}) for n in (1, 2))
        later = _step(step="later", after=("value",), started_at=NOON + timedelta(minutes=1))
        ledger.record(replace(ledger.get_run("r1"), fencing_token=one.fencing_token), [later])
        found = ledger.recorded_steps([one.key.digest, two.key.digest, "nothing"])
        assert {digest: [record.step for record in records] for digest, records in found.items()} == {
            one.key.digest: ["value", "later"],
            two.key.digest: ["value"],
        }
        assert found[one.key.digest] == ledger.steps(one.key)
        assert ledger.recorded_steps(list(found), names=["later"]) == {one.key.digest: ledger.steps(one.key, ["later"])}
        statuses = ledger.statuses_of([one.key.digest, two.key.digest, "nothing"])
        assert statuses == {run.key.digest: ledger.statuses(run.key) for run in (one, two)}

    def test_digests_of_some_steps_of_several_runs(self, ledger: Ledger) -> None:
        """They are those of the versions, with how each step ended; of what is not recorded there is none."""
        one = _recorded(ledger, _run("r1", "b1"), output={"nav": 1})
        two = _recorded(ledger, _run("r2", "b2"), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        ledger.record(replace(ledger.get_run("r1"), fencing_token=one.fencing_token), [_step(step="later")])
        found = ledger.digests_of(["value", "total"], [one.key.digest, two.key.digest, "nothing"])
        versions = ledger.versions("nav", "value", [_KEY])
        assert found == {(v.run_key, "value"): (v.step_status, v.digest) for v in versions}

    def test_the_steps_of_several_runs_that_have_read_others(self, ledger: Ledger) -> None:
        """They come without those beside them; to return what is called inputs is not to read."""
        one, two = (_recorded(ledger, _run(f"r{n}", f"b{n}"), output={"inputs": {"nav": n}}) for n in (1, 2))
        read = {"nav": (_READ,)}
        later = replace(_step(step="later", started_at=NOON + timedelta(minutes=1)), inputs=read)
        ledger.record(replace(ledger.get_run("r1"), fencing_token=one.fencing_token), [later])
        found = ledger.recorded_steps([one.key.digest, two.key.digest, "nothing"], reading=True)
        assert found == {one.key.digest: ledger.steps(one.key, ["later"])}
        assert found[one.key.digest][0].inputs == read

    def test_several_runs_are_found_by_their_keys(self, ledger: Ledger) -> None:
        """Each as it is when it is asked for alone."""
        digests = [_recorded(ledger, _run(f"r{n}", f"b{n}")).key.digest for n in (1, 2)]
        found = ledger.runs_of([*digests, "nothing"])
        assert found == {digest: ledger.get_run(run.run_id) for digest, run in found.items()}
        assert list(found) == digests or list(found) == digests[::-1]

    def test_what_a_step_has_read_is_recorded_with_it(self, ledger: Ledger) -> None:
        """Workflow, step, partition, capture, revision and digest come back as they were written."""
        skipped = replace(_READ, partition=None, digest=None)
        reads = {"yesterday": (_READ,), "window": (_READ, skipped), "none": ()}
        begun = _recorded(ledger, _run("r1", "b1"), inputs=reads)
        [record] = ledger.steps(begun.key)
        assert record.inputs == reads

    def test_what_is_to_be_read_again_is_kept_with_the_attempt(self, ledger: Ledger) -> None:
        """A run that is continued says which versions its steps read again, to whoever looks it up."""
        begun = _recorded(ledger, _run("r1", "b1"), RunStatus.FAILED, status=StepStatus.FAILED)
        before = ledger.get_run("r1")
        reads = {"value": {"yesterday": (_READ,)}}
        ledger.begin(replace(begun, attempt=2, reads=reads), resumes=before)
        assert ledger.get_run("r1").reads == reads

    def test_what_was_to_be_read_again_is_forgotten_with_the_step(self, ledger: Ledger) -> None:
        """A step that does not count any more reads anew; what others are to read again stays."""
        begun = ledger.begin(
            replace(_run("r1", "b1"), reads={name: {"price": (_READ,)} for name in ("value", "total")})
        )
        ledger.forget(begun, ["total"])
        assert ledger.get_run("r1").reads == {"value": {"price": (_READ,)}}

    def test_a_batch_is_found_or_not(self, ledger: Ledger) -> None:
        """What nobody remembers is None, and no error."""
        batch = BatchRecord(batch_id="b1", workflow="nav", created_at=NOON, selection="fund=A")
        ledger.batches.put(batch)
        assert ledger.find_batch("nobody") is None
        found = ledger.find_batch("b1")
        assert found is not None
        assert found.selection == "fund=A"

    def test_what_is_done_tells_with_which_parameters(self, ledger: Ledger) -> None:
        """Of runs of partitions that are ok, of one workflow and batch: those that are asked for; dates are dates."""
        days = [NOON.date(), NOON.date(), NOON.date() + timedelta(days=1), NOON.date()]
        partitions = [{"n": 0}, {"n": 0}, {"n": 1}, None]
        for number, (day, partition) in enumerate(zip(days, partitions, strict=True)):
            params = {"day": day, "number": number}
            run = ledger.begin(a_run(f"r{number}", partition=partition, batch_id="b1", params=params))
            ledger.finish(run, RunStatus.OK)
        ledger.finish(ledger.begin(a_run("r9", partition={"n": 9}, batch_id="b1")), RunStatus.FAILED)
        found: dict[object, set[tuple[str, str]]] = {}
        for asked, runs in ledger.batches.params_of_runs("b1", "flow", ["day", "another"]):
            assert asked.keys() == {"day"}
            found.setdefault(asked["day"], set()).update(runs)
        assert found == {days[0]: {("n=0", "r0"), ("n=0", "r1")}, days[2]: {("n=1", "r2")}}
        assert ledger.batches.params_of_runs("b1", "other", ["day"]) == []
        assert ledger.batches.params_of_runs("b2", "flow", ["day"]) == []

    def test_the_last_word_on_a_partition_is_never_forgotten(self, ledger: Ledger) -> None:
        """A skip that is newer than a capture stays with it; one that was superseded goes."""
        _recorded(ledger, _run("r1", "b1"), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        _recorded(ledger, _run("r2", "b2"))
        _recorded(ledger, _run("r3", "b3"), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        ledger.prune(ledger.now() + timedelta(days=1))
        assert {version.batch_id for version in ledger.versions("nav", "value", [_KEY])} == {"b2", "b3"}

    def test_a_capture_that_is_written_over_says_since_when_it_was_there(self, ledger: Ledger) -> None:
        """Another run of the batch takes its place; when it was first complete, or a skip, stays."""
        _recorded(ledger, _run("r1", "b1"))
        [first] = ledger.versions("nav", "value", [_KEY])
        _recorded(ledger, _run("r2", "b1"))
        [again] = ledger.versions("nav", "value", [_KEY])
        assert (first.first_completed_at, first.claimed_at is not None) == (None, True)
        assert (again.first_completed_at, again.run_id) == (first.completed_at, "r2")
        other = PartitionKey(date="2026-01-09", fund="B")
        _recorded(ledger, _run("r3", "b1", other), RunStatus.SKIPPED, status=StepStatus.SKIPPED)
        [hole] = ledger.versions("nav", "value", [other])
        _recorded(ledger, _run("r4", "b1", other))
        [found] = ledger.versions("nav", "value", [other])
        assert hole.completed_at is not None
        assert found.first_completed_at == hole.completed_at

    def test_what_is_pruned_is_still_known_to_have_been_there(self, ledger: Ledger) -> None:
        """Its capture, revision, batch and time stay, so that nothing older passes for what was known."""
        _recorded(ledger, _run("r1", "b1"))
        _recorded(ledger, _run("r2", "b2"), RunStatus.FAILED, status=StepStatus.FAILED)
        _recorded(ledger, _run("r3", "b3"))
        before = {version.batch_id: version for version in ledger.versions("nav", "value", [_KEY])}
        assert ledger.pruned_versions("nav", [_KEY]) == []
        until = ledger.now() + timedelta(days=1)
        ledger.would_prune(until)
        assert ledger.pruned_versions("nav", [_KEY]) == []
        for _ in range(2):
            ledger.prune(until)
            [gone] = ledger.pruned_versions("nav", [_KEY, None])
            assert (gone.partition, gone.capture_id, gone.batch_id) == (_KEY, before["b1"].capture_id, "b1")
            assert (gone.revision, gone.completed_at) == (1, before["b1"].completed_at)
        assert ledger.pruned_versions("desk", [_KEY]) == []
        assert ledger.pruned_versions("nav", []) == []

    def test_the_number_of_what_was_pruned_is_no_others(self, ledger: Ledger) -> None:
        """A version that was written over, failed and was pruned has its revision again when its batch makes it anew.

        It is no newer than those that others have made since; until one of them is complete, it stays.
        """
        _recorded(ledger, _run("r1", "b1"))
        _recorded(ledger, _run("r2", "b2"))
        ledger.finish(ledger.begin(_run("r3", "b2")), RunStatus.FAILED)
        pruned = []
        for run_id, batch_id in (("r4", "b3"), ("r5", "b4"), ("r6", "b2"), ("r7", "b5")):
            ledger.prune(ledger.now() + timedelta(days=1))
            pruned.append({(one.revision, one.batch_id) for one in ledger.pruned_versions("nav", [_KEY])})
            _recorded(ledger, _run(run_id, batch_id))
            if batch_id == "b2":
                found = {one.batch_id: one.revision for one in ledger.versions("nav", "value", [_KEY])}
                assert found == {"b2": 2, "b4": 4}
        first, *_, last = pruned
        assert (first, last) == (set(), {(1, "b1"), (2, "b2"), (3, "b3")})
        assert {one.revision for one in ledger.versions("nav", "value", [_KEY])} == {4, 5}

    def test_the_partitions_that_were_captured_are_listed_once(self, ledger: Ledger) -> None:
        """Those of the workflow that is meant, however many captures each has; runs without partitions have none."""
        other = PartitionKey(date="2026-01-09", fund="B")
        for number, key in enumerate([_KEY, other, _KEY, None]):
            _recorded(ledger, _run(f"r{number}", f"b{number}", key))
        assert sorted(map(str, ledger.captured_partitions("nav"))) == sorted(map(str, [_KEY, other]))
        assert list(ledger.captured_partitions("desk")) == []
