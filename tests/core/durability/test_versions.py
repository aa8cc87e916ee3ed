"""Which version of a partition is read: the batch's own, else the current one."""

from flowctx import PartitionKey, StepStatus
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.versions import Version, older_with_step, version_read, version_to_read

KEY = PartitionKey(date="2026-01-09")


def version(batch_id, revision, status=RunStatus.OK, **fields):
    """A capture of one partition."""
    values = {
        "partition": KEY,
        "subject": "day",
        "run_key": batch_id,
        "run_id": batch_id,
        "step_status": StepStatus.OK,
        "digest": "d",
    }
    return Version(capture_id=f"9|{batch_id}", batch_id=batch_id, revision=revision, status=status, **values | fields)


def test_the_batchs_own_is_read_whatever_is_newer():
    """A restatement reads what it has restated itself."""
    found = [version("own", 1, completed_at="1"), version("newer", 2, completed_at="2")]
    assert version_to_read(found, "own").batch_id == "own"
    assert version_to_read(found, "third").batch_id == "newer"
    assert version_to_read(found, None).batch_id == "newer"


def test_nothing_older_stands_in_for_what_the_batch_is_making():
    """What runs or failed in the own batch is the answer, to be waited for."""
    for status in (RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.PARTIAL):
        found = [version("old", 1, completed_at="1"), version("own", 2, status)]
        assert version_to_read(found, "own").status is status
        assert version_to_read(found, None).batch_id == "old"


def test_a_skip_is_a_word_as_good_as_a_capture():
    """The newest says what there is: a day that turned out to be closed is a hole."""
    skipped = version("b2", 2, RunStatus.SKIPPED)
    assert version_to_read([version("b1", 1, completed_at="1"), skipped], None).is_hole
    assert not version_to_read([skipped, version("b3", 3, completed_at="3")], None).is_hole


def test_a_step_that_was_skipped_in_a_complete_run_is_a_hole():
    """Others of the same run are there."""
    assert version("b1", 1, step_status=StepStatus.SKIPPED).is_hole
    assert version("b1", 1, step_status=None).is_hole
    assert version_read("nav", "value", version("b1", 1, step_status=StepStatus.SKIPPED)).digest is None
    assert version_read("nav", "value", version("b1", 1)).digest == "d"


def test_without_partitions_the_last_one_captured_is_read():
    """Revisions count for each business date: of the current ones of all dates, time decides."""
    found = [
        version("b1", 5, partition=None, subject="other", completed_at="2026-01-01"),
        version("b2", 1, partition=None, completed_at="2026-01-02"),
        version("b0", 0, partition=None, completed_at="2026-01-03"),
        version("b3", 9, RunStatus.FAILED, partition=None),
    ]
    assert version_to_read(found, None).batch_id == "b2"
    assert version_to_read([], None) is None
    assert version_to_read(found[3:], None) is None


def test_without_partitions_the_last_one_of_the_batch_that_was_begun_is_read():
    """A batch may make one for each date: what failed for one of them does not stand before what is made for others."""
    failed = version("own", 1, RunStatus.FAILED, partition=None, claimed_at="2026-01-01")
    done = version("own", 1, partition=None, claimed_at="2026-01-02", completed_at="2026-01-04")
    begun = version("own", 1, RunStatus.RUNNING, partition=None, claimed_at="2026-01-03")
    assert version_to_read([failed, done], "own") is done
    assert version_to_read([failed, begun, done], "own") is begun
    assert version_to_read([failed], "own") is failed


def test_a_part_of_the_own_batch_is_read_until_the_capture_is_there():
    """An engine may make the steps of a partition in runs of their own; what they have done is newer than any other."""
    part = version("own", 0, RunStatus.PARTIAL, part=True, run_key="part")
    old = version("old", 1, completed_at="1")
    assert version_to_read([old, part], "own") is part
    assert part.is_read
    assert version_to_read([old, version("own", 2, completed_at="2"), part], "own").revision == 2
    assert version_to_read([old, version("own", 2, RunStatus.FAILED), part], "own").status is RunStatus.FAILED


def test_nothing_older_stands_in_for_what_a_part_is_making():
    """The step of a run of a part that is to do it, and has not yet, is waited for."""
    part = version("own", 0, RunStatus.RUNNING, part=True, step_status=None)
    assert version_to_read([version("old", 1, completed_at="1"), part], "own") is part
    assert not part.is_read


def test_a_run_that_is_at_later_steps_can_be_read():
    """Its step is recorded; one that is still to come, or failed, is not."""
    assert version("own", 1, RunStatus.RUNNING).is_read
    assert not version("own", 1, RunStatus.RUNNING, step_status=None).is_read
    assert not version("own", 1, RunStatus.FAILED).is_read
    assert not version("own", 0, RunStatus.PARTIAL, part=True, step_status=StepStatus.FAILED).is_read


def test_a_capture_without_the_step_hides_what_is_older():
    """It is no hole, and is not read; in the own batch or not, nothing older stands in."""
    lacking = version("b1", 1, completed_at="1", step_status=None, has_step=False)
    older = version("b0", 0, completed_at="0")
    assert version_to_read([lacking], None) is lacking
    assert version_to_read([older, lacking], None) is version_to_read([older, lacking], "b1") is lacking
    assert not lacking.is_read


def test_what_has_the_step_is_looked_for_before_the_version_that_has_not():
    """What failed, what is a part and what came later do not count."""
    lacking = version("b3", 3, completed_at="3", step_status=None, has_step=False)
    one, two = version("b1", 1, completed_at="1"), version("b2", 2, completed_at="2")
    failed, part = version("b2", 2, RunStatus.FAILED), version("b2", 0, RunStatus.PARTIAL, part=True)
    assert older_with_step(lacking, [one, two, lacking, version("b4", 4, completed_at="4")]) is two
    assert older_with_step(lacking, [one, failed, part, lacking]) is one
    assert older_with_step(lacking, [failed, part, lacking]) is None
