"""What is read of partitions of which something was complete, and is not any more: nothing older than was pruned."""

from datetime import timedelta

import pytest

from flowctx import PartitionKey, VersionGone
from flowctx.core.durability.current import pruned_beside, under_way, versions_to_read
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing.records import a_run, a_step

ONE, TWO = PartitionKey(tier="T1"), PartitionKey(tier="T2")


class Asked(MemoryLedger):
    """Notes of which partitions it was asked what was pruned."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def pruned_versions(self, workflow, partitions):
        self.asked.append(set(partitions))
        return super().pruned_versions(workflow, partitions)


def made(ledger, number, key, status=RunStatus.OK, batch_id=None):
    """Make a version of a partition."""
    run = ledger.begin(a_run(f"r{number}-{key}", partition=key, batch_id=batch_id or f"b{number}"))
    ledger.record(run, [a_step()])
    ledger.finish(run, status)


@pytest.fixture
def ledger():
    """Of two partitions, the second version of three was pruned, and the first one is kept."""
    ledger = Asked()
    for number in (1, 2, 3):
        for key in (ONE, TWO):
            made(ledger, number, key)
    ledger.batches.keep("b1")
    ledger.prune(ledger.now() + timedelta(days=1))
    return ledger


def test_the_ledger_is_asked_what_was_pruned_where_it_can_matter(ledger):
    """Of a partition whose last version is complete, nothing can be newer; nor where something never was."""
    made(ledger, 4, ONE, RunStatus.FAILED)
    assert pruned_beside(ledger, "flow", ledger.versions("flow", "a", [ONE, TWO])) == {}
    assert ledger.asked == []
    made(ledger, 5, ONE, RunStatus.FAILED, "b3")
    found = pruned_beside(ledger, "flow", ledger.versions("flow", "a", [ONE, TWO]))
    assert {key: [one.revision for one in some] for key, some in found.items()} == {ONE: [2]}
    assert ledger.asked == [{ONE}]


def test_each_partition_has_a_version_or_the_error_that_says_why_not(ledger):
    """The batch whose own version is kept reads that; of a part of it, too, nothing older stands in."""
    made(ledger, 5, ONE, RunStatus.FAILED, "b3")
    versions = ledger.versions("flow", "a", [ONE, TWO])
    found = versions_to_read(ledger, "flow", versions)
    assert (type(found[ONE]), found[TWO].run_id) == (VersionGone, f"r3-{TWO}")
    assert "capture T1|2026-01-09|b2 (revision 2, of " in str(found[ONE])
    of_batch = versions_to_read(ledger, "flow", versions, "b1")
    assert [of_batch[key].run_id for key in (ONE, TWO)] == [f"r1-{ONE}", f"r1-{TWO}"]
    own = versions_to_read(ledger, "flow", versions, None, {versions[0].run_key})
    assert own[ONE] == versions[0]


def test_a_partition_is_under_way_while_its_run_gives_signs_of_life(ledger):
    """One whose lease has run out is dead."""
    for key, lease in ((ONE, timedelta(minutes=1)), (TWO, timedelta(0))):
        ledger.begin(a_run(f"r4-{key}", partition=key, batch_id="b4"), lease=lease)
    assert under_way(ledger, ledger.versions("flow", "a", [ONE, TWO])) == {ONE}
